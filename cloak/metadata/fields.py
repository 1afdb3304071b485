"""What a photo's file says beside its pixels, and the plain words for its parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from cloak.errors import UsageError

Policy = Literal["default", "keep", "strip"]
"""How much of a photo's metadata stays."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

MAX_EXIF = 8 << 20
"""Bytes of an EXIF block that are looked at; a JPEG's has at most 64 KiB."""
MAX_FIELD = 1 << 16
"""Bytes of one EXIF field or IPTC dataset that stays."""
MAX_XMP = 16 << 20
"""Bytes of an XMP packet that are looked at."""
MAX_IPTC = 1 << 20
"""Bytes of IPTC datasets that are looked at."""
MAX_ICC = 16_000_000
"""Bytes of a colour profile that stays; a JPEG holds 16.7 million."""
MAX_TEXT = 1 << 16
"""Characters of a text field, or bytes of a comment, that stay."""
MAX_TEXTS = 1000
"""Text fields that are looked at."""
MAX_NOTE = 200
"""Characters of the note."""

GPS = "GPS position"
SERIALS = "serial numbers"
FACES = "face regions"
MAKER_NOTES = "maker notes"
MAKER_PREVIEW = "maker notes with a preview"
THUMBNAIL = "embedded thumbnail"
NAMES = "names and captions"
IDS = "unique ids"
OTHER = "other fields"
LARGE = "large fields"
DATES = "dates"
COPYRIGHT = "copyright"
CAMERA = "camera and exposure"
RESOLUTION = "resolution"
COMMENTS = "comments"
TEXTS = "text fields"
RAW_PROFILES = "raw profiles"
GAIN_MAP = "gain map"
DEPTH_MAP = "depth map"
MOTION = "motion video"
PICTURES = "further pictures"
RECORDING = "sound recording"
CREDENTIALS = "content credentials"
EXTENDED_XMP = "extended XMP"
TRAILER = "data behind the picture"
PHOTOSHOP = "Photoshop data"

PICTURE = re.compile(
    rb"\xff\xd8\xff"
    rb"|\xd8\xff[\xc0\xc4\xdb\xe0\xe1\xee\xfe]"  # Minolta alters a preview's first byte
    rb"|\x89PNG\r\n|RIFF[\x00-\xff]{4}WEBP|ftyp(?:hei|avi|mif|msf)"
    rb"|/9j/|iVBORw0KGgo|UklGR"  # the same in base64
    rb"|[fF]{2}[dD]8[fF]{2}[cdeCDE]"  # and in hexadecimal digits
)
"""How pictures begin, in bytes and in the ways that texts hold them."""


@dataclass(frozen=True)
class Metadata:
    """What a photo's file holds beside its pixels.

    Attributes:
        exif: the TIFF stream of an EXIF block, without the prefix ``Exif\\0\\0``.
        xmp: an XMP packet.
        iptc: IPTC-IIM datasets, resource 0x0404 of a Photoshop block.
        icc_profile: a colour profile.
        dpi: pixels an inch, across and down; None where the file says nothing.
        comment: a JPEG's or a GIF's comment.
        text: a PNG's text chunks, by keyword.
        colours: a PNG's chunks that say what its colours mean, by name.
        previews: plain words for what the file had that is never carried over.
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    icc_profile: bytes = b""
    dpi: tuple[float, float] | None = None
    comment: bytes = b""
    text: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[bytes, bytes] = field(default_factory=dict)
    previews: tuple[str, ...] = ()


def holds_picture(value: bytes) -> bool:
    """Whether a picture begins somewhere in ``value``: as bytes, in base64 or in hexadecimal digits."""
    return PICTURE.search(value) is not None


def check_policy(policy: str) -> None:
    """Raise UsageError unless ``policy`` is one of ``POLICIES``."""
    if policy not in POLICIES:
        raise UsageError(f"unknown metadata policy {policy!r}; choose one of {', '.join(POLICIES)}")
