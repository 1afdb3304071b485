"""The command ``cloak``: parse, call the public API, print, exit code.

Exit codes: 0 all photos protected, 1 some were not (each listed with the reason), 2 wrong usage,
130 interrupted.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
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

from cloak import CloakError, PhotoReport, UsageError, __version__

if TYPE_CHECKING:
    from cloak.protect import Progress as Standing

PROTECTED, NOT_PROTECTED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

DETAILS = """\
exit codes: 0 every photo was protected, 1 some were not (each is listed with the reason),
2 wrong usage, 130 interrupted. Originals are never changed. Nothing leaves this machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    # what the libraries tell their developers is not for users
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch|kornia|facenet_pytorch|sklearn")
    try:
        code: int = options.run(options)
    except UsageError as error:
        print(f"cloak: {error}", file=sys.stderr)
        return WRONG_USAGE
    except CloakError as error:
        print(f"cloak: {error}", file=sys.stderr)
        return NOT_PROTECTED
    except KeyboardInterrupt:
        print(f"cloak: interrupted; {options.interrupted}", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloak",
        description="Change the faces in photos so that face recognisers no longer match them.",
        epilog=DETAILS,
    )
    parser.add_argument("--version", action="version", version=f"cloak {__version__}")
    parser.set_defaults(interrupted="nothing was written")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    protect = commands.add_parser(
        "protect", help="cloak photos", description="Cloak photos and folders of photos.", epilog=DETAILS
    )
    protect.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a photo or a folder")
    protect.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: NAME_cloaked.EXT beside each photo)",
    )
    protect.add_argument(
        "--mode", choices=("low", "mid", "high"), default="mid", help="how far a face may change (default: mid)"
    )
    protect.add_argument("--recursive", action="store_true", help="search folders to their depth")
    protect.add_argument("--overwrite", action="store_true", help="replace results that exist already")
    protect.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (default: auto)"
    )
    protect.add_argument(
        "--seed", type=int, default=0, metavar="N", help="same photo, mode and seed: same result (default: 0)"
    )
    protect.add_argument(
        "--report", type=Path, metavar="FILE.jsonl", help="write what was measured, a line of JSON for each photo"
    )
    protect.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw each photo's largest face before, after, difference"
    )
    protect.add_argument("--quiet", action="store_true", help="print nothing but errors")
    protect.set_defaults(run=_protect, interrupted="finished photos are saved, run again for the others")

    compare = commands.add_parser(
        "compare", help="compare the faces of two photos", description="Compare the faces of two photos."
    )
    compare.add_argument("first", type=Path, metavar="A", help="a photo")
    compare.add_argument("second", type=Path, metavar="B", help="another photo, or the same one cloaked")
    compare.add_argument("--json", action="store_true", help="print JSON")
    compare.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (default: auto)"
    )
    compare.set_defaults(run=_compare)

    models = commands.add_parser(
        "models", help="the recognisers that cloak knows", description="List and verify recognisers."
    )
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what each is, and whether its weights are on disk")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_models_list)
    verify = actions.add_parser("verify", help="compare the weights on disk with the manifest")
    verify.set_defaults(run=_models_verify)
    where = actions.add_parser("path", help="the folder of the weights")
    where.set_defaults(run=_models_path)

    bench = commands.add_parser(
        "bench",
        help="measure how far cloaks reduce identity match",
        description="Run a benchmark protocol: cloak, attack, measure; results as JSON, Markdown, plots and a page.",
        epilog="A run that was cut short goes on with --resume; nothing finished is computed again.",
    )
    bench.add_argument("protocol", type=Path, metavar="PROTOCOL.toml", help="what to measure; see benchmarks/protocols")
    bench.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder of photos for each person (default: the protocol's)"
    )
    bench.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: bench/PROTOCOL)")
    bench.add_argument("--methods", nargs="+", default=[], metavar="NAME", help="only these methods")
    bench.add_argument(
        "--evaluators",
        nargs="+",
        default=[],
        metavar="EVALUATOR",
        help="instead of the protocol's: dlib, dlib-cpp, SPEC.toml, module:function, insightface:DIR",
    )
    bench.add_argument("--resume", action="store_true", help="finish an earlier run in the same folder")
    bench.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (default: auto)"
    )
    bench.add_argument("--quiet", action="store_true", help="print nothing but errors")
    bench.set_defaults(run=_bench, interrupted="what is finished is kept, go on with --resume")
    return parser


def _protect(options: argparse.Namespace) -> int:
    if not -(2**63) <= options.seed < 2**63:
        raise UsageError(f"expected a seed of 64 bits, got {options.seed}")
    for path in (options.report, options.picture):
        if path is not None and not path.absolute().parent.is_dir() and path.parent != options.out:
            raise UsageError(f"{path}: expected a file in a folder that exists, got none at {path.parent}")
    reports = _protect_with_progress(options)
    failed = [report for report in reports if not report.protected]
    if not options.quiet:
        from cloak.report import summary_table

        Console(width=None if sys.stdout.isatty() else 160).print(summary_table(reports))
    for report in failed:
        print(f"cloak: {report.reason}", file=sys.stderr)
    if options.report:
        _write_report(reports, options.report)
    if options.picture:
        from cloak.report import write_picture

        write_picture(reports, options.picture)
        if not options.quiet:
            print(f"picture: {options.picture}")
    return NOT_PROTECTED if failed else PROTECTED


def _protect_with_progress(options: argparse.Namespace) -> list[PhotoReport]:
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

        cloaker = Cloaker(options.mode, device=options.device, seed=options.seed)

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
    return reports


def _write_report(reports: Sequence[PhotoReport], path: Path) -> None:
    from cloak.photo import save_bytes

    save_bytes("".join(report.to_json() + "\n" for report in reports).encode(), path, overwrite=True)


def _compare(options: argparse.Namespace) -> int:
    from cloak import compare
    from cloak.models import known_models
    from cloak.report import comparison_table

    comparison = compare(options.first, options.second, device=options.device)
    if options.json:
        print(comparison.to_json())
        return PROTECTED
    Console(width=None if sys.stdout.isatty() else 160).print(comparison_table(comparison))
    shares = ", ".join(f"{model.name} {model.far:g}" for model in known_models() if model.name in comparison.thresholds)
    print(
        f"faces: {len(comparison.faces)} in {options.first}, {comparison.faces_in_second} in {options.second}\n"
        "At or above its threshold, a recogniser takes two faces for one person. Of several faces, the most\n"
        f"similar counts. Share of pairs of different people that the threshold lets pass: {shares}."
    )
    return PROTECTED


def _models_list(options: argparse.Namespace) -> int:
    from cloak.models import known_models

    models = known_models()
    if options.json:
        print(json.dumps([model.to_dict() for model in models], ensure_ascii=False, indent=1))
        return PROTECTED
    from cloak.report import models_table

    Console(width=None if sys.stdout.isatty() else 160).print(models_table(models))
    return PROTECTED


def _models_verify(options: argparse.Namespace) -> int:
    from cloak.models import SOUND, known_models

    states = [(model, model.state()) for model in known_models()]
    for model, state in states:
        print(f"{model.name}: {model.path}: {'sha256 as in the manifest' if state == SOUND else state}")
    return PROTECTED if all(state == SOUND for _, state in states) else NOT_PROTECTED


def _models_path(options: argparse.Namespace) -> int:
    from cloak.weights import weights_folder

    print(weights_folder())
    return PROTECTED


def _bench(options: argparse.Namespace) -> int:
    missing = [name for name in ("matplotlib", "sklearn") if find_spec(name) is None]
    if missing:
        raise UsageError(f"cloak bench needs {' and '.join(missing)}; install them with: pip install 'cloak[bench]'")
    from cloak.bench.command import run_command

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
    return PROTECTED


if __name__ == "__main__":
    sys.exit(main())
