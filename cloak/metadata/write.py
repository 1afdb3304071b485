"""Metadata -> file: what Pillow is told when it saves, and what it cannot write."""

from typing import Any

from PIL.PngImagePlugin import PngInfo

from cloak.metadata import fields
from cloak.metadata.fields import MAX_EXIF, Metadata
from cloak.metadata.iptc import RESOURCE
from cloak.metadata.read import EXIF_PREFIX, IPTC_TAG, XMP_TAG
from cloak.metadata.tiff import Entry, Tree, pack_tree, read_directory, read_header, read_tree, reordered

HOLDS: dict[str, frozenset[str]] = {
    "JPEG": frozenset(("exif", "xmp", "iptc", "icc_profile", "dpi", "comment")),
    "PNG": frozenset(("exif", "xmp", "icc_profile", "dpi", "text")),
    "WEBP": frozenset(("exif", "xmp", "icc_profile")),
    "AVIF": frozenset(("exif", "xmp", "icc_profile")),
    "HEIF": frozenset(("exif", "xmp", "icc_profile")),
    "TIFF": frozenset(("exif", "xmp", "iptc", "icc_profile", "dpi")),
    "BMP": frozenset(("dpi",)),
}
"""What a file of each format can hold."""

WORDS = {
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "icc_profile": "colour profile",
    "comment": fields.COMMENTS,
    "text": fields.TEXTS,
}
SEGMENT = 65533
"""Bytes that a JPEG's segment holds."""
XMP_START = b"http://ns.adobe.com/xap/1.0/\0"
PHOTOSHOP_START = b"Photoshop 3.0\0" + b"8BIM" + RESOURCE.to_bytes(2, "big") + b"\0\0"
XMP_KEY = "XML:com.adobe.xmp"
UNDEFINED, BYTE = 7, 1


def save_options(metadata: Metadata, image_format: str) -> dict[str, Any]:
    """Keyword arguments for Pillow's ``Image.save``; what the format cannot hold is left out (see ``left_out``).

    Each part that the format can hold is named even where it is empty, as Pillow else takes it from
    the image. A TIFF's EXIF, XMP and IPTC are put in afterwards by ``finish``.

    Args:
        metadata: what is written, as ``apply_policy`` returns it.
        image_format: Pillow's name of the format; one that nothing is written into gives no arguments.
    """
    image_format = _written(image_format)
    holds = HOLDS.get(image_format, frozenset())
    missing = left_out(metadata, image_format)
    exif = metadata.exif if WORDS["exif"] not in missing else b""
    xmp = metadata.xmp if WORDS["xmp"] not in missing else b""
    options: dict[str, Any] = {}
    if "icc_profile" in holds:
        options["icc_profile"] = metadata.icc_profile or None
    if "dpi" in holds and metadata.dpi:
        options["dpi"] = metadata.dpi
    if "exif" in holds and image_format != "TIFF":
        options["exif"] = EXIF_PREFIX + exif if exif else b""
        options["xmp"] = xmp
    if image_format == "JPEG":
        options["comment"] = metadata.comment if WORDS["comment"] not in missing else b""
        options["extra"] = _photoshop(metadata.iptc) if WORDS["iptc"] not in missing else b""
    elif image_format == "PNG":
        options.pop("xmp")
        options["pnginfo"] = _png_chunks(metadata, xmp)
    elif image_format == "HEIF":  # takes empty parts for parts
        options.update(exif=options["exif"] or None, xmp=xmp or None, thumbnails=[], metadata=[])
    return options


def left_out(metadata: Metadata, image_format: str) -> tuple[str, ...]:
    """Plain words for what stays under the policy, but cannot be written into the format."""
    image_format = _written(image_format)
    holds = HOLDS.get(image_format, frozenset())
    missing = [word for name, word in WORDS.items() if getattr(metadata, name) and name not in holds]
    if image_format == "JPEG":
        sizes = {
            "exif": len(EXIF_PREFIX + metadata.exif),
            "xmp": len(XMP_START + metadata.xmp),
            "iptc": len(_photoshop(metadata.iptc)) - 4,
            "comment": len(metadata.comment),
        }
        missing += [WORDS[name] for name, size in sizes.items() if size > SEGMENT]
    return tuple(missing)


def finish(data: bytes, metadata: Metadata, image_format: str) -> bytes:
    """A file that Pillow saved, with what Pillow could not write; other formats than TIFF as they are.

    Pillow's compressed TIFFs hold no EXIF directory (it raises RuntimeError). Here the first picture's
    directory is written anew behind the pixels, with the metadata in it; fields of the pixels win.
    """
    if _written(image_format) != "TIFF" or not (metadata.exif or metadata.xmp or metadata.iptc):
        return data
    header = read_header(data)
    pixels, following, damaged = read_directory(data, header, header.first)
    if header.big or following or damaged:
        return data
    try:
        tree = read_tree(metadata.exif[:MAX_EXIF])
    except ValueError:
        tree = Tree()
    main = reordered(tree.main, tree.order, header.order)
    for tag, block in ((XMP_TAG, metadata.xmp), (IPTC_TAG, metadata.iptc)):
        if block:
            main[tag] = Entry(BYTE if tag == XMP_TAG else UNDEFINED, len(block), block)
    whole = Tree(
        order=header.order,
        main={**main, **pixels},
        exif=reordered(tree.exif, tree.order, header.order),
        gps=reordered(tree.gps, tree.order, header.order),
        interop=reordered(tree.interop, tree.order, header.order),
    )
    data += bytes(len(data) % 2)
    place = len(data).to_bytes(4, "little" if header.order == "<" else "big")
    return data[:4] + place + data[8:] + pack_tree(whole, len(data))


def _written(image_format: str) -> str:
    return "JPEG" if image_format == "MPO" else image_format


def _photoshop(iptc: bytes) -> bytes:
    """A JPEG's segment with the datasets; empty where they are."""
    if not iptc:
        return b""
    body = PHOTOSHOP_START + len(iptc).to_bytes(4, "big") + iptc + bytes(len(iptc) % 2)
    return b"\xff\xed" + min(len(body) + 2, 0xFFFF).to_bytes(2, "big") + body


def _png_chunks(metadata: Metadata, xmp: bytes) -> PngInfo:
    chunks = PngInfo()
    for name, content in metadata.colours.items():
        chunks.add(name, content)
    if xmp:
        chunks.add_itxt(XMP_KEY, xmp.decode("utf-8", "replace"))
    for key, value in metadata.text.items():
        chunks.add_text(key, value)
    return chunks
