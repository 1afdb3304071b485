"""Pixels -> file."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from cloak.metadata import Metadata, finish, save_options
from cloak.photo.deep import with_change, write_deep_png
from cloak.photo.formats import register_heif
from cloak.photo.photo import Photo, to_image
from cloak.types import Pixels


def encode(photo: Photo) -> bytes:
    """Write a photo into bytes, upright, in its first encoding and with its metadata."""
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
