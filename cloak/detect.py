"""Photo -> faces: facenet-pytorch's MTCNN (Zhang et al., 2016) behind one small interface."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cloak.types import Face, Pixels

MIN_FACE = 40
"""Faces this wide or wider, in pixels of the photo, are found. Narrower ones, where found, are left alone."""

MIN_SCORE = 0.95
"""MTCNN's faces below this score are mostly not faces, and a cloak on a telephone shows. Of 2,764
photos of LFW, the face in the middle never scored less."""

MAX_PIXELS = 4_000_000
"""Larger photos are brought down for detection, as long as a face of MIN_FACE px stays findable."""

SMALLEST_FACE = 16
"""The narrowest face that MTCNN is asked for after the photo was brought down."""


class FaceDetector:
    """Finds faces. Holds MTCNN's three small networks, which come with facenet-pytorch (MIT).

    Args:
        device: where the networks run.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        from facenet_pytorch import MTCNN  # imports torchvision: 2 s

        self._mtcnn = MTCNN(keep_all=True, device=torch.device(device))

    def detect(self, pixels: Pixels) -> tuple[Face, ...]:
        """Find the faces of one upright photo.

        Args:
            pixels: (height, width, 3) uint8, RGB.

        Returns:
            Faces in pixels of the photo, the largest first, equal ones from left to right and
            top to bottom; empty when there is none.
        """
        height, width = pixels.shape[:2]
        factor = detection_scale(height, width)
        small = _shrink(pixels, factor)
        # MTCNN's pyramid starts at 12 px, and it asks for a pyramid of at least one level.
        min_face = 0.75 * MIN_FACE * factor
        if min(small.shape[:2]) < max(min_face, 12):
            return ()
        self._mtcnn.min_face_size = min_face
        boxes, scores, points = self._mtcnn.detect(small, landmarks=True)
        if boxes is None:
            return ()
        scale = np.array([width / small.shape[1], height / small.shape[0]])
        faces = (
            _face(box, score, five, scale, (width, height))
            for box, score, five in zip(
                # numpy 2 gets these as arrays of objects
                np.asarray(boxes, dtype=np.float64),
                np.asarray(scores, dtype=np.float64),
                np.asarray(points, dtype=np.float64),
                strict=True,
            )
        )
        return order_faces(face for face in faces if face.score >= MIN_SCORE)


def detection_scale(height: int, width: int) -> float:
    """Factor (<= 1) by which a photo of this size is brought down before detection."""
    wanted = math.sqrt(MAX_PIXELS / (height * width))
    return min(1.0, max(wanted, SMALLEST_FACE / (0.75 * MIN_FACE)))


def order_faces(faces: Iterable[Face]) -> tuple[Face, ...]:
    """The largest face first; equal ones from left to right, then from top to bottom."""
    return tuple(sorted(faces, key=lambda face: (-face.width * face.height, face.box)))


def _shrink(pixels: Pixels, factor: float) -> Pixels:
    if factor >= 1.0:
        return pixels
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _face(box: NDArray[Any], score: float, points: NDArray[Any], scale: NDArray[Any], size: tuple[int, int]) -> Face:
    """A face of the reduced photo -> of the photo; pixel centres lie at whole numbers."""
    corners = np.clip((box.reshape(2, 2) + 0.5) * scale - 0.5, 0.0, np.array(size) - 1.0)
    landmarks = (points + 0.5) * scale - 0.5
    return Face(
        box=(float(corners[0, 0]), float(corners[0, 1]), float(corners[1, 0]), float(corners[1, 1])),
        landmarks=tuple((float(x), float(y)) for x, y in landmarks),
        score=float(score),
    )
