"""A layout's photos shared among processes of one machine, each with its own models and few threads."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from cloak.errors import CloakError, in_a_line
from cloak.files import Job, Layout, name_key
from cloak.journal import Journal
from cloak.machine import usable_cores
from cloak.protect import Cloaker
from cloak.runs import told, work_through
from cloak.types import PhotoReport, Progress

Result = TypeVar("Result")

MOST_ON_WINDOWS = 61
"""Windows waits for no more processes at once."""

A_MOMENT = 0.2
"""Seconds."""

AHEAD = 2
"""Groups of photos that are handed out for each process before the first is waited for."""


@dataclass
class _Worker:
    """What a process has for its photos; the first photo loads the models."""

    make_cloaker: Callable[[], Cloaker]
    layout: Layout
    overwrite: bool
    cloaker: Cloaker | None = None
    journal: Journal | None = None


_worker: _Worker | None = None


class Workers:
    """An ``Engine`` of several processes, which end with its ``with`` block.

    Args:
        make_cloaker: called in each process; it is sent there, so a function of a module, or a partial of one.
        layout: that the photos belong to.
        count: of the processes.
        overwrite: whether results that exist already are replaced.
        niceness: by how much they give way to others, where the system knows of it.

    Raises:
        CloakError: what ``make_cloaker`` raises; or a process died, as when memory is short.
    """

    def __init__(
        self,
        make_cloaker: Callable[[], Cloaker],
        layout: Layout,
        count: int,
        *,
        overwrite: bool = False,
        niceness: int = 0,
    ) -> None:
        self.count = count = min(count, MOST_ON_WINDOWS) if sys.platform == "win32" else count
        threads = max(1, usable_cores() // count)
        context = multiprocessing.get_context("spawn")
        worker = _Worker(make_cloaker, layout, overwrite)
        self._pool = ProcessPoolExecutor(count, context, _begin, (worker, threads, niceness))
        try:
            with _interrupts_held():
                described = self._pool.submit(_describe)
            self.settings, self.notes = self._first(described)
        except BaseException:
            self._pool.shutdown(cancel_futures=True)
            raise

    def protect(
        self,
        jobs: Sequence[Job],
        journal: Journal | None = None,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[PhotoReport]:
        path = journal.path if journal else None
        return told(self._results(in_groups(jobs), path, stopped), jobs, on_progress)

    def _results(
        self, groups: Sequence[list[Job]], journal: Path | None, stopped: Callable[[], bool]
    ) -> Iterator[PhotoReport]:
        waiting: deque[Future[list[PhotoReport]]] = deque()
        for group in groups:
            if stopped():
                break
            with _interrupts_held():
                waiting.append(self._pool.submit(_protect, group, journal))
            if len(waiting) >= AHEAD * self.count:
                yield from self._first(waiting.popleft())
        while waiting:
            future = waiting.popleft()
            if not (stopped() and future.cancel()):
                yield from self._first(future)

    def _first(self, future: Future[Result]) -> Result:
        while not wait([future], A_MOMENT).done:  # on Windows Ctrl-C does not end a wait, but is seen between two
            pass
        try:
            return future.result()
        except BrokenProcessPool:
            raise CloakError(
                f"one of the {self.count} processes died, perhaps for want of memory: run the same command again to "
                "go on, with fewer --workers"
            ) from None
        except RuntimeError as error:
            raise CloakError(f"one of the {self.count} processes could not begin: {in_a_line(error)}") from None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is KeyboardInterrupt:  # at once: what is half-written has a name of its own
            for process in multiprocessing.active_children():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and never reaches processes that begin here: the pool's do when work is handed out."""
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)  # whoever begins now inherits that it is ignored
        try:
            yield
        finally:
            ctypes.windll.kernel32.SetConsoleCtrlHandler(None, False)
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Photos that must be done one after the other: of one name and several suffixes, they may take each other's."""
    return [list(group) for _, group in groupby(jobs, key=lambda job: name_key(job.target.parent / job.target.stem))]


def _begin(worker: _Worker, threads: int, niceness: int) -> None:
    """In a new process."""
    import torch

    global _worker
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's matter
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = worker


def _end_with_parent() -> None:
    """Where the first process is killed, nobody would tell this one to end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _cloaker() -> Cloaker:
    assert _worker is not None
    _worker.cloaker = _worker.cloaker or _worker.make_cloaker()
    return _worker.cloaker


def _describe() -> tuple[Mapping[str, object], tuple[str, ...]]:
    return _cloaker().settings, _cloaker().notes


def _protect(jobs: list[Job], journal: Path | None) -> list[PhotoReport]:
    assert _worker is not None
    if journal and _worker.journal is None:
        _worker.journal = Journal.join(journal)
        _worker.layout.reserve(journal.parent, _worker.journal.results())
    return list(work_through(_cloaker(), _worker.layout, jobs, journal=_worker.journal, overwrite=_worker.overwrite))
