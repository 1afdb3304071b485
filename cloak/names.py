"""Paths as people write and read them: which are URLs; one line, no control characters, whatever the bytes."""

import os
import re
from pathlib import Path


def shown(path: Path | str) -> str:
    """A path for a message; what cannot be printed, such as bytes that are no UTF-8, as an escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in os.fspath(path)
    )


def is_url(text: str) -> bool:
    """Whether it is a place for fsspec: PROTOCOL://..., and not a drive of Windows."""
    return re.match(r"[A-Za-z][\w+.:-]+://", text) is not None
