"""One address -> a partial file, over HTTP; what a break left is continued."""

import json
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from cloak import __version__
from cloak.errors import WeightsError
from cloak.names import shown

CHUNK = 1 << 20
"""Bytes that are read at once, at most."""

TIMEOUT = 30.0
"""Seconds that a connection or a read may take."""

PAUSES = (1.0, 3.0, 9.0)
"""Seconds before each new try of a connection that broke."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

MEGABYTE = 1_000_000

OnProgress = Callable[[int, int], None]
"""Called with the bytes so far, and in all or 0 where unknown."""


class AddressError(WeightsError):
    """This address does not give the file; another one might."""


class OtherFileError(AddressError):
    """The address gives another file than the one expected."""


class _UnreachableError(Exception):
    """No connection, or none that answers."""


class _BrokenError(Exception):
    """The connection broke while the file came."""


@dataclass(frozen=True)
class Source:
    """Where a file comes from.

    Attributes:
        address: http or https.
        bytes: size of the file; 0 where unknown.
        hashed: whether the file's sha256 is known; else it must come over https.
    """

    address: str
    bytes: int = 0
    hashed: bool = True


def check_address(address: str, *, hashed: bool) -> None:
    """Refuse an address that a file must not come from.

    Args:
        address: of the file.
        hashed: whether the file's sha256 is known, so that http will do.

    Raises:
        AddressError: neither http nor https; or http to another machine for a file that nothing checks.
    """
    try:
        parts = urlsplit(address)
        scheme, host = parts.scheme, parts.hostname
    except ValueError as error:
        raise AddressError(f"{address}: expected an address, got one that is malformed: {error}") from None
    if scheme not in ("http", "https"):
        raise AddressError(f"{address}: expected an address that starts with https:// or http://; name another one")
    if scheme == "http" and not hashed and host not in LOOPBACK:
        raise AddressError(
            f"{address}: expected an address that starts with https://, as no sha256 of the file is known; "
            "name another one"
        )


def transfer(source: Source, part: Path, on_progress: OnProgress, wait: Callable[[float], None] = time.sleep) -> None:
    """Download a file into ``part``, from where an earlier call stopped if the server still has the same file.

    Args:
        source: where it comes from.
        part: the partial file. A file beside it notes which file on the server it is part of.
        on_progress: called after each chunk.
        wait: how to wait, given seconds.

    Raises:
        AddressError: the address cannot be reached or refuses; nothing came from it.
        OtherFileError: it gives a file of another size; ``part`` is removed.
        WeightsError: the connection broke time and again, and ``part`` stays; or the disk has no room.
        OSError: ``part`` cannot be written.
    """
    broken = ""
    for pause in (0.0, *PAUSES):
        if broken:
            wait(pause)
        try:
            _attempt(source, part, on_progress)
            return
        except _UnreachableError as error:
            if not broken:
                raise AddressError(f"{source.address}: {error}") from None
        except _BrokenError as error:
            broken = str(error)
    resumable = _read_note(part, source.address)
    raise WeightsError(
        f"{source.address}: the connection broke {1 + len(PAUSES)} times, at last it {broken}; "
        f"run the same command again{' to go on from there' if resumable else ''}"
    )


def discard(part: Path) -> None:
    """Remove a partial file and the note beside it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _attempt(source: Source, part: Path, on_progress: OnProgress) -> None:
    here = part.stat().st_size if part.exists() else 0
    if source.bytes and here == source.bytes:
        return
    validator = _read_note(part, source.address)
    if not validator or 0 < source.bytes < here:
        here = 0
    try:
        response = _open(source, here, validator)
    except HTTPError as error:
        error.close()
        if error.code == 416 and here:
            discard(part)
            raise _BrokenError(f"did not go on from byte {here}") from None
        raise AddressError(f"{source.address}: status {error.code} {_said(error.reason)}") from None
    with response:
        _receive(source, response, part, here, on_progress)


def _open(source: Source, here: int, validator: str) -> Any:
    """Ask for the file, from byte ``here`` on if it is still the same."""
    headers = {"User-Agent": f"cloak/{__version__}"}
    if here:
        headers |= {"Range": f"bytes={here}-", "If-Range": validator}
    try:
        return _opener(source.hashed).open(Request(source.address, headers=headers), timeout=TIMEOUT)
    except HTTPError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise _UnreachableError(f"no connection: {_said(reason) or type(error).__name__}") from None


def _said(words: object) -> str:
    """What a server says, in one line that a terminal can be shown."""
    return shown(" ".join(str(words).split()))


def _receive(source: Source, response: Any, part: Path, here: int, on_progress: OnProgress) -> None:
    """Write what the server sends behind what is here already, or anew if it sends all."""
    if response.status not in (200, 206):
        raise AddressError(f"{source.address}: status {response.status} {_said(response.reason)}")
    start, total = _extent(response)
    if start == 0 or start != here:
        discard(part)
    if start not in (0, here):
        raise _BrokenError(f"sent other bytes than those from {here} on")
    if source.bytes and total and total != source.bytes:
        raise _other_size(source.address, part, source.bytes, f"{total}")
    if not total and not source.bytes and response.headers.get("Transfer-Encoding") != "chunked":
        raise AddressError(f"{source.address}: expected a server that tells the file's size, got one that does not")
    total = source.bytes or total
    _check_room(part, total - start)
    if not start:
        _write_note(part, source.address, response.headers)
    done = start
    with open(part, "ab" if start else "wb") as file:
        while (chunk := _read(response)) and not 0 < total < done + len(chunk):
            file.write(chunk)
            done += len(chunk)
            on_progress(done, total)
    if chunk:
        raise _other_size(source.address, part, total, "more")
    if done < total:
        raise _BrokenError(f"ended after {done} of {total} bytes")


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read1(CHUNK))
    except (OSError, HTTPException) as error:
        raise _BrokenError(f"failed with {error!r}") from None


DIGITS = 18
"""Of a size in bytes; Python itself refuses thousands."""

SPAN = rf"bytes (\d{{1,{DIGITS}}})-\d+/(\d{{0,{DIGITS}}})(?!\d)"
"""The first byte that a part of a file holds, and the size of the whole."""


def _extent(response: Any) -> tuple[int, int]:
    """(first byte that a response holds, or -1 where it does not say; size of the whole file or 0)."""
    if response.status == 206:
        span = re.match(SPAN, response.headers.get("Content-Range", ""))
        return (int(span[1]), int(span[2] or 0)) if span else (-1, 0)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() and len(length) <= DIGITS else 0


def _other_size(address: str, part: Path, expected: int, came: str) -> OtherFileError:
    discard(part)
    return OtherFileError(f"{address}: expected a file of {expected} bytes, got {came}, nothing was kept")


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise WeightsError(
            f"{part.parent}: expected {math.ceil(needed / MEGABYTE)} MB of free disk space, "
            f"got {free // MEGABYTE} MB; make room and run the same command again"
        )


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path, address: str) -> str:
    """What tells the server which file ``part`` is part of: its ETag or date; empty if unknown."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        return str(note["validator"]) if note["address"] == address else ""
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return ""


def _write_note(part: Path, address: str, headers: HTTPMessage) -> None:
    tag = headers.get("ETag", "")
    strong = "" if tag.startswith("W/") else tag  # a weak one does not vouch for the bytes
    note = {"address": address, "validator": strong or headers.get("Last-Modified", "")}
    _note(part).write_text(json.dumps(note), encoding="utf-8")


def _opener(hashed: bool) -> OpenerDirector:
    """What opens addresses: through the environment's proxies, and checking each redirect."""

    class Redirects(HTTPRedirectHandler):
        def redirect_request(
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            try:
                check_address(newurl, hashed=hashed)
            except AddressError:
                fp.close()
                raise
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return build_opener(Redirects)
