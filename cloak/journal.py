"""What a long run has done, in a file beside its results: a run that was killed goes on where it was.

The journal is a file of lines of JSON: the run's settings; each process that worked on it; before a
result is written its place ("begun"), and after it the photo's report. A photo whose report is there is
done, as long as neither it nor its result has changed; what was begun and not finished is ours to write
again.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from filelock import FileLock, Timeout

from cloak.errors import UsageError
from cloak.files import Job, stamp_of
from cloak.names import shown
from cloak.photo import RUN, remove_parts
from cloak.types import PhotoReport, to_json

NAME = ".cloak-journal"


@dataclass(frozen=True)
class Entry:
    """A photo that is done.

    Attributes:
        stamp: of the photo when it was read, see ``stamp_of``.
        output: the result's name; empty where there is none.
        failed: whether it should have been protected and is not.
    """

    stamp: str
    output: str
    failed: bool


@dataclass
class Journal:
    """The journal of one run, open for writing; one run at a time holds it.

    Attributes:
        path: of the file.
        done: a photo's place (see ``Job``) -> what became of it.
        begun: a photo's place -> the result that a run began to write and did not finish.
    """

    path: Path
    done: dict[str, Entry] = field(default_factory=dict)
    begun: dict[str, str] = field(default_factory=dict)
    _lock: FileLock | None = None
    _file: TextIO | None = None

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any], *, shard: str = "", anew: bool = False) -> "Journal":
        """Go on with the journal of a folder, or begin one.

        Args:
            folder: of the results; made when needed.
            settings: what decides how results look.
            shard: of several runs on one folder; empty for the only one.
            anew: whether an earlier run is forgotten.

        Raises:
            UsageError: another run is at work, the earlier one had other settings, or the journal is
                damaged, a link, or cannot be written.
        """
        journal = cls(folder / f"{NAME}{f'-{shard}' if shard else ''}.jsonl")
        try:
            journal._lock_folder(folder)
            if anew:
                journal.path.unlink(missing_ok=True)
            journal._read(dict(settings))
        except OSError as error:
            journal.close()
            raise UsageError(f"{shown(folder)}: cannot be written to: {error.strerror or error}") from None
        except (KeyError, TypeError, AttributeError):
            journal.close()
            raise UsageError(
                f"{shown(journal.path)}: is no journal of cloak, or damaged; remove it, or pass --overwrite"
            ) from None
        except UsageError:
            journal.close()
            raise
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
        journal = cls(path)
        for record in journal.records():
            journal._take(record)
        journal._file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        journal.note_run(RUN)
        return journal

    def _read(self, settings: dict[str, Any]) -> None:
        is_new, runs = not self.path.exists(), []
        for record in self.records():
            if "settings" in record and record["settings"] != settings:
                changed = ", ".join(
                    f"{name} was {record['settings'].get(name, 'none')}, now {settings.get(name, 'none')}"
                    for name in record["settings"] | settings
                    if record["settings"].get(name) != settings.get(name)
                )
                raise UsageError(
                    f"{shown(self.path.parent)}: was begun with other settings ({changed}); pass the same, "
                    "another folder with -o, or --overwrite to do all photos anew"
                )
            if "run" in record:
                runs.append(record["run"])
            self._take(record)
        for output in self.begun.values():
            for run in runs:
                remove_parts(Path(output).parent, run)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        if is_new:
            self._write({"settings": settings})
        else:
            self._file.write("\n")  # behind a line that a killed run may have begun
        self.note_run(RUN)

    def _take(self, record: Mapping[str, Any]) -> None:
        """What a line says of a photo."""
        if "begun" in record:
            self.begun[record["begun"]] = record["output"]
        if "report" not in record:
            return
        place, report = record["place"], record["report"]
        self.begun.pop(place, None)
        if report["passing"]:
            self.done.pop(place, None)
        else:
            failed = bool(report["reason"]) and not report["skipped"]
            self.done[place] = Entry(record["stamp"], report["output"] or "", failed)

    def records(self) -> Iterator[dict[str, Any]]:
        """The journal's lines; the last is left out where a killed run wrote half of it."""
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8") as lines:
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
        if entry is None or entry.stamp != (job.stamp or stamp_of(job.source)):
            return False
        return not entry.output or exists(entry.output)

    def owns(self, job: Job) -> bool:
        """Whether a result of the photo may lie there that is ours to replace."""
        return job.place in self.begun or bool(job.place in self.done and self.done[job.place].output)

    def note_run(self, run: str) -> None:
        """Note a process, by the name that its temporary files have."""
        self._write({"run": run})

    def begin(self, job: Job, output: Path) -> None:
        """Note a photo just before its result is written."""
        self._write({"begun": job.place, "output": str(output)})

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None:
        """Note what became of a photo; ``stamp`` is from before it was read."""
        self._write({"place": job.place, "stamp": stamp, "report": json.loads(report.to_json())})

    def report_lines(self) -> list[str]:
        """The reports of all photos as lines of JSON, each photo's last, in the order of the first."""
        latest = {record["place"]: record["report"] for record in self.records() if "report" in record}
        return [to_json(report) for report in latest.values()]

    def _write(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(record, ensure_ascii=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file and the lock."""
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
