from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cloak.bench.conditions import CONDITIONS, FEED_SIDE, find_condition
from cloak.bench.embedding import Gaze, embed_all
from cloak.bench.evaluators import Evaluator
from cloak.bench.store import EmbeddingStore
from cloak.errors import UsageError
from cloak.types import Pixels
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


def darker(pixels: Pixels) -> Pixels:
    pixels //= 2  # what a user's function does to its photo must not reach others
    return pixels


def in_numbers(pixels: Pixels) -> NDArray[np.float64]:
    return pixels / 255.0


def broken(pixels: Pixels) -> Pixels:
    raise ValueError("no light\nat all")


NO_FUNCTION = 3
HERE = "tests.test_bench_conditions"


def test_a_users_own_condition_is_a_function_of_a_photo() -> None:
    photo = smooth_noise(32, 32, 1)
    kept = photo.copy()
    own = find_condition(f"{HERE}:darker")
    assert (own.name, own.own, own.purifier) == (f"{HERE}:darker", True, False)
    assert np.array_equal(own.apply(photo), kept // 2)
    assert np.array_equal(photo, kept)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", r"expected a condition, one of saved, .*, or module:function; got 'absent'"),
        ("cloak.absent:f", r"expected module:function that can be imported, got 'cloak\.absent:f'"),
        (f"{HERE}:NO_FUNCTION", "expected a function of a photo, got int"),
        (f"{HERE}:in_numbers", r"in_numbers: expected \(h, w, 3\) uint8, got \(8, 8, 3\) float64"),
        (f"{HERE}:broken", "broken: expected a photo, got ValueError: no light"),
    ],
)
def test_a_condition_that_cannot_serve_is_told(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_condition(name).apply(smooth_noise(8, 8, 1))


def test_a_condition_whose_code_changed_is_not_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(smooth_noise(32, 32, 1)).save(tmp_path / "photo.png")
    looks: list[float] = []

    def embed(pixels: Pixels, place: object) -> NDArray[np.float32]:
        looks.append(pixels.mean())
        return np.array([pixels.mean(), 1.0], dtype=np.float32)

    gaze = Gaze([Evaluator("e", "1", lambda pixels: pixels, embed)], EmbeddingStore(tmp_path / "store.sqlite"))
    for _ in range(2):
        gaze.embed(tmp_path / "photo.png", ["saved", f"{HERE}:darker"])
    assert looks == [looks[0], pytest.approx(looks[0] / 2, abs=1)]
    monkeypatch.setattr(f"{HERE}.darker", lambda pixels: pixels // 3)
    gaze.embed(tmp_path / "photo.png", [f"{HERE}:darker"])
    assert looks[2:] == [pytest.approx(looks[0] / 3, abs=1)]


def test_a_condition_that_fails_ends_the_run_instead_of_losing_its_photos(tmp_path: Path) -> None:
    Image.fromarray(smooth_noise(32, 32, 1)).save(tmp_path / "photo.png")
    gaze = Gaze([], EmbeddingStore(tmp_path / "store.sqlite"))
    with pytest.raises(UsageError, match="broken: expected a photo"):
        embed_all({tmp_path / "photo.png": [f"{HERE}:broken"]}, gaze)
