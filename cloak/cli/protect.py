"""``cloak protect``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloak import UsageError
from cloak.cli.common import (
    DETAILS,
    DONE,
    INTERRUPTED,
    NOT_DONE,
    expanded,
    limits_of,
    table_console,
    tell,
)
from cloak.cli.engines import make_absolute
from cloak.cli.protect_options import add_options
from cloak.cli.working import Outcome, left_to_do, passed_over_of, results_of, work
from cloak.names import shown
from cloak.words import amount

HINT = (
    "a cloak leads further away from you if you add --identity FOLDER, with some of your other photos; and two cloaked "
    "photos of you match each other less with --apart (README)"
)
"""Printed where none was given."""

if TYPE_CHECKING:
    from cloak import Cloaker
    from cloak.batches import Perturb
    from cloak.cli.common import Subparsers


def add_parser(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "protect", help="cloak photos", description="Cloak photos and folders of photos.", epilog=DETAILS
    )
    add_options(parser)
    parser.set_defaults(run=run, interrupted="finished photos are saved, run again for the others")


def run(options: argparse.Namespace) -> int:
    """Cloak photos; the exit code."""
    options.paths = expanded(options.paths)
    if options.engine == "ray" and not options.out:
        raise UsageError("--engine ray needs -o: a folder for the results that all machines write to")
    if options.engine == "ray" and (options.dry_run or options.gpus < 0):
        raise UsageError("--dry-run looks at photos here: leave out --engine ray; and a share of a GPU is 0 or more")
    if options.engine == "ray":
        make_absolute(options)
    if options.engine == "local" and (options.address or options.gpus):
        raise UsageError("--address and --gpus are for --engine ray")
    options.apart = options.apart or bool(options.apart_from)
    if options.apart and (options.engine == "ray" or options.shard or (options.workers or 1) > 1):
        raise UsageError("--apart does one photo after the other: leave out --engine ray, --shard and --workers")
    if options.dry_run and options.picture:
        raise UsageError("--picture shows what was done: leave it out with --dry-run")
    if options.identity:
        from cloak.identities import identity_photos

        options.identity = identity_photos(options.identity, options.out if isinstance(options.out, Path) else None)
    if options.apart_from:
        from cloak.earlier import published_among

        options.apart_from = published_among(options.apart_from, results_of(options))
    _check_outputs([path for path in (options.report, options.picture) if path], options)
    if options.dry_run:
        return _show_plan(options)
    outcome = work(options, _cloaker)
    if not options.quiet:
        _print_summary(outcome, hint=not options.identity)
    if options.report and (outcome.lines or not outcome.left):
        _write_lines(outcome.lines, options.report)
    if options.picture and not outcome.left:
        from cloak.report import write_picture

        write_picture(outcome.pictured, options.picture)
        if not options.quiet:
            print(f"picture: {shown(options.picture)}")
    if outcome.left:
        tell(f"interrupted with {outcome.left} photos left; run the same command again to go on")
        return INTERRUPTED
    return NOT_DONE if outcome.failed else DONE


def _check_outputs(paths: Sequence[Path], options: argparse.Namespace) -> None:
    """Refuse files that have no folder, or that would overwrite a photo, a result or, unasked, anything."""
    from cloak.files import plan_jobs
    from cloak.photo import try_to_write
    from cloak.walk import same_file

    here = [path for path in options.paths if isinstance(path, Path)] if paths else []
    out = options.out if isinstance(options.out, Path) else None
    jobs = plan_jobs(here, out, recursive=options.recursive)
    if len(paths) == 2 and same_file(*paths):
        raise UsageError(
            f"{shown(paths[0])}: expected two files for --report and --picture, got one; give another name"
        )
    for path in paths:
        if path.is_dir():
            raise UsageError(
                f"{shown(path)}: expected a file for --report and --picture, got a folder; give a name in it"
            )
        if not path.absolute().parent.is_dir() and path.parent != options.out:
            raise UsageError(
                f"{shown(path)}: expected a file in a folder that exists, got none at {shown(path.parent)}"
            )
        for job in jobs:
            if same_file(path, job.source) or same_file(path, job.target):
                what = "a photo to protect" if same_file(path, job.source) else "where a result goes"
                raise UsageError(f"{shown(path)}: is {what}, and would be overwritten; give another name")
        if any(same_file(path, photo) for photo in (*options.identity, *options.apart_from)):
            raise UsageError(
                f"{shown(path)}: is a photo of --identity or --apart-from, and would be overwritten; give another name"
            )
        if os.path.lexists(path) and not options.overwrite:
            raise UsageError(f"{shown(path)}: exists already; pass --overwrite to replace it")
        if path.absolute().parent.is_dir() and not try_to_write(path.absolute().parent):
            raise UsageError(f"{shown(path)}: cannot be written there; give a name in another folder")


def _show_plan(options: argparse.Namespace) -> int:
    """Say what would be done; the exit code that doing it could at best have."""
    urls = [place for place in (*options.paths, options.out) if isinstance(place, str)]
    if urls:
        raise UsageError(f"{shown(urls[0])}: expected photos and a folder of this machine for --dry-run, got a URL")
    cloaker = _cloaker(options)
    todo = left_to_do(options, cloaker.settings)
    plans = [cloaker.plan_job(job, todo.layout, overwrite=options.overwrite) for job in todo.jobs]
    failed = [plan for plan in plans if plan.error]
    if not options.quiet:
        from cloak.report import plan_table

        print("\n".join((*cloaker.notes, *passed_over_of(options), *todo.notes)))
        all_photos, others = len(todo.layout.jobs), len(todo.layout.jobs) - len(todo.jobs)
        if others:
            shards = ", or of other shards" if options.shard else ""
            print(f"of {amount(all_photos, 'photo')}, {others} are done already{shards}")
        table_console().print(plan_table(plans))
        print("No photo was written.")
    for sentence in (*todo.failed, *(plan.error for plan in failed)):
        tell(sentence)
    if options.report:
        _write_lines([plan.to_json() for plan in plans], options.report)
    return NOT_DONE if failed or todo.failed else DONE


def _print_summary(outcome: Outcome, *, hint: bool) -> None:
    from cloak.expected import MEANING
    from cloak.report import summary_table, words_on_files

    print("\n".join(outcome.notes))
    if outcome.earlier:
        print(f"done before: {amount(outcome.earlier, 'photo')}, {outcome.earlier_failed} of them not protected")
    if outcome.counts.total() > len(outcome.reports):
        print(", ".join(f"{count} {what}" for what, count in outcome.counts.items()))
        return
    table_console().print(summary_table(outcome.reports))
    for line in words_on_files(outcome.reports):
        print(line)
    if any(face.expected for report in outcome.reports for face in report.faces):
        print(MEANING)
        if hint:
            print(HINT)


def _cloaker(options: argparse.Namespace, loop: "Perturb | None" = None) -> "Cloaker":
    """What the options ask for; perhaps another process runs the loop."""
    from cloak import Cloaker

    return Cloaker(
        options.mode,
        device=options.device,
        loop=loop,
        seed=options.seed,
        steps=options.steps or 0,
        surrogates=options.surrogates or ["auto"],
        identity=options.identity,
        apart=options.apart_from or options.apart,
        metadata=options.metadata,
        limits=limits_of(options),
    )


def _write_lines(lines: Sequence[str], path: Path) -> None:
    from cloak.photo import save_bytes

    save_bytes("".join(f"{line}\n" for line in lines).encode(), path, overwrite=True)
