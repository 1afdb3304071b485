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


def entry(method: str, by_person: dict[str, Any], *, dssim: float | None = 0.009) -> dict[str, Any]:
    return {"name": f"{method}@{dssim}", "method": method, "dssim": dssim, "by_person": [by_person]}


def seen(*photos: tuple[list[float], list[int]], of: int) -> dict[str, Any]:
    """For each photo the scores of people, and whose they are."""
    scores = [observed(values, people) for values, people in photos]
    measures = [{"psr@0.001": one.where(one.values < 0.3), "similarity": one} for one in scores]
    return {"evaluator": "e", **by_person(measures, of)}


def test_what_is_kept_of_each_person_gives_the_estimate_back() -> None:
    kept = seen(([0.1, 0.5, 0.2, 0.4], [0, 0, 2, 2]), ([0.7], [3]), of=4)
    assert kept["counts"] == [[2, 0, 2, 0], [0, 0, 0, 1]]
    assert kept["sums"]["psr@0.001"] == [[1.0, 0.0, 1.0, 0.0], [0.0] * 4]
    assert kept["sums"]["similarity"][0] == pytest.approx([0.6, 0.0, 0.6, 0.0])


def test_the_interval_of_a_difference_is_narrower_than_those_of_both() -> None:
    """People differ by .2, the cloaks by .02 with each of them."""
    drawn = np.random.default_rng(3)
    people = np.arange(40).repeat(5)
    hard = drawn.normal(0.3, 0.2, 40)[people]
    ours = hard + drawn.normal(0, 0.02, 200)
    theirs = hard + 0.02 + drawn.normal(0, 0.02, 200)
    both = [entry(name, seen((list(of), list(people)), of=40)) for name, of in (("cloak", ours), ("pgd", theirs))]
    found = differences(both, "cloak", resamples=500, seed=0)
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
    kept = seen(([0.1, 0.5], [0, 1]), of=2)
    (only,) = differences([entry("cloak", kept), entry("copy", kept)], "cloak", 50, 0)
    for measure in only["measures"].values():
        assert (measure["value"], measure["low"], measure["high"]) == (0.0, 0.0, 0.0)


def test_only_photos_that_both_have_are_compared() -> None:
    """The first person's second photo failed with the one, the second's first with the other; the third has none."""
    ours = seen(([0.1, 0.8], [0, 1]), ([0.5], [1]), of=3)
    theirs = seen(([0.2], [0]), ([0.9, 0.6], [0, 1]), of=3)
    (only,) = differences([entry("cloak", ours), entry("pgd", theirs)], "cloak", 50, 0)
    assert (only["people"], only["photos"]) == (2, 2)
    similarity = only["measures"]["similarity"]
    assert similarity == pytest.approx(asdict(estimate(observed([0.2 - 0.1, 0.6 - 0.5], [0, 1]), 50)))
    assert similarity["count"] == 2


def test_the_first_photos_are_compared_where_the_other_has_more() -> None:
    more, fewer = seen(([0.1], [0]), ([0.9], [0]), of=1), seen(([0.3], [0]), of=1)
    (only,) = differences([entry("cloak", more), entry("pgd", fewer)], "cloak", 50, 0)
    assert (only["photos"], only["measures"]["similarity"]["value"]) == (1, pytest.approx(0.2))


def test_nobody_to_be_compared_is_no_number() -> None:
    (only,) = differences(
        [entry("cloak", seen(([0.1], [0]), of=2)), entry("pgd", seen(([0.1], [1]), of=2))], "cloak", 50, 0
    )
    assert only["people"] == 0
    assert only["measures"]["similarity"] == {"value": None, "low": None, "high": None, "count": 0}


def test_other_budgets_and_unbounded_methods_have_nothing_to_be_compared_with() -> None:
    kept = seen(([0.1], [0]), of=1)
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
        {"entry": "pgd@0.009", "reference": "x", "evaluator": "dlib", "photos": 1, "people": 20, "measures": measures}
    ]
    protection, similarity = difference_tables(results)
    assert [str(cell) for cell in protection.rows[0]] == ["pgd@0.009", "20", "+.021 (-.005 to .048)", "-"]
    assert [str(cell) for cell in similarity.rows[0]][2] == "-.021 (-.005 to .048)"
    assert similarity.folded
    assert len(protection.rows) == 1
    results["differences"] += [results["differences"][0] | {"evaluator": "other", "people": 3}]
    protection, _ = difference_tables(results)
    assert [str(cell) for cell in protection.rows[0]] == ["pgd@0.009", "3-20", "+.021 (-.005 to .048)", "+.021"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "+.500"), (-0.0004, ".000"), (0.0, ".000"), (-0.25, "-.250"), (1.0, "+1.000")]
)
def test_differences_have_a_sign(value: float, text: str) -> None:
    assert signed(value) == text
