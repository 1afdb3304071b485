"""What happens to a photo between saving and recognition: platforms, and trackers who purify."""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageFilter
from torch import Tensor

from cloak.align import to_tensor
from cloak.errors import UsageError, in_a_line
from cloak.imports import find_attribute
from cloak.types import Pixels

FEED_SIDE = 1080
"""Longest side of a photo in a feed, pixels; smaller photos are not enlarged."""


@dataclass(frozen=True)
class Condition:
    """A change of the whole photo, the same every time for the same photo.

    Attributes:
        name: in protocols and results.
        title: in words.
        purifier: whether a tracker would do this on purpose, to remove a cloak.
        own: whether it is a user's, and may do something else tomorrow.
        apply: (h, w, 3) uint8 -> the same type, perhaps of another size.
    """

    name: str
    title: str
    apply: Callable[[Pixels], Pixels]
    purifier: bool = False
    own: bool = False


def reencode(file_format: str, quality: int) -> Callable[[Pixels], Pixels]:
    """Through a lossy file of Pillow's usual settings (halved chroma)."""

    def apply(pixels: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, file_format, quality=quality)
        return np.asarray(Image.open(buffer).convert("RGB"))

    return apply


def half_and_back(pixels: Pixels) -> Pixels:
    """Half the size by Lanczos, and back by bicubic interpolation."""
    image = Image.fromarray(pixels)
    small = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def feed(pixels: Pixels) -> Pixels:
    """At most FEED_SIDE px on the longer side, JPEG 75."""
    image = Image.fromarray(pixels)
    image.thumbnail((FEED_SIDE, FEED_SIDE), Image.Resampling.LANCZOS)
    return reencode("JPEG", 75)(np.asarray(image))


def blur(pixels: Pixels) -> Pixels:
    """Gaussian blur, sigma 1 px."""
    from kornia.filters import gaussian_blur2d

    return _from_tensor(gaussian_blur2d(to_tensor(pixels), (9, 9), (1.0, 1.0)))


def noise(pixels: Pixels) -> Pixels:
    """Gaussian noise of standard deviation .02 of the range, seeded by the photo."""
    seed = int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "little")
    drawn = np.random.default_rng(seed).normal(0.0, 0.02 * 255.0, pixels.shape)
    return np.rint(pixels + drawn).clip(0, 255).astype(np.uint8)


def crop(pixels: Pixels) -> Pixels:
    """5 % cut off every side."""
    down, across = round(0.05 * pixels.shape[0]), round(0.05 * pixels.shape[1])
    return np.ascontiguousarray(pixels[down : pixels.shape[0] - down, across : pixels.shape[1] - across])


def median(pixels: Pixels) -> Pixels:
    """Median of 3 x 3 pixels, each channel by itself."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.MedianFilter(3)))


def bilateral(pixels: Pixels) -> Pixels:
    """Bilateral filter, 7 x 7, sigma .1 in colour and 2 px in space."""
    from kornia.filters import bilateral_blur

    return _from_tensor(bilateral_blur(to_tensor(pixels), (7, 7), 0.1, (2.0, 2.0)))


def jpeg_and_blur(pixels: Pixels) -> Pixels:
    """JPEG 50, then Gaussian blur of sigma 1 px."""
    return blur(reencode("JPEG", 50)(pixels))


def _from_tensor(image: Tensor) -> Pixels:
    values: Pixels = (255.0 * image[0]).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    return values


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        condition.name: condition
        for condition in (
            Condition("saved", "the saved file", lambda pixels: pixels),
            Condition("jpeg95", "JPEG 95", reencode("JPEG", 95)),
            Condition("jpeg75", "JPEG 75", reencode("JPEG", 75)),
            Condition("jpeg50", "JPEG 50", reencode("JPEG", 50)),
            Condition("webp80", "WebP 80", reencode("WEBP", 80)),
            Condition("half", "half the size and back", half_and_back),
            Condition("feed", "feed: at most 1080 px, JPEG 75", feed),
            Condition("blur", "Gaussian blur, 1 px", blur),
            Condition("noise", "Gaussian noise, .02", noise),
            Condition("crop", "5 % cut off each side", crop),
            Condition("median", "purifier: median 3 x 3", median, purifier=True),
            Condition("bilateral", "purifier: bilateral filter", bilateral, purifier=True),
            Condition("jpeg50_blur", "purifier: JPEG 50 and blur", jpeg_and_blur, purifier=True),
        )
    }
)


def find_condition(name: str) -> Condition:
    """The condition of this name, or what a user's function ``module:function`` does.

    Raises:
        UsageError: there is none.
    """
    if ":" in name:
        return own_condition(name)
    if name not in CONDITIONS:
        raise UsageError(f"expected a condition, one of {', '.join(CONDITIONS)}, or module:function; got {name!r}")
    return CONDITIONS[name]


def own_condition(name: str) -> Condition:
    """A condition from a user's function of a photo, (h, w, 3) uint8 -> the same type.

    Raises:
        UsageError: there is no such function; or, when it is applied, it fails or gives something else.
    """
    function = find_attribute(name, "function")
    if not callable(function):
        raise UsageError(f"{name}: expected a function of a photo, got {type(function).__name__}")

    def apply(pixels: Pixels) -> Pixels:
        try:
            changed = np.asarray(function(pixels.copy()))
        except Exception as error:  # whatever a user's function raises
            raise UsageError(f"{name}: expected a photo, got {type(error).__name__}: {in_a_line(error)}") from error
        if changed.dtype != np.uint8 or changed.ndim != 3 or changed.shape[2] != 3 or not changed.size:
            raise UsageError(f"{name}: expected (h, w, 3) uint8, got {changed.shape} {changed.dtype}")
        return np.ascontiguousarray(changed)

    return Condition(name, name, apply, own=True)
