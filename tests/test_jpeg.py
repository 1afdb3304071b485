"""The loop's JPEG against Pillow's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cloak.align import to_tensor
from cloak.jpeg import CHROMINANCE, LUMINANCE, jpeg
from cloak.photo import read_photo
from cloak.types import Pixels
from tests.helpers import SAMPLES, smooth_noise


def pillows(pixels: Pixels, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(buffer)


@pytest.fixture(scope="module")
def face() -> Pixels:
    return np.ascontiguousarray(read_photo(SAMPLES / "grace_hopper.jpg").pixels[117:309, 165:357])


@pytest.mark.parametrize("quality", [15, 30, 50, 75, 90])
def test_it_does_to_a_face_what_pillow_does(face: Pixels, quality: int) -> None:
    saved = to_tensor(np.asarray(pillows(face, quality)))
    original = to_tensor(face)
    coded = jpeg(original, [float(quality)])
    off, loss = (255 * float((other - saved).abs().mean()) for other in (coded, original))
    assert off < 2.0
    assert off < 0.4 * loss
    assert coded.min() >= 0
    assert coded.max() <= 1


def test_at_quality_50_the_tables_are_the_standards() -> None:
    tables = pillows(smooth_noise(16, 16), 50).quantization  # type: ignore[attr-defined]
    assert sorted(tables[0]) == sorted(sum(LUMINANCE, ()))
    assert sorted(tables[1]) == sorted(sum((tuple(row) for row in CHROMINANCE), ()))


def test_faces_of_a_batch_do_not_touch_each_other(face: Pixels) -> None:
    both = torch.cat([to_tensor(face), to_tensor(face).flip(3)])
    coded = jpeg(both, [30.0, 60.0])
    for index, quality in enumerate([30.0, 60.0]):
        torch.testing.assert_close(
            coded[index : index + 1], jpeg(both[index : index + 1], [quality]), atol=1e-6, rtol=0
        )


def test_a_quality_of_0_leaves_a_face_as_it_is(face: Pixels) -> None:
    both = torch.cat([to_tensor(face), to_tensor(face).flip(3)]).requires_grad_(True)
    coded = jpeg(both, [0.0, 60.0])
    assert torch.equal(coded[0], both[0])
    (gradient,) = torch.autograd.grad(coded.sum(), both)
    assert torch.equal(gradient[0], torch.ones_like(both[0]))
    assert gradient.isfinite().all()


def test_every_pixel_has_a_gradient(face: Pixels) -> None:
    image = to_tensor(face).requires_grad_(True)
    (gradient,) = torch.autograd.grad(jpeg(image, [70.0]).square().sum(), image)
    assert (gradient != 0).float().mean() > 0.95
    assert gradient.isfinite().all()
