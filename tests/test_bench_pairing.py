"""Cloaks of the same photos are compared person by person."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from cloak.bench.difference_tables import difference_tables
from cloak.bench.measures import Observations, estimate
from cloak.bench.pairing import by_person, differences
from cloak.bench.text import signed
from tests.bench_results import made_up_results


def observed(values: list[float], people: list[int]) -> Observations:
    return Observations(np.array(values), np.array(people))


def entry(
    method: str, by_person: list[dict[str, Any]], *, photos: int = 1, dssim: float | None = 0.009
) -> dict[str, Any]:
    return {"name": f"{method}@{dssim}", "method": method, "dssim": dssim, "photos": photos, "by_person": by_person}


def seen(values: list[float], people: list[int], *, of: int, photos: int = 1) -> dict[str, Any]:
    scores = observed(values, people)
    hits = scores.where(scores.values < 0.3)
    return {"evaluator": "e", "photos": photos, **by_person({"psr@0.001": hits, "similarity": scores}, of)}


def test_what_is_kept_of_each_person_gives_the_estimate_back() -> None:
    kept = seen([0.1, 0.5, 0.2, 0.4], [0, 0, 2, 2], of=4)
    assert kept["counts"] == [2, 0, 2, 0]
    assert kept["sums"]["psr@0.001"] == [1.0, 0.0, 1.0, 0.0]
    assert kept["sums"]["similarity"] == pytest.approx([0.6, 0.0, 0.6, 0.0])


def test_the_interval_of_a_difference_is_narrower_than_those_of_both() -> None:
    """People differ by .2, the cloaks by .02 with each of them."""
    drawn = np.random.default_rng(3)
    people = np.arange(40).repeat(5)
    hard = drawn.normal(0.3, 0.2, 40)[people]
    ours = hard + drawn.normal(0, 0.02, 200)
    theirs = hard + 0.02 + drawn.normal(0, 0.02, 200)
    found = differences(
        [
            entry("cloak", [seen(list(ours), list(people), of=40)]),
            entry("pgd", [seen(list(theirs), list(people), of=40)]),
        ],
        "cloak",
        resamples=500,
        seed=0,
    )
    (only,) = found
    assert (only["entry"], only["reference"], only["evaluator"], only["people"]) == (
        "pgd@0.009",
        "cloak@0.009",
        "e",
        40,
    )
    more = only["measures"]["similarity"]
    assert more["value"] == pytest.approx((theirs - ours).mean())
    assert 0.01 < more["low"] < more["value"] < more["high"] < 0.03
    alone = estimate(Observations(ours, people))
    assert alone.high - alone.low > 5 * (more["high"] - more["low"])


def test_the_same_cloak_twice_differs_by_nothing() -> None:
    kept = seen([0.1, 0.5], [0, 1], of=2)
    (only,) = differences([entry("cloak", [kept]), entry("copy", [kept])], "cloak", 50, 0)
    for measure in only["measures"].values():
        assert (measure["value"], measure["low"], measure["high"]) == (0.0, 0.0, 0.0)


def test_only_the_same_comparisons_are_compared() -> None:
    """The second person's photo failed; the third is in neither."""
    ours = [seen([0.1, 0.9], [0, 1], of=3), seen([0.9], [0], of=3, photos=2)]
    theirs = [seen([0.2], [0], of=3)]
    (only,) = differences([entry("cloak", ours, photos=2), entry("pgd", theirs)], "cloak", 50, 0)
    assert (only["people"], only["photos"]) == (1, 1)
    assert only["measures"]["similarity"] | {"count": 1} == asdict(estimate(observed([0.2 - 0.1], [0])))


def test_other_budgets_and_unbounded_methods_have_nothing_to_be_compared_with() -> None:
    kept = [seen([0.1], [0], of=1)]
    entries = [entry("cloak", kept), entry("pgd", kept, dssim=0.004), entry("none", kept, dssim=None)]
    assert differences(entries, "cloak", 50, 0) == []
    assert differences(entries, "absent", 50, 0) == []


def test_the_table_shows_the_difference_with_its_sign() -> None:
    results = made_up_results()
    assert difference_tables(results) == ()
    results["protocol"]["reference"] = "cloak"
    numbers = {"value": 0.0214, "low": -0.0051, "high": 0.0482, "count": 8}
    measures = {"psr@0.001": numbers, "similarity": numbers | {"value": -0.0214}}
    results["differences"] = [
        {"entry": "pgd@0.009", "reference": "x", "evaluator": "dlib", "photos": 1, "people": 2, "measures": measures}
    ]
    protection, similarity = difference_tables(results)
    assert [str(cell) for cell in protection.rows[0]] == ["pgd@0.009", "2", "+.021 (-.005 to .048)", "-"]
    assert [str(cell) for cell in similarity.rows[0]][2] == "-.021 (-.005 to .048)"
    assert similarity.folded
    assert len(protection.rows) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "+.500"), (-0.0004, ".000"), (0.0, ".000"), (-0.25, "-.250"), (1.0, "+1.000")]
)
def test_differences_have_a_sign(value: float, text: str) -> None:
    assert signed(value) == text
