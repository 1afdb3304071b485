"""Folders -> the photos in them, and what was passed over. Nothing is read here but names."""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from cloak.names import shown
from cloak.photo import SUFFIXES
from cloak.words import amount, some

MARK = "_cloaked"
"""What a protected photo's name gets when it lies beside its original."""

RAW = frozenset(
    {
        ".3fr",
        ".ari",
        ".arw",
        ".cr2",
        ".cr3",
        ".crw",
        ".dcr",
        ".dng",
        ".erf",
        ".fff",
        ".iiq",
        ".kdc",
        ".mef",
        ".mos",
        ".mrw",
        ".nef",
        ".nrw",
        ".orf",
        ".pef",
        ".raf",
        ".raw",
        ".rw2",
        ".rwl",
        ".srf",
        ".srw",
        ".x3f",
    }
)
"""How the names of cameras' raw files end."""


def photos_of(path: Path, out: Path | None, recursive: bool) -> Iterator[tuple[Path, Path, str]]:
    """(photo, its path below the output folder, error) of a file or folder."""
    if not is_folder(path):
        yield path, Path(path.name), ""
        return
    unreadable: list[OSError] = []
    found = False
    for folder, _, names in _folders(path, out, recursive, unreadable.append):
        for source in (Path(folder, name) for name in photo_names(names)):
            found = True
            yield source, source.relative_to(path), ""
    for error in unreadable:
        where = Path(os.fsdecode(error.filename))
        yield where, Path(where.name), f"{shown(where)}: cannot be read: {error.strerror}"
    if not found and not unreadable:
        yield path, Path(path.name), no_photos(path, recursive=recursive)


def _folders(
    path: Path, out: Path | None, recursive: bool, on_error: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """A folder and, if recursive, those in it, sorted: its path, its folders, its files. Links to folders are not
    followed, and the one for the results is left out."""
    for folder, folders, names in os.walk(path, onerror=on_error):
        yield folder, list(folders), names
        inner = [name for name in folders if not _is_junction(folder, name)] if recursive else []
        folders[:] = sorted(name for name in inner if not (out and same_file(Path(folder, name), out)))


def passed_over(paths: Iterable[Path], out: Path | None = None, *, recursive: bool = False) -> tuple[str, ...]:
    """What in some folders may have been meant and is not taken for a photo, a sentence for each kind.

    Args:
        paths: files and folders, as for ``cloak.files.plan_jobs``.
        out: the folder of the results.
        recursive: whether folders are searched to their depth.
    """
    results: list[str] = []
    raw: list[str] = []
    links: list[str] = []
    for path in dict.fromkeys(filter(is_folder, paths)):
        for folder, folders, names in _folders(path, out, recursive):
            photos = set(photo_names(names))
            results += sorted(name for name in names if is_photo_name(name) and name not in photos)
            raw += sorted(name for name in names if Path(name).suffix.lower() in RAW and not name.startswith("."))
            linked = (name for name in sorted(folders) if Path(folder, name).is_symlink() or _is_junction(folder, name))
            links += linked if recursive else ()
    sentences = (
        (results, "photo", "left out, named like results"),
        (raw, "raw file", "left out: develop them first"),
        (links, "link", "to folders not followed: name the folders themselves"),
    )
    return tuple(f"{amount(len(found), thing)} {what} ({some(found)})" for found, thing, what in sentences if found)


def no_photos(folder: Path | str, *, recursive: bool) -> str:
    """What is said of a folder, or a URL, that has none."""
    advice = "" if recursive else "; pass --recursive to look deeper"
    return f"{shown(folder)}: expected a folder with photos, got one with none{advice}"


def photo_names(names: Iterable[str]) -> list[str]:
    """The photos among the names in one folder, sorted; without results that lie beside their originals."""
    photos = list(filter(is_photo_name, names))
    stems = {Path(name).stem for name in photos}
    return sorted(name for name in photos if not original_of(Path(name).stem, stems))


def is_photo_name(name: str) -> bool:
    """Whether a file of this name is taken for a photo."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def original_of(stem: str, stems: Collection[str], marks: Sequence[str] = (MARK,)) -> str:
    """Whose result a photo is by its name, which has a mark, perhaps with the number of ``free_name``; empty where it
    is nobody's among the stems."""
    for mark in marks:
        original, found, number = stem.rpartition(mark)
        if found and original in stems and (not number or number.removeprefix("_").isdecimal()):
            return original
    return ""


def is_folder(path: Path) -> bool:
    """As ``Path.is_dir``, which some names that no file can have make fail."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths lead to one file or folder, through whatever links; they need not exist."""
    return identity_of(a) == identity_of(b)


def identity_of(path: Path) -> str | tuple[int, int]:
    """What is the same for all names of a file: its device and number, or, where there is none, its real path."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return os.path.realpath(path)  # unlike Path.resolve, it bears loops of links
    if not found.st_ino:  # some drives of Windows number no files
        return os.path.normcase(os.path.realpath(path))
    return found.st_dev, found.st_ino


def _is_junction(folder: str, name: str) -> bool:
    """Whether a folder is Windows' kind of link to a folder, which ``os.walk`` would follow."""
    try:
        tag = getattr(Path(folder, name).lstat(), "st_reparse_tag", 0)
    except (OSError, ValueError):
        return False
    return bool(tag) and tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
