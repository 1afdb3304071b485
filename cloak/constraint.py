"""The budget of a batch of patches: what a perturbation may be, and what it costs.

The DSSIM of a change d is nearly a weighted sum of squares, sum d^2 / (2 w): change costs little
where the photo is textured and much where it is smooth. In that metric the steepest step is
w * gradient, and the budget is a ball.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from cloak.fading import Eyes
from cloak.focus import as_soft
from cloak.methods import Method
from cloak.patches import PatchBatch
from cloak.visibility import (
    C2,
    Regions,
    dssim_map,
    face_mean,
    gaussian_blur,
    local_statistics,
    regions_of,
    spread_windows,
    window_means,
)

WINDOW_STRIDE = 4
"""The loop looks for the peak at every so many pixels; ``calibrate`` looks at all."""


@dataclass(frozen=True)
class Constraint:
    """The budget of a batch, on its patches.

    Attributes:
        statistics: ``local_statistics`` of the clean patches.
        chroma: (n, 1, 1, 1) bound of the colour, 0 for photos that have none.
        dssim: (n,) budget of the face DSSIM on the patch; smaller where saving needs some of it, too.
    """

    method: Method
    batch: PatchBatch
    regions: Regions
    statistics: tuple[Tensor, Tensor]
    chroma: Tensor
    dssim: Tensor

    @classmethod
    def of(cls, batch: PatchBatch, method: Method) -> "Constraint":
        statistics = local_statistics(batch.pixels)
        size = (batch.pixels.shape[2], batch.pixels.shape[3])
        regions = regions_of(batch.boxes, size, batch.pixels.device, stride=WINDOW_STRIDE)
        chroma = method.chroma * (~batch.grey).float()
        dssim = method.dssim * torch.where(batch.recoded, method.room, 1.0)
        return cls(method, batch, regions, statistics, chroma, dssim)

    @cached_property
    def eyes(self) -> Eyes:
        """Which keep their contrast; for methods that have such a bound."""
        return Eyes.of(self.batch.pixels, self.batch.boxes, self.batch.landmarks)

    @cached_property
    def soft(self) -> Tensor | None:
        """What makes a step as soft as each face is, see ``cloak.focus``; None where all are in focus."""
        return as_soft(self.batch.pixels, self.batch.boxes)

    def texture(self, delta: Tensor) -> Tensor:
        """The weights w of the metric, (n, 1, side, side), where patches are changed by ``delta`` already.

        A pixel's change is seen by each of SSIM's windows that it lies in, and a window charges
        d^2 / 2 over (variance before + variance after + C2). So 1 / w is the mean of their charges:
        a pixel is as dear as the smoothest surface that it lies on.
        """
        before = self.statistics[1].clamp_min(0.0)
        after = local_statistics(self.batch.pixels + delta)[1].clamp_min(0.0)
        charge = (1.0 / (before + after + C2)).mean(dim=1, keepdim=True)
        return 1.0 / gaussian_blur(charge)

    def direction(self, gradient: Tensor, texture: Tensor) -> Tensor:
        """The steepest step in the metric of these weights, no finer than the faces, as long as the budget's radius."""
        step = gradient * texture
        if self.soft is not None:
            step = self.soft @ step @ self.soft.transpose(2, 3)
        step = torch.where(self.chroma > 0.0, step, step.mean(dim=1, keepdim=True))
        cost = face_mean((step**2 / (2.0 * texture)).mean(dim=1), self.regions)
        length = (self.dssim / cost.clamp_min(1e-30)).sqrt()
        return step * length.view(-1, 1, 1, 1)

    def project(self, delta: Tensor) -> Tensor:
        """Back into the budget: fading eyes, colour, L-inf, pixel range, peak DSSIM (locally), face DSSIM."""
        clean = self.batch.pixels
        if self.method.fading < 1.0:
            delta = self.eyes.kept(delta, self.method.fading)
        neutral = delta.mean(dim=1, keepdim=True)
        delta = neutral + (delta - neutral).clamp(-self.chroma, self.chroma)
        bound = self.method.linf * self.batch.masks
        delta = (clean + delta.clamp(-bound, bound)).clamp(0.0, 1.0) - clean
        return self._within_dssim(delta) if self.method.projected else delta

    def _within_dssim(self, delta: Tensor) -> Tensor:
        clean = self.batch.pixels
        maps = dssim_map(clean, clean + delta, self.statistics)
        peaks = spread_windows((window_means(maps, self.regions) / self.method.peak_dssim).clamp_min(1.0), self.regions)
        local = peaks.clamp_min(1.0).rsqrt()  # (n, side, side)
        face = face_mean(maps * local**2, self.regions)
        whole = (self.dssim / face.clamp_min(1e-30)).sqrt().clamp_max(1.0)
        return delta * local[:, None] * whole.view(-1, 1, 1, 1)

    def penalty(self, seen: Tensor) -> Tensor:
        """What the method charges for the DSSIM of patches, summed over the faces."""
        dssim = face_mean(dssim_map(self.batch.pixels, seen, self.statistics), self.regions)
        return self.method.penalty * PENALTIES[self.method.penalised](dssim, self.dssim).sum()


PENALTIES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "excess": lambda dssim, budget: (dssim - budget).clamp_min(0.0) ** 2,
        "whole": lambda dssim, budget: dssim,
    }
)
"""What is charged for a DSSIM (n,), given the budget (n,)."""
