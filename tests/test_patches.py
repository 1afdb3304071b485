import numpy as np
import pytest
import torch

from cloak.align import apply, to_tensor
from cloak.methods import PATCH_FACE
from cloak.patches import BLOCK, cut_patch, residual_in_photo, stack_patches
from cloak.types import Face, Pixels
from tests.helpers import made_up_face, smooth_noise


def test_a_small_face_keeps_the_photos_own_pixels(portrait: tuple[Pixels, Face]) -> None:
    pixels, face = portrait
    patch = cut_patch(pixels, face)
    left, top = patch.frame[:, 2].astype(int)
    assert (left % 8, top % 8, patch.side % BLOCK) == (0, 0, 0)
    inside = to_tensor(pixels[max(top, 0) : top + patch.side, max(left, 0) : left + patch.side])[0]
    ours = patch.pixels[:, max(-top, 0) :, max(-left, 0) :][:, : inside.shape[1], : inside.shape[2]]
    torch.testing.assert_close(ours, inside, atol=1e-5, rtol=0)


def test_the_box_and_landmarks_of_the_patch_lie_on_those_of_the_photo() -> None:
    face = made_up_face(100, 80, 400)
    patch = cut_patch(smooth_noise(800, 700), face)
    np.testing.assert_allclose(apply(patch.frame, patch.landmarks), face.landmarks, atol=1e-6)
    np.testing.assert_allclose(apply(patch.frame, np.reshape(patch.box, (2, 2))).ravel(), face.box, atol=1e-6)
    assert max(patch.box[2] - patch.box[0], patch.box[3] - patch.box[1]) == pytest.approx(PATCH_FACE)


def test_the_residual_of_a_small_face_goes_back_unchanged(portrait: tuple[Pixels, Face]) -> None:
    pixels, face = portrait
    patch = cut_patch(pixels, face)
    masks = stack_patches([patch]).masks[0]
    delta = masks * torch.rand(3, patch.side, patch.side)
    residual = residual_in_photo(patch, delta, pixels.shape[:2])
    left, top = (int(v) for v in (residual.left - patch.frame[0, 2], residual.top - patch.frame[1, 2]))
    height, width = residual.values.shape[:2]
    expected = delta[:, top : top + height, left : left + width].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(residual.values, expected, atol=1e-5)
    assert residual.values.sum() == pytest.approx(float(delta.sum()), rel=1e-4)  # nothing lies outside


def test_the_residual_of_a_large_face_is_enlarged_smoothly() -> None:
    pixels, face = smooth_noise(900, 900), made_up_face(150, 100, 480)
    patch = cut_patch(pixels, face)
    delta = stack_patches([patch]).masks[0].expand(3, -1, -1)
    residual = residual_in_photo(patch, delta, (900, 900))
    assert residual.values.max() == pytest.approx(1.0)
    assert np.abs(np.diff(residual.values, axis=0)).max() < 0.05


def test_a_face_at_the_photos_edge_stays_within_the_photo() -> None:
    pixels = smooth_noise(90, 80)
    face = Face((0.0, 0.0, 50.0, 89.0), made_up_face(-10, -5, 60).landmarks, 0.99)
    patch = cut_patch(pixels, face)
    residual = residual_in_photo(patch, torch.ones_like(patch.pixels), (90, 80))
    assert residual.left >= 0
    assert residual.top >= 0
    assert residual.top + residual.values.shape[0] <= 90


def test_the_mask_does_not_fall_where_the_photos_edge_cuts_the_face_off() -> None:
    pixels = smooth_noise(90, 80)
    cut_off = Face((0.0, 10.0, 50.0, 70.0), made_up_face(-10, 5, 60).landmarks, 0.99)
    patch = cut_patch(pixels, cut_off)
    mask = stack_patches([patch]).masks[0, 0]
    left, top = (round(v) for v in patch.box[:2])
    assert mask[top + 30, left] == 1.0
    assert mask[top, left + 20] == 0.0


def test_the_seed_comes_from_the_content_and_the_callers_seed_alone(portrait: tuple[Pixels, Face]) -> None:
    pixels, face = portrait
    assert cut_patch(pixels, face, seed=4).seed == cut_patch(pixels.copy(), face, seed=4).seed
    assert cut_patch(pixels, face, seed=4).seed != cut_patch(pixels, face, seed=5).seed
    assert cut_patch(pixels, face).seed != cut_patch(255 - pixels, face).seed
