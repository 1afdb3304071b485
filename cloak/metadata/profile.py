"""A colour profile without what it may say besides of colours: displays' serial numbers, names, pictures.

A profile is a header and a table of tags, each with its place and size. Source: ICC.1:2022, 7.
"""

from collections.abc import Sequence
from typing import TypeAlias

from cloak.metadata import fields
from cloak.metadata.fields import MAX_ICC, Policy, holds_picture

DAMAGED_PROFILE = "damaged colour profile"

HEADER, ENTRY = 128, 12
"""Bytes of the header, and of an entry of the table of tags."""

CHECKSUM, RESERVED = 84, 100
"""Where in the header its checksum is, which need not be there, and what is reserved and 0."""

MOST_TAGS = 100

Span: TypeAlias = tuple[int, int]
"""From where to where data are."""

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
    tags = _tags(profile)
    if tags is None:
        return b"", (DAMAGED_PROFILE,)
    pictures = {span: holds_picture(profile[slice(*span)]) for _, span in tags}
    kept: list[tuple[bytes, bytes]] = []
    removed: dict[str, None] = {}
    for name, span in tags:
        reason = fields.THUMBNAIL if pictures[span] else _reason(name, profile[slice(*span)], policy)
        if reason:
            removed[reason] = None
        else:
            kept.append((name, profile[slice(*span)]))
    if not removed and not _holds_more(profile, tags):
        return profile, ()
    return _with_tags(profile[:HEADER], kept), tuple(removed) or (fields.OTHER,)


def _tags(profile: bytes) -> list[tuple[bytes, Span]] | None:
    """Names and where their data are; None where some lie outside, or there are more than a profile has.

    Several tags may share their data, but all different data together are no longer than the profile.
    """
    count, first = int.from_bytes(profile[HEADER : HEADER + 4], "big"), HEADER + 4
    if count > MOST_TAGS or first + ENTRY * count > len(profile):
        return None
    found = []
    for place in range(first, first + ENTRY * count, ENTRY):
        start, size = (int.from_bytes(profile[place + at : place + at + 4], "big") for at in (4, 8))
        found.append((profile[place : place + 4], (start, start + size)))
    spans = {span for _, span in found}
    inside = all(end <= len(profile) for _, end in spans)
    return found if inside and sum(end - start for start, end in spans) <= len(profile) else None


def _holds_more(profile: bytes, tags: Sequence[tuple[bytes, Span]]) -> bool:
    """Whether there is something in a profile besides its header, tags and what fills them up."""
    reached = HEADER + 4 + ENTRY * len(tags)
    rest = profile[RESERVED:HEADER]
    for start, end in sorted({span for _, span in tags}):
        rest += profile[reached:start]
        reached = max(reached, end)
    return any(rest + profile[reached:])


def _reason(name: bytes, data: bytes, policy: Policy) -> str:
    """Why a tag goes; empty where it stays."""
    if policy == "keep" or name in OF_COLOURS or (name in STANDARD and b"IEC" in data.replace(b"\0", b"")):
        return ""
    return fields.SERIALS if name == b"mmod" else fields.NAMES if name in STANDARD else fields.OTHER


def _with_tags(header: bytes, tags: Sequence[tuple[bytes, bytes]]) -> bytes:
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
    return size + header[4:CHECKSUM] + bytes(HEADER - CHECKSUM) + rest
