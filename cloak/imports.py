"""``module:attribute`` of users -> what it names."""

import importlib
import sys
from pathlib import Path
from typing import Any

from cloak.errors import UsageError, in_a_line


def find_attribute(entry: str, kind: str) -> Any:
    """What a user's module holds.

    Args:
        entry: ``module:attribute``; the module may lie in the current folder.
        kind: of attribute, for messages.

    Raises:
        UsageError: it cannot be imported, or has no such attribute.
    """
    module, _, attribute = entry.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # where users have their module; an installed command does not look there
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module raises what it comes upon, or ends as a command does
        what = in_a_line(error) if isinstance(error, Exception) else "it ends the process when it is imported"
        raise UsageError(f"expected module:{kind} that can be imported, got {entry!r}: {what}") from error
