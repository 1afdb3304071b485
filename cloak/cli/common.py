"""What the subcommands share."""

import argparse
import glob
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from rich.console import Console

if TYPE_CHECKING:
    from cloak import Limits

    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

PathOrUrl = TypeVar("PathOrUrl", Path, str, Path | str)

DONE, NOT_DONE, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

DETAILS = """\
exit codes: 0 every photo was protected, 1 some were not (each is listed with the reason),
2 wrong usage, 130 interrupted. Originals are never changed. Nothing leaves this machine, but for
a cluster or a URL that you name."""

RECOGNISERS = "a name (see cloak models list), a file, a specification FILE.toml, module:factory, or auto"


def expanded(paths: Sequence[PathOrUrl]) -> list[PathOrUrl]:
    """On Windows, whose shells leave that to programs: what stars and question marks stand for."""
    if os.name != "nt":
        return list(paths)
    found: list[PathOrUrl] = []
    for path in paths:
        pattern = str(path)
        names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) and not os.path.lexists(pattern) else []  # noqa: PTH207
        found += [type(path)(name) for name in names] or [path]
    return found


def add_several(
    parser: argparse.ArgumentParser, name: str, metavar: str, explanation: str, kind: type[str] | type[float] = str
) -> None:
    """An option of one value or several, that may itself be given several times; nothing by default."""
    parser.add_argument(name, nargs="+", type=kind, action="extend", default=[], metavar=metavar, help=explanation)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (default: auto)"
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-megapixels",
        type=_positive,
        default=200.0,
        metavar="N",
        help="refuse larger pictures (default: 200); a photo in work takes about 30 MB of memory a megapixel, "
        "60 where it has 16 bits a channel",
    )
    parser.add_argument(
        "--max-megabytes", type=_positive, default=500.0, metavar="N", help="refuse larger files (default: 500)"
    )


def limits_of(options: argparse.Namespace) -> "Limits":
    from cloak import Limits

    return Limits(pixels=round(1e6 * options.max_megapixels), bytes=round(1e6 * options.max_megabytes))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


def add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def table_console() -> Console:
    """For tables: as wide as the terminal, or wide where the output goes to a file."""
    return Console(width=None if sys.stdout.isatty() else 160)


def tell(sentence: object) -> None:
    """What a user should know at once, beside the output."""
    print(f"cloak: {sentence}", file=sys.stderr)


def make_printable() -> None:
    """Output may be closed, or of an encoding that lacks letters of a photo's name: neither stops the work."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
