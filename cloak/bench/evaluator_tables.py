"""Results -> tables of the evaluators: what they achieve without a cloak, and whether the measures can be trusted."""

from collections.abc import Mapping
from typing import Any

from cloak.bench.lookup import (
    STATED,
    Results,
    measured,
    rates,
    role,
    states_a_threshold,
    without_cloak,
)
from cloak.bench.text import DASH, Cell, Table, alone, number, row

TOLERANCE = 0.02
"""How far a sanity row may lie from what is expected."""

ENOUGH_IMPOSTORS = 10
"""A threshold should have so many impostor pairs above it."""


def evaluator_table(results: Results) -> Table:
    """Thresholds and what each evaluator achieves without a cloak."""
    fars, stated = rates(results), states_a_threshold(results)
    rows = [
        row(
            evaluator["name"],
            role(results, evaluator["name"]),
            *(
                cell
                for far in fars
                for cell in (number(evaluator["thresholds"].get(far)), alone(evaluator["clean_tar"].get(far) or {}))
            ),
            *(_stated(evaluator) if stated else ()),
            f"{evaluator['genuine_pairs']:,}",
            f"{evaluator['impostor_pairs']:,}",
            number(evaluator["detected"]),
        )
        for evaluator in results["evaluators"]
    ]
    columns = [heading for far in fars for heading in (f"threshold at FAR {far}", f"clean TAR@{far}")]
    columns += ["threshold as stated", "FAR there", "clean TAR there"] if stated else []
    return Table(
        "Evaluators on clean photos",
        "Thresholds are cosines, found on all pairs of clean photos of different people, distractors included."
        + (" Others are stated in the evaluators' specifications." if stated else "")
        + _few_impostors(results),
        ("evaluator", "role", *columns, "genuine pairs", "impostor pairs", "faces found"),
        tuple(rows),
    )


def _stated(evaluator: Mapping[str, Any]) -> tuple[Cell | str, ...]:
    """What an evaluator's specification states, and what it means on these photos; dashes where there is none."""
    threshold = evaluator["thresholds"].get(STATED)
    if threshold is None:
        return (DASH, DASH, DASH)
    accepted, pairs = evaluator["false_accepts"][STATED], evaluator["impostor_pairs"]
    far = number(accepted, 5) if accepted else f"less than 1 in {pairs:,}"
    return (number(threshold), far, alone(evaluator["clean_tar"][STATED]))


def _few_impostors(results: Results) -> str:
    """A warning where a threshold rests on too few pairs."""
    pairs = min((evaluator["impostor_pairs"] for evaluator in results["evaluators"]), default=0)
    few = [far for far in rates(results) if pairs * float(far) < ENOUGH_IMPOSTORS]
    if not few:
        return ""
    return f" With {pairs:,} impostor pairs the threshold at FAR {', '.join(few)} is a rough one."


def sanity_table(results: Results) -> Table:
    """Probes whose answer is known."""
    far = rates(results)[0]
    rows = []
    for sane in results["sanity"]:
        clean = without_cloak(results, sane["evaluator"]).get("value")
        for kind, words, expected in (
            ("identical", "identical: the gallery's own photos", 0.0),
            ("strangers", "strangers: photos of somebody else", 1.0 - float(far)),
            ("original", "original: photos that were not cloaked", clean),
        ):
            found = measured({"measures": sane[kind]}, f"psr@{far}")
            others = [number(sane[kind].get(m, {}).get("value")) for m in ("similarity", "rank1")]
            rows.append(row(sane["evaluator"], words, alone(found), _expected(kind, expected), *others))
            rows[-1] += (_verdict(found.get("value"), expected),)
    return Table(
        "Sanity: probes whose answer is known",
        f"If the measures are right, PSR@{far} is 0 for photos that are compared with themselves, 1 - FAR for "
        "strangers, and for uncloaked photos what stands under clean everywhere.",
        ("evaluator", "probe", f"PSR@{far}", "expected", "similarity", "rank-1", "as expected"),
        tuple(rows),
    )


def _expected(kind: str, value: float | None) -> str:
    return {"identical": "0", "strangers": f"about {number(value)}"}.get(kind, f"as clean, {number(value)}")


def _verdict(value: float | None, expected: float | None) -> Cell:
    if value is None or expected is None:
        return Cell(DASH)
    fine = value == 0.0 if expected == 0.0 else abs(value - expected) <= TOLERANCE
    return Cell("yes" if fine else "NO", warning=not fine)
