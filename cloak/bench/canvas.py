"""What several plots share: colours, panels, legends, PNG files. Colours by Okabe and Ito, for colour-blind readers."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from cloak.bench.lookup import Entry, Estimate, Results, evaluator_title, evaluators, is_number
from cloak.bench.measures import Floats
from cloak.photo import save_bytes

DPI = 110

COLOURS: Mapping[str, str] = {
    "cloak": "#d55e00",
    "pgd": "#0072b2",
    "mifgsm-di": "#56b4e9",
    "fawkes-style": "#009e73",
    "lowkey-style": "#cc79a7",
    "noise": "#7a7a7a",
    "jpeg": "#000000",
}
"""Method -> colour; others have one of OTHERS."""

MARKERS: Mapping[str, str] = {
    "cloak": "o",
    "pgd": "s",
    "mifgsm-di": "D",
    "fawkes-style": "^",
    "lowkey-style": "v",
    "noise": "X",
    "jpeg": "P",
}

OTHERS = ("#b08a00", "#8c510a", "#5e3c99", "#35978f", "#c51b7d")
"""Colours of those without one of their own, in the order in which they come."""

CLEAN, IMPOSTOR, INK = "#0072b2", "#8c8c8c", "#333333"

SHADES = ("#eda36a", "#d55e00", "#8a3d00", "#3f1c00")
"""Of the entries of one plot, from the first to the last."""


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """Method -> colour, for all of a plot; "none" has the ink's."""
    others = [method for method in methods if method not in COLOURS and method != "none"]
    return {"none": INK, **COLOURS, **{method: OTHERS[number % len(OTHERS)] for number, method in enumerate(others)}}


def shades(count: int) -> tuple[str, ...]:
    """Colours of so many entries of one plot."""
    return SHADES[1:2] if count == 1 else tuple(SHADES[index % len(SHADES)] for index in range(count))


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name may hold dollars
    # no date and no version of matplotlib: the same results give the same file
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def save_figures(made: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write figures to ``folder/NAME.png``, over what is there.

    Raises:
        SaveError: a file cannot be written.
    """
    paths = [folder / f"{name}.png" for name in made]
    for path, data in zip(paths, made.values(), strict=True):
        save_bytes(data, path, overwrite=True)
    return paths


def panels_of(results: Results, height: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a titled panel for each evaluator."""
    names = evaluators(results)
    across = min(2, max(len(names), 1))
    down = -(-len(names) // across) or 1
    figure = Figure(figsize=(max(4.6 * across, 6.6), height * down + 0.9), layout="constrained", facecolor="white")
    panels = {}
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(down, across, number)
        axes.set_title(evaluator_title(results, name), fontsize=10.5, loc="left", color=INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8.5, color=INK)
        axes.grid(color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        panels[name] = axes
    return figure, panels


def draw_legend(figure: Figure, panels: Mapping[str, Axes]) -> None:
    """One legend for all panels, above them."""
    found: dict[str, Artist] = {}
    for axes in panels.values():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    if found:
        figure.legend(list(found.values()), list(found), loc="outside upper center", ncols=3, frameon=False, fontsize=9)


def curve_of(entry: Entry, evaluator: str, kind: str) -> Floats:
    """A curve of an entry; empty where there is none."""
    curves = [curve for curve in entry["curves"] if curve["evaluator"] == evaluator]
    return as_numbers(curves[0][kind]) if curves else np.zeros(0)


def as_numbers(values: Sequence[float | None]) -> Floats:
    """Numbers, NaN for null."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def error_bar(estimate: Estimate) -> list[list[float]] | None:
    """The interval as matplotlib wants it: down, up."""
    if not (is_number(estimate.get("low")) and is_number(estimate.get("high"))):
        return None
    low, high, value = (float(estimate[key]) for key in ("low", "high", "value"))
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
