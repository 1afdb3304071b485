"""EXIF: which fields stay under a policy, and the note.

Tags: CIPA DC-008 (Exif 2.32 and 3.0), TIFF 6.0, TIFF/EP, DNG 1.7, Microsoft's and Photoshop's own.
"""

from collections.abc import Mapping
from dataclasses import replace

from cloak.metadata import fields
from cloak.metadata.fields import MAX_EXIF, MAX_FIELD, MAX_NOTE, Policy, holds_picture
from cloak.metadata.tiff import ASCII, Entry, Tree, read_tree, write_tree

NOTE = 0x000B
"""ProcessingSoftware, where the note goes."""
NOTE_START = "cloak "
DAMAGED = "damaged EXIF"
MAKER_NOTE = 0x927C
MAX_SHORT = 1024
"""Bytes of a field that stays by default; a copyright may have ``MAX_FIELD``."""

STAYS: Mapping[int, str] = {
    0x8298: fields.COPYRIGHT,
    **dict.fromkeys(
        (0x0132, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292),
        fields.DATES,
    ),
    **dict.fromkeys((0x011A, 0x011B, 0x0128, 0xA20E, 0xA20F, 0xA210), fields.RESOLUTION),
    **dict.fromkeys(
        (
            *(0x010F, 0x0110),  # make, model
            *(0x829A, 0x829D, 0x8822, 0x8827, *range(0x8830, 0x8836)),  # time, f-number, program, ISO
            *(0x9000, 0xA000),  # versions
            *range(0x9201, 0x920B),  # exposure, metering, light source, flash, focal length
            *(0xA20B, 0xA215, 0xA217, 0xA300, 0xA301),
            *range(0xA401, 0xA40B),  # white balance, zoom, contrast, ...
            *(0xA40C, 0xA432, 0xA433, 0xA434),  # lens
            *(0xA001, 0xA500, 0x013E, 0x013F),  # colour space, gamma, white point, primaries
        ),
        fields.CAMERA,
    ),
}
"""What the default policy keeps, and what it is called where it goes. All else goes."""

STRUCTURE = frozenset(
    (
        *range(0x00FE, 0x010B),  # size, compression, ...
        *(0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x011C),  # strips, orientation, planes
        *range(0x0120, 0x0126),
        *(0x0129, 0x012D, 0x013D),  # page, transfer function, predictor
        *range(0x0140, 0x014A),  # palette, tiles
        *range(0x014C, 0x0151),
        *range(0x0152, 0x015D),  # further channels, sample format, JPEG tables
        *range(0x0200, 0x020A),  # old JPEG in TIFF
        *(0x0211, 0x0212, 0x0213, 0x0214, 0x022F),
        *range(0x80E3, 0x80E7),
        *(0x828D, 0x828E),  # sensor pattern
        *(0x8773, 0x9101, 0x9102, 0xA002, 0xA003),  # profile, components, size
        *(0xC6F7, 0xEA1C, 0xEA1D),  # padding
    )
)
"""What describes how the old pixels lay in the file, orientation included: goes, and is not said."""

HOLDERS: Mapping[int, str] = {
    **dict.fromkeys((0x014A, 0x0201, 0x0202, 0x501B, 0x935C), fields.THUMBNAIL),
    **dict.fromkeys((0x02BC, 0x83BB, 0x8649), fields.PHOTOSHOP),
}
"""What holds pictures, or other metadata that do: goes under every policy."""

CALLED: Mapping[int, str] = {
    **dict.fromkeys((0x8825, 0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1), fields.GPS),
    **dict.fromkeys((0xA431, 0xA435, 0xC62F, 0xFDE9), fields.SERIALS),
    **dict.fromkeys((MAKER_NOTE, 0xC634), fields.MAKER_NOTES),
    **dict.fromkeys(
        (
            *(0x010D, 0x010E, 0x011D, 0x013B, 0x013C, 0x0151, 0x9286, 0xA430, 0xC68B),
            *range(0xA436, 0xA439),  # Exif 3.0: title, photographer, editor
            *range(0x9C9B, 0x9CA0),
        ),
        fields.NAMES,
    ),
    **dict.fromkeys((0xA420, 0xC65D), fields.IDS),
}
"""What else goes by default, where it has a name of its own."""


def filter_exif(stream: bytes, policy: Policy, note: str = "") -> tuple[bytes, tuple[str, ...]]:
    """What stays of an EXIF block, with the note put in, and what was removed in plain words.

    Args:
        stream: a TIFF stream; any bytes.
        policy: which fields stay; "strip" keeps none and writes no note.
        note: goes into ProcessingSoftware; "" leaves what is there under "keep".
    """
    removed: dict[str, None] = {}
    tree = Tree()
    if stream:
        try:
            if len(stream) > MAX_EXIF:
                raise ValueError("too large")
            tree = read_tree(stream)
        except ValueError:
            removed[DAMAGED] = None
    if tree.damaged:
        removed[DAMAGED] = None
    kept = Tree(
        order=tree.order,
        main=_sifted(tree.main, policy, removed),
        exif=_sifted(tree.exif, policy, removed),
        gps=_sifted(tree.gps, policy, removed, fields.GPS),
        interop=_sifted(tree.interop, policy, removed, fields.CAMERA),
    )
    if tree.more:
        removed[fields.THUMBNAIL] = None
    if note and policy != "strip":
        kept = replace(kept, main={**kept.main, NOTE: _note_entry(note)})
    return write_tree(kept), tuple(removed)


def note_in(stream: bytes) -> str:
    """The note of an EXIF block that cloak wrote; "" where there is none, or in any other bytes."""
    try:
        entry = read_tree(stream[:MAX_EXIF]).main.get(NOTE)
    except ValueError:
        return ""
    if entry is None or entry.kind != ASCII:
        return ""
    text = entry.data.split(b"\0")[0].decode("utf-8", "replace")[:MAX_NOTE]
    return text if text.startswith(NOTE_START) else ""


def _sifted(
    entries: Mapping[int, Entry], policy: Policy, removed: dict[str, None], directory: str = ""
) -> dict[int, Entry]:
    """The fields that stay; what the others are called is added to ``removed``.

    ``directory`` names what all fields of a directory of its own are (GPS, interoperability).
    """
    kept = {}
    for tag, entry in entries.items():
        reason = _reason(tag, entry, policy, directory)
        if reason is None:
            kept[tag] = entry
        elif reason:
            removed[reason] = None
    return kept


def _reason(tag: int, entry: Entry, policy: Policy, directory: str) -> str | None:
    """Why a field goes: plain words, "" for what is not said; None where it stays."""
    if not directory:
        if tag in HOLDERS:
            return HOLDERS[tag]
        if tag in STRUCTURE or entry.kind in (13, 16, 17, 18):
            return ""
    if policy == "keep":
        return _unfit(tag, entry, directory)
    if policy == "default":
        if directory == fields.CAMERA:
            return None if tag in (1, 2) and len(entry.data) <= 32 else ""
        limit = MAX_FIELD if tag == 0x8298 else MAX_SHORT
        if not directory and tag in STAYS and len(entry.data) <= limit and not holds_picture(entry.data):
            return None
    if tag == NOTE and entry.data.startswith(NOTE_START.encode()):
        return ""
    return directory or CALLED.get(tag) or (STAYS.get(tag, "") if policy == "strip" else "") or fields.OTHER


def _unfit(tag: int, entry: Entry, directory: str) -> str | None:
    """Why a field goes even where all are kept."""
    if holds_picture(entry.data):
        return fields.MAKER_PREVIEW if tag == MAKER_NOTE and not directory else fields.THUMBNAIL
    if len(entry.data) > MAX_FIELD and tag != MAKER_NOTE:
        return fields.LARGE
    return None


def _note_entry(note: str) -> Entry:
    text = note.replace("\0", " ")[:MAX_NOTE].encode("utf-8", "replace") + b"\0"
    return Entry(ASCII, len(text), text)
