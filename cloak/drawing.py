"""Faces -> a picture of their photo with numbered boxes and landmarks."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cloak.photo import save_bytes
from cloak.survey import left_alone
from cloak.types import Face, Pixels

COLOURS = ("lime", "orange")
"""Of faces that are protected, and of those that are left alone."""

LEFT, RIGHT = "deepskyblue", "red"
"""Of the face's left and right eye and mouth corner, as seen upright; the nose has the box's colour."""


def draw_faces(pixels: Pixels, faces: Sequence[Face]) -> Image.Image:
    """The photo with a box, a number and five dots for each face.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        faces: in the photo; numbered from 1.
    """
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) / 500))
    for number, face in enumerate(faces, start=1):
        colour = COLOURS[left_alone(face)]
        draw.rectangle(face.box, outline=colour, width=line)
        radius = max(1.0, face.width / 40)
        for (x, y), dot in zip(face.landmarks, (LEFT, RIGHT, colour, LEFT, RIGHT), strict=True):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=dot)
        font = ImageFont.load_default(size=max(10.0, face.width / 6))
        corner = (face.box[0] + 2 * line, face.box[1] + line)
        draw.text(corner, str(number), fill=colour, font=font, stroke_width=line, stroke_fill="black")
    return image


def write_drawing(pixels: Pixels, faces: Sequence[Face], path: Path, *, overwrite: bool = False) -> None:
    """Save the drawing of a photo's faces; PNG, or JPEG where the name says so.

    Raises:
        SaveError: the file exists (and ``overwrite`` is off), or cannot be written.
    """
    buffer = io.BytesIO()
    file_format = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    draw_faces(pixels, faces).save(buffer, file_format)
    save_bytes(buffer.getvalue(), path, overwrite=overwrite)
