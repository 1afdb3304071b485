"""``cloak detect``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cloak import UsageError
from cloak.cli.common import DONE, NOT_DONE, add_device, add_limits, expanded, limits_of, table_console, tell
from cloak.names import shown

if TYPE_CHECKING:
    from cloak.cli.common import Subparsers
    from cloak.survey import Survey


def add_parser(commands: "Subparsers") -> None:
    parser = commands.add_parser(
        "detect",
        help="show which faces are found",
        description="Show which faces are found in photos and folders of photos; nothing is changed.",
        epilog="exit codes: 0 a face was found in every photo, 1 in some none (each is listed), 2 wrong usage.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a photo or a folder")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each photo")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="draw the numbered faces of one photo into a picture")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture of --draw if it exists")
    parser.add_argument("--recursive", action="store_true", help="search folders to their depth")
    add_limits(parser)
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look for faces; the exit code."""
    options.paths = expanded(options.paths)
    if options.draw:
        _check_drawing(options)
    from cloak.detect import FaceDetector
    from cloak.examine import find_device
    from cloak.survey import survey_files
    from cloak.walk import passed_over

    detector, limits = FaceDetector(find_device(options.device)), limits_of(options)
    for sentence in passed_over(options.paths, recursive=options.recursive):
        tell(sentence)
    surveys = []
    for survey in survey_files(options.paths, detector, recursive=options.recursive, limits=limits):
        surveys.append(survey)
        if options.json:
            print(survey.to_json(), flush=True)
        if survey.reason:
            tell(survey.reason)
    if not options.json:
        from cloak.report import faces_table

        table_console().print(faces_table(surveys))
    if options.draw and not surveys[0].error:
        _draw(surveys[0], options)
    return NOT_DONE if any(survey.reason for survey in surveys) else DONE


def _check_drawing(options: argparse.Namespace) -> None:
    """Before the work: one photo, and a file that is not there yet, least of all the photo."""
    from cloak.files import plan_jobs
    from cloak.walk import same_file

    jobs = plan_jobs(options.paths, recursive=options.recursive)
    if len(jobs) != 1:
        raise UsageError(f"--draw takes one photo, got {len(jobs)}; draw them one by one")
    if same_file(options.draw, jobs[0].source):
        raise UsageError(f"{shown(options.draw)}: is the photo itself; pass another file to --draw")
    if options.draw.exists() and not options.overwrite:
        raise UsageError(f"{shown(options.draw)}: exists already; pass --overwrite to replace it")


def _draw(survey: "Survey", options: argparse.Namespace) -> None:
    from cloak.drawing import write_drawing
    from cloak.photo import read_photo

    write_drawing(
        read_photo(survey.source, limits_of(options)).pixels, survey.faces, options.draw, overwrite=options.overwrite
    )
    if not options.json:
        print(f"picture: {shown(options.draw)}")
