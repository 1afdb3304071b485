"""A colour profile without what it may say besides of colours: displays' serial numbers, names, pictures.

A profile is a header and a table of tags, each with its place and size. Source: ICC.1:2022, 7.
"""

from collections.abc import Iterator

from cloak.metadata import fields
from cloak.metadata.fields import MAX_ICC, Policy, holds_picture

DAMAGED_PROFILE = "damaged colour profile"

HEADER, ENTRY = 128, 12
"""Bytes of the header, and of an entry of the table of tags."""

OF_COLOURS = frozenset(
    b"desc cprt wtpt bkpt rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC chad lumi cicp meas tech view chrm gamt ciis rig0 rig2 "
    b"A2B0 A2B1 A2B2 A2B3 B2A0 B2A1 B2A2 B2A3 D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3 pre0 pre1 pre2 clrt clro".split()
)
"""Tags that say how colours are meant, or what the profile is called."""

STANDARD = (b"dmnd", b"dmdd", b"vued")
"""Tags that may name a device, or the standard that a profile is of."""


def filter_profile(profile: bytes, policy: Policy) -> tuple[bytes, tuple[str, ...]]:
    """A profile as long as its header says, if it is one; without tags that are not of colours, unless all is kept.

    Returns:
        The profile, the same bytes where nothing has to go, and what went, in plain words.
    """
    if not profile:
        return b"", ()
    size = int.from_bytes(profile[:4], "big")
    if profile[36:40] != b"acsp" or not HEADER + 4 <= size <= min(len(profile), MAX_ICC):
        return b"", (DAMAGED_PROFILE,)
    profile = profile[:size]
    tags = list(_tags(profile))
    if any(data is None for _, data in tags):
        return b"", (DAMAGED_PROFILE,)
    reasons = {name: _reason(name, data or b"", policy) for name, data in tags}
    kept = [(name, data or b"") for name, data in tags if not reasons[name]]
    removed = tuple(dict.fromkeys(reason for reason in reasons.values() if reason))
    return (_with_tags(profile[:HEADER], kept) if removed else profile), removed


def _tags(profile: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Names and data; None for what lies outside."""
    count = int.from_bytes(profile[HEADER : HEADER + 4], "big")
    first = HEADER + 4
    if first + ENTRY * count > len(profile):
        yield b"", None
        return
    for place in range(first, first + ENTRY * count, ENTRY):
        start, size = (int.from_bytes(profile[place + at : place + at + 4], "big") for at in (4, 8))
        yield profile[place : place + 4], profile[start : start + size] if start + size <= len(profile) else None


def _reason(name: bytes, data: bytes, policy: Policy) -> str:
    """Why a tag goes; empty where it stays."""
    if holds_picture(data):
        return fields.THUMBNAIL
    if policy == "keep" or name in OF_COLOURS or (name in STANDARD and b"IEC" in data.replace(b"\0", b"")):
        return ""
    return fields.SERIALS if name == b"mmod" else fields.NAMES if name in STANDARD else fields.OTHER


def _with_tags(header: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """A new profile; data that several tags share lies there once."""
    places: dict[bytes, int] = {}
    body = b""
    for _, data in tags:
        if data not in places:
            places[data] = HEADER + 4 + ENTRY * len(tags) + len(body)
            body += data + bytes(-len(data) % 4)
    table = b"".join(name + places[data].to_bytes(4, "big") + len(data).to_bytes(4, "big") for name, data in tags)
    rest = len(tags).to_bytes(4, "big") + table + body
    size = (HEADER + len(rest)).to_bytes(4, "big")
    return size + header[4:84] + bytes(16) + header[100:] + rest  # its checksum, which holds no more, is left out
