"""Two cloaks of the same photos: how much better one is, with an interval of that difference.

People differ more than cloaks do, so the intervals of two cloaks overlap long after the one is
better with nearly everybody. Here each person is drawn with what both cloaks achieved for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cloak.bench.measures import Observations, estimate_of_sums

ByPerson = Mapping[str, Any]
"""Of one evaluator and number of photos: ``counts``, and ``sums`` of each measure, by the number of the person."""


def by_person(observed: Mapping[str, Observations], people: int) -> dict[str, Any]:
    """How many observations there are of each of ``people``, and what they sum up to.

    Args:
        observed: measures of the same comparisons.
        people: how many there are.
    """
    first = next(iter(observed.values()))
    return {
        "counts": np.bincount(first.people, minlength=people).tolist(),
        "sums": {name: np.bincount(of.people, of.values, people).tolist() for name, of in observed.items()},
    }


def differences(
    entries: Sequence[Mapping[str, Any]], reference: str, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """What each entry achieves more than the reference's of the same budget, for each evaluator.

    Args:
        entries: of the results, with ``by_person``, see ``scoring.score``.
        reference: the method that all others are compared with.
        resamples: of the bootstrap.
        seed: of its draws.

    Returns:
        ``entry`` and ``reference`` (names), ``evaluator``, ``photos`` of each person, ``people`` that
        both can be compared on, and ``measures``: name -> ``Estimate`` of the difference.
    """
    references = {entry["dssim"]: entry for entry in entries if entry["method"] == reference and entry["dssim"]}
    found = []
    for entry in entries:
        other = references.get(entry["dssim"], entry)
        for own, its in _pairs(entry, other) if other is not entry else ():
            alike = np.array(own["counts"]) == np.array(its["counts"])
            kept = {key: own[key] for key in ("evaluator", "photos")}
            measures = {name: _difference(own, its, name, alike, resamples, seed) for name in own["sums"]}
            names = {"entry": entry["name"], "reference": other["name"], **kept}
            found.append({**names, "people": int((alike & (np.array(own["counts"]) > 0)).sum()), "measures": measures})
    return found


def _pairs(entry: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[ByPerson, ByPerson]]:
    """What each evaluator says of both, on as many photos of each person as both have."""
    photos = min(entry["photos"], other["photos"])
    its = {of["evaluator"]: of for of in other["by_person"] if of["photos"] == photos}
    return [(own, its[own["evaluator"]]) for own in entry["by_person"] if own["photos"] == photos]


def _difference(own: ByPerson, other: ByPerson, measure: str, alike: Any, resamples: int, seed: int) -> dict[str, Any]:
    """The mean of a measure less the other's, over the people of whom both have as many comparisons."""
    more = np.array(own["sums"][measure]) - np.array(other["sums"][measure])
    return asdict(estimate_of_sums(more[alike], np.array(own["counts"])[alike], resamples, seed))
