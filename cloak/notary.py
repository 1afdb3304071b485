"""Who keeps the journal of a run on a Ray cluster: one actor, for all the others."""

from pathlib import Path
from typing import Any

from cloak.files import Job
from cloak.journal import Journal
from cloak.photo import RUN, remove_parts
from cloak.types import PhotoReport


class Notary:
    """The actor that writes the journal for all, and remembers what was begun by those that are lost."""

    def __init__(self, path: Path, earlier: list[str]) -> None:
        self._journal = Journal.join(path)
        self._earlier = earlier
        self._runs = set(self._journal.runs) - set(earlier)
        self._folders = {(path.parent / result).parent for result in self._journal.results()}

    def joined(self, run: str) -> tuple[Path, list[str], list[str]]:
        """Note an actor's process; the folder, the results that are there, and the processes of earlier runs."""
        self._journal.note_run(run)
        self._runs.add(run)
        return self._journal.path.parent, self._journal.results(), self._earlier

    def owned(self, job: Job, *, anew: bool = False) -> Path | None:
        return self._journal.owned(job, anew=anew)

    def begin(self, job: Job, output: Path) -> None:
        self._folders.add(output.parent)
        self._journal.begin(job, output)

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None:
        self._journal.finish(job, report, stamp)

    def sweep(self) -> None:
        """When nobody writes any more: what lost actors left of their temporary files goes."""
        for folder in self._folders:
            remove_parts(folder, self._runs)


class RemoteNotes:
    """``cloak.runs.Notes``, by the notary."""

    def __init__(self, notary: Any) -> None:
        import ray

        self._notary, self._get = notary, ray.get
        self.folder: Path
        self.earlier: list[str]
        self.earlier_runs: list[str]
        self.folder, self.earlier, self.earlier_runs = self._get(notary.joined.remote(RUN))

    def owned(self, job: Job, *, anew: bool = False) -> Path | None:
        found: Path | None = self._get(self._notary.owned.remote(job, anew=anew))
        return found

    def begin(self, job: Job, output: Path) -> None:
        self._get(self._notary.begin.remote(job, output))

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None:
        self._get(self._notary.finish.remote(job, report, stamp))
