import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from cloak.constraint import Constraint
from cloak.detect import FaceDetector
from cloak.fading import Eyes, eye_fading
from cloak.methods import MODES
from cloak.patches import FacePatch, cut_patch, stack_patches
from cloak.photo import read_photo
from cloak.types import Box, Face, Pixels
from cloak.visibility import NATIVE_SIDE
from tests.helpers import SAMPLES


@pytest.fixture(scope="module")
def photo() -> tuple[Pixels, Face]:
    pixels = read_photo(SAMPLES / "grace_hopper.jpg").pixels
    (face,) = FaceDetector().detect(pixels)
    return pixels, face


@pytest.fixture(scope="module")
def patch(photo: tuple[Pixels, Face]) -> FacePatch:
    return cut_patch(*photo)


def eyes_of(patch: FacePatch) -> Eyes:
    return Eyes.of(patch.pixels[None], [patch.box], patch.landmarks[None])


def faded_by(patch: FacePatch, share: float) -> Tensor:
    """A perturbation that takes so much of the patch's contrast, everywhere."""
    return -share * (patch.pixels - patch.pixels.mean())[None]


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_a_picture_with_less_contrast_has_faded_by_that_share(patch: FacePatch, share: float) -> None:
    eyes = eyes_of(patch)
    assert float(eyes.worst(faded_by(patch, share))) == pytest.approx(share, rel=0.1)
    assert float(eyes.worst(faded_by(patch, -share))) == 0.0
    assert eyes.faded(faded_by(patch, -share)).max() <= 0.0


def test_light_is_no_contrast(patch: FacePatch) -> None:
    lighter = torch.full_like(patch.pixels, 0.1)[None]
    assert eyes_of(patch).faded(lighter).abs().max() < 1e-3
    torch.testing.assert_close(eyes_of(patch).kept(lighter, 0.0), lighter, rtol=0.0, atol=1e-4)


def test_what_fades_is_given_back_around_the_eyes_and_nowhere_else(patch: FacePatch) -> None:
    eyes, delta = eyes_of(patch), faded_by(patch, 0.1)
    kept = eyes.kept(delta, 0.0)
    assert float(eyes.worst(kept)) < 0.6 * float(eyes.worst(delta))
    again = kept
    for _ in range(10):
        again = eyes.kept(again, 0.0)
    assert float(eyes.worst(again)) < 0.1 * float(eyes.worst(delta))
    back = (kept - delta).abs().amax(dim=1)[0]
    left_eye, mouth = (patch.landmarks[index].round().astype(int) for index in (0, 3))
    assert back[left_eye[1] - 5 : left_eye[1] + 6, left_eye[0] - 5 : left_eye[0] + 6].max() > 0.005
    assert back[mouth[1] - 5 : mouth[1] + 6, mouth[0] - 5 : mouth[0] + 6].max() < 1e-4


def test_some_may_be_allowed_to_fade(patch: FacePatch) -> None:
    eyes, delta = eyes_of(patch), faded_by(patch, 0.1)
    torch.testing.assert_close(eyes.kept(delta, 0.2), delta)
    assert float(eyes.worst(eyes.kept(delta, 0.05))) == pytest.approx(0.06, abs=0.015)


def test_contrast_that_was_added_stays(patch: FacePatch) -> None:
    delta = faded_by(patch, -0.1)
    torch.testing.assert_close(eyes_of(patch).kept(delta, 0.0), delta)


def test_a_cloak_without_colour_stays_without(patch: FacePatch) -> None:
    delta = faded_by(patch, 0.1).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    kept = eyes_of(patch).kept(delta, 0.0)
    torch.testing.assert_close(kept, kept.mean(dim=1, keepdim=True).expand_as(kept), rtol=0.0, atol=1e-6)


def test_the_windows_go_by_the_face_whatever_its_size_and_company(photo: tuple[Pixels, Face], patch: FacePatch) -> None:
    pixels, face = photo
    left, top, right, bottom = face.box
    half = np.asarray(Image.fromarray(pixels).reduce(2))
    small = cut_patch(
        half,
        replace(
            face,
            box=((left - 0.5) / 2, (top - 0.5) / 2, (right - 0.5) / 2, (bottom - 0.5) / 2),
            landmarks=tuple(((x - 0.5) / 2, (y - 0.5) / 2) for x, y in face.landmarks),
        ),
    )
    assert small.side < patch.side
    alone = eyes_of(small).kept(faded_by(small, 0.1), 0.0)
    batch = stack_patches([small, patch])
    both = torch.zeros_like(batch.pixels)
    both[:1, :, : small.side, : small.side], both[1:] = faded_by(small, 0.1), faded_by(patch, 0.1)
    together = Eyes.of(batch.pixels, batch.boxes, batch.landmarks).kept(both, 0.0)
    torch.testing.assert_close(together[:1, :, : small.side, : small.side], alone, rtol=0.0, atol=1e-4)
    worst = [float(eyes_of(one).worst(faded_by(one, 0.1))) for one in (small, patch)]
    assert worst[0] == pytest.approx(worst[1], rel=0.1)


def test_the_loop_keeps_it_and_methods_without_the_bound_do_not(patch: FacePatch) -> None:
    batch, lost = stack_patches([patch]), []
    for method in (MODES["high"], replace(MODES["high"], fading=1.0)):
        constraint, delta = Constraint.of(batch, method), faded_by(patch, 0.1) * batch.masks
        for _ in range(10):
            delta = constraint.project(delta)
        lost.append(float(constraint.eyes.worst(delta)))
    assert lost[0] < 1.1 * MODES["high"].fading
    assert lost[1] > 0.09


def test_a_photo_is_measured_on_the_eye_that_fades_more(photo: tuple[Pixels, Face]) -> None:
    pixels, face = photo
    assert eye_fading(pixels, pixels, face) == 0.0
    changed, (x, y) = pixels.copy(), (round(value) for value in face.landmarks[1])
    here = np.s_[y - 20 : y + 20, x - 30 : x + 30]
    changed[here] = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(8)))[here]
    assert eye_fading(pixels, changed, face) > 0.3
    mouth = pixels.copy()
    x, y = (round(value) for value in face.landmarks[3])
    mouth[y - 10 : y + 10, x - 10 : x + 10] = 128
    assert eye_fading(pixels, mouth, face) < 0.01


def test_a_large_face_is_measured_on_a_smaller_one(photo: tuple[Pixels, Face]) -> None:
    pixels, face = photo
    changed, (x, y) = pixels.copy(), (round(value) for value in face.landmarks[1])
    here = np.s_[y - 12 : y + 12, x - 18 : x + 18]
    changed[here] = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(3)))[here]
    times = math.ceil(2.5 * NATIVE_SIDE / face.width)
    size = (times * pixels.shape[1], times * pixels.shape[0])
    large = [np.asarray(Image.fromarray(each).resize(size, Image.Resampling.NEAREST)) for each in (pixels, changed)]
    left, top, right, bottom = (times * (value + 0.5) - 0.5 for value in face.box)
    box: Box = (left, top, right, bottom)
    landmarks = tuple((times * (x + 0.5) - 0.5, times * (y + 0.5) - 0.5) for x, y in face.landmarks)
    enlarged = replace(face, box=box, landmarks=landmarks)
    found, wanted = eye_fading(large[0], large[1], enlarged), eye_fading(pixels, changed, face)
    assert wanted > 0.05
    assert found == pytest.approx(wanted, rel=0.1)
