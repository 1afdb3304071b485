"""What a long run has done, in a file beside its results: a run that was killed goes on where it was.

The journal is a file of lines of JSON: the run's settings; each process that worked on it; before a
result is written its place ("begun"), and after it the photo's report; at last that the run has ended. A
photo whose report is there is done, as long as it has not changed and its result is there; what was begun
and not finished is ours to write again. Names of results are below the folder, wherever that lies.
"""

import json
import os
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from filelock import FileLock, Timeout

from cloak.errors import UsageError
from cloak.files import Job, stamp_of
from cloak.lines import to_json
from cloak.names import shown
from cloak.photo import RUN, remove_parts
from cloak.types import PhotoReport

NAME = ".cloak-journal"


def path_of(folder: Path, shard: str) -> Path:
    """Where the journal of a folder, or of one of several runs on it, is."""
    return folder / f"{NAME}{f'-{shard}' if shard else ''}.jsonl"


@dataclass(frozen=True)
class Entry:
    """A photo that is done, or whose result was begun.

    Attributes:
        origin: which photo it was, see ``Job``; another folder may have one of the same place.
        stamp: of the photo when it was read, see ``stamp_of``.
        output: the result's path below the folder; empty where there is none.
        failed: why it is not protected though it should be; else empty.
        earlier: where the photo, before it changed, had a result that lies there still; else empty.
    """

    origin: str
    stamp: str
    output: str
    failed: str = ""
    earlier: str = ""

    @property
    def own(self) -> str:
        """The photo's result, as it is or was."""
        return self.output or self.earlier


@dataclass
class Journal:
    """The journal of one run, open for writing; one run at a time holds it.

    Attributes:
        path: of the file.
        done: a photo's place (see ``Job``) -> what became of it.
        begun: a photo's place -> what a run began to write and did not finish.
        runs: the processes of earlier runs.
    """

    path: Path
    done: dict[str, Entry] = field(default_factory=dict)
    begun: dict[str, Entry] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    _new: set[str] = field(default_factory=set)
    _lock: FileLock | None = None
    _file: TextIO | None = None

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any], *, shard: str = "", anew: bool = False) -> "Journal":
        """Go on with the journal of a folder, or begin one.

        Args:
            folder: of the results; made when needed.
            settings: what decides how results look.
            shard: of several runs on one folder; empty for the only one.
            anew: whether an earlier run is forgotten, but for one that was begun so and cut short.

        Raises:
            UsageError: another run is at work, the earlier one had other settings, or the journal is
                damaged, a link, or cannot be written.
        """
        journal = cls(path_of(folder, shard))
        try:
            journal._lock_folder(folder)
            if anew and not journal._is_cut_short(settings):
                journal.path.unlink(missing_ok=True)
            journal._load(settings)
            journal._begin(settings, anew)
        except OSError as error:
            journal.close()
            raise UsageError(f"{shown(folder)}: cannot be written to: {error.strerror or error}") from None
        except UsageError:
            journal.close()
            raise
        return journal

    @classmethod
    def look(cls, path: Path, settings: Mapping[str, Any] | None = None, *, anew: bool = False) -> "Journal":
        """What a journal says, to read alone; nothing where there is none, or ``anew`` would forget it.

        Raises:
            UsageError: the run had other settings, or the journal is damaged.
        """
        journal = cls(path)
        if not anew or journal._is_cut_short(settings or {}):
            journal._load(settings)
        return journal

    def _lock_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_suffix(".lock")
        for path in (self.path, lock):
            if path.is_symlink():
                raise UsageError(f"{shown(path)}: is a link, which would be written through; remove it")
        self._lock = FileLock(lock)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"{shown(folder)}: another run of cloak is at work in it; wait for it, or divide the work with --shard"
            ) from None

    @classmethod
    def join(cls, path: Path) -> "Journal":
        """Write to a journal that a parent process has open."""
        journal = cls.look(path)
        journal._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        journal.note_run(RUN)
        return journal

    def _is_cut_short(self, settings: Mapping[str, Any]) -> bool:
        """Whether its last run was to do all photos anew, with these settings, and did not end."""
        going = False
        for record in self.records():
            if "settings" in record:
                going = record["settings"] == settings and bool(record.get("anew"))
            going = going and "ended" not in record
        return going

    def _load(self, settings: Mapping[str, Any] | None) -> None:
        """Read what there is."""
        try:
            for record in self.records():
                if settings is not None and record.get("settings", settings) != settings:
                    raise UsageError(
                        f"{shown(self.path.parent)}: was begun with other settings "
                        f"({_changes(record['settings'], settings)}); pass the same, another folder with -o, or "
                        "--overwrite to do all photos anew"
                    )
                if "run" in record:
                    self.runs.append(record["run"])
                self._take(record)
        except (KeyError, TypeError, AttributeError):
            raise UsageError(
                f"{shown(self.path)}: is no journal of cloak, or damaged; remove it, or pass --overwrite"
            ) from None

    def _begin(self, settings: Mapping[str, Any], anew: bool) -> None:
        """Remove what earlier runs left half-written, and note this one."""
        for folder in {(self.path.parent / entry.output).parent for entry in self.begun.values()}:
            remove_parts(folder, self.runs)
        is_new = not self.path.exists()
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        if is_new:
            self._write({"settings": dict(settings), "anew": anew, "began": time.time(), "id": RUN})
        else:
            self._file.write("\n")  # behind a line that a killed run may have begun
        self.note_run(RUN)

    def _take(self, record: Mapping[str, Any]) -> None:
        """What a line says of a photo; of one that may fare better another time, only that nothing was written."""
        if "begun" in record:
            self.begun[record["begun"]] = Entry(record["origin"], record["stamp"], record["output"])
        if record.get("unwritten"):
            self.begun.pop(record["place"], None)
        if "report" not in record or record["report"]["passing"]:
            return
        place, report = record["place"], record["report"]
        failed = "" if report["skipped"] else report["reason"]
        entry, before = Entry(record["origin"], record["stamp"], record["output"], failed), self.done.get(place)
        foreign = before is not None and before.own and before.origin != entry.origin
        if entry.output or not foreign:
            self.begun.pop(place, None)
            self.done[place] = entry if entry.output or before is None else replace(entry, earlier=before.own)

    def records(self) -> Iterator[dict[str, Any]]:
        """The journal's lines; the last is left out where a killed run wrote half of it."""
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record

    def has(self, job: Job, exists: Callable[[str], bool] = os.path.lexists) -> bool:
        """Whether a photo is done, has not changed since, and its result still exists."""
        entry = self.done.get(job.place)
        if entry is None or entry.stamp != _stamp(job):
            return False
        return not entry.output or exists((job.root / entry.output).as_posix())

    def owned(self, job: Job) -> Path | None:
        """The result of this very photo, as it was or is, which is ours to replace."""
        entry = self.begun.get(job.place) or self.done.get(job.place)
        if entry is None or not entry.own:
            return None
        return job.root / entry.own if entry.origin == job.origin or entry.stamp == _stamp(job) else None

    def results(self) -> list[str]:
        """The results of all photos, finished or not, below the folder."""
        return [entry.own for entry in ChainMap(self.begun, self.done).values() if entry.own]

    def pairs(self, without: Collection[str] = ()) -> Iterator[tuple[Path, Path]]:
        """Original and result of each photo that is done, but those of some places."""
        for place, entry in self.done.items():
            if entry.output and place not in without:
                yield Path(entry.origin), self.path.parent / entry.output

    def note_run(self, run: str) -> None:
        """Note a process, by the name that its temporary files have."""
        self._write({"run": run})

    def begin(self, job: Job, output: Path) -> None:
        """Note a photo just before its result is written."""
        if self.owned(job) is None:
            self._new.add(job.place)
        self._note({"begun": job.place, **_of(job, _stamp(job), output)})

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None:
        """Note what became of a photo; ``stamp`` is from before it was read."""
        unwritten = job.place in self._new and report.output is None  # a file is saved whole or not at all
        self._new.discard(job.place)
        record = {"place": job.place, **_of(job, stamp, report.output), "report": json.loads(report.to_json())}
        self._note(record | ({"unwritten": True} if unwritten else {}))

    def end(self) -> None:
        """Note that all photos were gone through."""
        self._write({"ended": True})

    def report_lines(self) -> list[str]:
        """The reports of all photos as lines of JSON, each photo's last, in the order of the first."""
        found = (record for record in self.records() if "report" in record)
        latest = {(record["place"], record["origin"]): record["report"] for record in found}
        return [to_json(report) for report in latest.values()]

    def _note(self, record: Mapping[str, Any]) -> None:
        self._write(record)
        self._take(record)

    def _write(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        # where processes write to one file, Windows adds to where its end was
        turn = FileLock(self.path.with_suffix(".turn")) if os.name == "nt" else nullcontext()
        try:
            with turn:
                self._file.write(json.dumps(record, ensure_ascii=True) + "\n")
                self._file.flush()
        except OSError as error:
            raise UsageError(
                f"{shown(self.path)}: cannot be written: {error.strerror or error}; the run ends, and the same "
                "command goes on where it was"
            ) from error

    def close(self) -> None:
        """Let go of the file and the lock."""
        if self._file is not None:
            with suppress(OSError):  # told when it was written
                self._file.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _stamp(job: Job) -> str:
    return job.stamp or stamp_of(job.source)


def _of(job: Job, stamp: str, output: Path | None) -> dict[str, str]:
    """What tells a photo and its result."""
    below = output.relative_to(job.root).as_posix() if output else ""
    return {"origin": job.origin, "stamp": stamp, "output": below}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which settings are others, in a few words each."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(
        "other photos of --identity"
        if name == "identity" and before.get(name) and now.get(name)
        else f"{name} was {before.get(name, 'none')}, now {now.get(name, 'none')}"
        for name in names
    )
