"""Similarity transforms from five landmarks, and differentiable, antialiased warps along them.

Convention: a transform is a (2, 3) matrix M that takes a point (x, y) to ``M @ (x, y, 1)``.
Points are in pixels, x to the right and y down, and pixel centres lie at whole numbers.
``warp`` takes the matrix from *output to input* pixels.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from cloak.types import Box, Pixels

Matrix = NDArray[np.float64]
"""(2, 3) or (n, 2, 3) float64."""


def fit_similarity(source: ArrayLike, target: ArrayLike) -> Matrix:
    """The similarity (rotation, scale, shift; no mirroring) that takes source to target best.

    Least squares, in closed form: with points as complex numbers a similarity is
    ``target = a * source + b`` (the result of Umeyama, 1991, in two dimensions).

    Args:
        source: (k, 2) points, k >= 2.
        target: (k, 2) points.

    Returns:
        (2, 3) matrix from source to target.

    Raises:
        ValueError: all source points coincide.
    """
    z = np.asarray(source, dtype=np.float64) @ (1, 1j)  # (k,)
    w = np.asarray(target, dtype=np.float64) @ (1, 1j)  # (k,)
    centred = z - z.mean()
    spread = float((centred.conj() @ centred).real)
    if spread == 0.0:
        raise ValueError("expected at least two different points, got one place")
    a = complex(centred.conj() @ (w - w.mean())) / spread
    b = complex(w.mean() - a * z.mean())
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The transform that applies ``inner`` first, then ``outer``; both (..., 2, 3)."""
    linear = outer[..., :2] @ inner[..., :2]
    shift = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return np.concatenate([linear, shift], axis=-1)


def invert(matrix: Matrix) -> Matrix:
    """The exact inverse of a (..., 2, 3) transform."""
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def apply(matrix: Matrix, points: ArrayLike) -> NDArray[np.float64]:
    """Take (k, 2) points through a (2, 3) transform."""
    result: NDArray[np.float64] = np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return result


def scale_of(matrix: Matrix) -> float:
    """How many input pixels a step of one output pixel crosses."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def oversampling_for(matrix: Matrix) -> int:
    """Samples per output pixel and axis that keep ``warp`` along ``matrix`` free of aliasing."""
    return max(1, math.ceil(scale_of(matrix) - 0.25))


def warp(images: Tensor, matrices: Tensor, size: tuple[int, int], oversampling: int = 1) -> Tensor:
    """Resample images along transforms, differentiably; bilinear, edges repeated outside.

    Where an output pixel covers several input pixels, ``oversampling`` samples per axis are
    taken and averaged, so that nothing aliases.

    Args:
        images: (n, c, h, w).
        matrices: (n, 2, 3), from output to input pixels.
        size: (height, width) of the output.
        oversampling: samples per output pixel and axis, see ``oversampling_for``.

    Returns:
        (n, c, *size).
    """
    height, width = size
    rows = _sample_positions(height, oversampling, images)  # (hs,)
    columns = _sample_positions(width, oversampling, images)  # (ws,)
    matrices = matrices.to(images, non_blocking=True)
    shifts = matrices[:, None, None, :, 2]  # (n, 1, 1, 2)
    along_x = matrices[:, None, None, :, 0] * columns[:, None]  # (n, 1, ws, 2)
    along_y = matrices[:, None, None, :, 1] * rows[:, None, None]  # (n, hs, 1, 2)
    points = along_x + along_y + shifts  # (n, hs, ws, 2)
    extent = _extent(images.shape[3], images.shape[2], points.device, points.dtype)
    grid = (2.0 * points + 1.0) / extent - 1.0
    sampled = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, oversampling) if oversampling > 1 else sampled


@lru_cache(maxsize=64)
def _extent(width: int, height: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor([width, height], device=device, dtype=dtype)


def _sample_positions(length: int, oversampling: int, like: Tensor) -> Tensor:
    index = torch.arange(length * oversampling, dtype=like.dtype, device=like.device)
    return (index + 0.5) / oversampling - 0.5


def to_tensor(pixels: Pixels, device: torch.device | str = "cpu") -> Tensor:
    """(h, w, 3) uint8 -> (1, 3, h, w) float32 in 0..1."""
    values = torch.tensor(np.ascontiguousarray(pixels), device=device)
    return values.permute(2, 0, 1)[None].float() / 255.0


def crop(pixels: Pixels, matrix: Matrix, size: tuple[int, int]) -> Tensor:
    """Cut a crop out of a photo along a transform.

    Only the pixels that the crop covers are converted, so a large photo costs nothing more.

    Args:
        pixels: (h, w, 3) uint8.
        matrix: (2, 3) from crop to photo pixels.
        size: (height, width) of the crop.

    Returns:
        (1, 3, *size) float32 in 0..1.
    """
    corners = apply(matrix, [(x, y) for x in (-0.5, size[1] - 0.5) for y in (-0.5, size[0] - 0.5)])
    limit = np.array([pixels.shape[1], pixels.shape[0]])
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, limit - 1)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, (left + 1, top + 1), limit)
    shifted = matrix - np.array([[0.0, 0.0, left], [0.0, 0.0, top]])
    region, shifted = _reduced(pixels[top:bottom, left:right], shifted)
    return warp(to_tensor(region), torch.from_numpy(shifted)[None], size, oversampling_for(shifted))


def _reduced(pixels: Pixels, matrix: Matrix) -> tuple[Pixels, Matrix]:
    """A photo that a crop brings down by 6 or more, brought down by a whole number until 3 to 4.5 are left."""
    factor = int(scale_of(matrix) / 3)
    if factor < 2:
        return pixels, matrix
    smaller = np.asarray(Image.fromarray(pixels).reduce(factor))  # means of squares: what ``warp`` would do, faster
    to_smaller = np.array([[1.0, 0.0, 0.5 - factor / 2], [0.0, 1.0, 0.5 - factor / 2]]) / factor
    return smaller, compose(to_smaller, matrix)


def crop_face(pixels: Pixels, landmarks: ArrayLike, template: ArrayLike, size: tuple[int, int]) -> Tensor:
    """Cut one face out of a photo as a recogniser wants it.

    Args:
        pixels: (h, w, 3) uint8.
        landmarks: (5, 2) in the photo.
        template: (5, 2) where the recogniser expects them in the crop.
        size: (height, width) of the crop.

    Returns:
        (1, 3, *size) float32 in 0..1.
    """
    return crop(pixels, invert(fit_similarity(landmarks, template)), size)


def soft_box_mask(size: tuple[int, int], box: Box, soft: float = 0.15) -> Tensor:
    """1 inside the box, falling smoothly to 0 at its edge and beyond.

    The fall is half a cosine wave, ``soft`` times the box's side wide on each side.

    Args:
        size: (height, width) of the mask.
        box: left, top, right, bottom; may reach beyond the mask.

    Returns:
        (1, height, width) float32 in 0..1.
    """
    left, top, right, bottom = box
    rows = _window(torch.arange(size[0]), top, bottom, soft)
    columns = _window(torch.arange(size[1]), left, right, soft)
    return (rows[:, None] * columns)[None]


def _window(positions: Tensor, start: float, end: float, soft: float) -> Tensor:
    inside = torch.minimum(positions - start, end - positions) / (soft * (end - start))
    return 0.5 - 0.5 * torch.cos(math.pi * inside.clamp(0.0, 1.0))
