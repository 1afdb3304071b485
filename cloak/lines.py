"""Records -> lines of JSON."""

import json
import math
from pathlib import Path
from typing import Any


def to_json(record: Any) -> str:
    """One line; names whose bytes are no UTF-8 as the escapes that Python reads back as the same name."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``dataclasses.asdict``; what JSON does not know: paths become strings, and what is infinite null."""
    known = ((key, str(value) if isinstance(value, Path) else value) for key, value in items)
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in known}
