"""What files hold beside the picture and its metadata, by name only: nothing of it is carried over.

Every search is linear in the file and looks at a bounded number of parts.
Sources: ISO/IEC 10918-1 B.1, JFIF 1.02, CIPA DC-007 (MPF), C2PA 2.1, PNG 3rd edition, RIFF WebP, ISO/IEC 14496-12.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cloak.metadata import fields

MAX_PARTS = 20_000
"""Segments, chunks or boxes of a file that are looked at."""

MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""A JPEG's marker that is neither stuffing nor a restart."""
SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
SEGMENTS = (
    (0xE0, b"JFXX\0", fields.THUMBNAIL),
    (0xE1, XMP_EXTENSION, fields.EXTENDED_XMP),
    (0xE2, b"FPXR\0", fields.THUMBNAIL),
    (0xE2, b"MPF\0", fields.PICTURES),
    (0xE2, b"urn:iso:std:iso:ts:21496", fields.GAIN_MAP),
    (0xEB, b"JP", fields.CREDENTIALS),
)
"""Marker, beginning, and what it is called."""
CARRIED = ((0xE0, b"JFIF\0"), (0xE1, b"Exif\0"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xE2, b"ICC_PROFILE\0"))
PLAIN = (0xEC, 0xED, 0xEE)
"""Segments of Adobe's own: quality, Photoshop's (which is looked at by itself), colour transform."""

IRB_THUMBNAILS = (1033, 1036)
IRB_USUAL = (0x03ED, 0x0404, 0x040F, 0x0425)
"""Resolution, IPTC, colour profile, the IPTC's digest."""

CHUNKS: Mapping[str, Mapping[bytes, str]] = {
    "PNG": {b"caBX": fields.CREDENTIALS, b"acTL": fields.PICTURES},
    "WEBP": {b"C2PA": fields.CREDENTIALS, b"ANIM": fields.PICTURES},
    "HEIF": {b"mpvd": fields.MOTION, b"sefd": fields.MOTION, b"moov": fields.MOTION, b"jumb": fields.CREDENTIALS},
}
PNG_COLOURS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
"""Chunks that say what a PNG's colours mean -> bytes of their content."""

C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def hidden_parts(image_format: str, info: Mapping[Any, Any], data: bytes) -> tuple[str, ...]:
    """Plain words for what the file has beside picture and metadata.

    Args:
        image_format: Pillow's name of it.
        info: the ``info`` of the image that Pillow opened.
        data: the file's bytes; any bytes.
    """
    found: dict[str, None] = {}
    if image_format in ("JPEG", "MPO"):
        found.update(dict.fromkeys(_in_jpeg(data)))
        found.update(dict.fromkeys(photoshop_parts(info.get("photoshop"))))
    elif image_format == "PNG":
        found.update(dict.fromkeys(_in_chunks(data, 8, "PNG")))
    elif image_format == "WEBP":
        found.update(dict.fromkeys(_in_chunks(data, 12, "WEBP")))
    elif image_format in ("HEIF", "AVIF"):
        found.update(dict.fromkeys(_in_boxes(data)))
        found.update(dict.fromkeys(_in_heif_info(info)))
    return tuple(found)


def photoshop_parts(resources: object) -> Iterator[str]:
    """Plain words for the resources of a Photoshop block, by number."""
    if not isinstance(resources, dict):
        return
    for number in resources:
        if number in IRB_THUMBNAILS:
            yield fields.THUMBNAIL
        elif number not in IRB_USUAL:
            yield fields.PHOTOSHOP


def count_scans(data: bytes) -> int:
    """How often a JPEG's first picture is gone over."""
    return sum(marker == SOS for marker, _, _ in _segments(data))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, beginning and end of each segment of a JPEG's first picture, without its SOI; EOI is empty."""
    at = 0
    for _ in range(MAX_PARTS):
        match = MARKER.search(data, at)
        if match is None:
            return
        marker, at = match[1][0], match.end()
        if marker == EOI:
            yield marker, at, at
            return
        if marker == SOI or marker < 0xC0:
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        yield marker, at + 2, at + max(size, 2)
        at += size


def _in_jpeg(data: bytes) -> Iterator[str]:
    end = 0
    for marker, start, stop in _segments(data):
        if 0xE0 <= marker <= 0xEF:
            yield from _in_segment(marker, data[start:stop])
        elif marker == EOI:
            end = stop
    if end and data[end : end + 4096].strip(b"\0\xff\r\n\t "):
        yield from _behind_jpeg(data, end)


def _in_segment(marker: int, segment: bytes) -> Iterator[str]:
    for wanted, start, name in SEGMENTS:
        if marker == wanted and segment.startswith(start):
            yield name
            return
    if marker == 0xE0 and segment.startswith(b"JFIF\0") and len(segment) > 14 and segment[12] * segment[13]:
        yield fields.THUMBNAIL
    elif marker not in PLAIN and not any(marker == kind and segment.startswith(start) for kind, start in CARRIED):
        yield fields.OTHER


def _behind_jpeg(data: bytes, start: int) -> Iterator[str]:
    named = False
    for pattern, name in (
        (rb"ftyp(?:mp4|isom|qt  |avc|mov)|MotionPhoto_Data", fields.MOTION),
        (rb"hdrgm:|HDRGainMap|urn:iso:std:iso:ts:21496", fields.GAIN_MAP),
        (rb"\xff\xd8\xff", fields.PICTURES),
    ):
        if re.compile(pattern).search(data, start):
            named = True
            yield name
    if not named:
        yield fields.TRAILER


def png_colours(data: bytes) -> dict[bytes, bytes]:
    """A PNG's chunks that say what its colours mean, where there is no profile; each by its name, once."""
    found: dict[bytes, bytes] = {}
    at = 8
    for _ in range(MAX_PARTS):
        name, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        if name in (b"IDAT", b"IEND", b""):
            break
        if PNG_COLOURS.get(name) == size:
            found.setdefault(name, data[at + 8 : at + 8 + size])
        at += 12 + size
    return {name: content for name, content in found.items() if len(content) == PNG_COLOURS[name]}


def _in_chunks(data: bytes, at: int, kind: str) -> Iterator[str]:
    """Chunks of a PNG or a RIFF; what lies behind the last."""
    names = CHUNKS[kind]
    end = len(data) if kind == "PNG" else min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            break
        if kind == "PNG":
            name, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big") + 4
        else:
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            size += size % 2
        if name in names:
            yield names[name]
        at += 8 + size
        if name == b"IEND":
            end = at
            break
    if data[end : end + 4096].strip(b"\0\r\n\t "):
        yield fields.TRAILER


def _in_boxes(data: bytes) -> Iterator[str]:
    at = 0
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            return
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        end = at + size if size >= 8 else len(data)
        if name in CHUNKS["HEIF"]:
            yield CHUNKS["HEIF"][name]
        elif name == b"uuid" and C2PA_BOX in data[at + 8 : at + 24]:
            yield fields.CREDENTIALS
        elif name == b"ftyp" and b"tmap" in data[at : min(end, at + 256)]:
            yield fields.GAIN_MAP
        elif name == b"meta" and data.find(b"thmb", at, end) >= 0:
            yield fields.THUMBNAIL
        at = end


def _in_heif_info(info: Mapping[Any, Any]) -> Iterator[str]:
    """What pillow_heif tells of thumbnails, depth maps and auxiliary pictures."""
    if info.get("thumbnails"):
        yield fields.THUMBNAIL
    if info.get("depth_images"):
        yield fields.DEPTH_MAP
    for kind in info.get("aux") or ():
        name = str(kind).lower()
        if "gainmap" in name:
            yield fields.GAIN_MAP
        elif "depth" in name or "disparity" in name:
            yield fields.DEPTH_MAP
        elif "alpha" not in name and not name.endswith("auxid:1"):
            yield fields.PICTURES
