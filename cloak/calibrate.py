"""Residuals -> saved pixels that keep each face's budget exactly, after rounding and encoding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cloak.methods import Method
from cloak.patches import BLOCK, Residual
from cloak.photo import Photo, recode
from cloak.types import Box, Pixels
from cloak.visibility import MARGIN, NATIVE_SIDE, Yardstick

ROUNDS = 16
"""Attempts at filling the budget; each measures every face once."""

FILLED = 0.98
"""A budget used up to this share counts as filled."""

MAX_SCALE = 2.0
"""The most that a residual is amplified to fill its budget."""

SHRINK = 0.97
"""Factor on a face's residual while its saved pixels are over budget."""


@dataclass(frozen=True)
class Composition:
    """The residuals of one photo's faces, and the factor on each that keeps it in its budget.

    Attributes:
        photo: its first encoding is what the budgets are kept in.
        yardsticks: one for each face.
        residuals: one for each face.
        method: with its budget.
        scales: one for each residual; 1 where none are given.
    """

    photo: Photo
    yardsticks: Sequence[Yardstick]
    residuals: Sequence[Residual]
    method: Method
    scales: Sequence[float] = ()

    def fitted(self) -> "Composition":
        """With the largest factors that keep every face in its budget, on encoded regions."""
        composition = replace(self, scales=[1.0] * len(self.yardsticks))
        best, exceeding = [0.0] * len(self.yardsticks), [math.inf] * len(self.yardsticks)
        for _ in range(ROUNDS):
            usage = [composition.usage_in_region(index) for index in range(len(self.yardsticks))]
            for index, (scale, used) in enumerate(zip(composition.scales, usage, strict=True)):
                if used <= 1.0:
                    best[index] = max(best[index], scale)
                else:
                    exceeding[index] = min(exceeding[index], scale)
            if all(
                FILLED <= u <= 1.0 or (u <= 1.0 and s >= MAX_SCALE)
                for s, u in zip(composition.scales, usage, strict=True)
            ):
                break
            scales = [_next_scale(*each) for each in zip(composition.scales, usage, best, exceeding, strict=True)]
            composition = replace(composition, scales=scales)
        return composition if composition.scales == best else replace(composition, scales=best)

    def pixels(self) -> Pixels:
        """The whole photo with every residual added, rounded."""
        height, width = self.photo.pixels.shape[:2]
        return self._within(0, 0, width, height)

    def _within(self, left: int, top: int, right: int, bottom: int) -> Pixels:
        """A part of the photo with every residual added, rounded."""
        original = self.photo.pixels[top:bottom, left:right]
        changed: Pixels = original.copy()
        limit = np.float32(round(255 * self.method.linf))
        for scale, residual in zip(self.scales or (1.0,) * len(self.residuals), self.residuals, strict=True):
            here, values = _overlap(residual, left, top, original.shape)
            # where faces overlap the residuals add up, still within L-inf of the original
            total = changed[here] + 255.0 * scale * values
            total = total.clip(original[here] - limit, original[here] + limit, out=total)
            changed[here] = np.rint(total.clip(0.0, 255.0, out=total), out=total)
        return changed

    def shrunk(self, saved: Pixels) -> "Composition":
        """With the faces reduced whose saved pixels are over budget; itself where there are none."""
        exceeding = [
            scale > 0.0 and self._usage(yardstick, saved) > 1.0
            for scale, yardstick in zip(self.scales, self.yardsticks, strict=True)
        ]
        if not any(exceeding):
            return self
        smaller = [scale * SHRINK if scale > 0.05 else 0.0 for scale in self.scales]
        chosen = zip(exceeding, smaller, self.scales, strict=True)
        return replace(self, scales=[less if over else scale for over, less, scale in chosen])

    def _usage(self, yardstick: Yardstick, changed: Pixels, left: int = 0, top: int = 0) -> float:
        """The budget used: 1 is all of it."""
        dssim, peak = yardstick.measure(changed, left, top)
        return max(dssim / self.method.dssim, peak / self.method.peak_dssim)

    def usage_in_region(self, index: int) -> float:
        """The budget that a face uses, with only its surroundings encoded."""
        rows, columns, coded = self._encoded[index]
        return self._usage(self.yardsticks[index], coded, columns.start, rows.start)

    def with_encoded_faces(self) -> Pixels:
        """The whole photo, the surroundings of each face as the encoding shows them."""
        shown = self.pixels()
        for rows, columns, coded in self._encoded:
            shown[rows, columns] = coded
        return shown

    @cached_property
    def _encoded(self) -> list[tuple[slice, slice, Pixels]]:
        """Where the surroundings of each face are, and what the encoding makes of them."""
        size = (self.photo.pixels.shape[0], self.photo.pixels.shape[1])
        regions = [region_around(yardstick.box, size) for yardstick in self.yardsticks]
        return [
            (slice(top, bottom), slice(left, right), recode(self.photo, self._within(left, top, right, bottom)))
            for left, top, right, bottom in regions
        ]


def _overlap(
    residual: Residual, left: int, top: int, shape: Sequence[int]
) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
    """Where a residual lies in a part of the photo that begins at ``left``, ``top``, and what it adds there."""
    height, width = residual.values.shape[:2]
    down, right = residual.top - top, residual.left - left
    here = (slice(max(0, down), max(0, down + height)), slice(max(0, right), max(0, right + width)))
    rows = slice(max(0, -down), max(0, shape[0] - down))
    columns = slice(max(0, -right), max(0, shape[1] - right))
    return here, residual.values[rows, columns]


def region_around(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box and what its measurement looks at, in whole blocks of 16 px: left, top, right, bottom.

    So many hold whole JPEG blocks when their colour has half the resolution.
    """
    factor = min(1.0, NATIVE_SIDE / max(box[2] - box[0], box[3] - box[1]))
    margin = math.ceil((MARGIN + 1) / factor) + 1
    left, top = (max(0, math.floor((v - margin) / BLOCK) * BLOCK) for v in box[:2])
    right, bottom = (
        min(end, math.ceil((v + margin + 1) / BLOCK) * BLOCK) for end, v in zip(size[::-1], box[2:], strict=True)
    )
    return left, top, right, bottom


def _next_scale(scale: float, usage: float, best: float, exceeding: float) -> float:
    """DSSIM grows about with the square of the change; aim at just below the budget.

    Rounding makes it grow in jumps, so an aim outside of what is known to be too little (``best``)
    and too much (``exceeding``) gives way to the middle of the two.
    """
    aim = scale * math.sqrt((1.0 + FILLED) / 2.0 / max(usage, 1e-6))
    if exceeding < math.inf and not best < aim < exceeding:
        aim = (best + exceeding) / 2.0
    return min(MAX_SCALE, max(0.5 * scale, aim))
