"""What a photo is: pixels, and what is needed to write it back as it came."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloak.metadata import Metadata
from cloak.photo.formats import IN_MEMORY, Encoding
from cloak.types import Pixels

GREY_SPREAD = 8
"""A photo whose channels differ by at most so many levels, nearly everywhere, is black and white:
what JPEG makes of a grey picture in a colour file."""

GREY_SHARE = 0.999
"""Nearly everywhere: at this share of the pixels."""


@dataclass(frozen=True)
class Photo:
    """A photo as pixels, and what is needed to write it back as it came.

    Attributes:
        pixels: (h, w, 3) uint8, RGB, upright.
        alpha: (h, w) uint8, upright; None where there is none.
        deep: (h, w, channels) uint16, upright, alpha last: the samples of a file of 16 bits a
            channel; None else. ``pixels`` and ``alpha`` are these, rounded.
        single_channel: whether the file has one grey channel.
        encodings: how it can be written, the coarsest first; the first is used.
        metadata: what else goes into the file.
        removed: what of the file's metadata does not, in plain words.
        earlier: the note of an earlier cloak; empty where there is none.
        bytes: size of the file that it came from; 0 where there is none.
        notes: what a user should know of the reading and writing, a sentence each.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    deep: NDArray[np.uint16] | None = None
    single_channel: bool = False
    encodings: Sequence[Encoding] = IN_MEMORY
    metadata: Metadata = field(default_factory=Metadata)
    removed: tuple[str, ...] = ()
    earlier: str = ""
    bytes: int = 0
    notes: tuple[str, ...] = ()

    @property
    def encoding(self) -> Encoding:
        """How it is written."""
        return self.encodings[0]

    @property
    def coarsest(self) -> "Photo":
        """The same, which no finer encoding is tried for."""
        return replace(self, encodings=self.encodings[:1])

    @property
    def grey(self) -> bool:
        """Whether the photo is black and white."""
        if self.single_channel:
            return True
        red, green, blue = np.moveaxis(self.pixels, 2, 0)  # a reduction over three numbers takes ten times as long
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        return bool((spread <= GREY_SPREAD).mean() >= GREY_SHARE)


def to_image(photo: Photo) -> Image.Image:
    """The photo as a Pillow image of 8 bits a channel, upright, one channel where it came with one."""
    image = Image.fromarray(photo.pixels)
    if photo.single_channel:
        image = image.getchannel(0)
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    return image
