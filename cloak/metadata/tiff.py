"""Directories of TIFF streams, of which EXIF blocks are made: read with limits, written anew.

Values are carried over byte for byte. (Pillow's ``Image.Exif`` is not used for it: it writes every
letter beyond ASCII as "?", changes types, and writes back a GPS directory that was looked at and deleted.)
Source: TIFF 6.0, section 2; BigTIFF design, AWare Systems; CIPA DC-008 (Exif 2.32), 4.6.
"""

import struct
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

SIZES: Mapping[int, int] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1,
}  # fmt: skip
"""Bytes of one value of each type."""

WORDS: Mapping[int, int] = {3: 2, 8: 2, 4: 4, 9: 4, 5: 4, 10: 4, 11: 4, 13: 4, 12: 8, 16: 8, 17: 8, 18: 8}
"""Bytes that are turned round together when the byte order changes."""

ASCII, SHORT, LONG = 2, 3, 4
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
MAX_ENTRIES = 4096
"""Entries of one directory that are looked at."""
MAX_VALUES = 24 << 20
"""Bytes of one directory's values that are looked at."""


@dataclass(frozen=True)
class Entry:
    """One field: type, number of values, and their bytes in the stream's byte order."""

    kind: int
    count: int
    data: bytes


@dataclass(frozen=True)
class Header:
    """Start of a stream: byte order for struct, whether it is a BigTIFF, offset of the first directory."""

    order: str
    big: bool
    first: int


@dataclass(frozen=True)
class Tree:
    """An EXIF block: its four directories, and what was seen beside them.

    Attributes:
        order: "<" or ">".
        main: IFD0, without the pointers to the others.
        exif, gps, interop: the others.
        more: whether a second image directory (IFD1: the thumbnail) follows.
        damaged: whether some field could not be read.
    """

    order: str = "<"
    main: Mapping[int, Entry] = field(default_factory=dict)
    exif: Mapping[int, Entry] = field(default_factory=dict)
    gps: Mapping[int, Entry] = field(default_factory=dict)
    interop: Mapping[int, Entry] = field(default_factory=dict)
    more: bool = False
    damaged: bool = False


def read_header(stream: bytes) -> Header:
    """The first bytes of a TIFF stream.

    Raises:
        ValueError: it is none.
    """
    order = {b"II": "<", b"MM": ">"}.get(stream[:2], "")
    if not order or len(stream) < 8:
        raise ValueError("no TIFF stream")
    magic = int(struct.unpack_from(order + "H", stream, 2)[0])
    if magic == 43 and len(stream) >= 16:
        return Header(order, True, int(struct.unpack_from(order + "Q", stream, 8)[0]))
    if magic != 42:
        raise ValueError("no TIFF stream")
    return Header(order, False, int(struct.unpack_from(order + "I", stream, 4)[0]))


def read_directory(
    stream: bytes, header: Header, offset: int, skip: Container[int] = ()
) -> tuple[dict[int, Entry], int, bool]:
    """One directory: its fields by tag, the offset of the next, and whether a field was unreadable.

    Fields in ``skip`` come without their bytes. Of a repeated tag the first counts. All values
    together have at most ``MAX_VALUES`` bytes; what is beyond counts as unreadable.
    """
    head, row, tail = ("Q", "HHQ8s", "Q") if header.big else ("H", "HHI4s", "I")
    width = struct.calcsize(header.order + row)
    start = offset + struct.calcsize(header.order + head)
    if offset < 8 or start > len(stream):
        return {}, 0, True
    number = int(struct.unpack_from(header.order + head, stream, offset)[0])
    damaged = number > MAX_ENTRIES or start + number * width > len(stream)
    number = min(number, MAX_ENTRIES, (len(stream) - start) // width)
    entries: dict[int, Entry] = {}
    left = MAX_VALUES
    for at in range(start, start + number * width, width):
        tag, kind, count, inline = struct.unpack_from(header.order + row, stream, at)
        size = SIZES.get(kind, 0) * count
        if tag in entries or not size:
            continue
        if tag in skip:
            entries[tag] = Entry(kind, count, b"")
            continue
        place = 0 if size <= len(inline) else int.from_bytes(inline, "little" if header.order == "<" else "big")
        if size > left or place + size > len(stream):
            damaged = True
            continue
        left -= size
        entries[tag] = Entry(kind, count, stream[place : place + size] if place else inline[:size])
    end = start + number * width
    following = stream[end : end + struct.calcsize(header.order + tail)]
    return entries, int.from_bytes(following, "little" if header.order == "<" else "big"), damaged


def read_tree(stream: bytes, skip: Container[int] = ()) -> Tree:
    """The directories of an EXIF block, or of a TIFF file's first picture.

    Raises:
        ValueError: ``stream`` is no TIFF stream.
    """
    header = read_header(stream)
    main, following, damaged = read_directory(stream, header, header.first, skip)
    exif, bad_exif = _behind(stream, header, main.get(EXIF_IFD), skip)
    gps, bad_gps = _behind(stream, header, main.get(GPS_IFD), skip)
    interop, bad_interop = _behind(stream, header, exif.get(INTEROP_IFD), skip)
    return Tree(
        order=header.order,
        main=without(main, (EXIF_IFD, GPS_IFD, INTEROP_IFD)),
        exif=without(exif, (EXIF_IFD, GPS_IFD, INTEROP_IFD)),
        gps=gps,
        interop=interop,
        more=following != 0,
        damaged=damaged or bad_exif or bad_gps or bad_interop,
    )


def _behind(
    stream: bytes, header: Header, pointer: Entry | None, skip: Container[int]
) -> tuple[dict[int, Entry], bool]:
    if pointer is None:
        return {}, False
    entries, _, damaged = read_directory(stream, header, number(pointer, header.order), skip)
    return entries, damaged


def number(entry: Entry, order: str) -> int:
    """The first value of a field of whole numbers; 0 for other types."""
    size = SIZES.get(entry.kind, 0)
    if entry.kind not in (SHORT, LONG, 13, 16, 18) or len(entry.data) < size:
        return 0
    return int.from_bytes(entry.data[:size], "little" if order == "<" else "big")


def write_tree(tree: Tree) -> bytes:
    """A TIFF stream of the directories; empty where they are. It has no second picture."""
    if not (tree.main or tree.exif or tree.gps or tree.interop):
        return b""
    head = (b"II" if tree.order == "<" else b"MM") + struct.pack(tree.order + "HI", 42, 8)
    return head + pack_tree(tree, 8)


def pack_tree(tree: Tree, offset: int) -> bytes:
    """The directories for a stream in which they begin at ``offset``, the main one first."""
    main, exif = dict(tree.main), dict(tree.exif)
    blank = Entry(LONG, 1, bytes(4))
    if tree.interop:
        exif[INTEROP_IFD] = blank
    if exif:
        main[EXIF_IFD] = blank
    if tree.gps:
        main[GPS_IFD] = blank
    exif_at = offset + _size(main)
    gps_at = exif_at + (_size(exif) if exif else 0)
    interop_at = gps_at + (_size(tree.gps) if tree.gps else 0)
    for holder, tag, place in ((main, EXIF_IFD, exif_at), (main, GPS_IFD, gps_at), (exif, INTEROP_IFD, interop_at)):
        if tag in holder:
            holder[tag] = Entry(LONG, 1, struct.pack(tree.order + "I", place))
    packed = _pack(main, tree.order, offset)
    for entries, place in ((exif, exif_at), (tree.gps, gps_at), (tree.interop, interop_at)):
        if entries:
            packed += _pack(entries, tree.order, place)
    return packed


def reordered(entries: Mapping[int, Entry], before: str, after: str) -> dict[int, Entry]:
    """The fields with their bytes in another byte order."""
    if before == after:
        return dict(entries)
    return {tag: Entry(entry.kind, entry.count, _turned(entry)) for tag, entry in entries.items()}


def without(entries: Mapping[int, Entry], tags: Container[int]) -> dict[int, Entry]:
    """The fields whose tags are not among ``tags``."""
    return {tag: entry for tag, entry in entries.items() if tag not in tags}


def _turned(entry: Entry) -> bytes:
    width = WORDS.get(entry.kind, 1)
    return b"".join(entry.data[at : at + width][::-1] for at in range(0, len(entry.data), width))


def _size(entries: Mapping[int, Entry]) -> int:
    values = (len(entry.data) for entry in entries.values())
    return 2 + 12 * len(entries) + 4 + sum(size + size % 2 for size in values if size > 4)


def _pack(entries: Mapping[int, Entry], order: str, offset: int) -> bytes:
    at = offset + 2 + 12 * len(entries) + 4
    rows, values = [], []
    for tag, entry in sorted(entries.items()):
        data = entry.data
        if len(data) > 4:
            rows.append(struct.pack(order + "HHII", tag, entry.kind, entry.count, at))
            values.append(data + bytes(len(data) % 2))
            at += len(values[-1])
        else:
            rows.append(struct.pack(order + "HHI", tag, entry.kind, entry.count) + data.ljust(4, b"\0"))
    return struct.pack(order + "H", len(entries)) + b"".join(rows) + bytes(4) + b"".join(values)
