"""Weight file on the web -> verified file in a folder. The only use of the network in cloak."""

import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from cloak.errors import WeightsError
from cloak.transfer import AddressError, OnProgress, OtherFileError, Source, check_address, discard, transfer
from cloak.weights import file_sha256

HUB = "https://huggingface.co"
"""What the environment variable HF_ENDPOINT replaces at the start of an address."""

PINS = "pins.json"
"""Which sha256 each file had at its first download, where none was known before."""

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Download:
    """A file, and where it comes from.

    Attributes:
        file: its name in the folder.
        addresses: tried in order.
        sha256: in hexadecimal; empty where none is known: pinned at the first download.
        bytes: its size; 0 where unknown.
    """

    file: str
    addresses: tuple[str, ...]
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Fetched:
    """A file that is there, whole.

    Attributes:
        path: the file.
        sha256: its hash, in hexadecimal.
        pinned: whether no hash was known, and this one was written down now; it holds from now on.
        fresh: whether it was downloaded now; else it was there already.
    """

    path: Path
    sha256: str
    pinned: bool
    fresh: bool


def _silent(done: int, total: int) -> None:
    pass


def fetch(
    download: Download,
    folder: Path,
    on_progress: OnProgress = _silent,
    *,
    wait: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Bring a file into a folder, unless it is there already.

    The environment variable CLOAK_MIRROR names an address whose files are tried first, HF_ENDPOINT
    a mirror of huggingface.co; HTTPS_PROXY, HTTP_PROXY and NO_PROXY hold as everywhere.

    Args:
        download: which file, and from where.
        folder: where it goes; made when needed. A damaged file there goes only once the sound one is here.
        on_progress: called after each chunk with the bytes so far, and in all or 0 where unknown.
        wait: how to wait before a broken connection is tried anew, given seconds.

    Returns:
        The file, and whether it is new.

    Raises:
        WeightsError: no address gives the file, the connection broke, the file is not the expected one,
            an address is not allowed, the disk is full, or the folder cannot be written.
    """
    path = folder / download.file
    try:
        there = _look_up(download, path)
        if there:
            return there
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{download.file}.lock"):
            return _look_up(download, path) or _download(download, path, on_progress, wait)
    except OSError as error:
        raise WeightsError(
            f"{path}: expected a folder that can be written, got {error.strerror or error}; "
            "choose another folder or change its permissions"
        ) from None


def pinned_sha256(folder: Path, file: str) -> str:
    """The hash that a file had at its first download; empty where none is pinned.

    Raises:
        WeightsError: the folder's pins cannot be read.
    """
    return _read_pins(folder).get(file, "")


def _look_up(download: Download, path: Path) -> Fetched | None:
    """The file, if it is there and the right one."""
    known = _known_sha256(download, path.parent)
    if not path.exists():
        return None
    digest = file_sha256(path)
    if digest == known:
        return Fetched(path, digest, pinned=False, fresh=False)
    if known and not download.sha256:
        raise WeightsError(
            f"{path}: expected the file of the first download, of sha256 {known}, got {digest}; "
            f"delete it and run the same command again, or accept it by deleting its entry in {path.parent / PINS}"
        )
    if known or download.bytes not in (0, path.stat().st_size):
        return None
    return _pin(Fetched(path, digest, pinned=True, fresh=False))


def _known_sha256(download: Download, folder: Path) -> str:
    return download.sha256.lower() or pinned_sha256(folder, download.file)


def _download(download: Download, path: Path, on_progress: OnProgress, wait: Callable[[float], None]) -> Fetched:
    known = _known_sha256(download, path.parent)
    part = path.with_name(f".{path.name}.part")
    failures = []
    for address in _addresses(download, bool(known)):
        try:
            transfer(Source(address, download.bytes, bool(known)), part, on_progress, wait)
            digest = _check(part, address, known)
            _move(part, path)
        except AddressError as error:
            failures.append(error)
            continue
        except OSError as error:
            if error.errno not in FULL:
                raise
            discard(part)
            raise WeightsError(
                f"{path}: the disk is full, nothing was kept; make room and run the same command again"
            ) from None
        fetched = Fetched(path, digest, pinned=not known, fresh=True)
        return _pin(fetched) if fetched.pinned else fetched
    raise _failure(download, path, failures)


def _addresses(download: Download, hashed: bool) -> list[str]:
    """Where to try, in order.

    Raises:
        AddressError: one of them is not allowed.
    """
    addresses = _named_addresses(download)
    mirror = os.environ.get("CLOAK_MIRROR", "").rstrip("/")
    if mirror and (hashed or not mirror.startswith("http://")):
        addresses.insert(0, f"{mirror}/{quote(download.file)}")
    for address in addresses:
        check_address(address, hashed=hashed)
    return addresses


def _named_addresses(download: Download) -> list[str]:
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return [
        hub + address.removeprefix(HUB) if address.startswith(f"{HUB}/") else address for address in download.addresses
    ]


def _check(part: Path, address: str, known: str) -> str:
    """The hash of what came, if it is the known one; else ``part`` is removed."""
    digest = file_sha256(part)
    if known and digest != known:
        discard(part)
        raise OtherFileError(f"{address}: expected sha256 {known}, got {digest}, nothing was kept")
    return digest


def _failure(download: Download, path: Path, failures: list[AddressError]) -> WeightsError:
    """What to say when no address gave the file."""
    reasons = "; ".join(map(str, failures)) or "no address of it is known"
    named = _named_addresses(download)
    if failures and all(isinstance(failure, OtherFileError) for failure in failures):
        advice = "run the same command again, and if this comes again, another file lies there now"
        if not download.sha256 and pinned_sha256(path.parent, path.name):
            advice = (
                "this is not the file of the first download; "
                f"to accept it, delete the entry of {path.name} in {path.parent / PINS} and run the same command again"
            )
    else:
        advice = f"download {named[0]} in a browser and put it at {path}" if named else f"put it at {path}"
    return WeightsError(f"{path.name} could not be downloaded: {reasons}; {advice}")


def _move(part: Path, path: Path) -> None:
    """Give a partial file that is whole its name."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    discard(part)


def _read_pins(folder: Path) -> dict[str, str]:
    path = folder / PINS
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        pins = None
    if not isinstance(pins, dict) or not all(isinstance(digest, str) for digest in pins.values()):
        raise WeightsError(
            f"{path}: expected a JSON object of file names and their sha256, got something else; mend it or delete it"
        )
    return pins


def _pin(fetched: Fetched) -> Fetched:
    """Write a file's hash into the folder's pins, beside those of others."""
    path = fetched.path.with_name(PINS)
    temporary = path.with_name(f".{PINS}.part")
    with FileLock(path.with_name(f".{PINS}.lock")):
        pins = _read_pins(path.parent) | {fetched.path.name: fetched.sha256}
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(pins, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    return fetched
