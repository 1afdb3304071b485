"""Damaged files: mutations of whole ones, each decided by a seed."""

import random
import zlib
from collections.abc import Callable

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which readers of lengths and sizes err."""

PNG = b"\x89PNG\r\n\x1a\n"

HEADER = 1024
"""Most mutations strike here, where the structure of a file is."""


def mutated(data: bytes, other: bytes, seed: int) -> bytes:
    """``data`` damaged in one to four ways; ``other`` is a file of the same format to take parts from."""
    draw = random.Random(seed)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if data:
            data = draw.choice(MUTATIONS)(data, other, draw)
    return _with_checksums(data) if data.startswith(PNG) and draw.random() < 0.8 else data


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, so that readers look further than these."""
    whole, place = [PNG], len(PNG)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        content = data[place + 4 : place + 8 + length]
        if len(content) < 4 + length:
            break
        whole.append(data[place : place + 4] + content + zlib.crc32(content).to_bytes(4, "big"))
        place += 12 + length
    return b"".join(whole) + data[place:]


def _place(data: bytes, draw: random.Random) -> int:
    return draw.randrange(min(len(data), HEADER) if draw.random() < 0.7 else len(data))


def _span(data: bytes, draw: random.Random) -> tuple[int, int]:
    start = _place(data, draw)
    return start, min(len(data), start + 1 + int(draw.expovariate(1 / 64)))


def _flip_bits(data: bytes, other: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8, 64))):
        changed[_place(data, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _set_number(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """A length, size or offset becomes an extreme one."""
    size = draw.choice((1, 2, 4, 8))
    start = _place(data, draw)
    number = draw.choice(INTERESTING) % (1 << 8 * size)
    return data[:start] + number.to_bytes(size, draw.choice(("big", "little"))) + data[start + size :]


def _truncate(data: bytes, other: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _remove(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start, end = _span(data, draw)
    return data[:start] + data[end:]


def _repeat(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start, end = _span(data, draw)
    return data[:end] + data[start:end] * draw.choice((1, 2, 50)) + data[end:]


def _overwrite(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start, end = _span(data, draw)
    filler = draw.choice((bytes(end - start), b"\xff" * (end - start), draw.randbytes(end - start)))
    return data[:start] + filler + data[end:]


def _insert(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start = _place(data, draw)
    return data[:start] + draw.randbytes(draw.choice((1, 4, 64, 4096))) + data[start:]


def _splice(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """The beginning of one file and the end of another."""
    return data[: _place(data, draw)] + other[_place(other, draw) :]


def _copy_within(data: bytes, other: bytes, draw: random.Random) -> bytes:
    start, end = _span(data, draw)
    place = _place(data, draw)
    return data[:place] + data[start:end] + data[place + end - start :]


MUTATIONS: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    _flip_bits,
    _set_number,
    _set_number,
    _truncate,
    _remove,
    _repeat,
    _overwrite,
    _insert,
    _splice,
    _copy_within,
)
