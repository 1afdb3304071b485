import numpy as np
import pytest
import torch
from PIL import Image

from cloak.align import to_tensor
from cloak.views import (
    MIRROR_NUMBER,
    NO_JITTER,
    Degradation,
    ViewDistribution,
    blur_matrix,
    degrade,
    draw_degradations,
    draw_jitters,
    jitter_matrices,
    resize_matrix,
)
from tests.helpers import smooth_noise

VIEWS = ViewDistribution()


def test_jitters_of_a_face_depend_on_its_seed_alone() -> None:
    together = draw_jitters([5, 6, 7], 4, 2)
    alone = draw_jitters([6], 4, 2)
    assert torch.equal(together[:, 1], alone[:, 0])
    assert not torch.equal(together[:, 0], together[:, 1])


def test_no_jitter_is_the_identity_and_mirrored_mirrors() -> None:
    mirrored = (*NO_JITTER[:MIRROR_NUMBER], 0.0)
    matrices = jitter_matrices(torch.tensor([NO_JITTER, mirrored]), VIEWS, (150, 120))
    torch.testing.assert_close(matrices[0], torch.eye(2, 3, dtype=torch.float64))
    expected = torch.tensor([[-1.0, 0, 119], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(matrices[1], expected)


def test_jitter_stays_within_its_ranges() -> None:
    matrices = jitter_matrices(torch.rand(500, 5), VIEWS, (100, 100))
    scale = matrices[:, :, :2].det().abs().sqrt()
    angle = torch.rad2deg(torch.asin(matrices[:, 1, 0] / scale))
    centre = matrices @ torch.tensor([49.5, 49.5, 1.0], dtype=torch.float64) - 49.5
    assert scale.log().abs().max() <= VIEWS.scale + 1e-9
    assert angle.abs().max() <= VIEWS.rotation + 1e-9
    assert centre.abs().max() <= 100 * VIEWS.shift + 1e-9
    assert (matrices[:, :, :2].det() < 0).float().mean() == pytest.approx(VIEWS.mirror, abs=0.1)


@pytest.mark.parametrize("length", [96, 112, 150])
def test_degradations_keep_a_constant_and_no_denormal_numbers(length: int) -> None:
    for matrix in (
        blur_matrix(0.0, length),
        blur_matrix(1.3, length),
        resize_matrix(0.53, length),
        resize_matrix(1, length),
    ):
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(length))
        assert (matrix[matrix != 0].abs() > 1e-30).all()
    torch.testing.assert_close(resize_matrix(1.0, length), torch.eye(length))
    torch.testing.assert_close(blur_matrix(0.0, length), torch.eye(length))


def test_degrade_agrees_with_pillows_blur_and_resize() -> None:
    pixels = smooth_noise(150, 150)
    image = Image.fromarray(pixels)
    small = image.resize((90, 90), Image.Resampling.BILINEAR).resize((150, 150), Image.Resampling.BILINEAR)
    ours = degrade(to_tensor(pixels), [Degradation(blur=0.0, resize=0.6)])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - np.asarray(small) / 255.0).mean() < 0.004


def test_each_crop_is_degraded_in_its_own_way() -> None:
    crops = to_tensor(smooth_noise(96, 112)).repeat(3, 1, 1, 1)
    ways = [Degradation(0.0, 0.6), Degradation(1.5, 1.0), Degradation(0.7, 0.4)]
    together = degrade(crops, ways)
    for index, way in enumerate(ways):
        torch.testing.assert_close(together[index], degrade(crops[:1], [way])[0], atol=1e-5, rtol=0)


def test_the_degradations_are_one_fixed_sequence_within_their_ranges() -> None:
    views = ViewDistribution(jpeg=0.25)
    drawn = draw_degradations(views, 400)
    assert drawn == draw_degradations(views, 400)
    assert all(views.blur[0] <= item.blur <= views.blur[1] for item in drawn)
    assert all(views.resize[0] <= item.resize <= views.resize[1] for item in drawn)
    qualities = [item.jpeg_quality for item in drawn if item.jpeg_quality]
    assert all(views.jpeg_quality[0] <= quality <= views.jpeg_quality[1] for quality in qualities)
    assert 60 < len(qualities) < 140


@pytest.mark.parametrize("surrogates", [2, 3, 4])
def test_each_surrogate_in_its_turn_sees_jpeg_and_no_jpeg(surrogates: int) -> None:
    views = ViewDistribution()
    drawn = draw_degradations(views, 40 * surrogates)
    for turn in range(surrogates):
        share = sum(bool(item.jpeg_quality) for item in drawn[turn::surrogates]) / 40
        assert max(0.0, views.jpeg - 0.2) < share < views.jpeg + 0.2
