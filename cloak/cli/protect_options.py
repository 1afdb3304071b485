"""What ``cloak protect`` can be told."""

import argparse
from pathlib import Path

from cloak.cli.common import RECOGNISERS, add_device, add_limits, add_quiet, add_several
from cloak.names import is_url


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them, in the order of the help."""
    _add_photos(parser)
    _add_people(parser)
    _add_machines(parser)
    _add_files(parser)


def _add_photos(parser: argparse.ArgumentParser) -> None:
    """Which photos, and how far they may change."""
    parser.add_argument("paths", nargs="+", type=_place, metavar="PATH", help="a photo or a folder")
    parser.add_argument(
        "-o",
        "--out",
        type=_place,
        metavar="DIR",
        help="folder for the results (default: NAME_cloaked.EXT beside each photo)",
    )
    parser.add_argument(
        "--mode", choices=("low", "mid", "high"), default="mid", help="how far a face may change (default: mid)"
    )
    parser.add_argument(
        "--steps",
        type=_count,
        metavar="N",
        help="of the search for a cloak, 20 to 1000 (default: 60, or more with further surrogates); 160 take 2.5 times "
        "as long and protect a little better",
    )
    parser.add_argument("--recursive", action="store_true", help="search folders to their depth")
    parser.add_argument(
        "--overwrite", action="store_true", help="do anew what was done; only what cloak made is replaced"
    )


def _add_people(parser: argparse.ArgumentParser) -> None:
    """Against whom, and what is known of the people."""
    add_several(
        parser,
        "--surrogates",
        "NAME",
        f"recognisers that the cloak is made against, each {RECOGNISERS} (default: auto, all that are on disk)",
    )
    parser.add_argument(
        "--identity",
        action="append",
        type=_place,
        default=[],
        metavar="PATH",
        help="a further photo of the people, or a folder of such, perhaps the one to protect; may be given several "
        "times: cloaks lead away from the person instead of the one photo",
    )
    parser.add_argument(
        "--apart",
        action="store_true",
        help="also keep the cloaks of a person's photos from matching each other: each is led away from the results "
        "before it in this run and, of a folder into -o, in earlier runs; protects a little less against clean "
        "photos, and does one photo after the other",
    )
    parser.add_argument(
        "--apart-from",
        action="append",
        type=_place,
        default=[],
        metavar="PATH",
        help="cloaked photos that were published before, or a folder of such: --apart, and from these, too; may be "
        "given several times",
    )


def _add_machines(parser: argparse.ArgumentParser) -> None:
    """Who does the work."""
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="do the I-th of N equal parts, so that N machines share the work on one folder (needs -o)",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="processes to share the work, each with 1 GB of memory (default: for many photos, one for each core, "
        "or two where a GPU cloaks)",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="who does the work: this machine (default), or a Ray cluster (needs -o and cloak[ray])",
    )
    parser.add_argument("--address", default="", metavar="HOST:PORT", help="the Ray cluster (default: one of our own)")
    parser.add_argument(
        "--gpus",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of a GPU for each process on a Ray cluster, such as 0.25 (default: 0, none)",
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    """What is read, kept and written besides."""
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, with the faces found, and write no photo"
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--keep-metadata",
        dest="metadata",
        action="store_const",
        const="keep",
        default="default",
        help="keep all metadata but thumbnails, previews and face regions (default: date, copyright, camera settings)",
    )
    kept.add_argument(
        "--strip-metadata",
        dest="metadata",
        action="store_const",
        const="strip",
        help="drop all metadata but the colour profile; then the photo is not known as cloaked later",
    )
    add_limits(parser)
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


def _place(text: str) -> Path | str:
    """A path, or a URL as it is."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got nothing, as from a variable that is not set")
    return text if is_url(text) else Path(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text}")
    return int(text)
