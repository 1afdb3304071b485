"""What a long run has done, in a file beside its results: a run that was killed goes on where it was.

The journal is a file of lines of JSON: the run's settings; each process that worked on it; before a
result is written its place ("begun"), and after it the photo's report; at last that the run has ended. A
photo whose report is there is done, as long as it has not changed and its result is there; what was begun
and not finished is ours to write again. Names of results are below the folder, wherever that lies.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from filelock import FileLock, Timeout

from cloak.errors import CloakError, UsageError
from cloak.files import Job
from cloak.ledger import KEPT, Ledger, digest_of, size_of, stamp
from cloak.lines import to_json
from cloak.names import shown
from cloak.photo import RUN, remove_parts, save_bytes
from cloak.types import Face, PhotoReport, face_of

NAME = ".cloak-journal"

OPTIONS = ("identity", "apart", "steps")
"""Settings that are there only where such an option is given."""

IDENTITY = OPTIONS[0]
"""Of the settings, the one that may become another while photos are added: what is done stays."""


def path_of(folder: Path, shard: str) -> Path:
    """Where the journal of a folder, or of one of several runs on it, is."""
    return folder / f"{NAME}{f'-{shard}' if shard else ''}.jsonl"


@dataclass
class Journal(Ledger):
    """The journal of one run, open for writing; one run at a time holds it.

    Attributes:
        runs: the processes of earlier runs.
        others: whether it was begun with other photos of the identity.
    """

    runs: list[str] = field(default_factory=list)
    others: bool = False
    _void: bool = False
    _began: set[str] = field(default_factory=set)
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
            anew: whether an earlier run is forgotten but for which results are whose; one that was itself begun so
                and cut short goes on.

        Raises:
            UsageError: another run is at work, the earlier one had other settings, or the journal is
                damaged, a link, or cannot be written.
        """
        journal = cls(path_of(folder, shard))
        try:
            journal._lock_folder(folder)
            if anew and not journal._is_cut_short(settings):
                journal._start_anew(settings)
            journal._load(settings)
            journal._begin(settings)
        except OSError as error:
            journal.close()
            raise UsageError(f"{shown(folder)}: cannot be written to: {error.strerror or error}") from None
        except CloakError:
            journal.close()
            raise
        return journal

    @classmethod
    def look(cls, path: Path, settings: Mapping[str, Any] | None = None, *, anew: bool = False) -> "Journal":
        """What a journal says, to read alone; nothing where there is none, and where ``anew`` would forget it, only
        which results are whose.

        Raises:
            UsageError: the run had other settings, or the journal is damaged.
        """
        journal = cls(path)
        if anew and not journal._is_cut_short(settings or {}):
            journal.begun = journal._before().own()
        else:
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

    def _before(self) -> "Journal":
        """What the file says so far, where it is not damaged."""
        before = Journal(self.path)
        with suppress(UsageError):
            before._load(None)
        return before

    def _start_anew(self, settings: Mapping[str, Any]) -> None:
        """Another file in its place, whole or not at all, that has only which results are whose."""
        before, lines = self._before(), [_head(settings, anew=True)]
        lines += [{"run": run} for run in before.runs]
        lines += [{"begun": place} | {name: getattr(one, name) for name in KEPT} for place, one in before.own().items()]
        save_bytes("".join(json.dumps(line) + "\n" for line in lines).encode(), self.path, overwrite=True)

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
        before: Mapping[str, Any] = {}
        try:
            for record in self.records():
                before = dict(record.get("settings", before))
                if "run" in record:
                    self.runs.append(record["run"])
                self.take(record)
        except (KeyError, TypeError, AttributeError):
            raise UsageError(
                f"{shown(self.path)}: is no journal of cloak, or damaged; remove it, or pass --overwrite"
            ) from None
        if before and settings is not None:
            self._compare(before, settings)

    def _compare(self, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Refuse other settings, but for other photos of the identity, and unless nothing was written with them."""
        changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        self.others = IDENTITY in changed and IDENTITY in before and IDENTITY in settings
        if self.others:
            changed.remove(IDENTITY)
        self._void = bool(changed) and not self.results()
        if self._void:
            self.done.clear()
        elif changed:
            words = ", ".join(_difference(name, before, settings) for name in changed)
            raise UsageError(
                f"{shown(self.path.parent)}: was begun with other settings ({words}); pass the same, another folder "
                "with -o, or --overwrite to do all photos anew"
            )

    def _begin(self, settings: Mapping[str, Any]) -> None:
        """Remove what earlier runs left half-written, and note this one."""
        for folder in {(self.path.parent / entry.output).parent for entry in self.begun.values()}:
            remove_parts(folder, self.runs)
        if self._void:
            self.path.unlink()
        is_new = not self.path.exists()
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        if is_new:
            self._write(_head(settings))
        else:
            self._file.write("\n")  # behind a line that a killed run may have begun
        if self.others:
            self._write({"settings": dict(settings)})
        self.note_run(RUN)

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

    def note_run(self, run: str) -> None:
        """Note a process, by the name that its temporary files have."""
        self._write({"run": run})

    def begin(self, job: Job, output: Path) -> None:
        """Note a photo just before its result is written."""
        self._began.add(job.place)
        if job.ours is None and self.owned(job) is None:
            self._new.add(job.place)
        self._note({"begun": job.place, **_of(job, stamp(job), output)})

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None:
        """Note what became of a photo; ``stamp`` is from before it was read."""
        unwritten = job.place in self._new and report.output is None  # a file is saved whole or not at all
        self._new.discard(job.place)
        record = {"place": job.place, **_of(job, stamp, report.output), "report": json.loads(report.to_json())}
        if report.output and not job.stamp:
            record |= {"size": size_of(report.output), "digest": digest_of(report.output)}
        if report.output and job.place not in self._began:
            record["found"] = True
        self._note(record | ({"unwritten": True} if unwritten else {}))

    def end(self) -> None:
        """Note that all photos were gone through."""
        self._write({"ended": True})

    def report_lines(self) -> list[str]:
        """The reports of all photos as lines of JSON, each photo's last, in the order of the first."""
        return [to_json(record["report"]) for record in self._latest()]

    def pictured(self, jobs: Iterable[Job]) -> list[tuple[Path, Path, Face]]:
        """Photo, result and largest face of some jobs, as far as they have been done."""
        sources = {job.place: job.source for job in jobs}
        return [
            (
                sources[record["place"]],
                self.path.parent / record["output"],
                face_of(record["report"]["faces"][0]["face"]),
            )
            for record in self._latest()
            if record["place"] in sources and record["output"] and record["report"]["faces"]
        ]

    def _latest(self) -> Iterable[dict[str, Any]]:
        """Each photo's last line with a report, in the order of the first."""
        found = (record for record in self.records() if "report" in record)
        return {(record["place"], record["origin"]): record for record in found}.values()

    def _note(self, record: Mapping[str, Any]) -> None:
        self._write(record)
        self.take(record)

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


def _head(settings: Mapping[str, Any], *, anew: bool = False) -> dict[str, Any]:
    """The first line."""
    return {"settings": dict(settings), "anew": anew, "began": time.time(), "id": RUN}


def _difference(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What became of a setting, in words."""
    if name in OPTIONS and (name in before) != (name in now):
        return f"--{name} was {'given' if name in before else 'not given'}"
    return f"{name} was {before.get(name, 'another')}, now {now.get(name, 'another')}"


def _of(job: Job, stamp: str, output: Path | None) -> dict[str, str]:
    """What tells a photo and its result."""
    below = output.relative_to(job.root).as_posix() if output else ""
    return {"origin": job.origin, "stamp": stamp, "output": below}
