import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cloak.align import to_tensor
from cloak.types import Pixels
from cloak.visibility import (
    Yardstick,
    chroma_distance,
    dssim_and_peak,
    dssim_map,
    face_mean,
    gaussian_blur,
    measure_face,
    measure_photo,
    regions_of,
    spread_windows,
    window_means,
)
from tests.helpers import smooth_noise

BOX = (20.0, 24.0, 83.0, 99.0)


def noisy(pixels: Pixels, levels: float, seed: int = 0) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, levels, pixels.shape)
    changed: Pixels = (pixels + noise).round().clip(0, 255).astype(np.uint8)
    return changed


def reference_map(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    _, ssim = structural_similarity(
        a / 255, b / 255, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    maps: NDArray[np.float64] = (1 - ssim.mean(axis=2)) / 2
    return maps


def test_map_agrees_with_scikit_image_away_from_the_border() -> None:
    a = smooth_noise(70, 90)
    b = noisy(a, 6)
    ours = dssim_map(to_tensor(a), to_tensor(b))[0].numpy()
    np.testing.assert_allclose(ours[5:-5, 5:-5], reference_map(a, b)[5:-5, 5:-5], atol=2e-5)


def test_face_measures_agree_with_scikit_image() -> None:
    a = smooth_noise(120, 110)
    b = noisy(a, 4)
    measured = measure_face(a, b, BOX)
    box = np.s_[24:100, 20:84]
    maps = reference_map(a, b)
    assert measured.dssim == pytest.approx(maps[box].mean(), abs=1e-5)
    assert measured.psnr == pytest.approx(peak_signal_noise_ratio(a[box], b[box]), abs=1e-3)


def test_peak_is_the_largest_mean_over_a_quarter_of_the_box() -> None:
    a = smooth_noise(120, 110)
    b = a.copy()
    b[40:60, 30:50] = noisy(a[40:60, 30:50], 12)
    maps = reference_map(a, b)
    side = 16  # a quarter of 63, rounded
    means = [maps[y : y + side, x : x + side].mean() for y in range(20, 90) for x in range(16, 80)]
    assert measure_face(a, b, BOX).peak_dssim == pytest.approx(max(means), abs=1e-5)


def test_nothing_changed_measures_as_nothing() -> None:
    a = smooth_noise(120, 110)
    measured = measure_face(a, a, BOX)
    assert measured.dssim == pytest.approx(0, abs=1e-6)
    assert (measured.psnr, measured.linf) == (math.inf, 0)


def test_a_change_beside_the_box_shows_in_the_peak_only() -> None:
    a = smooth_noise(120, 130)
    b = a.copy()
    b[30:90, 84:89] = noisy(a[30:90, 84:89], 20)
    measured = measure_face(a, b, BOX)
    assert measured.peak_dssim > 3 * measured.dssim


def test_a_large_face_is_measured_with_its_box_brought_down_to_256() -> None:
    a = smooth_noise(700, 600)
    fine = noisy(a, 6)
    measured = measure_face(a, fine, (40, 40, 552, 600))
    native = reference_map(a, fine)[40:601, 40:553].mean()
    assert 0 < measured.dssim < 0.6 * native  # fine grain averages out on the way down


def test_a_box_at_the_photos_edge_is_measured() -> None:
    a = smooth_noise(60, 60)
    assert measure_face(a, noisy(a, 5), (0.0, 0.0, 59.0, 59.0)).dssim > 0


def test_faces_of_a_batch_are_averaged_each_over_its_own_box() -> None:
    maps = torch.zeros(2, 40, 40)
    maps[0, 10:21, 10:21] = 1
    maps[1, :5] = 1
    regions = regions_of([(10, 10, 20, 20), (10, 10, 20, 20)], (40, 40))
    torch.testing.assert_close(face_mean(maps, regions), torch.tensor([1.0, 0.0]))


def test_window_means_and_their_spread_keep_a_constant() -> None:
    maps = torch.full((1, 64, 64), 0.25)
    regions = regions_of([(8, 8, 56, 56)], (64, 64), stride=4)
    means = window_means(maps, regions)
    assert means.max() == pytest.approx(0.25)
    valid = spread_windows((means > 0).float(), regions)
    assert valid.max() == pytest.approx(1.0)


def test_blur_keeps_a_constant_and_the_mean_of_the_inside() -> None:
    torch.testing.assert_close(gaussian_blur(torch.ones(1, 3, 20, 30)), torch.ones(1, 3, 20, 30))
    spike = torch.zeros(1, 1, 31, 31)
    spike[0, 0, 15, 15] = 1
    assert gaussian_blur(spike).sum() == pytest.approx(1.0, abs=1e-5)


def test_blur_is_the_window_wherever_a_pixel_lies_in_its_block() -> None:
    window = torch.exp(-0.5 * (torch.arange(-5.0, 6.0) / 1.5) ** 2)
    window = torch.outer(window, window) / window.sum() ** 2
    torch.testing.assert_close(gaussian_blur(torch.ones(1, 1, 70, 130)), torch.ones(1, 1, 70, 130))
    for row, column in ((31, 64), (32, 63), (40, 95), (64, 100)):
        spike = torch.zeros(1, 1, 75, 130)
        spike[0, 0, row, column] = 1
        blurred = gaussian_blur(spike)[0, 0]
        torch.testing.assert_close(blurred[row - 5 : row + 6, column - 5 : column + 6], window)
        assert blurred.sum() == pytest.approx(1.0, abs=1e-5)


def test_colour_is_the_distance_in_scikit_images_lab() -> None:
    a = smooth_noise(60, 70)
    b = noisy(a, 8)
    change = (rgb2lab(b) - rgb2lab(a))[..., 1:]
    expected = np.sqrt((change**2).sum(axis=2).mean())
    assert chroma_distance(a, b) == pytest.approx(expected, abs=0.02)
    brighter = (a.astype(int) + 3).clip(0, 255).astype(np.uint8)
    assert chroma_distance(a, brighter) < 0.4 < chroma_distance(a, b)


def test_a_whole_photo_is_measured_like_a_face_that_fills_it() -> None:
    a = smooth_noise(90, 110)
    b = noisy(a, 6)
    seen = measure_photo(a, b)
    assert seen.psnr == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-3)
    assert seen.linf == np.abs(a.astype(int) - b).max()
    inner = measure_face(a, b, BOX)
    assert seen.dssim == pytest.approx(inner.dssim, rel=0.3)
    # scikit-image pads the borders in another way
    assert seen.dssim == pytest.approx(float(reference_map(a, b).mean()), rel=0.03)
    large = measure_photo(np.repeat(np.repeat(a, 30, 0), 30, 1), np.repeat(np.repeat(b, 30, 0), 30, 1))
    assert large.linf == seen.linf


@pytest.mark.parametrize("scale", [1, 6])  # a box of 60 px, and one that is brought down to 256
def test_a_part_of_a_photo_is_measured_like_the_whole(scale: int) -> None:
    a = smooth_noise(100 * scale, 110 * scale)
    b = noisy(a, 8)
    box = (20.4 * scale, 10.7 * scale, 80.2 * scale, 70.0 * scale)
    yardstick = Yardstick.of(a, box)
    left, top, right, bottom = yardstick.place
    part = b[top:bottom, left:right]
    assert yardstick.measure(part, left, top) == yardstick.measure(b) == dssim_and_peak(a, b, box)
    assert yardstick.measure(a) == pytest.approx((0.0, 0.0), abs=1e-6)
