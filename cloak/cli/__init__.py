"""The command ``cloak``: parse, call the public API, print, exit code. One module a subcommand."""

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Sequence

from cloak import CloakError, UsageError, __version__
from cloak.cli import bench, compare, detect, models, protect
from cloak.cli.common import DETAILS, INTERRUPTED, NOT_DONE, WRONG_USAGE, make_printable, tell

COMMANDS = (protect, detect, compare, models, bench)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    make_printable()
    options = _parser().parse_args(arguments)
    # what the libraries tell their developers is not for users
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch|kornia|facenet_pytorch|sklearn|onnx2torch")
    try:
        code: int = options.run(options)
    except UsageError as error:
        tell(error)
        return WRONG_USAGE
    except CloakError as error:
        tell(error)
        return NOT_DONE
    except OSError as error:  # whoever read the output has enough, as "head" does
        on_windows = os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
        if not (isinstance(error, BrokenPipeError) or on_windows):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_DONE
    except KeyboardInterrupt:
        tell(f"interrupted; {options.interrupted}")
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
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
