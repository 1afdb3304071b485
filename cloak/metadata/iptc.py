"""IPTC-IIM datasets: which stay under a policy. Source: IPTC-NAA Information Interchange Model 4.2."""

from collections.abc import Iterator

from cloak.metadata import fields
from cloak.metadata.fields import MAX_FIELD, MAX_IPTC, Policy, holds_picture

DAMAGED = "damaged IPTC"
RESOURCE = 0x0404
"""Which resource of a Photoshop block holds the datasets."""

CHARSET, VERSION = (1, 90), (2, 0)
"""How the others are to be read: stay with what stays, never alone."""
STAYS = {(2, 116): fields.COPYRIGHT, **dict.fromkeys(((2, 55), (2, 60), (2, 62), (2, 63)), fields.DATES)}
"""What the default policy keeps, and what it is called where it goes."""
CALLED = {
    **dict.fromkeys(
        ((2, number) for number in (5, 25, 26, 27, 80, 85, 90, 92, 95, 100, 101, 105, 110, 115, 118, 120, 121, 122)),
        fields.NAMES,
    ),
    **dict.fromkeys(((2, 22), (2, 103), (1, 100)), fields.IDS),
}
"""What else goes by default, where it has a name of its own."""


def filter_iptc(data: bytes, policy: Policy) -> tuple[bytes, tuple[str, ...]]:
    """What stays of IPTC datasets, and what was removed in plain words; ``data`` may be any bytes."""
    removed: dict[str, None] = {}
    kept = []
    if len(data) > MAX_IPTC:
        return b"", (DAMAGED,)
    for key, value, raw in datasets(data):
        if raw == b"":
            removed[DAMAGED] = None
            break
        reason = _reason(key, value, policy)
        if reason is None:
            kept.append((key, raw))
        elif reason:
            removed[reason] = None
    if all(key in (CHARSET, VERSION) for key, _ in kept):
        kept = []
    return b"".join(raw for _, raw in kept), tuple(removed)


def datasets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes, bytes]]:
    """Record and number, value, and all bytes of each dataset; empty ones at the end if it is damaged."""
    at = 0
    while at < len(data):
        header = data[at : at + 5]
        if not header.strip(b"\0"):
            return  # padding
        size, start = int.from_bytes(header[3:], "big"), at + 5
        if size & 0x8000:  # that many bytes of size follow
            start += size & 0x7FFF
            size = int.from_bytes(data[at + 5 : min(start, at + 9)], "big")
        if header[0] != 0x1C or len(header) < 5 or start > at + 9 or start + size > len(data):
            yield (0, 0), b"", b""
            return
        yield (header[1], header[2]), data[start : start + size], data[at : start + size]
        at = start + size


def _reason(key: tuple[int, int], value: bytes, policy: Policy) -> str | None:
    """Why a dataset goes: plain words, "" for what is not said; None where it stays."""
    if key in ((2, 200), (2, 201), (2, 202)) or key[0] in (7, 8, 9) or holds_picture(value):
        return fields.THUMBNAIL
    if policy == "keep":
        return None if len(value) <= MAX_FIELD else fields.LARGE
    if key in (CHARSET, VERSION):
        return None if policy == "default" and len(value) <= 32 else ""
    if policy == "default" and key in STAYS and len(value) <= 2048:
        return None
    return CALLED.get(key) or (STAYS.get(key, "") if policy == "strip" else "") or fields.OTHER
