from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from cloak.constraint import Constraint
from cloak.detect import FaceDetector
from cloak.focus import as_soft, blur_of
from cloak.methods import MODES
from cloak.patches import cut_patch, stack_patches
from cloak.types import Face
from cloak.views import blur_matrix
from tests.helpers import SAMPLES


@pytest.fixture(scope="module")
def photo() -> tuple[Image.Image, Face]:
    """A sample at a size at which its face is cut out as it is."""
    image = Image.open(SAMPLES / "astronaut.png").convert("RGB")
    (face, *_) = FaceDetector().detect(np.asarray(image))
    return image, face


def patch_of(image: Image.Image, face: Face) -> tuple[Tensor, list[tuple[float, float, float, float]]]:
    patch = cut_patch(np.asarray(image), face)
    return patch.pixels[None], [patch.box]


def test_a_face_in_focus_has_no_blur(photo: tuple[Image.Image, Face]) -> None:
    assert blur_of(*patch_of(*photo)) == [0.0]
    assert as_soft(*patch_of(*photo)) is None


@pytest.mark.parametrize("sigma", [2.0, 3.0, 4.0])
def test_the_blur_is_told_whatever_the_contrast(photo: tuple[Image.Image, Face], sigma: float) -> None:
    image, face = photo
    blurred = image.filter(ImageFilter.GaussianBlur(sigma))
    pictures, boxes = patch_of(blurred, face)
    (found,) = blur_of(pictures, boxes)
    assert found == pytest.approx(sigma, rel=0.35)
    assert blur_of(0.3 + 0.2 * pictures, boxes) == pytest.approx([found], rel=0.01)


def test_a_picture_without_contrast_is_borne() -> None:
    (found,) = blur_of(torch.full((1, 3, 64, 64), 0.5), [(10.0, 10.0, 50.0, 50.0)])
    assert 0.0 <= found <= 4.0


def test_only_the_face_that_is_out_of_focus_gets_a_soft_step(photo: tuple[Image.Image, Face]) -> None:
    image, face = photo
    blurred = image.filter(ImageFilter.GaussianBlur(3.0))
    batch = stack_patches([cut_patch(np.asarray(one), face) for one in (image, blurred)])
    constraint = Constraint.of(batch, replace(MODES["mid"], chroma=1.0))
    assert constraint.soft is not None
    gradient = torch.randn(batch.pixels.shape, generator=torch.Generator().manual_seed(0))
    gradient[1] = gradient[0]
    steps = constraint.direction(gradient, torch.ones_like(batch.pixels[:, :1]))
    fine = [float((step - blurred_by(step, 1.5)).norm() / step.norm()) for step in steps]
    assert fine[0] > 0.9
    assert fine[1] < 0.4
    alone = Constraint.of(stack_patches([cut_patch(np.asarray(image), face)]), MODES["mid"])
    assert alone.soft is None
    torch.testing.assert_close(alone.direction(gradient[:1], torch.ones_like(batch.pixels[:1, :1])), steps[:1])


def blurred_by(picture: Tensor, sigma: float) -> Tensor:
    matrix = blur_matrix(sigma, picture.shape[-1])
    return matrix @ picture @ matrix.T
