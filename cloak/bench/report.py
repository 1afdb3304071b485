"""Results -> a folder: results.json, results.md, index.html, plots/*.png, plots/faces.jpg."""

import json
import math
from pathlib import Path
from typing import Any

from cloak.bench.canvas import png, save_figures
from cloak.bench.lookup import Results
from cloak.bench.page import html
from cloak.bench.plots import figures
from cloak.bench.tables import markdown
from cloak.photo import FINE_JPEG, Photo, encode, save_bytes
from cloak.types import Pixels


def write_report(results: Results, folder: Path, contact: Pixels | None = None) -> list[Path]:
    """Write everything that is read of a benchmark, over what an earlier run left.

    Args:
        results: those of ``run_protocol``.
        folder: is made where there is none.
        contact: a picture of faces, see ``contact.contact_sheet``; goes into the page, too.

    Returns:
        The files: the JSON, the Markdown, the page, the plots, the picture of faces.

    Raises:
        SaveError: a file cannot be written.
    """
    kept = _finite(results)
    record = folder / "results.json"
    # first, since it is what took the time
    save_bytes((json.dumps(kept, allow_nan=False, separators=(",", ":")) + "\n").encode(), record, overwrite=True)
    drawn = {name: png(figure) for name, figure in figures(kept).items()}
    sheet = encode(Photo(contact, encodings=FINE_JPEG)) if contact is not None else None
    pages = {"results.md": markdown(kept), "index.html": html(kept, drawn, sheet)}
    for name, text in pages.items():
        save_bytes(text.encode(), folder / name, overwrite=True)
    written = [record, *(folder / name for name in pages), *save_figures(drawn, folder / "plots")]
    if sheet is not None:
        written.append(folder / "plots" / "faces.jpg")
        save_bytes(sheet, written[-1], overwrite=True)
    return written


def _finite(value: Any) -> Any:
    """NaN and infinities, which JSON does not know, as null; other numbers rounded."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value


DIGITS = 6
"""Of the numbers in results.json after the point."""
