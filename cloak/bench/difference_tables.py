"""Results -> tables of how each cloak differs from the one that all are compared with."""

from collections.abc import Mapping
from typing import Any

from cloak.bench.lookup import Results, differences, evaluator_title, evaluators, measured, ordered_entries, rates
from cloak.bench.text import DASH, Cell, Table, between, row, signed, span


def difference_tables(results: Results) -> tuple[Table, ...]:
    """Protection less the reference's and, folded, similarity; none where nothing can be compared."""
    far = rates(results)[0]
    tables = (
        _table(results, f"psr@{far}", f"PSR@{far}", "Above 0 protects better."),
        _table(results, "similarity", "mean similarity", "Below 0 protects better."),
    )
    return tuple(table for table in tables if table.rows)


def _table(results: Results, measure: str, title: str, reading: str) -> Table:
    reference, names = results["protocol"].get("reference"), evaluators(results)
    rows = []
    for entry in ordered_entries(results):
        if found := differences(results, entry):
            people = span(of["people"] for of in found.values())
            rows.append(row(entry["name"], people, *(_cell(found.get(name, {}), measure) for name in names)))
    return Table(
        f"Compared with {reference}, person by person: {title}",
        f"In evasion, less that of {reference} of the same budget on the same photos. In brackets the 95 % interval "
        "when people are drawn for both at once: where it leaves out 0, the difference is more than these people's "
        f"chance (about one of twenty such intervals is wrong with fifty people, two with twenty). {reading}",
        ("method@budget", "people", *(evaluator_title(results, name) for name in names)),
        tuple(rows),
        folded=measure == "similarity",
    )


def _cell(found: Mapping[str, Any], measure: str) -> Cell:
    estimate = measured(found, measure)
    enough = found.get("people", 0) >= FEWEST
    return Cell(signed(estimate["value"]), between(estimate, 3) if enough else "") if estimate else Cell(DASH)


FEWEST = 8
"""People, of fewer an interval would be much too narrow."""
