"""JPEG with a gradient, for the views of the loop.

Colour conversion, halved chroma, 8 x 8 cosine transforms and quantisation as in ITU T.81; rounding
as round(x) + (x - round(x))^3, whose slope is not 0 everywhere (Shin and Song, JPEG-resistant
adversarial images, 2017). Tables and their scaling are libjpeg's. kornia has the like; it takes three to
seven times as long.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""From RGB, both centred at 0 in chroma; JFIF 1.02."""

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU T.81, K.1."""

CHROMINANCE = (
    (17, 18, 24, 47, *[99] * 4),
    (18, 21, 26, 66, *[99] * 4),
    (24, 26, 56, *[99] * 5),
    (47, 66, *[99] * 6),
    *((99,) * 8 for _ in range(4)),
)
"""ITU T.81, K.2."""


def jpeg(images: Tensor, qualities: Sequence[float]) -> Tensor:
    """What JPEG makes of pictures, with halved chroma (4:2:0).

    Args:
        images: (n, 3, h, w) in 0..1, sides multiples of 16.
        qualities: of each, 1..100, as libjpeg's; 0 for one that stays as it is.
    """
    scales = torch.tensor([_scale(quality) for quality in qualities]).to(images.device, non_blocking=True)
    to_ycc, back = _colours(images.device)
    planes = torch.einsum("ij,njhw->nihw", to_ycc, 255.0 * images)
    luminance = _coded(planes[:, :1] - 128.0, LUMINANCE, scales) + 128.0
    chrominance = _coded(F.avg_pool2d(planes[:, 1:], 2), CHROMINANCE, scales)
    fine = F.interpolate(chrominance, scale_factor=2, mode="bilinear")
    decoded = torch.einsum("ij,njhw->nihw", back, torch.cat([luminance, fine], dim=1))
    coded = (decoded / 255.0).clamp(0.0, 1.0)
    return coded if all(qualities) else torch.where((scales < math.inf).view(-1, 1, 1, 1), coded, images)


def _scale(quality: float) -> float:
    """What libjpeg multiplies its tables with; infinite for 0."""
    if not quality:
        return math.inf
    return (5000.0 / quality if quality < 50 else 200.0 - 2.0 * quality) / 100.0


def _coded(planes: Tensor, table: tuple[tuple[int, ...], ...], scales: Tensor) -> Tensor:
    """Planes (n, c, h, w) after the transform of each block, quantisation by scaled tables (n,), and the way back."""
    n, c, height, width = planes.shape
    cosines = _cosines(planes.device)
    scaled = scales[:, None, None] * _table(table, planes.device)  # (n, 8, 8)
    steps = scaled.add(0.5).floor().clamp(1, 255).view(n, 1, 1, 8, 1, 8)
    rows = cosines @ planes.reshape(n, c, height // 8, 8, width)
    coefficients = (rows.reshape(-1, 8) @ cosines.T).view(n, c, height // 8, 8, width // 8, 8)
    levels = coefficients / steps
    nearest = levels.round()
    quantised = (nearest + (levels - nearest) ** 3) * steps
    rows = (quantised.reshape(-1, 8) @ cosines).view(n, c, height // 8, 8, width)
    return (cosines.T @ rows).view(n, c, height, width)


@lru_cache
def _colours(device: torch.device) -> tuple[Tensor, Tensor]:
    """From RGB to brightness and colour, and back; (3, 3) each."""
    to_ycc = torch.tensor(TO_YCC)
    return to_ycc.to(device), torch.linalg.inv(to_ycc).to(device)


@lru_cache
def _table(table: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    return torch.tensor(table, device=device)


@lru_cache
def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of 8 numbers, as a matrix."""
    k = torch.arange(8.0)
    matrix = torch.cos((2.0 * k + 1.0) * k[:, None] * math.pi / 16.0) / 2.0
    matrix[0] /= math.sqrt(2.0)
    return matrix.to(device)
