"""Records -> lines of JSON."""

import json
import math
from pathlib import Path
from typing import Any


def to_json(record: Any, *, indent: int | None = None) -> str:
    """In ASCII, so that it is the same whatever a terminal or a file takes; what is no ASCII as JSON's escapes, and
    bytes of names that are no UTF-8 as those that Python reads back as the same name."""
    return json.dumps(record, ensure_ascii=True, allow_nan=False, indent=indent)


def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``dataclasses.asdict``; what JSON does not know: paths become strings, and what is infinite null."""
    known = ((key, str(value) if isinstance(value, Path) else value) for key, value in items)
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in known}
