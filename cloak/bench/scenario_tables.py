"""Results -> tables of the scenarios, and of what conditions leave of a cloak."""

from collections.abc import Iterable

from cloak.bench.conditions import CONDITIONS
from cloak.bench.lookup import (
    STATED,
    Entry,
    Results,
    conditions,
    evaluator_title,
    evaluators,
    fewest_photos,
    measured,
    most_photos,
    ordered_entries,
    rates,
    record,
    states_a_threshold,
    tested_entries,
)
from cloak.bench.scenarios import TITLES
from cloak.bench.text import DASH, Cell, Table, compared, row, span

MEASURES = (
    ("similarity", "similarity"),
    ("rank1", "rank-1"),
    ("rank5", "rank-5"),
    ("nearest", "1-NN"),
    ("linear", "linear probe"),
    ("adaptive", "adaptive linear probe"),
)
"""Measure -> heading; of these a tracker wants much."""


def scenario_tables(results: Results) -> tuple[Table, ...]:
    """A table for each entry: evaluators and scenarios down, measures across."""
    tables = (_scenario_table(results, entry) for entry in ordered_entries(results))
    return tuple(table for table in tables if table.rows)


def _scenario_table(results: Results, entry: Entry) -> Table:
    first, *others = rates(results)
    stated = [(f"psr@{STATED}", "PSR at the stated threshold")] if states_a_threshold(results) else []
    measures = [*((f"psr@{far}", f"PSR@{far}") for far in others), *stated, *MEASURES]
    rows = []
    for name in evaluators(results):
        for scenario, title in TITLES.items():
            found = record(entry, name, scenario)
            if found:
                cells = [_both(found, measure) if measure in found["measures"] else DASH for measure, _ in measures]
                rows.append(row(name, title, _both(found, f"psr@{first}", interval=True), *cells))
    photos = f"{entry['photos']} of {most_photos(results)} photos of each person"
    return Table(
        f"{entry['name']}: all scenarios",
        "With the cloak, and clean: the same comparisons without it. PSR: higher protects better; all others: lower. "
        "Intervals of all are in results.json." + (f" {photos}." if entry["photos"] < most_photos(results) else ""),
        ("evaluator", "scenario", f"PSR@{first}", *(heading for _, heading in measures)),
        tuple(rows),
        folded=entry["method"] != "cloak" or entry["photos"] < most_photos(results),
    )


def robustness_tables(results: Results) -> tuple[Table, ...]:
    """What platforms leave of a cloak, and what purifiers do; none where nothing of the kind was measured."""
    seen = [name for name in conditions(results) if name != "saved"]
    platforms = [name for name in seen if not is_purifier(name)]
    purifiers = [name for name in seen if is_purifier(name)]
    tables = (
        ("After recompression, resizing and the like", platforms),
        ("After purifiers, which a tracker runs to remove a cloak", purifiers),
    )
    return tuple(_robustness_table(results, title, names) for title, names in tables if names)


def _robustness_table(results: Results, title: str, names: Iterable[str]) -> Table:
    far = rates(results)[0]
    rows = []
    for entry in tested_entries(results):
        for condition in ("saved", *names):
            found = [
                record(entry, name, condition=condition, photos=fewest_photos(entry)) for name in evaluators(results)
            ]
            if any(found):
                cells = [_both(one, f"psr@{far}", interval=True) for one in found]
                rows.append(row(entry["name"], condition_title(condition), _comparisons(found, far), *cells))
    return Table(
        title,
        f"PSR@{far}, evasion: with the cloak, and clean: the originals put through the same; all on the same photos.",
        (
            "method@budget",
            "condition",
            "comparisons",
            *(evaluator_title(results, name) for name in evaluators(results)),
        ),
        tuple(rows),
    )


def detection_table(results: Results) -> Table:
    """How many of the published faces the evaluators' detectors still find."""
    rows = []
    for entry in ordered_entries(results):
        for condition in conditions(results):
            found = [record(entry, name, condition=condition) for name in evaluators(results)]
            if any(found):
                rows.append(row(entry["name"], condition_title(condition), *(_both(one, "detected") for one in found)))
    return Table(
        "Faces that are still found",
        "Share of the cloaked photos in which the evaluator's detector finds the face, and of the originals. Faces "
        "that are not found take no part in any other number.",
        ("method@budget", "condition", *evaluators(results)),
        tuple(rows),
        folded=True,
    )


def is_purifier(condition: str) -> bool:
    """Whether a tracker would do this on purpose."""
    return condition in CONDITIONS and CONDITIONS[condition].purifier


def condition_title(condition: str) -> str:
    """A condition in words."""
    return CONDITIONS[condition].title if condition in CONDITIONS else condition


def _both(found: Entry, measure: str, *, interval: bool = False) -> Cell:
    return compared(measured(found, measure), measured(found, measure, clean=True), interval=interval)


def _comparisons(found: Iterable[Entry], far: str) -> str:
    """How many comparisons each evaluator made; a range where they differ."""
    return span(int(measured(one, f"psr@{far}").get("count", 0)) for one in found)
