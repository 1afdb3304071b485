"""Bytes -> a file that is whole or not there."""

import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from cloak.errors import SaveError
from cloak.names import shown

RUN = secrets.token_hex(6)
"""This process, in the names of its temporary files."""


def save_bytes(data: bytes, path: Path, *, overwrite: bool = False) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then moved into its place.

    Two runs at once never mix their bytes, and without ``overwrite`` the first one's file stays.

    Raises:
        SaveError: the file exists (and ``overwrite`` is off), or cannot be written.
    """
    temporary = path.with_name(f".cloak-{RUN}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise SaveError(f"{shown(path)}: expected a folder at {shown(path.parent)}, got a file or a link") from None
    except OSError as error:
        raise SaveError(f"{shown(path)}: cannot be written: {error.strerror or error}") from None
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                _place_new(temporary, path)
        finally:
            with suppress(OSError):  # where a scanner holds it, the result is in its place all the same
                temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise SaveError(f"{shown(path)}: exists already; pass --overwrite to replace it") from None
    except OSError as error:
        raise SaveError(f"{shown(path)}: cannot be written: {error.strerror or error}") from None


def check_writable(path: Path) -> None:
    """Before the work: whether a file may be written there, as far as that can be told without writing.

    Raises:
        SaveError: it may not.
    """
    there = next(folder for folder in path.absolute().parents if folder.exists() or folder == folder.parent)
    if not there.is_dir():
        raise SaveError(f"{shown(path)}: expected a folder at {shown(there)}, got a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SaveError(
            f"{shown(path)}: cannot be written, since {shown(there)} is not ours; pass another folder with -o"
        )
    with suppress(OSError, AttributeError, ValueError):  # a system that does not tell
        if len(os.fsencode(path.name)) > os.pathconf(there, "PC_NAME_MAX"):
            raise SaveError(f"{shown(path)}: cannot be written: its name is too long; shorten that of the photo")


def try_to_write(folder: Path) -> bool:
    """Whether files can be made in a folder: one is, and removed."""
    probe = folder / f".cloak-{RUN}-{secrets.token_hex(4)}.part"
    try:
        save_bytes(b"", probe)
        probe.unlink(missing_ok=True)
    except (SaveError, OSError):
        return False
    return True


def _place_new(temporary: Path, path: Path) -> None:
    """Give a finished file its name, unless that is taken."""
    if os.name == "nt":  # where to rename is enough: it fails if the name is taken
        os.rename(temporary, path)  # noqa: PTH104
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as exFAT, or a share that refuses them
        if path.exists():
            raise FileExistsError from None
        temporary.replace(path)


def remove_parts(folder: Path, runs: Collection[str]) -> None:
    """Remove what processes that were killed left of their temporary files."""
    for path in folder.glob(".cloak-*-*.part"):
        if path.name.split("-")[1] in runs:
            path.unlink(missing_ok=True)
