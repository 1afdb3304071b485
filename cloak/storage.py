"""Photos and results on object storage, by fsspec's URLs: fetched, protected in a temporary folder, sent.

Jobs have places below the two URLs instead of paths. What is sent is there whole or not at all:
object storage puts objects so, and for other places fsspec's transactions do.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cloak.errors import PHOTO_ERRORS, CloakError, LostDeviceError, UsageError, in_a_line
from cloak.files import Job, Layout, free_name
from cloak.folders import cache_folder
from cloak.journal import path_of
from cloak.names import shown
from cloak.opening import NOT_OURS
from cloak.photo import RUN, TRUSTED, read_note
from cloak.types import PhotoReport
from cloak.walk import no_photos, photo_names

if TYPE_CHECKING:
    from cloak.protect import Cloaker
    from cloak.runs import Notes


TEMPORARY = "cloak-"
"""How folders for photos in work begin; then comes the process."""

PROBE = ".cloak-writable"


@dataclass(frozen=True)
class Folder:
    """A folder at a URL."""

    url: str

    def _open(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise UsageError(f"{shown(self.url)}: needs fsspec; install it with: pip install 'cloak[ray]'") from None
        try:
            system, root = url_to_fs(self.url)
        except (ImportError, ValueError, OSError) as error:
            raise UsageError(f"{shown(self.url)}: cannot be opened: {in_a_line(error)}") from None
        return system, str(root).rstrip("/")

    def files(self, *, recursive: bool) -> dict[str, str]:
        """Path below the folder -> what changes when the file is changed; sorted; none where there is no folder.

        Raises:
            UsageError: it cannot be listed.
        """
        system, root = self._open()
        try:
            system.invalidate_cache()
            found = system.find(root, maxdepth=None if recursive else 1, detail=True) if system.exists(root) else {}
        except Exception as error:  # each storage has its own
            raise UsageError(f"{shown(self.url)}: cannot be listed: {in_a_line(error)}") from None
        marks = ("size", "ETag", "etag", "mtime", "LastModified", "updated", "created")
        return {
            str(PurePosixPath(path).relative_to(root)): "-".join(str(info[mark]) for mark in marks if info.get(mark))
            for path, info in sorted(found.items())
        }

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file here; raises OSError."""
        system, root = self._open()
        target.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(f"{root}/{name}", str(target))

    def has(self, name: str) -> bool:
        """Whether such a file is there now."""
        system, root = self._open()
        system.invalidate_cache()
        return bool(system.exists(f"{root}/{name}"))

    def send(self, source: Path, name: str) -> None:
        """Copy a file there, whole or not at all; raises OSError."""
        system, root = self._open()
        path = f"{root}/{name}"
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        with system.transaction, system.open(path, "wb") as file:
            file.write(source.read_bytes())

    def remove(self, name: str) -> None:
        """Remove a file; raises OSError."""
        system, root = self._open()
        system.rm_file(f"{root}/{name}")


def _leads_out(name: str) -> bool:
    """Whether an object's name, as a path below a folder, is none: on Windows that has drives and streams, too."""
    place = Path(name)
    if place.is_absolute() or place.drive or ".." in place.parts or place.as_posix() != name:
        return True
    return os.name == "nt" and ":" in name


@dataclass(frozen=True)
class Stage:
    """From one folder at a URL to another.

    Attributes:
        source: of the photos.
        out: for the results.
    """

    source: Folder
    out: Folder

    def layout(self, *, recursive: bool) -> Layout:
        """The photos of the source, as jobs with places below the two folders.

        Raises:
            UsageError: the source has no photos, is the folder for the results, or leads out of itself.
        """
        if self.source.url.rstrip("/") == self.out.url.rstrip("/"):
            raise UsageError(f"{shown(self.out.url)}: is where the photos are; pass another folder with -o")
        files = self.source.files(recursive=recursive)
        folders: dict[str, list[str]] = {}
        for name in files:
            if _leads_out(name):
                raise UsageError(f"{shown(self.source.url)}: {shown(name)} would lead out of it; rename that object")
            folder, _, last = name.rpartition("/")
            folders.setdefault(folder, []).append(last)
        taken: set[str] = set()
        jobs = []
        for folder, names in sorted(folders.items()):
            for last in photo_names(names):
                place = Path(folder, last)
                jobs.append(Job(place, free_name(place, taken), Path(), stamp=files[place.as_posix()]))
        if not jobs:
            raise UsageError(no_photos(self.source.url, recursive=recursive))
        return Layout.of(jobs)

    def work_through(
        self, cloaker: "Cloaker", jobs: Sequence[Job], notes: "Notes", *, overwrite: bool, earlier: Iterable[str] = ()
    ) -> Iterator[PhotoReport]:
        """As ``cloak.runs.work_through``, for jobs of this stage's layout; ``earlier``: results that are there."""
        with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{RUN}-") as name:
            inside, outside = Path(name, "in"), Path(name, "out")
            known = [replace(job, ours=notes.owned(job, anew=overwrite)) for job in jobs]
            here = [_within(job, inside, outside) for job in known]
            layout = Layout.of(here)
            layout.reserve(outside, earlier)
            for job, local in zip(known, here, strict=True):
                report = self._protect(cloaker, job, local, layout, overwrite, partial(notes.begin, job))
                said = report.error.replace(shown(inside) + os.sep, "").replace(shown(outside) + os.sep, "")
                report = replace(report, source=job.source, error=said)
                notes.finish(job, report, job.stamp)
                yield report

    def _protect(
        self,
        cloaker: "Cloaker",
        job: Job,
        local: Job,
        layout: Layout,
        overwrite: bool,
        begin: Callable[[Path], None],
    ) -> PhotoReport:
        try:
            self._make_way(job, job.target, local, overwrite)
            self.source.fetch(job.source.as_posix(), local.source)
            report = cloaker.protect_job(local, layout)
            if report.output is None:
                return report
            place = report.output.relative_to(local.root)
            if place != job.target:
                self._make_way(job, place, local, overwrite)
            begin(place)
            self.out.send(report.output, place.as_posix())
            return replace(report, output=place)
        except UsageError as error:
            return PhotoReport(error=str(error), passing=True)
        except LostDeviceError:
            raise
        except PHOTO_ERRORS as error:  # of the storage: may be gone another time
            return PhotoReport(error=f"{shown(job.source)}: {in_a_line(error)}", passing=True)
        finally:
            local.source.unlink(missing_ok=True)

    def _make_way(self, job: Job, place: Path, local: Job, overwrite: bool) -> None:
        """Refuse to write a result over an object that is there, unless cloak made it and it may be replaced."""
        if place == job.ours or not self.out.has(place.as_posix()):
            return
        if not overwrite:
            raise UsageError(f"{shown(place)}: exists already in {shown(self.out.url)}; pass --overwrite to replace it")
        copy = local.root / f"{RUN}-there"
        self.out.fetch(place.as_posix(), copy)
        note = read_note(copy, TRUSTED)
        copy.unlink()
        if not note:
            raise UsageError(f"{shown(place)}: {NOT_OURS}")

    @contextmanager
    def journal_folder(self, shard: str = "") -> Iterator[Path]:
        """Where this machine keeps the journal of such a run, since objects cannot be added to.

        A copy lies beside the results: it is fetched, what this machine could not send is added, and it is
        sent at the end.

        Raises:
            UsageError: nothing can be written beside the results.
            CloakError: the copy could not be sent.
        """
        digest = hashlib.sha256(f"{self.source.url}\n{self.out.url}".encode()).hexdigest()[:16]
        folder = cache_folder() / "runs" / digest
        self._try_to_write(folder)
        path = path_of(folder, shard)
        if self.out.has(path.name):
            here = path.read_bytes() if path.exists() else b""
            self.out.fetch(path.name, path)
            path.write_bytes(later_of(here, path.read_bytes()))
        wrong = False
        try:
            yield folder
        except UsageError:
            wrong = True
            raise
        finally:
            if path.exists() and not wrong:
                self._send_journal(path)

    def _send_journal(self, path: Path) -> None:
        try:
            self.out.send(path, path.name)
        except OSError as error:
            raise CloakError(
                f"{shown(self.out.url)}: the journal could not be copied there ({in_a_line(error)}); it is in "
                f"{shown(path.parent)}: run the same command again from this machine"
            ) from None

    def _try_to_write(self, folder: Path) -> None:
        """Before the work: a folder where nothing can be put is wrong usage."""
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / PROBE
        note.write_text("cloak can write here\n")
        try:
            self.out.send(note, PROBE)
        except OSError as error:
            raise UsageError(f"{shown(self.out.url)}: cannot be written to: {in_a_line(error)}") from None
        with suppress(OSError):  # who may put objects may not always remove them
            self.out.remove(PROBE)


def _within(job: Job, inside: Path, outside: Path) -> Job:
    """A job of the stage as one in a folder of this machine."""
    return Job(inside / job.source, outside / job.target, outside, ours=outside / job.ours if job.ours else None)


def remove_leftovers(runs: Iterable[str]) -> None:
    """Remove what processes that were killed left of photos in this machine's temporary folder."""
    for run in runs:
        for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}{run}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def later_of(here: bytes, there: bytes) -> bytes:
    """Of two copies of a journal: all lines of both where they are of one run, else the one that began later."""
    (began, run), (other_began, other_run) = _beginning(here), _beginning(there)
    if not here or not there or run != other_run:
        return here if (began, bool(here)) > (other_began, bool(there)) else there
    known = set(there.splitlines())
    more = [line for line in here.splitlines() if line and line not in known]
    return b"\n".join([there.rstrip(b"\n"), *more, b""]) if more else there


def _beginning(journal: bytes) -> tuple[float, str]:
    """When a journal was begun, and by which process."""
    try:
        record = json.loads(journal.partition(b"\n")[0])
        return float(record["began"]), str(record["id"])
    except (ValueError, KeyError, TypeError):
        return 0.0, ""
