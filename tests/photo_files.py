"""Photo files of every kind, made from one picture."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyvips
from PIL import Image, ImageCms

from cloak.photo.formats import register_heif
from cloak.types import Pixels
from tests.helpers import smooth_noise

register_heif()


@dataclass(frozen=True)
class Kind:
    """How a file is made, and what becomes of it.

    Attributes:
        format: Pillow's name of the source's format.
        mode: of the image that is saved.
        options: for saving.
        saved: format of the result.
        saved_mode: Pillow's mode of the result.
        error: the largest mean error of reading, in grey levels: of a lossy format.
        note: what the user is told.
    """

    format: str
    mode: str = "RGB"
    options: Mapping[str, Any] = field(default_factory=dict)
    saved: str = ""
    saved_mode: str = ""
    error: float = 0.0
    note: str = ""


ANIMATED = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "red")], "duration": 50}

KINDS: Mapping[str, Kind] = {
    "jpeg": Kind("JPEG", options={"quality": 90}, error=6),
    "jpeg progressive": Kind("JPEG", options={"quality": 90, "progressive": True}, error=6),
    "jpeg 4:4:4": Kind("JPEG", options={"quality": 90, "subsampling": 0}, error=6),
    "jpeg grey": Kind("JPEG", "L", {"quality": 90}, error=6),
    "jpeg cmyk": Kind("JPEG", "CMYK", {"quality": 90}, saved_mode="RGB", error=9, note="CMYK colours became RGB"),
    "jpeg two pictures": Kind("MPO", options=ANIMATED | {"quality": 90}, saved="JPEG", error=6),
    "png": Kind("PNG"),
    "png alpha": Kind("PNG", "RGBA"),
    "png grey": Kind("PNG", "L"),
    "png grey alpha": Kind("PNG", "LA"),
    "png palette": Kind("PNG", "P", saved_mode="RGB"),
    "png palette alpha": Kind("PNG", "P", {"transparency": 3}, saved_mode="RGBA"),
    "png 1 bit": Kind("PNG", "1", saved_mode="L"),
    "png 16": Kind("PNG", "RGB16", saved_mode="RGB"),
    "png 16 alpha": Kind("PNG", "RGBA16", saved_mode="RGBA"),
    "png 16 grey": Kind("PNG", "L16", saved_mode="I;16"),
    "png animated": Kind("PNG", options=ANIMATED, note="only the first of the pictures"),
    "webp": Kind("WEBP", options={"quality": 90}, error=6),
    "webp alpha": Kind("WEBP", "RGBA", {"quality": 90}, error=6),
    "webp lossless": Kind("WEBP", options={"lossless": True}),
    "webp lossless alpha": Kind("WEBP", "RGBA", {"lossless": True, "exact": True}),
    "webp animated": Kind("WEBP", options=ANIMATED | {"lossless": True}, note="only the first of the pictures"),
    "heic": Kind("HEIF", options={"quality": 80}, error=6),
    "heic grey": Kind("HEIF", "L", {"quality": 80}, error=6),
    "heic alpha": Kind("HEIF", "RGBA", {"quality": 80}, "PNG", error=6, note="saved as PNG, since HEIF does not keep"),
    "avif": Kind("AVIF", options={"quality": 80}, error=6),
    "avif alpha": Kind("AVIF", "RGBA", {"quality": 80}, "PNG", error=6, note="saved as PNG, since AVIF does not keep"),
    "tiff": Kind("TIFF"),
    "tiff lzw": Kind("TIFF", options={"compression": "tiff_lzw"}),
    "tiff alpha": Kind("TIFF", "RGBA"),
    "tiff grey": Kind("TIFF", "L"),
    "tiff cmyk": Kind("TIFF", "CMYK", saved_mode="RGB", note="CMYK colours became RGB"),
    "tiff lab": Kind("TIFF", "LAB", saved_mode="RGB", error=2, note="LAB colours became RGB"),
    "tiff 16": Kind("TIFF", "RGB16", saved_mode="RGB", error=0.5, note="16 bits a channel became 8"),
    "tiff pages": Kind("TIFF", options=ANIMATED, note="only the first of the pictures"),
    "bmp": Kind("BMP"),
    "bmp grey": Kind("BMP", "L"),
    "gif": Kind("GIF", "P", saved="PNG", saved_mode="RGB", note="saved as PNG, since GIF holds too few colours"),
    "gif animated": Kind("GIF", "P", ANIMATED, "PNG", "RGB", note="only the first of the pictures"),
}
"""Every kind of file that is read."""

PIXELS = smooth_noise(48, 64, seed=5)


def image_of(mode: str, pixels: Pixels = PIXELS) -> Image.Image:
    """The picture in one of Pillow's modes; transparent where it is not red."""
    picture = Image.fromarray(pixels)
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(pixels[..., 0]))
    return picture.convert(mode)


def deep_samples(channels: int, pixels: Pixels = PIXELS) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """(h, w, channels) uint16 whose lower bytes are not those of the 8-bit picture."""
    planes = np.dstack([pixels, pixels[..., :1]])[..., [0, 1, 2, 3] if channels == 4 else slice(0, channels)]
    noise = np.random.default_rng(0).integers(-100, 100, planes.shape)
    return (planes.astype(np.int64) * 257 + noise).clip(0, 65535).astype(np.uint16)


def make(kind: str, pixels: Pixels = PIXELS, **options: Any) -> bytes:
    """The bytes of one of KINDS; further ``options`` for Pillow's save."""
    made = KINDS[kind]
    if made.mode.endswith("16"):
        channels = {"L16": 1, "RGB16": 3, "RGBA16": 4}[made.mode]
        picture = pyvips.Image.new_from_array(deep_samples(channels, pixels))
        picture = picture.copy(interpretation="grey16" if channels == 1 else "rgb16")
        saved = picture.pngsave_buffer(bitdepth=16, keep=0) if made.format == "PNG" else picture.tiffsave_buffer()
        return bytes(saved)
    options = dict(made.options) | options
    if "append_images" in options:  # saving leaves traces in an image that the next format trips over
        options["append_images"] = [image.resize(pixels.shape[1::-1]) for image in options["append_images"]]
    buffer = io.BytesIO()
    image_of(made.mode, pixels).save(buffer, made.format, **options)
    return buffer.getvalue()


THUMBNAIL = b"\xff\xd8\xff\xdb the uncloaked face"


def camera_exif(orientation: int = 1, thumbnail: bytes = THUMBNAIL) -> bytes:
    """As a telephone writes it: position, serial number, maker note, and a thumbnail behind it all."""
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x013B], exif[0x8298] = "a telephone", orientation, "Jane Doe", "(c) Jane"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0xA431], details[0x927C] = "2026:05:01 10:00:00", "SERIAL-4711", b"MAKERNOTE" * 9
    position = exif.get_ifd(0x8825)
    position[1], position[2], position[3], position[4] = "N", (48.0, 8.0, 14.5), "E", (11.0, 34.0, 31.2)
    stream = bytearray(exif.tobytes()[6:])
    order: Literal["little", "big"] = "little" if stream[:2] == b"II" else "big"
    following = 8 + 2 + 12 * int.from_bytes(stream[8:10], order)
    start = len(stream)
    stream[following : following + 4] = start.to_bytes(4, order)
    stream += (2).to_bytes(2, order)
    for tag, value in ((0x0201, start + 30), (0x0202, len(thumbnail))):
        stream += tag.to_bytes(2, order) + (4).to_bytes(2, order) + (1).to_bytes(4, order) + value.to_bytes(4, order)
    return b"Exif\0\0" + bytes(stream) + bytes(4) + thumbnail
