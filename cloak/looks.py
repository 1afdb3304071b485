"""Ways of looking for faces in a photo: padded, turned, mirrored, with its levels stretched; and the way back.

A look makes a picture of a photo, and the (2, 3) transform that takes points of that picture to the
photo, so that what is found in it has its exact place. Only here, and as in Pillow, these points
count from the outer corner of the first pixel; faces' places from its centre, as everywhere.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from cloak.align import Matrix, apply, compose
from cloak.types import Box, Face, Pixels

GREY = 127
"""What surrounds a padded or turned photo: zero to the networks."""

SWAPPED = (1, 0, 2, 4, 3)
"""Landmarks of a mirrored face in the order of the face as it is."""


@dataclass(frozen=True)
class Look:
    """One way of looking at a photo.

    Attributes:
        name: as reports call it.
        min_face: the narrowest face that is looked for, in pixels of the photo;
        min_share: or, where that is more, as a share of the photo's longer side;
        max_pixels: larger pictures are brought down, as long as that face stays findable. Both bound
            the time that a large photo takes.
        min_score: faces of a lower score are dropped, 0..1.
        thresholds: what MTCNN's three networks let pass, 0..1.
        rotation: degrees by which the photo is turned counter-clockwise.
        padding: what is added on each side, as a share of the photo's longer side.
        mirrored: whether left and right are exchanged.
        stretched: whether the photo's levels are stretched to the full range, for dark and pale ones.
    """

    name: str
    min_face: float
    min_score: float
    min_share: float = 0.0
    max_pixels: int = 4_000_000
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    rotation: float = 0.0
    padding: float = 0.0
    mirrored: bool = False
    stretched: bool = False


def picture_of(picture: Pixels, look: Look, size: Sequence[int]) -> tuple[Pixels, Matrix]:
    """The picture that a look makes of a photo, and the transform from it to the photo.

    Args:
        picture: the photo, or what it was brought down to, (height, width, 3) uint8, RGB.
        look: the way of looking.
        size: (height, width) of the photo.
    """
    to_photo = np.diag([size[1] / picture.shape[1], size[0] / picture.shape[0], 0.0])[:2]
    if look.stretched:
        picture = _stretched(picture)
    if look.padding:
        margin = round(look.padding * max(picture.shape[:2]))
        picture = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), constant_values=GREY)
        to_photo = compose(to_photo, np.array([[1.0, 0.0, -margin], [0.0, 1.0, -margin]]))
    if look.mirrored:
        to_photo = compose(to_photo, np.array([[-1.0, 0.0, picture.shape[1]], [0.0, 1.0, 0.0]]))
        picture = np.ascontiguousarray(picture[:, ::-1])
    if look.rotation:
        picture, turned = _turned(picture, look.rotation)
        to_photo = compose(to_photo, turned)
    return picture, to_photo


def face_in_photo(
    box: ArrayLike, landmarks: ArrayLike, score: float, to_photo: Matrix, size: tuple[int, int], look: str = "first"
) -> Face:
    """A face of a look's picture -> of the photo.

    The box of a face that was turned by anything but quarters is the one around the ellipse which
    its own box encloses, so it is as large as the head and not as the box's corners.

    Args:
        box: in the picture.
        landmarks: (5, 2) in the picture.
        score: 0..1.
        to_photo: from the picture to the photo, see ``picture_of``.
        size: (height, width) of the photo.
        look: what found it.
    """
    corners = np.asarray(box, dtype=np.float64).reshape(2, 2) + 0.5
    linear = to_photo[:, :2]
    if (linear == 0.0).any(axis=1).all():
        ends = apply(to_photo, corners)
    else:
        half = np.linalg.norm(linear * (corners[1] - corners[0]) / 2, axis=1)
        ends = apply(to_photo, corners.mean(axis=0)) + np.stack([-half, half])
    limit = np.array(size[::-1]) - 1.0
    (left, top), (right, bottom) = (np.clip(end - 0.5, 0.0, limit) for end in (ends.min(axis=0), ends.max(axis=0)))
    points = apply(to_photo, np.asarray(landmarks, dtype=np.float64) + 0.5) - 0.5
    if np.linalg.det(linear) < 0.0:
        points = points[list(SWAPPED)]
    return Face(
        box=(float(left), float(top), float(right), float(bottom)),
        landmarks=tuple((float(x), float(y)) for x, y in points),
        score=score,
        look=look,
    )


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    shared = _shared(a, b)
    return shared / max(_area(a) + _area(b) - shared, 1e-9)


def covered(a: Box, b: Box) -> float:
    """Intersection over the smaller of two boxes."""
    return _shared(a, b) / max(min(_area(a), _area(b)), 1e-9)


def _shared(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def merge(faces: Iterable[Face], same: float) -> tuple[Face, ...]:
    """Of faces that overlap by ``same`` of their union or more, the one that comes first."""
    kept: list[Face] = []
    for face in faces:
        if all(overlap(face.box, other.box) < same for other in kept):
            kept.append(face)
    return tuple(kept)


def resized(pixels: Pixels, factor: float) -> Pixels:
    """A photo brought down by a factor <= 1."""
    if factor == 1.0:
        return pixels
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _stretched(picture: Pixels) -> Pixels:
    """Levels from 0 to 255, but for the lowest and highest hundredth."""
    lowest, highest = np.percentile(picture, (1, 99))
    stretched = (picture - lowest) * (255.0 / max(highest - lowest, 1.0))
    levels: Pixels = np.rint(stretched.clip(0.0, 255.0)).astype(np.uint8)
    return levels


def _turned(picture: Pixels, degrees: float) -> tuple[Pixels, Matrix]:
    """The picture turned counter-clockwise, all of it in sight; and the transform back."""
    height, width = picture.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    if degrees % 90 == 0:
        cos, sin = float(round(cos)), float(round(sin))
    size = (math.ceil(width * abs(cos) + height * abs(sin)), math.ceil(width * abs(sin) + height * abs(cos)))
    linear = np.array([[cos, -sin], [sin, cos]], dtype=np.float64)  # y points down
    centres = np.array([[width, height], size]) / 2.0
    back = np.column_stack([linear, centres[0] - linear @ centres[1]])
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(picture, round(degrees / 90))), back
    image = Image.fromarray(picture).transform(
        size, Image.Transform.AFFINE, tuple(back.ravel()), Image.Resampling.BILINEAR, fillcolor=(GREY,) * 3
    )
    return np.asarray(image), back
