"""What the eye sees of a cloak: SSIM maps, face DSSIM, peak DSSIM, PSNR.

SSIM after Wang et al. (2004): 11-px Gaussian window with sigma 1.5, K1 = .01, K2 = .03, data
range 1, covariances not bias-corrected; each colour channel by itself, then averaged.
DSSIM = (1 - SSIM) / 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cloak.align import to_tensor
from cloak.types import Box, Pixels, Visibility

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2

MARGIN = WINDOW // 2
"""Pixels around a region that its DSSIM map looks at."""

BLOCK = 32
"""Positions that are blurred at once on a CPU; of all at once nearly every weight would be 0."""

NATIVE_SIDE = 256
"""A face box with a longer side than this is brought down to it before it is measured, pixels."""


def gaussian_blur(images: Tensor) -> Tensor:
    """Blur with SSIM's window; (n, c, h, w) -> (n, c, h, w).

    At the borders the window is cut off and renormalised. Products with matrices along each axis: on
    a CPU ten times as fast as a convolution of single channels.
    """
    return _blur_along(_blur_along(images).transpose(2, 3)).transpose(2, 3)


def _blur_along(images: Tensor) -> Tensor:
    """Blur along the last axis, block by block."""
    length = images.shape[-1]
    blocks = _window_blocks(length, BLOCK if images.device.type == "cpu" else length, images.device, images.dtype)
    return torch.cat([images[..., start:end] @ weights for start, end, weights in blocks], dim=-1)


@lru_cache(maxsize=64)
def _window_blocks(
    length: int, block: int, device: torch.device, dtype: torch.dtype
) -> tuple[tuple[int, int, Tensor], ...]:
    """For each block of positions: from where to where its windows reach, and their weights, (reach, block)."""
    blocks = []
    for first in range(0, length, block):
        positions = torch.arange(first, min(first + block, length), dtype=torch.float64)
        start, end = max(0, first - MARGIN), min(length, first + block + MARGIN)
        distance = (positions - torch.arange(start, end, dtype=torch.float64)[:, None]).abs()
        weights = torch.exp(-0.5 * (distance / SIGMA) ** 2) * (distance <= MARGIN)
        blocks.append((start, end, (weights / weights.sum(dim=0)).to(device, dtype)))
    return tuple(blocks)


def local_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance under SSIM's window, each (n, c, h, w)."""
    mean = gaussian_blur(images)
    return mean, gaussian_blur(images * images) - mean * mean


def dssim_map(reference: Tensor, images: Tensor, statistics: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """DSSIM at every pixel, averaged over the colour channels.

    Args:
        reference: (n, c, h, w) in 0..1, at least 6 px a side.
        images: the same shape.
        statistics: ``local_statistics(reference)`` where it is at hand.

    Returns:
        (n, h, w), 0 where nothing changed near the pixel.
    """
    mean_x, variance_x = local_statistics(reference) if statistics is None else statistics
    mean_y, variance_y = local_statistics(images)
    covariance = gaussian_blur(reference * images) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return ((1.0 - luminance * structure) / 2.0).mean(dim=1)


@dataclass(frozen=True)
class Regions:
    """Where the DSSIM maps of a batch are averaged.

    Attributes:
        rows, columns: (n, h) and (n, w), 1 inside each face's box and 0 outside.
        window_rows, window_columns: (n, h / stride, h) and (n, w / stride, w), averages over a
            quarter of the box.
    """

    rows: Tensor
    columns: Tensor
    window_rows: Tensor
    window_columns: Tensor


def regions_of(
    boxes: Sequence[Box], size: tuple[int, int], device: torch.device | str = "cpu", *, stride: int = 1
) -> Regions:
    """The face boxes, rounded outwards to whole pixels, and the windows for the peak.

    Args:
        boxes: one for each map, within it.
        size: (height, width) of the maps.
        device: where the maps are.
        stride: pixels from one window to the next.
    """
    height, width = size
    rows = torch.stack([_inside(box[1], box[3], height) for box in boxes])
    columns = torch.stack([_inside(box[0], box[2], width) for box in boxes])
    sides = [min(height, width, max(1, round((box[2] - box[0]) / 4))) for box in boxes]
    window_rows = torch.stack([_sliding_mean(side, height)[::stride] for side in sides])
    window_columns = torch.stack([_sliding_mean(side, width)[::stride] for side in sides])
    return Regions(rows.to(device), columns.to(device), window_rows.to(device), window_columns.to(device))


def _inside(start: float, end: float, length: int) -> Tensor:
    index = torch.arange(length)
    return ((index >= math.floor(start)) & (index <= math.ceil(end))).float()


def _sliding_mean(side: int, length: int) -> Tensor:
    """(length, length): row i averages positions i .. i + side - 1; rows that overhang are 0."""
    index = torch.arange(length)
    offset = index - index[:, None]
    whole = (index <= length - side)[:, None]
    return ((offset >= 0) & (offset < side) & whole).float() / side


def face_mean(maps: Tensor, regions: Regions) -> Tensor:
    """Mean of (n, h, w) maps over each face's box; (n,)."""
    total = torch.einsum("nh,nhw,nw->n", regions.rows, maps, regions.columns)
    return total / (regions.rows.sum(1) * regions.columns.sum(1))


def window_means(maps: Tensor, regions: Regions) -> Tensor:
    """Mean of (n, h, w) maps over every window a quarter of the box wide, at its top left."""
    return regions.window_rows @ maps @ regions.window_columns.transpose(1, 2)


def spread_windows(means: Tensor, regions: Regions) -> Tensor:
    """At each pixel, the mean of ``window_means`` over the windows that it lies in."""
    spread = regions.window_rows.transpose(1, 2) @ means @ regions.window_columns
    counts_down, counts_across = regions.window_rows.sum(1), regions.window_columns.sum(1)  # (n, h), (n, w)
    return spread / (counts_down[:, :, None] * counts_across[:, None]).clamp_min(1e-6)


PHOTO_SIDE = 2048
"""A whole photo with a longer side than this is brought down to it for its DSSIM, pixels."""


def measure_photo(original: Pixels, changed: Pixels) -> Visibility:
    """What the eye sees of the change to a whole photo; the peak over windows a quarter of it wide."""
    height, width = original.shape[:2]
    return measure_face(original, changed, (0.0, 0.0, width - 1.0, height - 1.0), native_side=PHOTO_SIDE)


def measure_face(original: Pixels, changed: Pixels, box: Box, *, native_side: int = NATIVE_SIDE) -> Visibility:
    """What the eye sees of the change to one face.

    Args:
        original: (h, w, 3) uint8.
        changed: the same shape.
        box: of the face, in the photo.
        native_side: see ``dssim_and_peak``; L-inf, PSNR and colour are always native.
    """
    dssim, peak = dssim_and_peak(original, changed, box, native_side=native_side)
    left, top, right, bottom = surroundings(box, MARGIN + 1, original.shape)
    before, after = (pixels[top:bottom, left:right] for pixels in (original, changed))
    inner = np.s_[
        math.floor(box[1]) - top : math.ceil(box[3]) + 1 - top,
        math.floor(box[0]) - left : math.ceil(box[2]) + 1 - left,
    ]
    difference = np.subtract(after, before, dtype=np.int16)
    error = float(np.square(difference[inner], dtype=np.float64).mean()) / 255.0**2
    return Visibility(
        dssim=dssim,
        peak_dssim=peak,
        psnr=-10.0 * math.log10(error) if error > 0.0 else math.inf,
        linf=int(np.abs(difference).max()),
        chroma=chroma_distance(before[inner], after[inner]),
    )


def dssim_and_peak(
    original: Pixels, changed: Pixels, box: Box, *, native_side: int = NATIVE_SIDE
) -> tuple[float, float]:
    """Face DSSIM and peak DSSIM of one face; see ``Yardstick``."""
    return Yardstick.of(original, box, native_side=native_side).measure(changed)


@dataclass(frozen=True)
class Yardstick:
    """What changed versions of a face are measured against.

    At native resolution, or with both photos brought down until the longer side of the box has
    ``native_side`` px where it has more.

    Attributes:
        box: of the face, in the photo.
        place: the box and what its measurement looks at: left, top, right, bottom.
        original: what the photo shows there, (1, 3, h, w).
        statistics: of it, see ``local_statistics``.
        regions: where its maps are averaged.
    """

    box: Box
    place: tuple[int, int, int, int]
    original: Tensor
    statistics: tuple[Tensor, Tensor]
    regions: Regions

    @classmethod
    def of(cls, original: Pixels, box: Box, *, native_side: int = NATIVE_SIDE) -> "Yardstick":
        """Of a face in a photo, (height, width, 3) uint8."""
        factor = min(1.0, native_side / max(box[2] - box[0], box[3] - box[1]))
        place = left, top, right, bottom = surroundings(box, math.ceil((MARGIN + 1) / factor), original.shape)
        shown = to_tensor(original[top:bottom, left:right])
        if factor < 1.0:
            shown = _reduced(shown, [max(WINDOW, round(length * factor)) for length in shown.shape[2:]])
        scale_y, scale_x = shown.shape[2] / (bottom - top), shown.shape[3] / (right - left)
        inside = (
            (box[0] - left + 0.5) * scale_x - 0.5,
            (box[1] - top + 0.5) * scale_y - 0.5,
            (box[2] - left + 0.5) * scale_x - 0.5,
            (box[3] - top + 0.5) * scale_y - 0.5,
        )
        return cls(box, place, shown, local_statistics(shown), regions_of([inside], (shown.shape[2], shown.shape[3])))

    def measure(self, changed: Pixels, left: int = 0, top: int = 0) -> tuple[float, float]:
        """Face DSSIM and peak DSSIM of a changed photo, or of a part of it that begins at ``left``, ``top``."""
        start_x, start_y, end_x, end_y = self.place
        shown = to_tensor(changed[start_y - top : end_y - top, start_x - left : end_x - left])
        if (end_y - start_y, end_x - start_x) != self.original.shape[2:]:
            shown = _reduced(shown, self.original.shape[2:])
        maps = dssim_map(self.original, shown, self.statistics)
        return float(face_mean(maps, self.regions)), float(window_means(maps, self.regions).amax())


def _reduced(images: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(images, list(size), mode="bilinear", antialias=True, align_corners=False)


def surroundings(box: Box, margin: int, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """The box, rounded outwards, and a margin, within a photo of this shape: left, top, right, bottom."""
    left, top = (max(0, math.floor(v) - margin) for v in box[:2])
    right, bottom = (min(end, math.ceil(v) + margin + 1) for end, v in zip((shape[1], shape[0]), box[2:], strict=True))
    return left, top, right, bottom


D65 = (0.95047, 1.0, 1.08883)
"""The white of sRGB, in XYZ."""

LINEAR_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""sRGB's primaries (IEC 61966-2-1), light of 0..1."""


def chroma_distance(before: Pixels, after: Pixels) -> float:
    """Root mean square distance in the a*, b* plane of CIELAB (D65); (h, w, 3) uint8 sRGB."""
    change = _chroma(after) - _chroma(before)
    return float(change.square().sum(dim=0).mean().sqrt())


def _chroma(pixels: Pixels) -> Tensor:
    """(h, w, 3) uint8 sRGB -> (2, h w) a* and b*."""
    linear = _linear_levels()[torch.from_numpy(np.ascontiguousarray(pixels.reshape(-1, 3).T)).int()]
    white = torch.tensor(LINEAR_TO_XYZ) / torch.tensor(D65)[:, None] @ linear
    x, y, z = torch.where(white > (6 / 29) ** 3, white.pow(1 / 3), white * (29 / 6) ** 2 / 3 + 4 / 29)
    return torch.stack([500.0 * (x - y), 200.0 * (y - z)])


@lru_cache
def _linear_levels() -> Tensor:
    """The light that each of sRGB's 256 levels stands for, 0..1."""
    levels = torch.arange(256) / 255.0
    return torch.where(levels > 0.04045, ((levels + 0.055) / 1.055) ** 2.4, levels / 12.92)
