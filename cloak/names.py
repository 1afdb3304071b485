"""Paths as people can read them: one line, no control characters, whatever the bytes."""

import os
from pathlib import Path


def shown(path: Path | str) -> str:
    """A path for a message; what cannot be printed, such as bytes that are no UTF-8, as an escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in os.fspath(path)
    )
