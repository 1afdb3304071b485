"""Views: what a face goes through on its way to a recogniser, random, seeded, differentiable.

Each face and view has its own alignment jitter: a similarity around the crop's centre, perhaps
mirrored. What happens to the picture as a whole (JPEG, then blur, reduction and enlargement of
the crop) is the same for all views of a face in a step. Blur and resize are linear and separable, so both together are
one matrix, applied along the rows and along the columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

JITTER_NUMBERS = 5
"""Uniform numbers that describe a jitter: scale, rotation, x, y, mirror."""

MIRROR_NUMBER = 4
"""Which of them decides about the mirror image."""

NO_JITTER = (0.5, 0.5, 0.5, 0.5, 2.0)

REFERENCE_SIDE = 150
"""Blur is given in pixels of a crop this high, and scales with the crop."""


@dataclass(frozen=True)
class ViewDistribution:
    """Where views are drawn from; every range is uniform.

    Attributes:
        count: views of each face and step.
        scale: largest relative change of scale, in the logarithm.
        rotation: largest angle, degrees.
        shift: largest shift, share of the crop's side.
        mirror: probability that the crop is mirrored.
        blur: least and largest sigma, pixels of a 150-px crop.
        resize: least and largest factor of the reduction.
        jpeg: share of the steps, chosen at random, in which the patch goes through JPEG.
        jpeg_quality: least and largest JPEG quality.
    """

    count: int = 1
    scale: float = 0.06
    rotation: float = 5.0
    shift: float = 0.03
    mirror: float = 0.5
    blur: tuple[float, float] = (0.0, 2.0)
    resize: tuple[float, float] = (0.4, 1.0)
    jpeg: float = 0.2
    jpeg_quality: tuple[float, float] = (50.0, 90.0)


@dataclass(frozen=True)
class Degradation:
    """What happens to a face's whole picture in one step.

    Attributes:
        blur: sigma, pixels of a 150-px crop.
        resize: factor of the reduction, at most 1.
        jpeg_quality: 1..100; 0: no JPEG.
    """

    blur: float
    resize: float
    jpeg_quality: float = 0.0


def draw_jitters(seeds: Sequence[int], steps: int, count: int) -> Tensor:
    """The random numbers of all jitters, for each face from its own seed.

    Returns:
        (steps, faces, count, JITTER_NUMBERS) float32 in 0..1, on the CPU.
    """
    drawn = [torch.rand(steps, count, JITTER_NUMBERS, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn, dim=1)


def draw_degradations(views: ViewDistribution, steps: int) -> list[Degradation]:
    """One degradation a step, always the same ones; each face has them in its own order."""
    numbers = torch.rand(steps, 4, generator=torch.Generator().manual_seed(0)).tolist()
    return [
        Degradation(
            blur=_between(views.blur, blur),
            resize=_between(views.resize, resize),
            jpeg_quality=_between(views.jpeg_quality, quality) if chance < views.jpeg else 0.0,
        )
        for blur, resize, quality, chance in numbers
    ]


def _between(limits: tuple[float, float], number: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * number


def jitter_matrices(numbers: Tensor, views: ViewDistribution, size: tuple[int, int]) -> Tensor:
    """Alignment jitter around the centre of a crop.

    Args:
        numbers: (k, JITTER_NUMBERS) in 0..1.
        views: the ranges.
        size: (height, width) of the crop.

    Returns:
        (k, 2, 3) float64 transforms from jittered to unjittered crop pixels.
    """
    signed = 2.0 * numbers.double() - 1.0
    scale = torch.exp(views.scale * signed[:, 0])
    angle = math.radians(views.rotation) * signed[:, 1]
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    side = 1.0 - 2.0 * (numbers[:, MIRROR_NUMBER] < views.mirror).double()
    linear = torch.stack([torch.stack([side * cos, -sin], -1), torch.stack([side * sin, cos], -1)], -2)
    centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2], dtype=torch.float64)
    moved = centre + views.shift * signed[:, 2:4] * torch.tensor([size[1], size[0]])
    return torch.cat([linear, (moved - linear @ centre)[..., None]], dim=-1)


def degrade(crops: Tensor, degradations: Sequence[Degradation]) -> Tensor:
    """Blur crops, reduce and enlarge them, each in its own way; (k, 3, h, w) -> (k, 3, h, w)."""
    height, width = crops.shape[2:]
    rows, columns = (_matrices(degradations, height, length, crops.device) for length in (height, width))
    return ((crops @ columns).transpose(2, 3) @ rows).transpose(2, 3)


def _matrices(degradations: Sequence[Degradation], height: int, length: int, device: torch.device) -> Tensor:
    """What crops that high are multiplied with along an axis: (length, length) for one, else (k, 1, length, length)."""
    found = [_matrix(one.blur * height / REFERENCE_SIDE, one.resize, length, device).T for one in degradations]
    return found[0] if len(found) == 1 else torch.stack(found)[:, None]


@lru_cache(maxsize=4096)  # one for each step and side; every face goes through the same ones
def _matrix(sigma: float, factor: float, length: int, device: torch.device) -> Tensor:
    """Blur, then reduction and enlargement, along an axis."""
    return (resize_matrix(factor, length) @ blur_matrix(sigma, length)).to(device)


def blur_matrix(sigma: float, length: int) -> Tensor:
    """Gaussian blur along an axis, renormalised at its ends; (length, length), rows sum to 1."""
    index = torch.arange(length, dtype=torch.float32)
    distance = index[:, None] - index
    weights = torch.exp(-0.5 * (distance / max(sigma, 0.01)) ** 2)
    weights = weights * (weights > 1e-6)  # denormal numbers would make products ten times slower
    return weights / weights.sum(dim=1, keepdim=True)


def resize_matrix(factor: float, length: int) -> Tensor:
    """Antialiased bilinear reduction by a factor of at most 1, and enlargement back.

    Returns:
        (length, length), rows sum to 1.
    """
    count = math.ceil(factor * length)
    fine, coarse = torch.arange(length, dtype=torch.float32), torch.arange(count, dtype=torch.float32)
    step = length / count  # pixels per reduced sample
    centres = (coarse + 0.5) * step - 0.5  # (count,)
    down = (1.0 - (fine - centres[:, None]).abs() / step).clamp_min(0.0)
    down = down / down.sum(dim=1, keepdim=True)
    positions = ((fine + 0.5) / step - 0.5).clamp(0.0, count - 1.0)  # (length,) in reduced samples
    up = (1.0 - (positions[:, None] - coarse).abs()).clamp_min(0.0)
    return up @ down


def soften(images: Tensor) -> Tensor:
    """LowKey's blur: Gaussian, 7 x 7, sigma 3 px; (n, 3, h, w)."""
    from kornia.filters import gaussian_blur2d

    blurred: Tensor = gaussian_blur2d(images, (7, 7), (3.0, 3.0))
    return blurred
