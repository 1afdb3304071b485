"""Paths -> which photo goes where. Nothing is read here but the names in folders."""

import hashlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloak.errors import UsageError
from cloak.names import shown
from cloak.walk import MARK, identity_of, is_folder, photos_of, same_file


@dataclass(frozen=True)
class Job:
    """One photo to protect.

    Attributes:
        source: the photo.
        target: where the protected one goes.
        root: the folder that the result must lie in.
        error: why the path cannot be worked on, in one sentence; else empty.
        stamp: what changes when the photo is changed, where the file cannot tell.
        ours: the photo's own result of an earlier run, which may be replaced.
    """

    source: Path
    target: Path
    root: Path
    error: str = ""
    stamp: str = ""
    ours: Path | None = None

    @property
    def origin(self) -> str:
        """Which photo it is: its whole path, or its place in a folder that is no path of this machine."""
        return str(self.source) if self.stamp else os.path.abspath(self.source)  # noqa: PTH100

    @property
    def place(self) -> str:
        """The target below its root: the same wherever the folders lie."""
        inside = self.target.is_relative_to(self.root)
        return self.target.relative_to(self.root).as_posix() if inside else self.target.name


def plan_jobs(paths: Iterable[Path], out: Path | None = None, *, recursive: bool = False) -> list[Job]:
    """Lay out which photo goes where.

    Args:
        paths: files and folders. Of a folder, the files whose suffix is a photo's, without those
            that are hidden and those that are results beside their originals. Links to folders
            are not followed.
        out: the folder of the results: a folder's structure is kept below it, and names that
            would collide get a number. Without it, and where the result would take the
            original's place, NAME_cloaked.EXT.
        recursive: whether folders are searched to their depth.

    Returns:
        The jobs in the order of the paths, folders sorted by name; folders without a photo and
        those that cannot be read as jobs with an error.

    Raises:
        UsageError: ``out`` is a file.
    """
    if out is not None and os.path.lexists(out) and not is_folder(out):
        raise UsageError(f"{shown(out)}: expected a folder for the results, got a file or a link to nothing")
    taken: set[str] = set()
    seen: set[str] = set()
    jobs = []
    for path in paths:
        for source, relative, error in photos_of(path, out, recursive):
            if (place := os.path.abspath(source)) in seen and not error:  # noqa: PTH100
                continue
            seen.add(place)
            root = out or source.parent
            jobs.append(Job(source, root, root, error) if error else _job_of(source, relative, out, taken))
    return jobs


def _job_of(source: Path, relative: Path, out: Path | None, taken: set[str]) -> Job:
    target = out / relative if out else source
    if out is None or same_file(source, target):
        target = target.with_name(f"{target.stem}{MARK}{target.suffix}")
    return Job(source, free_name(target, taken), out or source.parent)


@dataclass(frozen=True)
class Layout:
    """Where results may go: never over an original, over each other, or out of their folder.

    Attributes:
        jobs: see ``plan_jobs``.
        originals: of every job, and other photos that are spared, whatever name leads to them.
        taken: names of results, in lower case.
    """

    jobs: Sequence[Job]
    originals: frozenset[str | tuple[int, int]]
    taken: set[str]

    @classmethod
    def of(cls, jobs: Sequence[Job], spared: Iterable[Path] = ()) -> "Layout":
        originals = frozenset(identity_of(path) for path in (*(job.source for job in jobs), *spared))
        return cls(jobs, originals, {name_key(job.target) for job in jobs})

    def place(self, job: Job, suffix: str) -> Path:
        """Where a job's result goes, now that the suffix of its format is known; the photo's own stays its own.

        Raises:
            UsageError: an original lies there, or a link leads out of the folder for the results.
        """
        target = job.target
        if target.suffix != suffix:
            again = job.ours if job.ours and job.ours.suffix == suffix else None
            target = again or free_name(target.with_suffix(suffix), self.taken)
        self.check(target, job)
        return target

    def reserve(self, root: Path, results: Iterable[str]) -> None:
        """Results of earlier runs below ``root``: no other photo's, renamed for its format, takes their names."""
        self.taken.update(name_key(root / result) for result in results)

    def check(self, path: Path, job: Job) -> None:
        """Refuse to write a job's result over an original, or outside of the folder.

        Raises:
            UsageError: with the reason.
        """
        if identity_of(path) in self.originals:
            raise UsageError(
                f"{shown(path)}: is itself a photo to protect, or of --identity or --apart-from, and would be "
                "overwritten; pass another folder with -o"
            )
        if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(job.root)):
            raise UsageError(f"{shown(path)}: a link leads out of {shown(job.root)}, where results go; remove the link")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of the work, for as many machines.

    Attributes:
        number: from 1.
        count: of the parts.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """ "2/8" -> the second of eight.

        Raises:
            UsageError: anything else.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UsageError(f"expected a shard such as 2/8, the second of eight; got {text!r}")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}" if self.count > 1 else ""

    def holds(self, job: Job) -> bool:
        """Whether a photo belongs to this part: by its result's place, so wherever the folder lies."""
        digest = hashlib.sha256(job.place.encode("utf-8", sys.getfilesystemencodeerrors())).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def lay_out(
    paths: Path | str | Iterable[Path | str],
    out: Path | str | None,
    *,
    recursive: bool = False,
    spared: Iterable[Path] = (),
) -> Layout:
    """Which photo goes where, and what else no result may replace; see ``Cloaker.protect_files``."""
    where = Path(out) if out is not None else None
    listed = [paths] if isinstance(paths, (str, Path)) else paths  # a string is a sequence of strings, too
    return Layout.of(plan_jobs([Path(path) for path in listed], where, recursive=recursive), spared)


def stamp_of(path: Path) -> str:
    """What changes when a file is changed: its size and time; empty where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def free_name(target: Path, taken: set[str]) -> Path:
    """The target, or with a number behind its name where an earlier one has it; notes it as taken."""
    free, number = target, 2
    while name_key(free) in taken:
        free, number = target.with_name(f"{target.stem}_{number}{target.suffix}"), number + 1
    taken.add(name_key(free))
    return free


def name_key(path: Path) -> str:
    """Equal for names that some file systems take for one: in other cases, or with accents composed or not."""
    return unicodedata.normalize("NFC", str(path)).casefold()
