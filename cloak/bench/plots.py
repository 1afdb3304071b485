"""Results -> figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cloak.bench.canvas import (
    CLEAN,
    IMPOSTOR,
    INK,
    MARKERS,
    as_numbers,
    colours_of,
    curve_of,
    draw_legend,
    error_bar,
    panels_of,
    shades,
)
from cloak.bench.lookup import (
    MOST_SHOWN,
    Entry,
    Results,
    conditions_of,
    fewest_photos,
    measured,
    most_photos,
    ordered_entries,
    rates,
    record,
    shown_entries,
    tested_entries,
    visibility,
    without_cloak,
)
from cloak.bench.scenario_tables import condition_title, is_purifier

LABEL_GAP = 0.075
"""Least distance of two labels, as a share of the height of a panel."""

NEAR = 0.5
"""Lines that end left of this share of a panel are labelled there, others at the right."""


def figures(results: Results) -> dict[str, Figure]:
    """All figures, by the names of ``tables.FIGURES``; "robustness" only where conditions were measured."""
    shown = shown_entries(results)
    made = {
        "psr_against_dssim": psr_against_dssim(results),
        "similarity": similarity_histograms(results, shown),
        "roc": roc_curves(results, shown),
    }
    return made | ({"robustness": robustness_bars(results)} if tested_entries(results) else {})


def psr_against_dssim(results: Results) -> Figure:
    """A panel for each evaluator: PSR under evasion of the saved files against the measured face DSSIM."""
    figure, panels = panels_of(results, height=3.5)
    far = rates(results)[0]
    methods = [name for name in _methods(results) if name != "none"]
    colours = colours_of(_methods(results))
    reach = max((visibility(entry, "face", "dssim") or 0.0 for entry in results["entries"]), default=0.0) or 0.02
    for name, axes in panels.items():
        clean = without_cloak(results, name).get("value")
        if clean is not None:
            axes.plot([0.0, reach], [clean] * 2, color=INK, linestyle="--", linewidth=1.2, label="no cloak", zorder=2)
        ends = [("no cloak", INK, reach, clean)] if clean is not None else []
        for method in methods:
            end = _method_line(axes, results, method, name, colours[method])
            if end and end[0] < NEAR * reach:  # too far from the other labels
                place = (end[0] + 0.02 * reach, end[1] + 0.03)
                axes.annotate(method, place, color=colours[method], fontsize=8.5)
            elif end:
                ends.append((method, colours[method], *end))
        axes.set(xlim=(0.0, 1.38 * reach), ylim=(-0.03, 1.05))
        _label_ends(axes, ends, 1.06 * reach)
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 1.02 * reach])
    figure.supxlabel("mean face DSSIM, measured on the saved files (less is less visible)", fontsize=10)
    figure.supylabel(f"PSR@{far}, evasion (higher protects better)", fontsize=10)
    if any(entry["photos"] < most_photos(results) for entry in results["entries"]):
        figure.suptitle("Bars: 95 % intervals. Open markers: fewer photos of each person.", fontsize=9, color=INK)
    return figure


def _methods(results: Results) -> list[str]:
    """All methods, each once."""
    return list(dict.fromkeys(entry["method"] for entry in ordered_entries(results)))


def _method_line(axes: Axes, results: Results, method: str, evaluator: str, colour: str) -> tuple[float, float] | None:
    """Draw a method; where its line ends, None where it has no point."""
    far, points = rates(results)[0], []
    for entry in ordered_entries(results):
        estimate, x = measured(record(entry, evaluator), f"psr@{far}"), visibility(entry, "face", "dssim")
        if entry["method"] == method and estimate and x is not None:
            points.append((x, estimate, entry["photos"] < most_photos(results)))
    if not points:
        return None
    points.sort(key=lambda point: point[0])
    ours = method == "cloak"
    axes.plot(
        [x for x, _, _ in points],
        [estimate["value"] for _, estimate, _ in points],
        color=colour,
        linewidth=2.4 if ours else 1.3,
        label=method,
        zorder=4 if ours else 3,
    )
    for x, estimate, fewer in points:
        style: dict[str, Any] = {"markerfacecolor": "white"} if fewer else {}
        axes.errorbar(
            [x],
            [estimate["value"]],
            yerr=error_bar(estimate),
            color=colour,
            marker=MARKERS.get(method, "*"),
            markersize=6.5 if ours else 5.5,
            ecolor=(colour, 1.0 if ours else 0.45),
            elinewidth=1.2,
            capsize=2.0,
            zorder=5 if ours else 3,
            **style,
        )
    return points[-1][0], points[-1][1]["value"]


def _label_ends(axes: Axes, ends: Sequence[tuple[str, str, float, float]], x: float) -> None:
    """Name lines (name, colour, x and y of their end) right of the panel's points, without overlap."""
    ordered = sorted(ends, key=lambda end: end[3])
    heights: list[float] = []
    for _, _, _, y in ordered:
        heights.append(max(y, heights[-1] + LABEL_GAP) if heights else y)
    for index in reversed(range(len(heights))):
        roof = 1.0 if index == len(heights) - 1 else heights[index + 1] - LABEL_GAP
        heights[index] = min(heights[index], roof)
    for (name, colour, end, y), height in zip(ordered, heights, strict=True):
        axes.plot([end, x], [y, height], color=colour, linewidth=0.6, alpha=0.6, label="_leader")
        weight = "bold" if name == "cloak" else "normal"
        axes.text(x, height, f" {name}", color=colour, fontsize=8.5, va="center", fontweight=weight)


def similarity_histograms(results: Results, entries: Sequence[Entry]) -> Figure:
    """A panel for each evaluator: cosines of impostors, genuine pairs, and genuine pairs with one side cloaked."""
    figure, panels = panels_of(results, height=2.9)
    far = rates(results)[0]
    described = {evaluator["name"]: evaluator for evaluator in results["evaluators"]}
    for name, axes in panels.items():
        drawn = [as_numbers(described[name]["histogram_impostor"]), as_numbers(described[name]["histogram_genuine"])]
        edges = np.linspace(-1.0, 1.0, len(drawn[0]) + 1)
        axes.stairs(drawn[0], edges, fill=True, color=IMPOSTOR, alpha=0.45, label="impostor pairs")
        axes.stairs(drawn[1], edges, fill=True, color=CLEAN, alpha=0.4, label="genuine pairs, clean")
        for entry, shade in zip(entries, shades(len(entries)), strict=True):
            scores = curve_of(entry, name, "histogram")
            if len(scores):
                axes.stairs(scores, edges, color=shade, linewidth=1.8, label=f"genuine pairs, {entry['name']}")
                drawn.append(scores)
        threshold = described[name]["thresholds"].get(far)
        if threshold is not None:
            axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.2, label=f"threshold at FAR {far}")
        filled = np.nonzero(np.nan_to_num(np.stack(drawn)).any(axis=0))[0]
        if len(filled):
            axes.set_xlim(edges[max(filled[0] - 1, 0)], edges[min(filled[-1] + 2, len(edges) - 1)])
        axes.set_ylim(bottom=0.0)
    figure.supxlabel("similarity (cosine); left of the threshold the tracker sees two people", fontsize=10)
    figure.supylabel("share of the pairs", fontsize=10)
    draw_legend(figure, panels)
    return figure


def roc_curves(results: Results, entries: Sequence[Entry]) -> Figure:
    """A panel for each evaluator: TAR against FAR of clean and of cloaked photos, clean gallery."""
    figure, panels = panels_of(results, height=3.0)
    far = rates(results)[0]
    fars = as_numbers(results["fars"])
    for evaluator in results["evaluators"]:
        axes = panels[evaluator["name"]]
        # fewer false accepts than one pair cannot be told apart
        known = fars >= 1.0 / max(evaluator["impostor_pairs"], 1)
        if evaluator["roc"]:
            axes.plot(fars[known], as_numbers(evaluator["roc"])[known], color=CLEAN, linewidth=2, label="clean")
        for entry, shade in zip(entries, shades(len(entries)), strict=True):
            rate = curve_of(entry, evaluator["name"], "roc")
            if len(rate):
                axes.plot(fars[known], rate[known], color=shade, linewidth=1.8, label=entry["name"])
        axes.plot(fars[known], fars[known], color=IMPOSTOR, linestyle=":", linewidth=1.2, label="guessing")
        axes.axvline(float(far), color=INK, linestyle="--", linewidth=1.0, label=f"FAR {far}")
        axes.set(xscale="log", ylim=(-0.03, 1.03))
    figure.supxlabel("false-accept rate", fontsize=10)
    figure.supylabel("true-accept rate (lower protects better)", fontsize=10)
    draw_legend(figure, panels)
    return figure


def robustness_bars(results: Results) -> Figure:
    """A panel for each evaluator: PSR under evasion after each condition; a tick where the originals are."""
    entries = [entry for entry in tested_entries(results) if entry["method"] != "none"]
    entries = sorted(entries, key=lambda entry: entry["method"] != "cloak")[:MOST_SHOWN] or list(
        tested_entries(results)[:MOST_SHOWN]
    )
    names = list(dict.fromkeys(name for entry in entries for name in conditions_of(entry)))
    names.sort(key=is_purifier)
    places = [-index - 0.6 * is_purifier(name) for index, name in enumerate(names)]
    figure, panels = panels_of(results, height=0.8 + 0.14 * len(names) * (len(entries) + 0.6))
    for evaluator, axes in panels.items():
        for index, entry in enumerate(entries):
            _bars(axes, results, evaluator, entry, names, places, index, len(entries))
        axes.set(xlim=(0.0, 1.03), ylim=(min(places, default=0.0) - 0.6, 0.6))
        spec = axes.get_subplotspec()
        first = spec is None or spec.is_first_col()  # it names the bars for the panels beside it
        axes.set_yticks(places, [condition_title(name) if first else "" for name in names], fontsize=8.5)
        axes.grid(visible=False, axis="y")
    figure.supxlabel(f"PSR@{rates(results)[0]}, evasion (higher protects better)", fontsize=10)
    draw_legend(figure, panels)
    return figure


def _bars(
    axes: Axes,
    results: Results,
    evaluator: str,
    entry: Entry,
    names: Sequence[str],
    places: Sequence[float],
    index: int,
    count: int,
) -> None:
    """The bars of one entry, number ``index`` of ``count``."""
    measure, thick = f"psr@{rates(results)[0]}", 0.8 / count
    alike = [one["name"] for one in ordered_entries(results) if one["method"] == entry["method"]]
    ours = entry["method"] == "cloak"
    colour = shades(count)[index] if ours else colours_of(_methods(results))[entry["method"]]
    strength = 1.0 if ours else 1.0 - 0.6 * alike.index(entry["name"]) / len(alike)
    label, tick = entry["name"], "without a cloak"
    for name, place in zip(names, places, strict=True):
        found = record(entry, evaluator, condition=name, photos=fewest_photos(entry))
        cloaked, clean = measured(found, measure), measured(found, measure, clean=True)
        y = place + 0.4 - thick * (index + 0.5)
        if cloaked:
            error = {"elinewidth": 0.9, "ecolor": INK}
            axes.barh(
                y,
                cloaked["value"],
                0.9 * thick,
                xerr=error_bar(cloaked),
                color=(colour, strength),
                label=label,
                error_kw=error,
            )
            label = "_more"
        if clean:
            ends = [y - 0.5 * thick, y + 0.5 * thick]
            axes.plot([clean["value"]] * 2, ends, color=CLEAN, linewidth=2.2, label=tick, zorder=4)
            tick = "_more"
