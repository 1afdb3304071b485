"""``cloak protect``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cloak import PhotoReport, UsageError
from cloak.cli.common import DETAILS, DONE, NOT_DONE, RECOGNISERS, add_device, add_quiet, table_console

if TYPE_CHECKING:
    from cloak.cli.common import Subparsers
    from cloak.protect import Progress as Standing


def add_parser(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "protect", help="cloak photos", description="Cloak photos and folders of photos.", epilog=DETAILS
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a photo or a folder")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: NAME_cloaked.EXT beside each photo)",
    )
    parser.add_argument(
        "--mode", choices=("low", "mid", "high"), default="mid", help="how far a face may change (default: mid)"
    )
    parser.add_argument("--recursive", action="store_true", help="search folders to their depth")
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist already")
    parser.add_argument(
        "--surrogates",
        nargs="+",
        default=["auto"],
        metavar="NAME",
        help=f"recognisers that the cloak is made against, each {RECOGNISERS} (default: auto, all that are on disk)",
    )
    add_device(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same photo, mode and seed: same result (default: 0)"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE.jsonl", help="write what was measured, a line of JSON for each photo"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw each photo's largest face before, after, difference"
    )
    add_quiet(parser)
    parser.set_defaults(run=run, interrupted="finished photos are saved, run again for the others")


def run(options: argparse.Namespace) -> int:
    """Cloak photos; the exit code."""
    if not -(2**63) <= options.seed < 2**63:
        raise UsageError(f"expected a seed of 64 bits, got {options.seed}")
    for path in (options.report, options.picture):
        if path is not None and not path.absolute().parent.is_dir() and path.parent != options.out:
            raise UsageError(f"{path}: expected a file in a folder that exists, got none at {path.parent}")
    reports, notes = _protect_with_progress(options)
    failed = [report for report in reports if not report.protected]
    if not options.quiet:
        from cloak.expected import MEANING
        from cloak.report import summary_table

        print("\n".join(notes))
        table_console().print(summary_table(reports))
        if any(face.expected for report in reports for face in report.faces):
            print(MEANING)
    for report in failed:
        print(f"cloak: {report.reason}", file=sys.stderr)
    if options.report:
        _write_report(reports, options.report)
    if options.picture:
        from cloak.report import write_picture

        write_picture(reports, options.picture)
        if not options.quiet:
            print(f"picture: {options.picture}")
    return NOT_DONE if failed else DONE


def _protect_with_progress(options: argparse.Namespace) -> tuple[list[PhotoReport], tuple[str, ...]]:
    console = Console(stderr=True, quiet=options.quiet)
    columns = (
        TextColumn("{task.fields[photo]}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    reports = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading the recogniser", total=None, photo="")
        from cloak import Cloaker  # imports PyTorch: 2 s, during which the bar moves

        cloaker = Cloaker(options.mode, device=options.device, seed=options.seed, surrogates=options.surrogates)

        def show(standing: "Standing") -> None:
            bar.update(
                task,
                total=standing.photos,
                completed=standing.photo + standing.done,
                photo=f"photo {standing.photo + 1} of {standing.photos}",
                description=f"{standing.step}: {standing.source.name}",
            )

        for report in cloaker.protect_files(
            options.paths,
            options.out,
            recursive=options.recursive,
            overwrite=options.overwrite,
            on_progress=show,
        ):
            reports.append(report)
    return reports, cloaker.notes


def _write_report(reports: Sequence[PhotoReport], path: Path) -> None:
    from cloak.photo import save_bytes

    save_bytes("".join(report.to_json() + "\n" for report in reports).encode(), path, overwrite=True)
