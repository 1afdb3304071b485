"""Photo -> faces: ways of looking with MTCNN (Zhang et al., 2016) behind one small interface."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property, partial

import torch

from cloak.cascade import Cascade, InStrips
from cloak.facenet_package import facenet_pytorch
from cloak.looks import Look, face_in_photo, merge, picture_of, resized
from cloak.memory import unless_short
from cloak.threads import each
from cloak.types import Face, Pixels

MIN_FACE = 40
"""Faces this wide or wider, in pixels of the photo, are found. Narrower ones, where found, are left alone."""

MIN_SCORE = 0.95
"""MTCNN's faces below this score are mostly not faces, and a cloak on a telephone shows. Of 2,764
photos of LFW, the face in the middle never scored less."""

SMALLEST_FACE = 16
"""The narrowest face that MTCNN is asked for after the photo was brought down."""

SAME_FACE = 0.3
"""Two boxes that overlap by this share of their union show one face."""

FIRST_LOOK = Look("first", 0.75 * MIN_FACE, MIN_SCORE)

MIRRORED = Look("mirrored", 0.95 * MIN_FACE, MIN_SCORE, min_share=0.0125, max_pixels=2_000_000,
                thresholds=(0.5, 0.6, 0.6), padding=0.1, mirrored=True)  # fmt: skip
"""Another pyramid, softer thresholds of the first two networks, and the other side of the face."""

PADDED = Look("padded", MIN_FACE, MIN_SCORE, min_share=0.02, max_pixels=2_000_000, padding=0.5)
"""For faces that the photo's edge cuts off, or that fill it. facenet-pytorch's MTCNN stretches what it
crops beyond the edge: with a fifth of a face cut off, its landmarks are wrong by 0.2 to 0.4 of the
face's width, and with padding by 0.01 to 0.04."""

SECOND_LOOK = (
    PADDED,
    *(Look(f"turned {degrees}", MIN_FACE, 0.97, min_share=0.02, max_pixels=1_000_000, padding=0.25, rotation=degrees)
      for degrees in (90, 180, 270)),
    *(Look(f"turned {degrees}", MIN_FACE, 0.98, min_share=0.02, max_pixels=1_000_000, padding=0.25, rotation=degrees)
      for degrees in (45, -45)),
    MIRRORED,
    Look("contrast", MIN_FACE, MIN_SCORE, min_share=0.02, max_pixels=2_000_000, padding=0.25, stretched=True),
)  # fmt: skip
"""What follows where the first look finds nothing. MTCNN finds faces that lean by up to 45 degrees. Scores are
those at which benchmarks/detection.py saw next to no faces that were none; enlarging found nothing more."""

CHECK = (
    MIRRORED,
    *(Look(f"turned {degrees}", MIN_FACE, 0.98, min_share=0.02, max_pixels=1_000_000, padding=0.1, rotation=degrees)
      for degrees in (90, 180, 270)),
)  # fmt: skip
"""How a saved photo is looked at for faces that were missed, upright ones thoroughly, turned ones if large."""


class FaceDetector:
    """Finds faces. Holds MTCNN's three small networks, which come with facenet-pytorch (MIT).

    Args:
        device: where the networks run.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._cascade = cascade_on(device)

    @cached_property
    def _cascade_here(self) -> Cascade:
        return cascade_on("cpu")

    def detect(self, pixels: Pixels) -> tuple[Face, ...]:
        """Find the faces of one upright photo.

        Faces at the photo's edge are looked at again with PADDED. Where the first look finds no
        face of MIN_FACE px or wider, a second one follows: all of SECOND_LOOK, for faces of that
        width. Faces that several ways of looking find count once.

        Args:
            pixels: (height, width, 3) uint8, RGB.

        Returns:
            Faces in pixels of the photo, the largest first, equal ones from left to right and
            top to bottom; empty when there is none.
        """
        size, reduced = pixels.shape[:2], cache(partial(resized, pixels))
        first = self._look(reduced, size, FIRST_LOOK)
        at_edge = [face for face in first if _is_at_edge(face, size)]
        if at_edge:
            inside = [face for face in first if face not in at_edge]
            first = list(merge((*inside, *self._look(reduced, size, PADDED), *at_edge), SAME_FACE))
        found = order_faces(first)
        if any(face.width >= MIN_FACE for face in found):
            return found
        again = self.look(pixels, SECOND_LOOK, found)
        return tuple(face for face in again if face in found or face.width >= MIN_FACE)

    def look(self, pixels: Pixels, looks: Sequence[Look], known: Sequence[Face] = ()) -> tuple[Face, ...]:
        """What some ways of looking find, each face once, in the order of ``detect``.

        Args:
            pixels: (height, width, 3) uint8, RGB.
            looks: how to look; of one face that several find, the best score counts.
            known: faces that are kept as they are.
        """
        size, reduced = pixels.shape[:2], cache(partial(resized, pixels))  # several look at the same size
        found = [face for faces in each(lambda look: self._look(reduced, size, look), looks) for face in faces]
        return order_faces(merge((*known, *sorted(found, key=lambda face: -face.score)), SAME_FACE))

    def _look(self, reduced: Callable[[float], Pixels], size: tuple[int, int], look: Look) -> list[Face]:
        """The faces of a photo of this (height, width), which can be had brought down by a factor."""
        height, width = size
        smallest = max(look.min_face, look.min_share * max(height, width))
        margins = 2 * look.padding * max(height, width)
        factor = detection_scale(height + margins, width + margins, smallest, look.max_pixels)
        picture, to_photo = picture_of(reduced(factor), look, size)
        # MTCNN's pyramid starts at 12 px, and it asks for a pyramid of at least one level.
        min_face = smallest * factor
        if min(picture.shape[:2]) < max(min_face, 12):
            return []
        # Where a GPU has no room for the picture, the CPU looks.
        found = unless_short(partial(self._cascade.find, picture, min_face, look.thresholds))
        if found is None:
            found = self._cascade_here.find(picture, min_face, look.thresholds)
        return [
            face_in_photo(box, five, float(score), to_photo, size, look.name)
            for box, score, five in zip(found.boxes, found.scores, found.landmarks, strict=True)
            if score >= look.min_score
        ]


def cascade_on(device: torch.device | str) -> Cascade:
    """facenet-pytorch's networks on a device."""
    mtcnn = facenet_pytorch().MTCNN(device=torch.device(device))
    mtcnn.to(memory_format=torch.channels_last)  # as what they are shown
    return Cascade(InStrips(mtcnn.pnet), mtcnn.rnet, mtcnn.onet)


def detection_scale(height: float, width: float, min_face: float, max_pixels: int) -> float:
    """Factor (<= 1) that brings a photo down to ``max_pixels``, or as far as ``min_face`` px stay findable."""
    return min(1.0, max(math.sqrt(max_pixels / (height * width)), SMALLEST_FACE / min_face))


def order_faces(faces: Iterable[Face]) -> tuple[Face, ...]:
    """The largest face first; equal ones from left to right, then from top to bottom."""
    return tuple(sorted(faces, key=lambda face: (-face.width * face.height, face.box)))


def _is_at_edge(face: Face, shape: Sequence[int]) -> bool:
    """Whether MTCNN's square crop of a face, a little larger than the box, crosses the edge of the photo."""
    left, top, right, bottom = face.box
    margin = 0.6 * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    return min(x, y, shape[1] - 1 - x, shape[0] - 1 - y) < margin


def large_enough(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Those that can be cloaked: MIN_FACE px wide or more."""
    return tuple(face for face in faces if face.width >= MIN_FACE)
