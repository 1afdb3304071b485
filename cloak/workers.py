"""A layout's photos shared among processes of one machine, each with its own models and few threads.

Small crops keep one core busy and several badly, so on a CPU as many processes as cores do more than one
process with as many threads.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cloak.errors import CloakError
from cloak.files import Job, Layout
from cloak.journal import Journal
from cloak.protect import Cloaker
from cloak.runs import work_through
from cloak.types import PhotoReport, Progress

AHEAD = 2
"""Groups of photos that are handed out for each process before the first is waited for."""


@dataclass
class _Worker:
    """What a process needs for its photos."""

    cloaker: Cloaker
    layout: Layout
    journal: Journal | None
    overwrite: bool


_worker: _Worker | None = None


def share_out(
    make_cloaker: Callable[[], Cloaker],
    layout: Layout,
    jobs: Sequence[Job],
    *,
    workers: int,
    journal: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[PhotoReport]:
    """Protect photos in several processes, one report each, in order.

    Args:
        make_cloaker: called in each process; it is sent there, so a function of a module, or a partial of one.
        layout: that the photos belong to.
        jobs: those of its photos that are to be done.
        workers: how many processes.
        journal: path of the open journal, which the processes write to as well.
        overwrite: whether results that exist already are replaced.
        on_progress: called when a photo is done.
        stopped: asked before photos are handed out.

    Raises:
        CloakError: a process died, as when memory is short.
    """
    # results of photos of one name and several suffixes may take each other's names
    groups = [list(group) for _, group in groupby(jobs, key=lambda job: str(job.target.with_suffix("")).casefold())]
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, context, _begin, (make_cloaker, layout, journal, overwrite, threads))
    done = 0
    try:
        for report in _results(pool, groups, AHEAD * workers, stopped):
            done += 1
            assert report.source is not None
            on_progress(Progress(done - 1, len(jobs), report.source, "done", 1.0))
            yield report
    except BrokenProcessPool:
        raise CloakError(
            f"one of the {workers} processes died, perhaps for want of memory: run the same command again to go on, "
            "with fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    pool: ProcessPoolExecutor, groups: Sequence[list[Job]], ahead: int, stopped: Callable[[], bool]
) -> Iterator[PhotoReport]:
    waiting: deque[Future[list[PhotoReport]]] = deque()
    for group in groups:
        if stopped():
            break
        waiting.append(pool.submit(_protect, group))
        if len(waiting) >= ahead:
            yield from waiting.popleft().result()
    while waiting:
        future = waiting.popleft()
        if not (stopped() and future.cancel()):
            yield from future.result()


def _begin(
    make_cloaker: Callable[[], Cloaker], layout: Layout, journal: Path | None, overwrite: bool, threads: int
) -> None:
    """In a new process: load the models."""
    import torch

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's matter
    torch.set_num_threads(threads)
    _worker = _Worker(make_cloaker(), layout, Journal.join(journal) if journal else None, overwrite)


def _protect(jobs: list[Job]) -> list[PhotoReport]:
    assert _worker is not None
    return list(
        work_through(_worker.cloaker, _worker.layout, jobs, journal=_worker.journal, overwrite=_worker.overwrite)
    )
