"""Reading TOML that users write: one place for the library that the Python version calls for."""

import sys
from pathlib import Path
from typing import Any

from cloak.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_toml", "tomllib"]


def read_toml(path: Path, expected: str, advice: str = "") -> dict[str, Any]:
    """Read a file of TOML.

    Args:
        path: the file.
        expected: what it should be, for the message.
        advice: what to do where there is no such file.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    try:
        given: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: expected {expected}, got {error.strerror}{advice}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected TOML, got: {error}") from None
    return given
