"""``cloak compare``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cloak.cli.common import DONE, RECOGNISERS, add_device, add_limits, add_several, limits_of, table_console
from cloak.names import shown

if TYPE_CHECKING:
    from cloak.cli.common import Subparsers


def add_parser(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "compare", help="compare the faces of two photos", description="Compare the faces of two photos."
    )
    parser.add_argument("first", type=Path, metavar="A", help="a photo")
    parser.add_argument("second", type=Path, metavar="B", help="another photo, or the same one cloaked")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_several(
        parser,
        "--recognizers",
        "NAME",
        f"who compares, each {RECOGNISERS} (default: auto, all that are on disk)",
    )
    add_limits(parser)
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare two photos; the exit code."""
    from cloak import compare
    from cloak.models import find_model
    from cloak.recognizers.source import known_names
    from cloak.report import comparison_table

    comparison = compare(
        options.first,
        options.second,
        device=options.device,
        recognizers=options.recognizers or ["auto"],
        limits=limits_of(options),
    )
    if options.json:
        print(comparison.to_json())
        return DONE
    table_console().print(comparison_table(comparison))
    measured = [name for name, threshold in comparison.thresholds.items() if threshold]
    known = [find_model(name) for name in measured if name in known_names()]
    shares = ", ".join(f"{model.name} {model.far:g}" for model in known if model.far)
    print(
        f"faces: {len(comparison.faces)} in {shown(options.first)}, {comparison.faces_in_second} in "
        f"{shown(options.second)}\n"
        "At or above its threshold, a recogniser takes two faces for one person. Of several faces, the most\n"
        f"similar counts. Share of pairs of different people that the threshold lets pass: {shares or 'not measured'}."
    )
    return DONE
