"""File -> metadata."""

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image

from cloak.metadata import fields
from cloak.metadata.exif import DAMAGED, HOLDERS, STRUCTURE
from cloak.metadata.fields import MAX_TEXTS, Metadata
from cloak.metadata.hidden import hidden_parts, photoshop_parts, png_colours
from cloak.metadata.iptc import RESOURCE
from cloak.metadata.tiff import Tree, read_tree, without, write_tree

EXIF_PREFIX = b"Exif\0\0"
XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG, ICC_TAG = 0x02BC, 0x83BB, 0x8649, 0x8773
LAYERS = 0x935C
X_RESOLUTION = 0x011A
MAX_RESOURCES = 1000
MAX_DPI = 65535


def read_metadata(image: Image.Image, data: bytes) -> Metadata:
    """What a photo's file holds beside its pixels; a PNG is decoded for what lies behind its pixels.

    Args:
        image: opened by Pillow, with pillow_heif's plugin for HEIF, from ``data``.
        data: the file's bytes.
    """
    image_format = str(image.format)
    if image_format == "TIFF":
        return _in_tiff(image, data)
    text = _texts(image) if image_format == "PNG" else {}
    info: Mapping[Any, Any] = image.info
    exif = _bytes(info, "exif")
    for _ in range(2):
        exif = exif.removeprefix(EXIF_PREFIX)
    photoshop = info.get("photoshop")
    return Metadata(
        exif=exif,
        xmp=_bytes(info, "xmp"),
        iptc=_bytes(photoshop, RESOURCE) if isinstance(photoshop, dict) else b"",
        icc_profile=_bytes(info, "icc_profile"),
        dpi=None if image_format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2) else _dpi(info.get("dpi")),
        comment=_bytes(info, "comment") if image_format in ("JPEG", "MPO", "GIF") else b"",
        text=text,
        colours=png_colours(data) if image_format == "PNG" else {},
        previews=hidden_parts(image_format, info, data),
    )


def _bytes(info: Mapping[Any, Any], key: object) -> bytes:
    """A value of Pillow's ``info``, where a PNG's text chunks may stand under any name."""
    value = info.get(key)
    return value if isinstance(value, bytes) else b""


def _dpi(value: object) -> tuple[float, float] | None:
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    try:
        across, down = float(value[0]), float(value[1])
    except (TypeError, ValueError, ArithmeticError):
        return None
    fits = all(math.isfinite(number) and 0 < number <= MAX_DPI for number in (across, down))
    return (across, down) if fits else None


def _texts(image: Image.Image) -> dict[str, str]:
    """A PNG's text chunks, those behind the pixels too."""
    try:
        image.load()
        chunks = dict(getattr(image, "text", {}))
    except Exception:  # the caller, who decodes the picture, will meet it again
        return {}
    pairs = [(key, value) for key, value in chunks.items() if isinstance(key, str) and isinstance(value, str)]
    return {key: value for key, value in pairs[:MAX_TEXTS] if key != "XML:com.adobe.xmp"}


def _in_tiff(image: Image.Image, data: bytes) -> Metadata:
    """A TIFF's metadata are fields of its first picture; what describes its pixels is left behind."""
    try:
        tree = read_tree(data, {*STRUCTURE, LAYERS} - {ICC_TAG})
    except ValueError:
        tree = Tree(damaged=True)
    values = {tag: entry.data for tag, entry in tree.main.items()}
    resources = photoshop_resources(values.get(PHOTOSHOP_TAG, b""))
    found = [HOLDERS[tag] for tag in tree.main if HOLDERS.get(tag) == fields.THUMBNAIL]
    found += [fields.PICTURES] if tree.more else []
    found += photoshop_parts(resources)
    found += [DAMAGED] if tree.damaged else []
    bare = Tree(
        order=tree.order,
        main=without(tree.main, {*STRUCTURE, *HOLDERS}),
        exif=tree.exif,
        gps=tree.gps,
        interop=tree.interop,
    )
    return Metadata(
        exif=write_tree(bare),
        xmp=values.get(XMP_TAG, b""),
        iptc=values.get(IPTC_TAG, b"") or resources.get(RESOURCE, b""),
        icc_profile=values.get(ICC_TAG, b""),
        dpi=_dpi(image.info.get("dpi")) if X_RESOLUTION in tree.main else None,  # else Pillow says 1 or 72
        previews=tuple(dict.fromkeys(found)),
    )


def photoshop_resources(block: bytes) -> dict[int, bytes]:
    """The resources of a Photoshop block by number; what is damaged ends it.

    Source: Adobe Photoshop file formats specification, image resource blocks.
    """
    resources: dict[int, bytes] = {}
    at = 0
    while block[at : at + 4] == b"8BIM" and len(resources) < MAX_RESOURCES and at + 12 <= len(block):
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        name = 1 + block[at + 6]
        start = at + 6 + name + name % 2
        size = int.from_bytes(block[start : start + 4], "big")
        resources.setdefault(number, block[start + 4 : start + 4 + size])
        at = start + 4 + size + size % 2
    return resources
