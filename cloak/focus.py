"""How far a face is out of focus: a cloak that is finer than the photo looks drawn onto it.

What a fine Gaussian takes of a face, over what a coarse one takes, falls with the face's own blur, and
depends on its contrast not at all.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cloak.types import Box
from cloak.views import blur_matrix

FINE, COARSE = 2.0, 6.0
"""Sigmas of the two, pixels; what JPEG leaves of its blocks hardly counts."""

SHARE_TO_BLUR = ((0.174, 4.0), (0.206, 3.0), (0.266, 2.0), (0.31, 0.0))
"""The share, and the sigma of the blur that it tells, pixels: medians over 20 faces of LFW that were blurred by so
much. As they are they have .35 to .57; the last entry leaves them, and what is only a little soft, alone."""


def blur_of(pictures: Tensor, boxes: Sequence[Box]) -> list[float]:
    """The sigma of the blur of each face, pixels; 0 for one in focus.

    Args:
        pictures: (n, 3, side, side) in 0..1.
        boxes: of the faces in them.
    """
    light = pictures.mean(dim=1)
    fine, coarse = (light - _blurred(light, sigma) for sigma in (FINE, COARSE))
    shares = []
    for one, other, box in zip(fine, coarse, boxes, strict=True):
        left, top, right, bottom = (max(0, round(v)) for v in box)
        face = (slice(top, bottom + 1), slice(left, right + 1))
        shares.append(float(one[face].norm() / other[face].norm().clamp_min(1e-6)))
    known, blurs = zip(*SHARE_TO_BLUR, strict=True)
    return [float(np.interp(share, known, blurs)) for share in shares]


def as_soft(pictures: Tensor, boxes: Sequence[Box]) -> Tensor | None:
    """What makes a change as soft as each face, along an axis; (n, 1, side, side), None where all are in focus."""
    blurs = blur_of(pictures, boxes)
    if not any(blurs):
        return None
    side = pictures.shape[3]
    matrices = [blur_matrix(blur, side) if blur else torch.eye(side) for blur in blurs]
    return torch.stack(matrices)[:, None].to(pictures.device)


def _blurred(pictures: Tensor, sigma: float) -> Tensor:
    matrix = blur_matrix(sigma, pictures.shape[2]).to(pictures.device)
    return matrix @ pictures @ matrix.T
