"""File <-> pixels: orientation, alpha, colour profile; encoding; atomic saving."""

import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cloak.errors import PhotoError, SaveError
from cloak.types import Pixels

JPEG_QUALITIES = (95, 97, 98, 99, 100)
"""What a JPEG is saved at: the first, or a better one where its blocks alone would be seen."""

ENCODINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "JPEG": {"subsampling": "4:4:4", "optimize": True},
        "PNG": {},
        "WEBP": {"lossless": True, "exact": True},  # its lossy form halves the chroma
        "BMP": {},
        "TIFF": {"compression": "tiff_lzw"},
    }
)
"""Formats that can be written back, and how."""

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Which files of a folder are taken for photos, in lower case."""

MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1")
"""Pillow's modes that are read; a palette is saved as full colour."""

ORIENTATION = 0x0112

UPRIGHT_BACK: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
)
"""EXIF orientation -> what takes the upright picture back to how it was stored."""


@dataclass(frozen=True)
class Photo:
    """A photo as pixels, and what is needed to write it back as it came.

    Attributes:
        pixels: (h, w, 3) uint8, RGB, upright.
        alpha: (h, w) uint8, upright; None where there is none.
        single_channel: whether the file has one grey channel.
        format: Pillow's name of the file format.
        orientation: EXIF orientation of the stored picture, 1..8.
        jpeg_quality: what it is saved at, if it is a JPEG.
        extras: what else goes into the file: colour profile, EXIF (without thumbnail), resolution.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    single_channel: bool = False
    format: str = "PNG"
    orientation: int = 1
    jpeg_quality: int = JPEG_QUALITIES[0]
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lossless(self) -> bool:
        """Whether saving keeps every pixel."""
        return self.format != "JPEG"

    @property
    def grey(self) -> bool:
        """Whether the photo has no colour anywhere."""
        if self.single_channel:
            return True
        red, green, blue = (self.pixels[..., channel] for channel in range(3))
        return bool((red == green).all() and (green == blue).all())


def read_photo(path: Path) -> Photo:
    """Read a photo from a file.

    Raises:
        PhotoError: no such file, not a picture, damaged, or of a kind that cannot be written back.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not data:
        raise PhotoError(f"{path}: expected a photo, got an empty file")
    return decode(data, str(path))


def decode(data: bytes, name: str) -> Photo:
    """Read a photo from a file's bytes; ``name`` is for messages."""
    with _decoding_errors(name), Image.open(io.BytesIO(data)) as image:
        _check(image, name)
        orientation = image.getexif().get(ORIENTATION, 1) if image.format != "TIFF" else 1
        image.load()
        photo = photo_of(image, upright=False)
    stored_format = "JPEG" if image.format == "MPO" else str(image.format)
    return replace(
        photo,
        format=stored_format,
        orientation=orientation if orientation in UPRIGHT_BACK else 1,
    )


def photo_of(image: Image.Image, *, upright: bool = True) -> Photo:
    """A Pillow image -> photo in memory, turned upright by its EXIF orientation.

    Args:
        image: of one of ``MODES``.
        upright: whether the picture counts as stored upright from here on.

    Raises:
        PhotoError: another mode.
    """
    if image.mode not in MODES:
        raise PhotoError(
            f"expected a picture of 8 bits a channel in colour or grey, got mode {image.mode}; convert it first"
        )
    exif = image.getexif()
    extras = {key: image.info[key] for key in ("icc_profile", "dpi") if image.info.get(key)}
    turned = ImageOps.exif_transpose(image)
    if upright:
        exif.pop(ORIENTATION, None)
    if len(exif):
        extras["exif"] = exif.tobytes()  # Pillow leaves the thumbnail out
    has_alpha = turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info
    rgba = turned.convert("RGBA") if has_alpha else None
    return Photo(
        pixels=np.asarray((rgba or turned).convert("RGB")),
        alpha=np.asarray(rgba.getchannel("A")) if rgba else None,
        single_channel=turned.mode in ("L", "LA", "1"),
        extras=extras,
    )


def to_image(photo: Photo) -> Image.Image:
    """The photo as a Pillow image, upright, one channel where it came with one."""
    image = Image.fromarray(photo.pixels)
    if photo.single_channel:
        image = image.getchannel(0)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image


def encode(photo: Photo) -> bytes:
    """Write a photo into bytes: the format, orientation, profile and EXIF that it came with.

    JPEG with full-resolution chroma; WebP without loss.
    """
    image = to_image(photo)
    if photo.orientation in UPRIGHT_BACK:
        image = image.transpose(UPRIGHT_BACK[photo.orientation])
    options = dict(ENCODINGS[photo.format])
    if photo.format == "JPEG":
        options["quality"] = photo.jpeg_quality
    buffer = io.BytesIO()
    image.save(buffer, photo.format, **options, **photo.extras)
    return buffer.getvalue()


def recode(photo: Photo, pixels: Pixels) -> Pixels:
    """What ``pixels``, a region of the photo, become in a file of the photo's encoding."""
    if photo.lossless:
        return pixels
    bare = replace(photo, pixels=pixels, alpha=None, orientation=1, extras={})
    with Image.open(io.BytesIO(encode(bare))) as image:
        return np.asarray(image.convert("RGB"))


def save_bytes(data: bytes, path: Path, *, overwrite: bool = False) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then renamed.

    Raises:
        SaveError: the file exists (and ``overwrite`` is off), or cannot be written.
    """
    if path.exists() and not overwrite:
        raise SaveError(f"{path}: exists already; pass --overwrite to replace it")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(f"{path}: cannot be written: {error.strerror or error}") from None


def _check(image: Image.Image, name: str) -> None:
    """Refuse what could not be written back as it came."""
    frames = getattr(image, "n_frames", 1)
    if image.format == "MPO":  # a JPEG with further pictures behind the first
        frames = 1
    elif image.format not in ENCODINGS:
        raise PhotoError(f"{name}: expected a photo in {', '.join(ENCODINGS)}, got {image.format}; convert it first")
    if frames > 1:
        raise PhotoError(f"{name}: expected one picture, got {frames} frames; extract the one to protect")


@contextmanager
def _decoding_errors(name: str) -> Iterator[None]:
    """Pillow's many exceptions -> one PhotoError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except PhotoError as error:
        raise PhotoError(str(error) if str(error).startswith(name) else f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise PhotoError(f"{name}: expected a photo, got a file that is none (or of an unknown format)") from None
    except Image.DecompressionBombError:
        raise PhotoError(
            f"{name}: expected at most {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, got more; reduce it first"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError) as error:
        raise PhotoError(f"{name}: the file is damaged: {error}") from None
