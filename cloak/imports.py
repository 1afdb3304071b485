"""``module:attribute`` of users -> what it names."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from cloak.errors import UsageError, in_a_line


def look_in(folder: Path) -> None:
    """Let modules be found that lie in a folder, where nothing else of their name is installed."""
    place = os.path.abspath(folder)  # noqa: PTH100
    if place not in sys.path:
        sys.path.append(place)


def find_attribute(entry: str, kind: str) -> Any:
    """What a user's module holds.

    Args:
        entry: ``module:attribute``; the module may lie in the current folder, or in one of ``look_in``.
        kind: of attribute, for messages.

    Raises:
        UsageError: it cannot be imported, or has no such attribute.
    """
    module, _, attribute = entry.partition(":")
    look_in(Path.cwd())  # where users have their module; an installed command does not look there
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module raises what it comes upon, or ends as a command does
        what = in_a_line(error) if isinstance(error, Exception) else "it ends the process when it is imported"
        raise UsageError(f"expected module:{kind} that can be imported, got {entry!r}: {what}") from error
