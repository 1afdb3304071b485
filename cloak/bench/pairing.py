"""Two cloaks of the same photos: how much better one is, with an interval of that difference.

People differ more than cloaks do, so the intervals of two cloaks overlap long after the one is
better with nearly everybody. Here each person is drawn with what both cloaks achieved for them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cloak.bench.measures import Observations, estimate_of_sums, in_numbers

ByPerson = Mapping[str, Any]
"""Of one evaluator: ``counts`` of comparisons, and ``sums`` of each measure; for the first photo of each person, the
second and so on, a list in the order of the dataset's people."""


def by_person(observed: Sequence[Mapping[str, Observations]], people: int) -> dict[str, Any]:
    """How many comparisons each photo of each person has, and what they sum up to.

    Args:
        observed: for the first photo of each person, the second and so on, measures of the same comparisons.
        people: how many there are.
    """
    scores = [next(iter(measures.values())).people for measures in observed]
    return {
        "counts": [np.bincount(numbers, minlength=people).tolist() for numbers in scores],
        "sums": {
            name: [np.bincount(of[name].people, of[name].values, people).tolist() for of in observed]
            for name in observed[0]
        },
    }


def differences(
    entries: Sequence[Mapping[str, Any]], reference: str, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """What each entry achieves more than the reference's of the same budget, for each evaluator.

    A photo that failed, or whose face was not found, with one of them counts with neither.

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
        if other is not entry:
            names = {"entry": entry["name"], "reference": other["name"]}
            for own, its in zip(entry["by_person"], other["by_person"], strict=True):  # evaluators, the same for all
                found.append({**names, "evaluator": own["evaluator"], **_difference(own, its, resamples, seed)})
    return found


def _difference(own: ByPerson, its: ByPerson, resamples: int, seed: int) -> dict[str, Any]:
    """Photos, people and measures of what one evaluator says of both."""
    photos = min(len(own["counts"]), len(its["counts"]))
    first, second = np.array(own["counts"][:photos]), np.array(its["counts"][:photos])  # (photos, people)
    counts = np.where(first == second, first, 0)
    of_people = counts.sum(axis=0)
    measures = {}
    for name in own["sums"]:
        more = np.array(own["sums"][name][:photos]) - np.array(its["sums"][name][:photos])
        sums = np.where(counts > 0, more, 0.0).sum(axis=0)
        measures[name] = in_numbers(estimate_of_sums(sums, of_people, resamples, seed))
    return {"photos": photos, "people": int((of_people > 0).sum()), "measures": measures}
