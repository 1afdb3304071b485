"""Eyes do not fade: a cloak may redraw them, but not take their contrast away.

Grey, milky eyes are what viewers of cloaks named most, at any DSSIM (benchmarks/TRIED.md, which also says
how little of the bound was seen in a blind comparison). Fading is told from other changes by regression:
within a small Gaussian window the changed picture is about slope * original + something else, and a slope
below 1 is contrast that is gone. The windows lie on a grid around the eyes; their size goes by the face.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from cloak.align import to_tensor
from cloak.types import Box, Face, Pixels
from cloak.visibility import NATIVE_SIDE, surroundings

FACE_HEIGHT = 2.9
"""Of MTCNN's boxes, in distances between the eyes; what follows is in such distances, too."""

SIGMA, STRIDE = 0.15, 0.1
"""Of the windows, and from one to the next."""

REACH = (1.0, 0.7)
"""How far the grid reaches across and down from the middle between the eyes."""

EYE = (0.3, 0.2)
"""Standard deviations across and down of the weight around each eye, which is whole where a Gaussian is over a half."""

FAR = 5.0
"""Standard deviations from which on windows weigh next to nothing."""

FLAT = 1e-4
"""Variance of light, 0..1, below which a window has no contrast to lose."""


@dataclass(frozen=True)
class Eyes:
    """The windows around the eyes of a batch.

    Attributes:
        rows, columns: (n, k, h) and (n, l, w), the windows' weights along either axis; each row sums to 1.
        near: (n, 2, k, l) in 0..1, 1 on either eye.
        areas: (n, 1, 1), pixels for each window.
        light: (n, h, w) of the clean pictures, the mean of their channels.
        means, variances: (n, k, l), of the light in each window.
    """

    rows: Tensor
    columns: Tensor
    near: Tensor
    areas: Tensor
    light: Tensor
    means: Tensor
    variances: Tensor

    @classmethod
    def of(cls, pictures: Tensor, boxes: Sequence[Box], landmarks: ArrayLike) -> "Eyes":
        """Of clean pictures (n, 3, h, w) in 0..1 with a face each: its box, and its landmarks, (n, 5, 2)."""
        eyes = torch.from_numpy(np.asarray(landmarks, dtype=np.float32)[:, :2])  # (n, 2, 2)
        units = torch.tensor([[float(box[3] - box[1]) / FACE_HEIGHT] for box in boxes])  # (n, 1)
        across, down = (
            eyes[:, :, axis].mean(dim=1, keepdim=True) + units * torch.arange(-reach, reach + STRIDE / 2, STRIDE)
            for axis, reach in enumerate(REACH)
        )  # (n, l), (n, k)
        off_across = (across[:, None] - eyes[:, :, :1]) / (EYE[0] * units[:, None])  # (n, 2, l)
        off_down = (down[:, None] - eyes[:, :, 1:]) / (EYE[1] * units[:, None])  # (n, 2, k)
        falling = torch.exp(-0.5 * (off_down[..., None] ** 2 + off_across[:, :, None] ** 2))
        near = (2.0 * falling).clamp_max(1.0)
        rows = _windows(down, SIGMA * units, pictures.shape[2])
        columns = _windows(across, SIGMA * units, pictures.shape[3])
        areas = (STRIDE * units)[..., None] ** 2
        rows, columns, near, areas = (part.to(pictures.device) for part in (rows, columns, near, areas))
        light = pictures.mean(dim=1)
        means = _seen(rows, light, columns)
        variances = (_seen(rows, light**2, columns) - means**2).clamp_min(0.0)
        return cls(rows, columns, near, areas, light, means, variances)

    def faded(self, delta: Tensor) -> Tensor:
        """What share of its contrast each window loses to a perturbation (n, 3, h, w); (n, k, l), < 0 for a gain."""
        change = delta.mean(dim=1)
        together = _seen(self.rows, self.light * change, self.columns)
        apart = self.means * _seen(self.rows, change, self.columns)
        return (apart - together) / (self.variances + FLAT)

    def kept(self, delta: Tensor, most: float) -> Tensor:
        """A perturbation (n, 3, h, w) with about half the contrast given back that eyes lose beyond ``most``.

        A loop that asks after every step comes out with all of it.
        """
        missing = self.near.amax(dim=1) * (self.faded(delta) - most).clamp_min(0.0) * self.areas
        back = self._spread(missing) * self.light - self._spread(missing * self.means)
        return delta + back[:, None]

    def worst(self, delta: Tensor) -> Tensor:
        """The share of its contrast that the eye which fades more loses to a perturbation (n, 3, h, w); (n,)."""
        contrast = self.near * self.variances[:, None]
        lost = contrast * self.faded(delta).clamp_min(0.0)[:, None]
        return (lost.sum(dim=(2, 3)) / contrast.sum(dim=(2, 3)).clamp_min(1e-12)).amax(dim=1)

    def _spread(self, values: Tensor) -> Tensor:
        """Values of windows (n, k, l) -> of their pixels (n, h, w)."""
        return self.rows.transpose(1, 2) @ values @ self.columns


def _windows(places: Tensor, sigmas: Tensor, length: int) -> Tensor:
    """Gaussian windows around places (n, k) along an axis; (n, k, length)."""
    distances = (torch.arange(length) - places[..., None]) / sigmas[..., None]
    weights = torch.exp(-0.5 * distances.clamp(-FAR, FAR) ** 2)
    return weights / weights.sum(dim=2, keepdim=True)


def _seen(rows: Tensor, pictures: Tensor, columns: Tensor) -> Tensor:
    """Means of pictures (n, h, w) in the windows; (n, k, l)."""
    return rows @ pictures @ columns.transpose(1, 2)


def eye_fading(original: Pixels, changed: Pixels, face: Face) -> float:
    """The share of its contrast that the eye of a face which fades more has lost; both (h, w, 3) uint8.

    Faces twice as large as DSSIM sees them, or more, are averaged down: windows are much larger than pixels.
    """
    margin = math.ceil(max(face.width, face.height) / 4)
    factor = max(1, int(max(face.width, face.height) / NATIVE_SIDE))
    left, top, right, bottom = surroundings(face.box, margin, original.shape)
    before, after = (to_tensor(_down(pixels[top:bottom, left:right], factor)) for pixels in (original, changed))
    corner = np.array([left, top])
    box = tuple(((np.reshape(face.box, (2, 2)) - corner + 0.5) / factor - 0.5).ravel().tolist())
    eyes = Eyes.of(before, [box], (np.array(face.landmarks)[None] - corner + 0.5) / factor - 0.5)
    return float(eyes.worst(after - before))


def _down(pixels: Pixels, factor: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels
