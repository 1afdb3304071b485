"""``cloak bench`` without its command line: protocol, options -> files."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cloak.bench.contact import contact_sheet
from cloak.bench.protocol import Protocol, add_files, read_protocol, select_methods, with_all, with_reference
from cloak.bench.report import write_report
from cloak.bench.run import read_photos, run_protocol
from cloak.errors import UsageError
from cloak.examine import find_device
from cloak.photo import save_bytes
from cloak.recognizers.source import MODEL_SUFFIXES


def run_command(options: argparse.Namespace, tell: Callable[[str, int, int], None]) -> list[Path]:
    """Run a protocol as the command line has it and write its report.

    Args:
        options: protocol, data, out, methods, dssim, conditions, cloaked, reference, surrogates, evaluators, resume,
            device.
        tell: called with what is being done, how many are done, of how many.

    Returns:
        The files of the report.

    Raises:
        UsageError: see ``run_protocol``.
    """
    protocol = read_protocol(options.protocol)
    others = [_named_folder(given) for given in options.cloaked]
    for label, folder in others:
        protocol = add_files(protocol, label, folder)
    if options.methods:
        protocol = select_methods(protocol, [*options.methods, *(label for label, _ in others)])
    protocol = with_all(protocol, options.dssim, options.conditions)
    if options.reference:
        protocol = with_reference(protocol, options.reference)
    if options.evaluators:
        protocol = replace(protocol, evaluators=tuple(_from_here(name) for name in options.evaluators))
    if options.surrogates:
        protocol = replace(protocol, surrogates=tuple(_from_here(name) for name in options.surrogates))
    data = _data(options, protocol)
    out = options.out or Path("bench") / protocol.name
    results, shown = run_protocol(
        protocol, data, out, resume=options.resume, device=find_device(options.device), tell=tell
    )
    return write_report(results, out, contact_sheet(shown) if shown else None)


def export_originals(options: argparse.Namespace) -> tuple[int, int]:
    """Copy the photos that a protocol's cloaks are made of to ``options.export``/PERSON, for other software to cloak.

    Returns:
        How many photos, of how many people.

    Raises:
        UsageError: the folder is not empty, or the data cannot serve.
        SaveError: a copy cannot be written.
    """
    protocol, folder = read_protocol(options.protocol), options.export
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: expected a folder that is empty or not there yet; name another for --export")
    people = read_photos(protocol, _data(options, protocol)).people
    for person in people:
        for photo in person.cloaked:
            save_bytes(photo.read_bytes(), folder / person.name / photo.name)
    return sum(len(person.cloaked) for person in people), len(people)


def _data(options: argparse.Namespace, protocol: Protocol) -> Path:
    """The folder of photos."""
    if not (options.data or protocol.data):
        raise UsageError(f"{options.protocol}: names no data; pass --data with a folder of photos for each person")
    return Path(options.data or protocol.folder / protocol.data)


def _named_folder(given: str) -> tuple[str, Path]:
    """NAME=DIR of the command line."""
    label, equals, name = given.partition("=")
    folder = Path(name).expanduser()
    if not (label and equals and folder.is_dir()):
        raise UsageError(f"expected --cloaked NAME=DIR with a folder of cloaked photos, got {given!r}")
    return label, folder.absolute()


def _from_here(reference: str) -> str:
    """A reference with its path made absolute: on the command line it starts from the current folder."""
    if reference.endswith((".toml", *MODEL_SUFFIXES)):
        return str(Path(reference).absolute())
    kind, _, path = reference.partition(":")
    return f"{kind}:{Path(path).absolute()}" if kind == "insightface" else reference
