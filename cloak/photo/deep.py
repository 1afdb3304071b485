"""Files of 16 bits a channel, which Pillow reads as 8: through libvips."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloak.types import Pixels

STEP = 257
"""Levels of 16 bits to one of 8: 65535 / 255."""

HEADER = 33
"""Bytes of a PNG before its first chunk that describes: the signature and IHDR."""

Deep = NDArray[np.uint16]
"""(height, width, channels) uint16; one or three channels, alpha last."""


def is_deep(image_format: str, data: bytes, bits: object) -> bool:
    """Whether a file has 16 bits a channel: PNG's header says so, or TIFF's BitsPerSample."""
    if image_format == "PNG":
        return data[24:25] == b"\x10"
    return image_format == "TIFF" and isinstance(bits, tuple) and len(bits) > 0 and set(bits) == {16}


def read_deep(data: bytes) -> Deep | None:
    """The samples of a file; None where they are no unsigned 16-bit grey or RGB."""
    import pyvips

    image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
    if image.format != "ushort" or image.interpretation not in ("rgb16", "grey16") or not 1 <= image.bands <= 4:
        return None
    samples: Deep = image.numpy().reshape(image.height, image.width, image.bands)
    return samples


def to_eight(deep: Deep) -> NDArray[np.uint8]:
    """16 bits -> 8, rounded."""
    return ((deep.astype(np.uint32) + STEP // 2) // STEP).astype(np.uint8)


def colours_of(deep: Deep) -> Pixels:
    """The samples as 8-bit RGB, without alpha."""
    colours = to_eight(deep[..., : 3 if deep.shape[2] >= 3 else 1])
    return np.ascontiguousarray(np.broadcast_to(colours, (*deep.shape[:2], 3)))


def turned(deep: Deep, orientation: int) -> Deep:
    """Turned upright: EXIF orientation 1..8 of the stored samples."""
    if orientation >= 5:
        deep = deep.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        deep = deep[::-1]
    if orientation in (2, 3, 6, 7):
        deep = deep[:, ::-1]
    return np.ascontiguousarray(deep)


def with_change(deep: Deep, after: Pixels) -> Deep:
    """The samples with the change from ``colours_of`` to ``after`` added; unchanged ones stay as they are."""
    colours = 3 if deep.shape[2] >= 3 else 1
    change = (after.astype(np.int32) - colours_of(deep))[..., :colours] * STEP
    changed: Deep = deep.copy()
    changed[..., :colours] = (deep[..., :colours] + change).clip(0, 65535)
    return changed


def write_deep_png(deep: Deep, options: Mapping[str, Any]) -> bytes:
    """A PNG of 16 bits a channel, with the metadata that Pillow's ``options`` for saving name.

    Raises:
        OSError: libvips cannot write it.
    """
    import pyvips

    image = pyvips.Image.new_from_array(np.ascontiguousarray(deep))
    image = image.copy(interpretation="grey16" if deep.shape[2] < 3 else "rgb16")
    try:
        bare = bytes(image.pngsave_buffer(bitdepth=16, keep=0))
    except pyvips.Error as error:
        raise OSError(str(error)) from None
    buffer = io.BytesIO()
    Image.new("RGB" if deep.shape[2] >= 3 else "L", (1, 1)).save(buffer, "PNG", **options)
    described = buffer.getvalue()
    # libvips writes EXIF anew, without tags that it does not know; so the chunks are Pillow's
    return bare[:HEADER] + described[HEADER : _start_of_pixels(described)] + bare[_start_of_pixels(bare) :]


def _start_of_pixels(png: bytes) -> int:
    """Where the chunks IDAT begin."""
    place = HEADER
    while png[place + 4 : place + 8] != b"IDAT":
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    return place
