"""Long runs: a layout's photos one after the other, with a journal, until told to stop."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cloak.files import Job, Layout, stamp_of
from cloak.photo import TRUSTED, read_note
from cloak.types import PhotoReport, Progress

if TYPE_CHECKING:
    from cloak.journal import Journal
    from cloak.protect import Cloaker


class Engine(Protocol):
    """Who does the photos of a layout: this process, several, or several machines.

    Attributes:
        settings: what decides how results look, see ``Cloaker.settings``.
        notes: what a user should know of the surrogates and the identity.
    """

    @property
    def settings(self) -> Mapping[str, object]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def protect(
        self,
        jobs: Sequence[Job],
        journal: "Journal | None" = None,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[PhotoReport]:
        """Protect photos, one report each, in order.

        Args:
            jobs: those of the layout's photos that are to be done.
            journal: notes each photo before and after.
            on_progress: called at each step, or when a photo is done.
            stopped: asked before photos are begun.
        """


@dataclass(frozen=True)
class Alone:
    """This process does them, one after the other.

    Attributes:
        overwrite: whether results that exist already are replaced.
    """

    cloaker: "Cloaker"
    layout: Layout
    overwrite: bool = False

    @property
    def settings(self) -> Mapping[str, object]:
        return self.cloaker.settings

    @property
    def notes(self) -> tuple[str, ...]:
        return self.cloaker.notes

    def protect(
        self,
        jobs: Sequence[Job],
        journal: "Journal | None" = None,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[PhotoReport]:
        if journal:
            self.layout.reserve(journal.path.parent, journal.results())
        if self.cloaker.earlier and jobs:

            def going_on(original: Path) -> bool:
                on_progress(Progress(0, len(jobs), original, "looking at earlier results", 0.0))
                return not stopped()

            self.cloaker.earlier.recall(self._earlier_pairs(jobs, journal), going_on)
        return work_through(
            self.cloaker,
            self.layout,
            jobs,
            journal=journal,
            overwrite=self.overwrite,
            on_progress=on_progress,
            stopped=stopped,
        )

    def _earlier_pairs(self, jobs: Sequence[Job], journal: "Journal | None") -> Iterator[tuple[Path, Path]]:
        """Originals and results that are there already and stay: those that a journal knows, and else those that lie
        where the layout's results go."""
        from cloak.journal import Journal, path_of

        found = journal or Journal.look(path_of(jobs[0].root, ""))
        yield from found.pairs(without={job.place for job in jobs})
        if not self.overwrite:  # those that are done before, though no journal knows
            stay = (job for job in jobs if not (journal and journal.owned(job)))
            yield from ((job.source, job.target) for job in stay if read_note(job.target, TRUSTED))


def told(
    reports: Iterable[PhotoReport], jobs: Sequence[Job], on_progress: Callable[[Progress], None]
) -> Iterator[PhotoReport]:
    """The reports of jobs, each told as a photo that is done, for engines that hear of no steps; first the beginning,
    by which one knows how long the first photos took."""
    if jobs:
        on_progress(Progress(0, len(jobs), jobs[0].source, "finding faces", 0.0))
    for done, report in enumerate(reports):
        assert report.source is not None
        on_progress(Progress(done, len(jobs), report.source, "done", 1.0))
        yield report


class Notes(Protocol):
    """What is noted of photos, see ``cloak.journal.Journal``."""

    def owned(self, job: Job, *, anew: bool = False) -> Path | None: ...

    def begin(self, job: Job, output: Path) -> None: ...

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None: ...


def work_through(
    cloaker: "Cloaker",
    layout: Layout,
    jobs: Sequence[Job],
    *,
    journal: Notes | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[PhotoReport]:
    """Protect photos, one report each, in order, as each is done.

    Args:
        cloaker: who protects.
        layout: that the photos belong to.
        jobs: those of its photos that are to be done.
        journal: notes each photo before and after.
        overwrite: whether results that exist already are replaced; the photo's own of the journal are in any case.
        on_progress: called at each step.
        stopped: asked before each photo.
    """
    for index, job in enumerate(jobs):
        if stopped():
            return

        def tell(step: str, done: float, index: int = index, job: Job = job) -> None:
            on_progress(Progress(index, len(jobs), job.source, step, done))

        if journal is None:
            yield cloaker.protect_job(job, layout, overwrite=overwrite, on_step=tell)
            continue
        stamp = stamp_of(job.source)
        known = replace(job, ours=journal.owned(job, anew=overwrite))
        saving = partial(journal.begin, known)
        report = cloaker.protect_job(known, layout, overwrite=overwrite, on_step=tell, on_saving=saving)
        journal.finish(job, report, stamp)
        yield report
