"""File -> photo: within limits, upright, in 8 bits a channel."""

import io
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, UnidentifiedImageError

from cloak.errors import BarredError, PhotoError, in_a_line
from cloak.metadata import Metadata, Policy, apply_policy, count_scans, note_of, read_metadata
from cloak.names import shown
from cloak.photo.colour import NEAR, stated_by_number, to_plain
from cloak.photo.deep import Deep, colours_of, is_deep, read_deep, to_eight, turned
from cloak.photo.formats import SUFFIXES_OF, encodings_of, readable, require_one_of
from cloak.photo.photo import Photo

ORIENTATION = 0x0112
BITS_PER_SAMPLE = 0x0102
HIGH_BIT_DEPTH = 0x40
"""In the third byte of an AVIF's box av1C. Source: AV1 Codec ISO Media File Format Binding, 2.3.3."""

UPRIGHT = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
"""EXIF orientation -> what turns the stored picture upright."""

SIDEWAYS = (5, 6, 7, 8)
"""Orientations in which rows become columns."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask of this machine; larger ones are refused before they are decoded.

    Attributes:
        pixels: of the picture. A photo in work takes about 30 bytes of memory a pixel.
        bytes: of the file.
        scans: of a JPEG, which is gone over once for each: more than any encoder makes.
    """

    pixels: int = 200_000_000
    bytes: int = 500_000_000
    scans: int = 100


LIMITS = Limits()

TRUSTED = Limits(pixels=sys.maxsize, bytes=sys.maxsize, scans=sys.maxsize)
"""For files of our own."""

_pillows_limit = threading.Lock()


def read_photo(path: Path, limits: Limits = LIMITS, policy: Policy = "default") -> Photo:
    """Read a photo from a file; of its metadata, what the policy lets stay (see ``apply_policy``).

    Raises:
        PhotoError: no such file, not a picture, damaged, larger than the limits, or of a kind that
            cannot be written back.
    """
    return decode(read_bytes(path, limits), shown(path), limits, policy)


def read_note(path: Path, limits: Limits = LIMITS) -> str:
    """The note that cloak left in a file; empty where there is none, or no photo that can be read."""
    try:
        data = read_bytes(path, limits)
        with _decoding_errors(shown(path)), _open(data, limits) as image:
            return note_of(read_metadata(image, data))
    except (PhotoError, MemoryError):
        return ""


def read_bytes(path: Path, limits: Limits = LIMITS) -> bytes:
    """The content of a regular file, within the limits; never waits for a pipe or a device.

    Raises:
        PhotoError: it cannot be read, is no regular file, is empty or too large.
    """
    name = shown(path)
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PhotoError(f"{name}: expected a photo, got something that is not a file (a pipe or a device)")
            data = file.read(min(limits.bytes, status.st_size) + 1)
    except FileNotFoundError:
        raise BarredError(f"{name}: expected a photo or a folder, got a path that does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise BarredError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not data:
        raise PhotoError(f"{name}: expected a photo, got an empty file")
    if len(data) > limits.bytes:
        raise BarredError(
            f"{name}: expected a file of at most {limits.bytes / 1e6:g} MB, got a larger one; "
            "raise --max-megabytes if you trust it"
        )
    return data


def decode(data: bytes, name: str, limits: Limits = LIMITS, policy: Policy = "default") -> Photo:
    """Read a photo from a file's bytes; ``name`` is for messages.

    Raises:
        PhotoError: see ``read_photo``.
    """
    with _decoding_errors(name), _open(data, limits) as image:
        _check_size(image, data, limits)
        require_one_of(image, data, name)
        photo = _read(image, data, policy)
    return replace(photo, bytes=len(data))


def read_back(data: bytes) -> Photo:
    """Read what was just written, however large.

    Raises:
        PhotoError: it cannot be read.
    """
    return decode(data, "what was written", TRUSTED, "keep")


def _read(image: Image.Image, data: bytes, policy: Policy) -> Photo:
    several = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    deep = _deep_of(image, data)
    if deep is None:
        _load(image)
        _mend_transparency(image, data)
    orientation = 1 if image.format == "TIFF" and deep is None else _orientation_of(image)
    found = read_metadata(image, data)
    stated, pale = stated_by_number(image, data) if not found.icc_profile else (b"", "")
    found = replace(found, icc_profile=found.icc_profile or stated)
    metadata, removed = apply_policy(found, policy)
    photo = _photo_of(image, metadata, orientation) if deep is None else _deep_photo(deep, metadata, orientation)
    if image.format in ("HEIF", "AVIF") and photo.alpha is not None and photo.alpha.min() == 255:
        photo = replace(photo, alpha=None)
    encodings, note = encodings_of(image, data, alpha=photo.alpha is not None, turned=orientation in SIDEWAYS)
    which = "one" if image.format == "HEIF" else "the first"
    first = f"only {which} of the pictures in the file was kept" if several else ""
    finer = "more than 8 bits a channel became 8" if _has_finer_samples(image, data) else ""
    if photo.deep is not None and encodings[0].format != "PNG":
        photo, finer = replace(photo, deep=None), "16 bits a channel became 8"
    notes = tuple(word for word in (*photo.notes, first, finer, pale, note) if word)
    return replace(photo, encodings=encodings, notes=notes, removed=removed, earlier=note_of(found))


def photo_of(image: Image.Image) -> Photo:
    """A Pillow image -> photo in memory, turned upright by its EXIF orientation.

    Raises:
        PhotoError: a mode that cannot be brought to 8 bits a channel.
    """
    metadata = Metadata(icc_profile=image.info.get("icc_profile") or b"")
    with _decoding_errors("the photo"):
        if image.mode in ("I;16", "I;16B"):
            file = io.BytesIO()
            image.save(file, "png", exif=image.getexif())
            return decode(file.getvalue(), "the photo", TRUSTED)
        return _photo_of(image, metadata, _orientation_of(image))


def _photo_of(image: Image.Image, metadata: Metadata, orientation: int) -> Photo:
    plain, profile, note = to_plain(image, metadata.icc_profile)
    if orientation in UPRIGHT:
        plain = plain.transpose(UPRIGHT[orientation])
    has_alpha = plain.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    rgba = plain.convert("RGBA") if has_alpha else None
    return Photo(
        pixels=np.asarray((rgba or plain).convert("RGB")),
        alpha=np.asarray(rgba.getchannel("A")) if rgba else None,
        single_channel=plain.mode in ("L", "LA", "1"),
        metadata=replace(metadata, icc_profile=profile),
        notes=(note,) if note else (),
    )


def _deep_photo(deep: Deep, metadata: Metadata, orientation: int) -> Photo:
    deep = turned(deep, orientation)
    return Photo(
        pixels=colours_of(deep),
        alpha=to_eight(deep[..., -1]) if deep.shape[2] in (2, 4) else None,
        deep=deep,
        single_channel=deep.shape[2] < 3,
        metadata=metadata,
    )


def _deep_of(image: Image.Image, data: bytes) -> Deep | None:
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) if image.format == "TIFF" else None
    if not is_deep(str(image.format), data, bits):
        return None
    return read_deep(data)


def _has_finer_samples(image: Image.Image, data: bytes) -> bool:
    """Whether a HEIF or AVIF has more than 8 bits a channel."""
    place = data.find(b"av1C", 0, NEAR) if image.format == "AVIF" else -1
    if place >= 0:
        return any(byte & HIGH_BIT_DEPTH for byte in data[place + 6 : place + 7])
    return image.format == "HEIF" and int(image.info.get("bit_depth", 8)) > 8


def _orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1..8; 1 where the file does not say, or says nonsense.

    Pillow would take it from XMP, too, where other programs do not look.
    """
    try:
        if "xmp" in image.info or "XML:com.adobe.xmp" in image.info:
            exif = Image.Exif()
            exif.load(image.info.get("exif") or b"")
        else:
            exif = image.getexif()
        value = exif.get(ORIENTATION, 1)
    except Exception:  # EXIF of any bytes makes Pillow raise anything
        return 1
    return value if isinstance(value, int) and value in UPRIGHT else 1


def _load(image: Image.Image) -> None:
    """Decode; Pillow turns a TIFF upright, by its XMP unless its own field says something."""
    if image.format == "TIFF" and ORIENTATION not in getattr(image, "tag_v2", ()):
        image.getexif()[ORIENTATION] = 1
    image.load()


def _mend_transparency(image: Image.Image, data: bytes) -> None:
    """A grey PNG of 2 or 4 bits: Pillow brings its samples to 8 bits, and not the one that is transparent."""
    bits, stated = data[24] if image.format == "PNG" else 8, image.info.get("transparency")
    if image.mode == "L" and bits in (2, 4) and isinstance(stated, int):
        most = 2**bits - 1
        image.info["transparency"] = stated * (255 // most) if stated <= most else stated


def _check_size(image: Image.Image, data: bytes, limits: Limits) -> None:
    pixels = image.width * image.height
    if pixels > limits.pixels:
        raise _too_large(limits, f"{pixels / 1e6:.3g}")
    scans = count_scans(data) if image.format in ("JPEG", "MPO") else 0
    if scans > limits.scans:
        raise PhotoError(f"expected a JPEG of at most {limits.scans} scans, got {scans}; save it anew first")


def _too_large(limits: Limits, got: str) -> BarredError:
    return BarredError(
        f"expected at most {limits.pixels / 1e6:g} megapixels, got {got}; "
        "reduce it first, or raise --max-megapixels if you trust it"
    )


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _open(data: bytes, limits: Limits) -> Image.Image:
    """The file's header read; with our limit instead of Pillow's, which is a global and lower than some cameras'.

    Pillow refuses what has twice as many pixels; it already makes a GIF's canvas here.
    """
    with _pillows_limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limits.pixels
        try:
            return Image.open(io.BytesIO(data), formats=readable())
        except Image.DecompressionBombError:
            raise _too_large(limits, "more than twice as many") from None
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _decoding_errors(name: str) -> Iterator[None]:
    """The many exceptions of parsers -> one PhotoError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PhotoError as error:
        raise type(error)(str(error) if str(error).startswith(name) else f"{name}: {error}") from None
    except UnidentifiedImageError:
        known = ", ".join(SUFFIXES_OF)
        raise PhotoError(f"{name}: expected a photo ({known}), got a file that is none, or damaged") from None
    except MemoryError:
        raise BarredError(
            f"{name}: expected a photo that fits into memory, got a larger one; reduce it first"
        ) from None
    except Exception as error:  # parsers raise whatever a damaged file leads them to
        raise PhotoError(f"{name}: the file is damaged: {in_a_line(error)}") from None
