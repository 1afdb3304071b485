"""What is known of a run's photos: which are done, which were begun, and whose results are whose."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cloak.files import Job, stamp_of
from cloak.weights import file_sha256

KEPT = ("origin", "stamp", "output", "size", "digest", "found")
"""Of an entry, in the lines of a journal."""


@dataclass(frozen=True)
class Entry:
    """A photo that is done, or whose result was begun.

    Attributes:
        origin: which photo it was, see ``Job``; another folder may have one of the same place.
        stamp: of the photo when it was read, see ``stamp_of``.
        output: the result's path below the folder; empty where there is none.
        size: of the result in bytes, as it was written; -1 where that is not known.
        digest: of the result's bytes; empty where that is not known.
        found: whether the result was there already, and was not written by a run of this journal.
        failed: why it is not protected though it should be; else empty.
        earlier: where the photo, before it changed, had a result that lies there still; else empty.
    """

    origin: str
    stamp: str
    output: str
    size: int = -1
    digest: str = ""
    found: bool = False
    failed: str = ""
    earlier: str = ""

    @property
    def own(self) -> str:
        """The photo's result, as it is or was."""
        return self.output or self.earlier


@dataclass
class Ledger:
    """The photos of a folder's results.

    Attributes:
        path: of the journal, in the folder of the results.
        done: a photo's place (see ``Job``) -> what became of it.
        begun: a photo's place -> what a run began to write and did not finish.
    """

    path: Path
    done: dict[str, Entry] = field(default_factory=dict)
    begun: dict[str, Entry] = field(default_factory=dict)

    def take(self, record: Mapping[str, Any]) -> None:
        """Learn what a line says of a photo; of one that may fare better another time, that nothing was written."""
        if "begun" in record:
            self.begun[record["begun"]] = _entry(record)
            return
        place, report = record.get("place", ""), record.get("report")
        before = self.done.get(place) or self.begun.get(place)
        if record.get("unwritten"):
            self.begun.pop(place, None)
        if report is None or report["passing"]:
            return
        entry = replace(_entry(record), failed="" if report["skipped"] else report["reason"])
        foreign = before is not None and before.own and before.origin != entry.origin
        if entry.output or not foreign:
            self.begun.pop(place, None)
            if not entry.output and before is not None:
                entry = replace(entry, earlier=before.own, size=before.size, digest=before.digest, found=before.found)
            self.done[place] = entry

    def has(self, job: Job, exists: Callable[[str], bool] = os.path.lexists) -> bool:
        """Whether a photo is done, has not changed since, and its result still exists."""
        entry = self.done.get(job.place)
        if entry is None or entry.stamp != stamp(job):
            return False
        return not entry.output or exists((job.root / entry.output).as_posix())

    def changed(self, jobs: Iterable[Job]) -> list[str]:
        """The results of photos that are done, on this machine, that are other files than were written."""
        entries = ((job, self.done[job.place]) for job in jobs if job.place in self.done)
        return [
            entry.output for job, entry in entries if entry.output and _has_another_size(job.root / entry.output, entry)
        ]

    def owned(self, job: Job, *, anew: bool = False) -> Path | None:
        """The result of this very photo, as it was or is, which is ours to replace; or, where all is done anew, of
        whatever photo had this place. None where somebody has changed it."""
        entry = self.begun.get(job.place) or self.done.get(job.place)
        if entry is None or not entry.own or entry.found or _is_another(job.root / entry.own, entry):
            return None
        return job.root / entry.own if anew or entry.origin == job.origin or entry.stamp == stamp(job) else None

    def own(self) -> dict[str, Entry]:
        """A photo's place -> the result that is its own, finished or not, as its output."""
        entries = (self.done | self.begun).items()
        return {place: replace(entry, output=entry.own) for place, entry in entries if entry.own}

    def results(self) -> list[str]:
        """The results of all photos, finished or not, below the folder."""
        return [entry.output for entry in self.own().values()]

    def pairs(self, without: Collection[str] = ()) -> Iterator[tuple[Path, Path]]:
        """Original and result of each photo that is done, but those of some places."""
        for place, entry in self.done.items():
            if entry.output and place not in without:
                yield Path(entry.origin), self.path.parent / entry.output


def stamp(job: Job) -> str:
    """What changes when a job's photo is changed."""
    return job.stamp or stamp_of(job.source)


def size_of(path: Path) -> int:
    """Of a file in bytes; -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def digest_of(path: Path) -> str:
    """Of a file's bytes; empty where there is none."""
    try:
        return file_sha256(path)
    except OSError:
        return ""


def _entry(record: Mapping[str, Any]) -> Entry:
    """What a line says of a photo and its result."""
    return Entry(**{name: record[name] for name in KEPT if name in record})


def _has_another_size(result: Path, entry: Entry) -> bool:
    """Whether a file is not the result that was written there, as its size tells."""
    return entry.size >= 0 and size_of(result) not in (entry.size, -1)


def _is_another(result: Path, entry: Entry) -> bool:
    """Whether a file is not the result that was written there."""
    if _has_another_size(result, entry) or not entry.digest:
        return _has_another_size(result, entry)
    return digest_of(result) not in (entry.digest, "")
