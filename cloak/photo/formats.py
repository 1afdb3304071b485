"""File formats: which are read, and how a photo that came in one is written."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from PIL import Image, JpegImagePlugin, features

from cloak.errors import PhotoError


@dataclass(frozen=True)
class Encoding:
    """One way to write a photo.

    Attributes:
        format: Pillow's name of the file format.
        options: for Pillow's ``save``.
        lossless: whether every pixel is kept.
        own: whether the options are the source's own, so that nothing is lost but once more what
            was lost before.
    """

    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lossless: bool = True
    own: bool = False


SUFFIXES_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        "PNG": (".png",),
        "WEBP": (".webp",),
        "HEIF": (".heic", ".heif", ".hif"),
        "AVIF": (".avif",),
        "TIFF": (".tif", ".tiff"),
        "BMP": (".bmp", ".dib"),
        "GIF": (".gif",),
    }
)
"""Formats that are read -> how their files' names end, in lower case; the first is given to new files."""

SUFFIXES = tuple(suffix for suffixes in SUFFIXES_OF.values() for suffix in suffixes)
"""Which files of a folder are taken for photos."""

LOSSLESS: Mapping[str, Encoding] = MappingProxyType(
    {
        "PNG": Encoding("PNG"),
        "WEBP": Encoding("WEBP", {"lossless": True, "exact": True}),
        "BMP": Encoding("BMP"),
        "TIFF": Encoding("TIFF", {"compression": "tiff_lzw"}),
    }
)
"""Formats that keep every pixel."""

IN_MEMORY = (LOSSLESS["PNG"],)

JPEG_QUALITIES = (95, 97, 98, 99, 100)

FINE_JPEG = tuple(
    Encoding("JPEG", {"quality": quality, "subsampling": "4:4:4", "optimize": True}, lossless=False)
    for quality in JPEG_QUALITIES
)
"""A JPEG where there is no source whose tables could be used again: Pillow's, with full chroma."""

FULL_CHROMA = (98, 100)
"""Those that are tried for a JPEG whose own tables, the finest of them too, are coarser. (At 95 the steps, which do
not divide the source's, cost more than they gain.)"""

TABLE_SHARES = (1.0, 0.5, 1 / 3, 0.2)
"""A JPEG's quantisation tables are used again as they are, or, finer, with about this share of each
step. Finer steps divide the source's, so that what was rounded to those stays where it is: tables of
0.7 times the steps would use up two fifths of a face's budget in mode mid by their own rounding."""

LADDERS: Mapping[str, tuple[Encoding, ...]] = MappingProxyType(
    {
        # x265's and libaom's quick presets: a twentieth of the time for a tenth more bytes
        "HEIF": tuple(
            Encoding("HEIF", {"quality": quality, "enc_params": {"preset": "ultrafast"}}, lossless=False)
            for quality in (50, 60, 65, 70, 75, 80, 85, 90, 95)
        ),
        "AVIF": tuple(
            Encoding("AVIF", {"quality": quality, "speed": 8}, lossless=False)
            for quality in (50, 60, 65, 70, 75, 80, 85, 90, 95, 100)
        ),
        "WEBP": (
            *(
                Encoding("WEBP", {"quality": quality, "exact": True, "alpha_quality": 100}, lossless=False)
                for quality in (75, 80, 85, 90, 95, 100)
            ),
            LOSSLESS["WEBP"],
        ),
    }
)
"""Lossy formats whose files do not tell their quality: what is tried, the coarsest first."""


def encodings_of(image: Image.Image, data: bytes, *, alpha: bool, turned: bool) -> tuple[tuple[Encoding, ...], str]:
    """How a photo is written back: the possible encodings, the coarsest first, and a note.

    Args:
        image: as Pillow opened it from ``data``.
        data: the file.
        alpha: whether the photo has transparency.
        turned: whether its rows became columns when it was turned upright.

    Returns:
        The encodings, and one sentence where the format is not the source's own; else empty.
    """
    source = "JPEG" if image.format == "MPO" else str(image.format)
    if source == "JPEG" and isinstance(image, JpegImagePlugin.JpegImageFile):
        return _jpeg_encodings(image, turned), ""
    if source == "WEBP" and _is_lossy_webp(data):
        return LADDERS[source], ""
    if source in ("HEIF", "AVIF"):
        if alpha:
            return IN_MEMORY, f"saved as PNG, since {source} does not keep the transparency as it is"
        if can_write(source):
            return LADDERS[source], ""
        return FINE_JPEG, f"saved as JPEG, since this installation cannot write {source}"
    if source == "BMP" and alpha:
        return IN_MEMORY, "saved as PNG, since BMP does not keep the transparency as it is"
    if source in LOSSLESS:
        return (LOSSLESS[source],), ""
    return IN_MEMORY, f"saved as PNG, since {source} holds too few colours for it"


def suffix_for(encoding: Encoding, suffix: str) -> str:
    """The end of a file's name: ``suffix`` where it is one of the format's, else the format's own."""
    own = SUFFIXES_OF[encoding.format]
    return suffix if suffix.lower() in own else own[0]


def readable() -> list[str]:
    """Pillow's names of the formats that are read here; no other parser ever sees a file."""
    Image.init()
    register_heif()
    return [name for name in SUFFIXES_OF if name in Image.OPEN]


def register_heif() -> bool:
    """Let Pillow read and write HEIF; whether it can."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()  # again does nothing
    return True


def can_write(name: str) -> bool:
    """Whether this installation has an encoder for "HEIF" or "AVIF"."""
    if name == "AVIF":
        return bool(features.check("avif"))
    if not register_heif():
        return False
    import pillow_heif

    return bool(pillow_heif.libheif_info()["HEIF"])


NEW_SUBFILE_TYPE, DNG_VERSION = 0x00FE, 0xC612


def require_one_of(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse what Pillow opens and we do not: cameras' raw files, of which it sees a preview.

    Raises:
        PhotoError: it is one.
    """
    if image.format != "TIFF":
        return
    tags = getattr(image, "tag_v2", {})
    is_preview = tags.get(NEW_SUBFILE_TYPE, 0) & 1  # as in the first directory of Nikon's and Sony's files
    if DNG_VERSION in tags or is_preview or data[8:10] == b"CR":
        raise PhotoError(f"{name}: expected a photo, got a camera's raw file; develop it first")


def _is_lossy_webp(data: bytes) -> bool:
    """Whether the first picture of a WebP is a lossy one; linear in its chunks."""
    position = 12
    while position + 8 <= len(data):
        kind, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        position += 8 + (16 if kind == b"ANMF" else size + size % 2)
    return False


def _jpeg_encodings(image: JpegImagePlugin.JpegImageFile, turned: bool) -> tuple[Encoding, ...]:
    """The source's own tables and chroma, and finer ones."""
    tables = [list(table) for table in _tables_of(image)]
    if not tables or any(len(table) != 64 for table in tables):
        return FINE_JPEG
    if turned:
        tables = [[table[8 * column + row] for row in range(8) for column in range(8)] for table in tables]
    layout = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), "4:4:4")
    options = {
        "subsampling": "4:4:4" if turned and layout == "4:2:2" else layout,
        "optimize": True,
        "progressive": bool(image.info.get("progressive")),
    }
    ladder = [[[_divisor(value, share) for value in table] for table in tables] for share in TABLE_SHARES]
    distinct = [rung for index, rung in enumerate(ladder) if rung not in ladder[:index]]
    own = [Encoding("JPEG", {"qtables": rung, **options}, lossless=False, own=True) for rung in distinct]
    full = {"subsampling": "4:4:4", "optimize": True, "progressive": options["progressive"]}
    finer = [quality for quality in FULL_CHROMA if _steps_of(quality) < sum(distinct[-1][0]) + (layout != "4:4:4")]
    return (*own, *(Encoding("JPEG", {"quality": quality, **full}, lossless=False) for quality in finer))


@cache
def _steps_of(quality: int) -> int:
    """The sum of a JPEG's steps for brightness at one of Pillow's qualities."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        return sum(image.quantization[0])


@cache
def _divisor(step: int, share: float) -> int:
    """The divisor of a step that comes nearest to this share of it."""
    step = min(255, max(1, step))
    return min(
        (divisor for divisor in range(1, step + 1) if step % divisor == 0),
        key=lambda divisor: abs(math.log(divisor / (step * share))),
    )


def _tables_of(image: JpegImagePlugin.JpegImageFile) -> Sequence[Sequence[int]]:
    """The tables of brightness and of colour, row by row."""
    used = [component[3] for component in image.layer]
    numbers = [used[0], used[1]] if len(used) > 1 else used[:1]
    return [image.quantization[number] for number in numbers if number in image.quantization]
