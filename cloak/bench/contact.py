"""Photos -> one picture: the same face original and as each method changed it, and the difference."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cloak.bench.text import number
from cloak.report import GAIN, amplified_difference, around, fitted
from cloak.types import Face, Pixels
from cloak.visibility import dssim_and_peak

Cloaked = tuple[str, Pixels]
"""(name of the entry, the photo as it was saved)."""

Shown = tuple[str, Pixels, Face, Sequence[Cloaked]]
"""(caption, the original photo, the face to show, what became of it)."""

SIDE = 240
"""Side of a face, pixels."""

GAP = 8
"""Between the faces, pixels."""

LINE = 17
"""Height of a line of text, pixels."""

ACROSS = 10
"""Faces in a row at most, the original among them; further ones follow below, beside it again."""

INK, PAPER = (40, 40, 40), (255, 255, 255)


def contact_sheet(shown: Sequence[Shown]) -> Pixels:
    """A row for each photo: its face, and the same face of each cloaked file; below each the difference.

    The face DSSIM under the names is measured here, on the pixels that are shown.

    Args:
        shown: photos; the cloaked ones as large as the original.

    Returns:
        (h, w, 3) uint8.
    """
    rows = [
        (caption if start == 0 else f"{caption}, continued", original, face, cloaked[start : start + ACROSS - 1])
        for caption, original, face, cloaked in shown
        for start in range(0, max(len(cloaked), 1), ACROSS - 1)
    ]
    columns = max((1 + len(row[3]) for row in rows), default=1)
    size = (columns * (SIDE + GAP) + GAP, len(rows) * row_height() + GAP)
    sheet = Image.new("RGB", size, PAPER)
    for number_of_row, row in enumerate(rows):
        _draw_row(sheet, row, number_of_row * row_height() + GAP)
    return np.asarray(sheet)


def row_height() -> int:
    """A caption, names over two lines, the face, the difference."""
    return 3 * LINE + 2 * (SIDE + GAP) + GAP


def _draw_row(sheet: Image.Image, row: Shown, top: int) -> None:
    """One row, from ``top`` down."""
    caption, original, face, cloaked = row
    draw = ImageDraw.Draw(sheet)
    _write(draw, (GAP, top), caption, bold=True)
    before = around(original, face)
    _draw_tile(sheet, (GAP, top + LINE), "original", "", before)
    _write(draw, (GAP, top + 3 * LINE + SIDE + 2 * GAP), f"difference x {GAIN}")
    for column, (name, pixels) in enumerate(cloaked, start=1):
        place = (GAP + column * (SIDE + GAP), top + LINE)
        after = around(pixels, face)
        dssim, _ = dssim_and_peak(original, pixels, face.box)
        detail = f"face DSSIM {number(dssim, 4)}" if not np.array_equal(original, pixels) else "identical"
        _draw_tile(sheet, place, name, detail, after)
        difference = fitted(amplified_difference(before, after), SIDE)
        sheet.paste(difference, (place[0], place[1] + 2 * LINE + SIDE + GAP))


def _draw_tile(sheet: Image.Image, place: tuple[int, int], name: str, detail: str, pixels: Pixels) -> None:
    """A name over two lines, and a face below it."""
    draw, (left, top) = ImageDraw.Draw(sheet), place
    _write(draw, (left, top), name)
    _write(draw, (left, top + LINE), detail)
    sheet.paste(fitted(pixels, SIDE), (left, top + 2 * LINE))


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, *, bold: bool = False) -> None:
    draw.text(place, text, fill=INK, font=ImageFont.load_default(13), stroke_width=0.4 if bold else 0)
