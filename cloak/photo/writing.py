"""Pixels -> file."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFile

from cloak.errors import SaveError, in_a_line
from cloak.metadata import Metadata, finish, save_options
from cloak.photo.deep import with_change, write_deep_png
from cloak.photo.formats import register_heif
from cloak.photo.photo import Photo, to_image
from cloak.types import Pixels

BYTES_OF_JPEG = 6
"""Room for an optimised JPEG, a pixel: Pillow's own 2 are too few for grain in full quality."""

_pillows_room = threading.Lock()


def encode(photo: Photo) -> bytes:
    """Write a photo into bytes, upright, in its first encoding and with its metadata.

    Raises:
        SaveError: its encoder fails.
    """
    try:
        with _room_for(photo):
            return _encode(photo)
    except (OSError, ValueError, RuntimeError) as error:
        raise SaveError(f"cannot be written as {photo.encoding.format}: {in_a_line(error)}") from None


@contextmanager
def _room_for(photo: Photo) -> Iterator[None]:
    """Pillow's buffer, which is a global, as large as the photo may need."""
    if photo.encoding.format != "JPEG":
        yield
        return
    room = BYTES_OF_JPEG * photo.pixels.shape[0] * photo.pixels.shape[1]
    with _pillows_room:
        before, ImageFile.MAXBLOCK = ImageFile.MAXBLOCK, max(ImageFile.MAXBLOCK, room)
        try:
            yield
        finally:
            ImageFile.MAXBLOCK = before


def _encode(photo: Photo) -> bytes:
    encoding = photo.encoding
    described = save_options(photo.metadata, encoding.format)
    if photo.deep is not None and encoding.format == "PNG":
        return write_deep_png(with_change(photo.deep, photo.pixels), described)
    if encoding.format == "HEIF":
        register_heif()
    buffer = io.BytesIO()
    to_image(photo).save(buffer, encoding.format, **encoding.options, **described)
    return finish(buffer.getvalue(), photo.metadata, encoding.format)


def recode(photo: Photo, pixels: Pixels) -> Pixels:
    """What ``pixels``, a region of the photo, become in a file of the photo's first encoding."""
    if photo.encoding.lossless:
        return pixels
    bare = replace(photo, pixels=pixels, alpha=None, deep=None, metadata=Metadata())
    with Image.open(io.BytesIO(encode(bare))) as image:
        return np.asarray(image.convert("RGB"))
