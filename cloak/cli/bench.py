"""``cloak bench``."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cloak import UsageError
from cloak.cli.common import DONE, RECOGNISERS, add_device, add_quiet, add_several

if TYPE_CHECKING:
    from cloak.cli.common import Subparsers


def add_parser(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "bench",
        help="measure how far cloaks reduce identity match",
        description="Run a benchmark protocol: cloak, attack, measure; results as JSON, Markdown, plots and a page.",
        epilog="A run that was cut short goes on with --resume; nothing finished is computed again.",
    )
    parser.add_argument(
        "protocol", type=Path, metavar="PROTOCOL.toml", help="what to measure; see benchmarks/protocols"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder of photos for each person (default: the protocol's)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: bench/PROTOCOL)")
    add_several(parser, "--methods", "NAME", "only these methods")
    add_several(
        parser,
        "--dssim",
        "BUDGET",
        "instead of the protocol's budgets of the face DSSIM",
        float,
    )
    add_several(
        parser,
        "--conditions",
        "NAME",
        "instead of the protocol's: what happens to photos on their way, such as jpeg75, half, or module:function",
    )
    add_several(
        parser,
        "--cloaked",
        "NAME=DIR",
        "also cloaks that other software made: DIR/PERSON/PHOTO, as they are and at the protocol's first budgets",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="copy the photos that are to be cloaked to DIR/PERSON/PHOTO, for other software, and measure nothing",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="the method that others are compared with, person by person (default: cloak)",
    )
    add_several(
        parser,
        "--surrogates",
        "NAME",
        f"instead of the protocol's: each {RECOGNISERS.removesuffix(', or auto')}",
    )
    add_several(
        parser,
        "--evaluators",
        "EVALUATOR",
        "instead of the protocol's: dlib, dlib-cpp, SPEC.toml, module:function of crops, photo:module:function "
        "of whole photos, insightface:DIR",
    )
    parser.add_argument("--resume", action="store_true", help="finish an earlier run in the same folder")
    add_device(parser)
    add_quiet(parser)
    parser.set_defaults(run=run, interrupted="what is finished is kept, go on with --resume")


def run(options: argparse.Namespace) -> int:
    """Run a protocol; the exit code."""
    missing = [name for name in ("matplotlib", "sklearn") if find_spec(name) is None]
    if missing:
        raise UsageError(f"cloak bench needs {' and '.join(missing)}; install them with: pip install 'cloak[bench]'")
    from cloak.bench.command import export_originals, run_command

    if options.export:
        photos, people = export_originals(options)
        if not options.quiet:
            print(
                f"{photos} photos of {people} people in {options.export}. Cloak them into another folder, the same "
                f"people's folders and names, then: cloak bench {options.protocol}"
                f"{f' --data {options.data}' if options.data else ''} --methods none --cloaked NAME=FOLDER"
            )
        return DONE
    console = Console(stderr=True, quiet=options.quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        written = run_command(options, tell)
    if not options.quiet:
        print("\n".join(str(path) for path in written))
    return DONE
