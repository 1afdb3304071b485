"""Long runs: a layout's photos one after the other, with a journal, until told to stop."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cloak.files import Job, Layout, stamp_of
from cloak.types import PhotoReport, Progress

if TYPE_CHECKING:
    from cloak.journal import Journal
    from cloak.protect import Cloaker


def work_through(
    cloaker: "Cloaker",
    layout: Layout,
    jobs: Sequence[Job],
    *,
    journal: "Journal | None" = None,
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
        overwrite: whether results that exist already are replaced; those of the journal are in any case.
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
        report = cloaker.protect_job(
            job, layout, overwrite=overwrite or journal.owns(job), on_step=tell, on_saving=partial(journal.begin, job)
        )
        journal.finish(job, report, stamp)
        yield report
