"""``cloak bench`` without its command line: protocol, options -> files."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cloak.bench.contact import contact_sheet
from cloak.bench.protocol import read_protocol, select_methods
from cloak.bench.report import write_report
from cloak.bench.run import run_protocol
from cloak.errors import UsageError
from cloak.examine import find_device
from cloak.recognizers.source import MODEL_SUFFIXES


def run_command(options: argparse.Namespace, tell: Callable[[str, int, int], None]) -> list[Path]:
    """Run a protocol as the command line has it and write its report.

    Args:
        options: protocol, data, out, methods, surrogates, evaluators, resume, device.
        tell: called with what is being done, how many are done, of how many.

    Returns:
        The files of the report.

    Raises:
        UsageError: see ``run_protocol``.
    """
    protocol = read_protocol(options.protocol)
    if options.methods:
        protocol = select_methods(protocol, options.methods)
    if options.evaluators:
        protocol = replace(protocol, evaluators=tuple(_from_here(name) for name in options.evaluators))
    if options.surrogates:
        protocol = replace(protocol, surrogates=tuple(_from_here(name) for name in options.surrogates))
    if not (options.data or protocol.data):
        raise UsageError(f"{options.protocol}: names no data; pass --data with a folder of photos for each person")
    data = options.data or protocol.folder / protocol.data
    out = options.out or Path("bench") / protocol.name
    results, shown = run_protocol(
        protocol, data, out, resume=options.resume, device=find_device(options.device), tell=tell
    )
    return write_report(results, out, contact_sheet(shown) if shown else None)


def _from_here(reference: str) -> str:
    """A reference with its path made absolute: on the command line it starts from the current folder."""
    if reference.endswith((".toml", *MODEL_SUFFIXES)):
        return str(Path(reference).absolute())
    kind, _, path = reference.partition(":")
    return f"{kind}:{Path(path).absolute()}" if kind == "insightface" else reference
