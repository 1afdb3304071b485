"""MTCNN's cascade (Zhang et al., 2016): three networks, each of which looks closer at what the one before let pass.

The networks are facenet-pytorch's, and so is what comes out, to the bit; but what lies between them
is done for all boxes at once, so that it costs little, and no device is waited for at each of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloak.areas import Areas
from cloak.types import Pixels

CELL, STRIDE = 12, 2
"""What the first network decides by, and from one decision to the next, pixels of a level."""

SCALING = 0.709
"""From one level of the pyramid to the next."""

SIDES = (24, 48)
"""Of what the second and the third network are shown, pixels."""

STRIP_PIXELS = 320_000
"""So much of a picture the first network is shown at once on a CPU: what it computes then stays in the caches."""

OVERLAPS = (0.5, 0.7)
"""Of two boxes that share more of their union, the better one is kept: in a level, and in the picture."""


@dataclass(frozen=True)
class Sightings:
    """What a cascade finds in a picture, the largest first.

    Attributes:
        boxes: (n, 4) left, top, right, bottom; they may reach beyond the picture.
        scores: (n,) in 0..1.
        landmarks: (n, 5, 2).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]


NOTHING = Sightings(*(np.zeros(shape, np.float32) for shape in ((0, 4), (0,), (0, 5, 2))))


class Cascade:
    """Finds the faces of a picture.

    Args:
        first: decides by every 12 x 12 px: (1, 3, h, w) -> changes of the boxes (1, 4, h', w') and
            probabilities (1, 2, h', w').
        second: (n, 3, 24, 24) -> (n, 4) and (n, 2).
        third: (n, 3, 48, 48) -> (n, 4), landmarks (n, 10) and (n, 2).
    """

    def __init__(self, first: nn.Module, second: nn.Module, third: nn.Module) -> None:
        self.first, self.second, self.third = first, second, third

    @property
    def device(self) -> torch.device:
        return next(self.first.parameters()).device

    @torch.no_grad()
    def find(self, picture: Pixels, min_face: float, thresholds: Sequence[float]) -> Sightings:
        """The faces of a picture.

        Args:
            picture: (height, width, 3) uint8, RGB, at least ``min_face`` and CELL px a side.
            min_face: width of the narrowest face that is looked for, pixels.
            thresholds: what each of the networks lets pass, 0..1.
        """
        areas = Areas(picture, self.device)
        boxes = self._proposed(areas, min_face, thresholds[0])
        boxes = self._refined(areas, boxes, thresholds[1]) if len(boxes) else boxes
        return self._described(areas, boxes, thresholds[2]) if len(boxes) else NOTHING

    def _proposed(self, areas: Areas, min_face: float, threshold: float) -> Tensor:
        """(n, 4) square boxes that the first network lets pass on some level of the pyramid."""
        proposals = []
        for scale in scales_of(areas.size, min_face):
            changes, chances = self.first(_shown(areas.level(scale)))
            here = torch.nonzero(chances[0, 1] >= threshold)
            scores, changes = chances[0, 1, here[:, 0], here[:, 1]], changes[0, :, here[:, 0], here[:, 1]].T
            corners = STRIDE * here.flip(1).to(scores)
            boxes = torch.cat([((corners + 1) / scale).floor(), ((corners + CELL) / scale).floor()], dim=1)
            kept = _apart(boxes, scores, OVERLAPS[0])
            proposals.append((boxes[kept], scores[kept], changes[kept]))
        boxes, scores, changes = (torch.cat(parts) for parts in zip(*proposals, strict=True))
        kept = _apart(boxes, scores, OVERLAPS[1])
        boxes, changes = boxes[kept], changes[kept]
        sides = boxes[:, 2:] - boxes[:, :2]
        return _squared(boxes + changes * sides.repeat(1, 2))

    def _refined(self, areas: Areas, boxes: Tensor, threshold: float) -> Tensor:
        """Those of (n, 4) boxes that the second network lets pass, where it puts them."""
        changes, chances = _asked(self.second, areas, boxes, SIDES[0])
        passed = chances[:, 1] > threshold
        boxes, scores, changes = boxes[passed], chances[passed, 1], changes[passed]
        kept = _apart(boxes, scores, OVERLAPS[1])
        return _squared(_moved(boxes[kept], changes[kept]))

    def _described(self, areas: Areas, boxes: Tensor, threshold: float) -> Sightings:
        """What the third network makes of (n, 4) boxes that it lets pass."""
        changes, places, chances = _asked(self.third, areas, boxes, SIDES[1])
        passed = chances[:, 1] > threshold
        boxes, scores, changes = boxes[passed], chances[passed, 1], changes[passed]
        of_each = _moved(boxes, changes), scores, _in_picture(places[passed], boxes)
        found = Sightings(*(values.cpu().numpy() for values in of_each))
        return _largest_first(found, _not_within_another(found))


class InStrips(nn.Module):
    """The first network; on a CPU in strips of large pictures.

    Args:
        network: (n, 3, h, w) -> maps (n, 4, h', w'), (n, 2, h', w'), with h' = (h - 1) // 2 - 4.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        height, width = pictures.shape[2:]
        rows, at_once = (height - 1) // 2 - 4, max(1, STRIP_PIXELS // width // 2)
        if pictures.device.type != "cpu" or rows <= at_once:
            maps: tuple[Tensor, ...] = self.network(pictures)
            return maps
        strips = [pictures[:, :, 2 * row : 2 * (row + at_once) + 10] for row in range(0, rows, at_once)]
        return tuple(torch.cat(parts, dim=2) for parts in zip(*map(self.network, strips), strict=True))


def scales_of(size: tuple[int, int], min_face: float) -> Iterator[float]:
    """Of a pyramid's levels: on the first the narrowest face has CELL px, and the last has so many itself."""
    scale = CELL / min_face
    while min(size) * scale >= CELL:
        yield scale
        scale *= SCALING


def _asked(network: nn.Module, areas: Areas, boxes: Tensor, side: int) -> tuple[Tensor, ...]:
    """What a network says of boxes, which it sees as far as they lie in the picture."""
    answers = [network(_shown(crops)) for crops in areas.crops(boxes, side)]
    return tuple(torch.cat(parts) for parts in zip(*answers, strict=True))


def _shown(pictures: Tensor) -> Tensor:
    """(n, h, w, 3) in 0..255 -> what the networks take."""
    return ((pictures - 127.5) * 0.0078125).permute(0, 3, 1, 2)


def _squared(boxes: Tensor) -> Tensor:
    """Boxes with both sides as long as their longer one, around the same centres."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(dim=1, keepdim=True)
    corners = boxes[:, :2] + sides * 0.5 - longest * 0.5
    return torch.cat([corners, corners + longest], dim=1)


def _moved(boxes: Tensor, changes: Tensor) -> Tensor:
    """Boxes changed by shares of their sides, the pixels at both ends counted."""
    return boxes + changes * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _in_picture(places: Tensor, boxes: Tensor) -> Tensor:
    """Landmarks as shares of their boxes, (n, 10), all x first -> in the picture, (n, 5, 2)."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return (sides[:, :, None] * places.view(-1, 2, 5) + boxes[:, :2, None] - 1).transpose(1, 2)


def _apart(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Indices, the best first, without those that share more of their union with a better one."""
    from torchvision.ops import batched_nms

    kept: Tensor = batched_nms(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), overlap)
    return kept


def _not_within_another(found: Sightings) -> list[int]:
    """Indices, the best first, without those that share more of the smaller box with a better one."""
    left, top, right, bottom = found.boxes.T
    areas = (right - left + 1) * (bottom - top + 1)
    waiting, kept = np.argsort(found.scores), []
    while waiting.size:
        best, waiting = waiting[-1], waiting[:-1]
        kept.append(int(best))
        across = np.minimum(right[best], right[waiting]) - np.maximum(left[best], left[waiting]) + 1
        down = np.minimum(bottom[best], bottom[waiting]) - np.maximum(top[best], top[waiting]) + 1
        shared = np.maximum(across, 0.0) * np.maximum(down, 0.0)
        waiting = waiting[shared / np.minimum(areas[best], areas[waiting]) <= OVERLAPS[1]]
    return kept


def _largest_first(found: Sightings, kept: Sequence[int]) -> Sightings:
    boxes = found.boxes[kept]
    order = np.argsort((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[::-1]
    return Sightings(boxes[order], found.scores[kept][order], found.landmarks[kept][order])
