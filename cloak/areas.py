"""Means over rectangles of a picture: four numbers each of one table of sums (Crow, 1984).

So a pyramid and thousands of crops cost little; the means are PyTorch's ("area"), to the
bit while the sums of a window stay below 2^24.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cloak.types import Pixels

AT_ONCE = 512
"""So many crops are made together."""

Windows = tuple[Tensor, Tensor]
"""Where windows along an axis begin and end, (n, count) int32 both."""


class Areas:
    """Means over rectangles of a picture.

    Args:
        picture: (height, width, 3) uint8.
        device: where they are taken.
    """

    def __init__(self, picture: Pixels, device: torch.device) -> None:
        self.size = height, width = picture.shape[0], picture.shape[1]
        # Sums of large pictures wrap around; what lies between two of them is right nevertheless.
        sums = np.zeros((height + 1, width + 1, 3), np.int32)
        np.cumsum(picture, axis=1, dtype=np.int32, out=sums[1:, 1:])
        for row in range(2, height + 1):  # along columns, NumPy's own cumsum takes ten times as long
            sums[row] += sums[row - 1]
        self._sums = torch.from_numpy(sums.reshape(-1, 3)).to(device)

    def level(self, scale: float) -> Tensor:
        """The whole picture brought down; (1, height, width, 3)."""
        start = torch.zeros(1, dtype=torch.int32, device=self._sums.device)
        rows, columns = (_windows(start, start + length, int(length * scale + 1)) for length in self.size)
        return self._means(rows, columns)

    def crops(self, boxes: Tensor, side: int) -> Iterator[Tensor]:
        """What lies in boxes, in whole pixels and within the picture, as squares; (n, side, side, 3), n <= AT_ONCE."""
        corners = boxes.trunc().int()
        limits = torch.tensor(self.size[::-1]).to(corners)
        starts = (corners[:, :2] - 1).clamp_min(0).minimum(limits - 1)
        ends = corners[:, 2:].minimum(limits).maximum(starts + 1)
        for some, others in zip(torch.split(starts, AT_ONCE), torch.split(ends, AT_ONCE), strict=True):
            columns, rows = (_windows(some[:, axis], others[:, axis], side) for axis in (0, 1))
            yield self._means(rows, columns)

    def _means(self, rows: Windows, columns: Windows) -> Tensor:
        """Over every pair of a window along the rows and one along the columns; (n, h, w, 3)."""
        (top, bottom), (left, right) = rows, columns
        sums = self._sum(bottom, right)
        sums -= self._sum(top, right)
        sums -= self._sum(bottom, left)
        sums += self._sum(top, left)
        means = sums.float()
        means /= (bottom - top).float()[:, :, None, None]
        means /= (right - left).float()[:, None, :, None]
        return means

    def _sum(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Of what lies above and to the left of every pair; (n, h, w, 3)."""
        places = rows[:, :, None] * (self.size[1] + 1) + columns[:, None]
        return self._sums.index_select(0, places.flatten()).view(*places.shape, 3)


def _windows(starts: Tensor, ends: Tensor, count: int) -> Windows:
    """``count`` windows that cover each range from ``starts`` to ``ends``, (n,) int32.

    Next to each other, or one pixel over each other where the range is no multiple of them.
    """
    lengths, index = (ends - starts)[:, None].long(), torch.arange(count, device=starts.device)
    first, last = index * lengths // count, -(-(index + 1) * lengths // count)  # products of more than 31 bits
    return starts[:, None] + first.int(), starts[:, None] + last.int()
