"""The work of ``cloak protect``: progress, the journal, Ctrl-C, and what is remembered of many photos."""

import argparse
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cloak import PhotoReport, UsageError
from cloak.cli.common import tell
from cloak.cli.engines import engine_for, stage_of
from cloak.files import Shard, lay_out, plan_jobs
from cloak.names import shown
from cloak.walk import is_folder, passed_over

if TYPE_CHECKING:
    from cloak import Cloaker
    from cloak.files import Job, Layout
    from cloak.journal import Journal
    from cloak.runs import Engine
    from cloak.types import Face
    from cloak.types import Progress as Standing

AGED = "was changed since this folder's runs made it, so it may show the face uncloaked; remove it to have it made anew"

SHOWN = 200
"""Photos that are told one by one; of more, numbers are."""

EVERY = 30.0
"""Seconds between lines on how far a run is, where there is no terminal."""


@dataclass
class Outcome:
    """What came of a run; of many photos, as little as of few.

    Attributes:
        reports: of the first photos, SHOWN at most.
        counts: photos protected, not protected, skipped.
        lines: the reports as JSON, where they are asked for.
        pictured: original, result and largest face of the first photos, where a picture is asked for.
        earlier: photos that earlier runs had done.
        earlier_failed: how many of these were not protected.
        left: photos that were not begun.
        notes: on the surrogates and the identity.
    """

    reports: list[PhotoReport] = field(default_factory=list)
    counts: "Counter[str]" = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    pictured: "list[tuple[Path, Path, Face]]" = field(default_factory=list)
    earlier: int = 0
    earlier_failed: int = 0
    left: int = 0
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        return self.counts["not protected"] + self.earlier_failed

    def add(self, report: PhotoReport) -> None:
        """Count a photo, and tell at once where it is not protected."""
        self.counts["not protected" if report.failed else "skipped" if report.skipped else "protected"] += 1
        if len(self.reports) < SHOWN:
            self.reports.append(report)
        if report.failed:
            tell(report.reason)

    def add_earlier(self, count: int, failed: Sequence[str]) -> None:
        """Count photos of earlier runs, and tell again why some are not protected."""
        self.earlier, self.earlier_failed = count, len(failed)
        for sentence in failed[:SHOWN]:
            tell(sentence)
        if len(failed) > SHOWN:
            tell(f"and {len(failed) - SHOWN} others of earlier runs")


@dataclass(frozen=True)
class Todo:
    """What a run of photos on this machine would begin with.

    Attributes:
        layout: of all photos.
        jobs: that are left.
        failed: why photos of earlier runs are not protected, a sentence each.
        notes: on what is done already.
    """

    layout: "Layout"
    jobs: "list[Job]"
    failed: list[str]
    notes: tuple[str, ...] = ()


def left_to_do(options: argparse.Namespace, settings: "Mapping[str, object]") -> Todo:
    """What a run would begin with; nothing is written.

    Raises:
        UsageError: no shard; or an earlier run had other settings.
    """
    from cloak.journal import Journal, path_of

    shard, folder = _shard(options), _journaled(options)
    layout = _layout(options)
    jobs = [job for job in layout.jobs if shard.holds(job)]
    if not folder:
        return Todo(layout, _with_own(jobs, options), [])
    journal = Journal.look(path_of(folder, str(shard)), settings, anew=options.overwrite)
    layout.reserve(folder, journal.results())
    left, failed = not_done(jobs, journal)
    own = [replace(job, ours=journal.owned(job, anew=options.overwrite)) for job in left]
    return Todo(layout, own, failed, words_on(journal, jobs, left))


def work(options: argparse.Namespace, make_cloaker: "Callable[..., Cloaker]") -> Outcome:
    """Protect what the options name.

    Raises:
        UsageError: no shard; another run is at work there, or an earlier one had other settings.
    """
    shard = _shard(options)
    with ExitStack() as stack:
        bar = stack.enter_context(_progress(options))
        show = show_progress(bar, options.quiet)
        stage = stage_of(options)
        layout = stage.layout(recursive=options.recursive) if stage else _layout(options)
        engine = stack.enter_context(engine_for(options, layout, make_cloaker, stage))  # loads: the bar moves meanwhile
        jobs = [job for job in layout.jobs if shard.holds(job)]
        folder = stack.enter_context(stage.journal_folder(str(shard))) if stage else _journaled(options)
        journal = _journal(folder, options, engine, shard) if folder else None
        wanted, outcome = jobs, Outcome(notes=(*engine.notes, *passed_over_of(options)))
        if journal:
            stack.enter_context(journal)
            exists = stage.out.files(recursive=True).__contains__ if stage else os.path.lexists
            left, failed = not_done(jobs, journal, exists)
            outcome.add_earlier(len(jobs) - len(left), failed)
            outcome.notes += words_on(journal, jobs, left)
            jobs = left
        else:
            jobs = _with_own(jobs, options)
        stopped = stack.enter_context(_finishing_on_interrupt())
        reports = engine.protect(jobs, journal, on_progress=show, stopped=stopped)
        for report in reports:
            outcome.add(report)
            if options.report and not journal:
                outcome.lines.append(report.to_json())
        outcome.left = len(jobs) - outcome.counts.total()
        if journal and not outcome.left:
            journal.end()
            outcome.lines = journal.report_lines() if options.report else []
        if options.picture and not outcome.left:
            outcome.pictured = journal.pictured(wanted[:SHOWN]) if journal else _pictured(outcome.reports)
    return outcome


def _pictured(reports: Sequence[PhotoReport]) -> "list[tuple[Path, Path, Face]]":
    return [(one.source, one.output, one.faces[0].face) for one in reports if one.source and one.output and one.faces]


def _with_own(jobs: "list[Job]", options: argparse.Namespace) -> "list[Job]":
    """Single photos with the results that they have in a folder with a journal, if these may be replaced."""
    from cloak.journal import Journal, path_of

    if not (options.overwrite and isinstance(options.out, Path)):
        return jobs
    with suppress(UsageError):  # a damaged one knows nothing
        journal = Journal.look(path_of(options.out, ""))
        return [replace(job, ours=journal.owned(job, anew=True)) for job in jobs]
    return jobs


def results_of(options: argparse.Namespace) -> list[Path]:
    """Where the results of a run with a journal go; without one nobody knows them when it goes on."""
    if not _journaled(options):
        return []
    return [job.target for job in plan_jobs(options.paths, options.out, recursive=options.recursive)]


def passed_over_of(options: argparse.Namespace) -> tuple[str, ...]:
    """What in the folders of this machine was not taken for photos."""
    paths = [path for path in options.paths if isinstance(path, Path)]
    return passed_over(paths, options.out if isinstance(options.out, Path) else None, recursive=options.recursive)


def _layout(options: argparse.Namespace) -> "Layout":
    """Of photos of this machine; those of other options are never overwritten."""
    spared = [*options.identity, *options.apart_from]
    return lay_out(options.paths, options.out, recursive=options.recursive, spared=spared)


def _shard(options: argparse.Namespace) -> Shard:
    if options.shard and not options.out:
        raise UsageError("--shard needs -o: a folder for the results that all runs write to")
    return Shard.parse(options.shard) if options.shard else Shard()


def show_progress(bar: Progress, quiet: bool) -> "Callable[[Standing], None]":
    """What moves the bar; where there is no terminal, a line from time to time."""
    task = bar.add_task("loading the recogniser", total=None, photo="")
    start: float | None = None
    told = time.monotonic()

    def show(standing: "Standing") -> None:
        nonlocal start, told
        now = time.monotonic()
        start = now if start is None else start
        finished = standing.photo + standing.done
        rate = 60.0 * finished / (now - start) if now > start else 0.0
        bar.update(
            task,
            total=standing.photos,
            completed=finished,
            photo=f"photo {standing.photo + 1} of {standing.photos}" + (f", {rate:.1f} a minute" if rate else ""),
            description=f"{standing.step}: {escape(shown(standing.source.name))}",
        )
        if bar.disable and not quiet and rate and now - told >= EVERY:
            told = now
            left = in_words((standing.photos - finished) / rate)
            tell(f"{int(finished)} of {standing.photos} photos, {rate:.1f} a minute, {left} left")

    return show


def in_words(minutes: float) -> str:
    """A time as one would say it: 12 min, 3 h 5 min, 2 d 4 h."""
    whole = round(minutes)
    if whole < 1:
        return "less than a minute"
    if whole < 60:
        return f"{whole} min"
    hours, minutes = divmod(whole, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _progress(options: argparse.Namespace) -> Progress:
    console = Console(stderr=True, quiet=options.quiet)
    columns = (
        TextColumn("{task.fields[photo]}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _journaled(options: argparse.Namespace) -> Path | None:
    """The folder for a journal: folders into a folder, or a cluster, are long runs."""
    long = options.engine == "ray" or any(map(is_folder, options.paths))
    return Path(options.out) if options.out and long else None


def _journal(folder: Path, options: argparse.Namespace, engine: "Engine", shard: Shard) -> "Journal":
    from cloak.journal import Journal

    return Journal.open(folder, engine.settings, shard=str(shard), anew=options.overwrite)


def not_done(
    jobs: "Sequence[Job]", journal: "Journal", exists: Callable[[str], bool] = os.path.lexists
) -> "tuple[list[Job], list[str]]":
    """The photos that are left to do, and why some of the others are not protected, a sentence each."""
    left = [job for job in jobs if not journal.has(job, exists)]
    todo = {job.place for job in left}
    done = {job.place: job for job in jobs if job.place not in todo}
    changed = set(journal.changed(done.values()))
    failed = [
        f"{shown(done[place].root / entry.output)}: {AGED}" if entry.output in changed else entry.failed
        for place, entry in journal.done.items()
        if place in done and (entry.failed or entry.output in changed)
    ]
    return left, failed


def words_on(journal: "Journal", jobs: "Sequence[Job]", left: "Sequence[Job]") -> tuple[str, ...]:
    """What a user should know of the photos that are done already."""
    others = "identity: other photos than before; what is done stays as it is (--overwrite does all anew)"
    return (others,) if journal.others and len(left) < len(jobs) else ()


@contextmanager
def _finishing_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends the run after the photos in hand; a second one at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)
        tell("finishing the photos in hand; Ctrl-C once more stops at once")

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopped.is_set
    finally:
        signal.signal(signal.SIGINT, before)
