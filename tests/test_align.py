import numpy as np
import pytest
import skimage.transform
import torch
from hypothesis import given
from hypothesis import strategies as st

from cloak.align import (
    apply,
    compose,
    crop,
    crop_face,
    fit_similarity,
    invert,
    oversampling_for,
    scale_of,
    soft_box_mask,
    to_tensor,
    warp,
)
from tests.helpers import Similarity, smooth_noise

POINTS = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
coordinates = st.floats(-300, 300)


@given(st.floats(0.1, 10), st.floats(-180, 180), coordinates, coordinates)
def test_fit_finds_the_similarity_that_moved_the_points(scale: float, degrees: float, x: float, y: float) -> None:
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    truth = np.array([[cos, -sin, x], [sin, cos, y]])
    np.testing.assert_allclose(fit_similarity(POINTS, apply(truth, POINTS)), truth, atol=1e-8 * max(1, scale))


def test_fit_agrees_with_scikit_image_on_noisy_points() -> None:
    noisy = 2.1 * POINTS[:, ::-1] + np.random.default_rng(0).normal(0, 3, POINTS.shape)
    reference = skimage.transform.estimate_transform("similarity", noisy, POINTS)
    np.testing.assert_allclose(fit_similarity(noisy, POINTS), reference.params[:2], atol=1e-9)


def test_fit_needs_different_points() -> None:
    with pytest.raises(ValueError, match="at least two different points"):
        fit_similarity(np.ones((5, 2)), POINTS)


def test_inverse_and_composition(similarity: Similarity) -> None:
    a, b = similarity(1.7, 20, 5, -3), similarity(0.4, -75, 11, 2)
    identity = np.eye(2, 3)
    np.testing.assert_allclose(compose(a, invert(a)), identity, atol=1e-12)
    np.testing.assert_allclose(compose(invert(a), a), identity, atol=1e-12)
    np.testing.assert_allclose(apply(compose(a, b), POINTS), apply(a, apply(b, POINTS)), atol=1e-9)
    assert scale_of(a) == pytest.approx(1.7)


def test_warp_along_the_identity_changes_nothing() -> None:
    image = to_tensor(smooth_noise(40, 50))
    same = warp(image, torch.eye(2, 3)[None], (40, 50))
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)


def test_warp_by_whole_pixels_is_a_plain_cut(similarity: Similarity) -> None:
    pixels = smooth_noise(60, 70)
    cut = crop(pixels, similarity(1, 0, 13, 7), (30, 20))
    torch.testing.assert_close(cut, to_tensor(pixels[7:37, 13:33]), atol=1e-5, rtol=0)


def test_warp_agrees_with_scikit_image(similarity: Similarity) -> None:
    pixels = smooth_noise(60, 70)
    matrix = similarity(0.8, 17, 9, -1)
    transform = skimage.transform.SimilarityTransform(matrix=np.vstack([matrix, [0, 0, 1]]))
    expected = skimage.transform.warp(pixels / 255, transform, output_shape=(40, 45), order=1, mode="edge")
    ours = crop(pixels, matrix, (40, 45))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_a_crop_is_the_warp_of_the_whole_photo(similarity: Similarity) -> None:
    pixels = smooth_noise(120, 150)
    matrix = similarity(2.6, 30, 60, 10)
    whole = warp(to_tensor(pixels), torch.from_numpy(matrix)[None], (24, 24), oversampling=3)
    torch.testing.assert_close(crop(pixels, matrix, (24, 24)), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [6.1, 9.3, 17.0])
def test_a_large_face_is_reduced_first_and_shows_the_same(similarity: Similarity, scale: float) -> None:
    pixels = smooth_noise(600, 750)
    matrix = similarity(scale, 20, 300, -20)  # beyond the upper edge, too
    whole = warp(to_tensor(pixels), torch.from_numpy(matrix)[None], (24, 24), oversampling_for(matrix))
    difference = (crop(pixels, matrix, (24, 24)) - whole).abs()
    assert difference.mean() < 0.01
    assert difference.max() < 0.05


def test_reduction_does_not_alias(similarity: Similarity) -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    reduced = crop(stripes, similarity(4, 0, 1.5, 1.5), (30, 30))
    assert (reduced - 0.5).abs().max() < 0.02


def test_round_trip_through_a_transform_and_its_inverse(similarity: Similarity) -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8, generator=generator), (80, 80), mode="bicubic")
    matrix = similarity(0.9, 12, 4, 3)
    there = warp(coarse, torch.from_numpy(matrix)[None], (90, 90))
    back = warp(there, torch.from_numpy(invert(matrix))[None], (80, 80))
    assert (back - coarse)[:, :, 20:60, 20:60].abs().max() < 0.03


def test_gradient_reaches_every_pixel_that_is_seen(similarity: Similarity) -> None:
    image = torch.rand(1, 3, 40, 40, requires_grad=True)
    matrix = torch.from_numpy(similarity(1.9, 10, 5, 2))[None]
    (gradient,) = torch.autograd.grad(warp(image, matrix, (15, 15), oversampling=2).sum(), image)
    assert (gradient[0, :, 12:28, 12:28] > 0).all()


def test_crop_face_puts_the_landmarks_on_the_template(similarity: Similarity) -> None:
    template = 0.5 * POINTS
    landmarks = apply(similarity(1.0, 25, 40, 8), template)
    pixels = np.zeros((100, 120, 3), np.uint8)
    for x, y in np.round(landmarks).astype(int):
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
    found = crop_face(pixels, landmarks, template, (56, 56))[0, 0]
    for x, y in np.round(template).astype(int):
        assert found[y, x] > 0.6


def test_soft_mask_is_one_inside_and_zero_from_the_edge_on() -> None:
    mask = soft_box_mask((60, 60), (10, 15, 50, 55))[0]
    assert mask[35, 30] == 1.0
    assert mask[:15].max() == mask[56:].max() == mask[:, :10].max() == mask[:, 51:].max() == 0.0
    assert (mask.diff(dim=1).abs() < 0.3).all()
