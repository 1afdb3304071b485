import numpy as np
import pytest
from PIL import Image

from cloak.bench.conditions import CONDITIONS, FEED_SIDE, find_condition
from cloak.errors import UsageError
from tests.helpers import smooth_noise


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_change_a_photo_a_little_and_always_alike(name: str) -> None:
    photo = smooth_noise(96, 120, 4)
    kept = photo.copy()
    first, again = (CONDITIONS[name].apply(photo) for _ in range(2))
    assert np.array_equal(photo, kept)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    if name == "saved":
        assert np.array_equal(first, photo)
    elif name == "crop":
        assert np.array_equal(first, photo[5:-5, 6:-6])
    else:
        assert first.shape == photo.shape
        assert 0.2 < np.abs(first.astype(float) - photo).mean() < 12


def test_a_feed_brings_large_photos_down_and_leaves_small_ones() -> None:
    large = CONDITIONS["feed"].apply(smooth_noise(400, 2 * FEED_SIDE, 1))
    assert large.shape == (200, FEED_SIDE, 3)
    assert CONDITIONS["feed"].apply(smooth_noise(64, 64, 1)).shape == (64, 64, 3)


def test_filters_are_those_of_scipy() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    photo = smooth_noise(64, 64, 2)
    inner = np.s_[8:-8, 8:-8]
    median = ndimage.median_filter(photo, size=(3, 3, 1))
    assert np.array_equal(CONDITIONS["median"].apply(photo)[inner], median[inner])
    blurred = ndimage.gaussian_filter(photo.astype(float), sigma=(1, 1, 0), truncate=4)
    assert np.abs(CONDITIONS["blur"].apply(photo)[inner] - blurred[inner]).max() <= 1.0


def test_noise_has_the_deviation_it_names_and_bilateral_keeps_edges() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    assert np.std(CONDITIONS["noise"].apply(grey).astype(float)) == pytest.approx(0.02 * 255, rel=0.05)
    step = np.zeros((32, 32, 3), np.uint8)
    step[:, 16:] = 200
    assert np.array_equal(CONDITIONS["bilateral"].apply(step), step)
    assert not np.array_equal(CONDITIONS["blur"].apply(step), step)


def test_purifiers_are_marked_and_every_condition_has_a_title() -> None:
    assert [name for name, condition in CONDITIONS.items() if condition.purifier] == [
        "median",
        "bilateral",
        "jpeg50_blur",
    ]
    assert len({condition.title for condition in CONDITIONS.values()}) == len(CONDITIONS)


def test_recompression_is_what_pillow_writes() -> None:
    photo = smooth_noise(48, 48, 3)
    assert np.asarray(Image.fromarray(CONDITIONS["jpeg50"].apply(photo))).shape == photo.shape
    errors = [np.abs(CONDITIONS[n].apply(photo).astype(float) - photo).mean() for n in ("jpeg95", "jpeg75", "jpeg50")]
    assert errors == sorted(errors)


def test_an_unknown_condition_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"expected a condition, one of saved, jpeg95.*; got 'blurr'"):
        find_condition("blurr")
