"""Paths -> which photo goes where."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloak.errors import UsageError
from cloak.photo import SUFFIXES

MARK = "_cloaked"
"""What a protected photo's name gets when it lies beside its original."""


@dataclass(frozen=True)
class Job:
    """One photo to protect.

    Attributes:
        source: the photo.
        target: where the protected one goes.
        error: why the path cannot be worked on, in one sentence; else empty.
    """

    source: Path
    target: Path
    error: str = ""


def plan_jobs(paths: Iterable[Path], out: Path | None = None, *, recursive: bool = False) -> list[Job]:
    """Lay out which photo goes where.

    Args:
        paths: files and folders. Of a folder, the files whose suffix is a photo's.
        out: the folder of the results: a folder's structure is kept below it, and names that
            would collide get a number. Without it, NAME_cloaked.EXT beside each photo.
        recursive: whether folders are searched to their depth.

    Returns:
        The jobs in the order of the paths, folders sorted by name; paths that do not exist and
        folders without a photo as jobs with an error.

    Raises:
        UsageError: ``out`` is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"{out}: expected a folder for the results, got a file")
    taken: set[str] = set()
    seen: set[Path] = set()
    jobs = []
    for path in paths:
        for source, relative in _photos_of(path, out, recursive):
            if source.absolute() in seen:
                continue
            seen.add(source.absolute())
            target = out / relative if out else source.with_name(f"{source.stem}{MARK}{source.suffix}")
            jobs.append(_job(source, _free_name(target, taken)))
    return jobs


def _photos_of(path: Path, out: Path | None, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """(photo, its path below the output folder) of a file or folder; the path itself on failure."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    found = False
    for folder, folders, names in os.walk(path):
        folders[:] = (
            sorted(name for name in folders if not (out and _same(Path(folder, name), out))) if recursive else []
        )
        for name in sorted(names):
            source = Path(folder, name)
            if (
                source.suffix.lower() in SUFFIXES
                and not name.startswith(".")
                and not (out is None and _is_result(source))
            ):
                found = True
                yield source, source.relative_to(path)
    if not found:
        yield path, Path(path.name)


def _is_result(path: Path) -> bool:
    """Whether a file is a protected photo that lies beside its original."""
    return path.stem.endswith(MARK) and path.with_name(path.stem.removesuffix(MARK) + path.suffix).exists()


def _job(source: Path, target: Path) -> Job:
    if source.is_dir():
        return Job(
            source,
            target,
            f"{source}: expected a folder with photos, got one with none; pass --recursive to look deeper",
        )
    if not source.exists():
        return Job(source, target, f"{source}: expected a photo or a folder, got a path that does not exist")
    if _same(source, target):
        return Job(source, target, f"{source}: would be overwritten by its result; pass another folder with -o")
    return Job(source, target)


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _free_name(target: Path, taken: set[str]) -> Path:
    """The target, or with a number behind its name where an earlier one has it."""
    free, number = target, 2
    while str(free).casefold() in taken:
        free, number = target.with_name(f"{target.stem}_{number}{target.suffix}"), number + 1
    taken.add(str(free).casefold())
    return free
