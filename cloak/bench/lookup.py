"""Where things are in a results dictionary. All that tables and plots read goes through here."""

import math
from collections.abc import Mapping
from typing import Any

from cloak.bench.protocol import USUAL_DSSIM
from cloak.methods import METHODS

Results = Mapping[str, Any]
"""The results of ``run_protocol``, or what its JSON says."""

Entry = Mapping[str, Any]
"""One of ``results["entries"]``."""

Estimate = Mapping[str, Any]
"""value, low, high, count; empty where there is none."""

USUAL_FAR = 1e-3
"""The false-accept rate that tables lead with."""

STATED = "stated"
"""Among an evaluator's thresholds, by false-accept rates, the one that its specification states."""


def rates(results: Results) -> tuple[str, ...]:
    """False-accept rates as the keys name them, the one that tables lead with first."""
    given = [float(far) for far in results["protocol"]["fars"]]
    return tuple(f"{far:g}" for far in sorted(given, key=lambda far: abs(math.log10(far / USUAL_FAR))))


def states_a_threshold(results: Results) -> bool:
    """Whether the specification of an evaluator does."""
    return any(STATED in evaluator["thresholds"] for evaluator in results["evaluators"])


def evaluators(results: Results) -> tuple[str, ...]:
    """Names of the evaluators, in the order of the protocol."""
    return tuple(evaluator["name"] for evaluator in results["evaluators"])


DLIB = frozenset({"dlib", "dlib-cpp", "dlib-robust"})
"""One network: in PyTorch, in C++, and the twin that was trained on its embeddings."""


def role(results: Results, evaluator: str) -> str:
    """Whether the cloaks were made against this evaluator's network: "surrogate", "held out", or of some."""
    same = DLIB if evaluator in DLIB else {evaluator}
    against = [not same.isdisjoint(entry["surrogates"]) for entry in results["entries"] if entry["surrogates"]]
    if against and all(against):
        return "surrogate"
    if not any(against) and any(other_software(entry) and not entry["surrogates"] for entry in results["entries"]):
        return "held out, as far as is known"
    return "surrogate of some" if any(against) else "held out"


def evaluator_title(results: Results, name: str) -> str:
    """The name, and whether the cloaks were made against it."""
    found = role(results, name)
    return name if found.startswith("held out") else f"{name} ({found})"


def ordered_entries(results: Results) -> tuple[Entry, ...]:
    """The entries by budget, then by method as ``cloak.methods`` lists them: none first, ours last."""
    methods = {name: number for number, name in enumerate(METHODS)}

    def place(entry: Entry) -> tuple[float, int]:
        unnamed = len(methods) if other_software(entry) else -1
        return entry["dssim"] or 0.0, methods.get(entry["method"], unnamed)

    return tuple(sorted(results["entries"], key=place))


def other_software(entry: Entry) -> bool:
    """Whether an entry's cloaks were made elsewhere."""
    return bool(entry.get("other_software"))


def record(
    entry: Entry, evaluator: str, scenario: str = "evasion", condition: str = "saved", photos: int = 0
) -> Mapping[str, Any]:
    """The record of this name, on so many photos of each person or else on the most; empty where there is none."""
    wanted = (condition, evaluator, scenario)
    for found in entry["records"]:
        if (found["condition"], found["evaluator"], found["scenario"]) == wanted and photos in (0, found["photos"]):
            return dict(found)
    return {}


def differences(results: Results, entry: Entry) -> Mapping[str, Mapping[str, Any]]:
    """Evaluator -> how an entry differs from the reference of its budget; empty where there is none."""
    found = results.get("differences", ())
    return {difference["evaluator"]: difference for difference in found if difference["entry"] == entry["name"]}


def fewest_photos(entry: Entry) -> int:
    """On how many photos of each person every condition was measured."""
    return min(int(found["photos"]) for found in entry["records"])


def measured(of: Mapping[str, Any], measure: str, *, clean: bool = False) -> Estimate:
    """A measure of a record with the cloak, or without; empty where there is none."""
    found = of.get("clean" if clean else "measures", {}).get(measure) or {}
    return found if is_number(found.get("value")) else {}


def is_number(value: object) -> bool:
    """Whether there is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def visibility(entry: Entry, where: str, measure: str, kind: str = "mean") -> float | None:
    """A measure of the change to the "face" or "photo", its mean or its max over the files."""
    value = entry["visibility"].get(where, {}).get(measure, {}).get(kind)
    return float(value) if is_number(value) else None


def conditions(results: Results) -> tuple[str, ...]:
    """All conditions that any entry was seen under, in the order of their first use."""
    return tuple(dict.fromkeys(r["condition"] for entry in results["entries"] for r in entry["records"]))


def conditions_of(entry: Entry) -> tuple[str, ...]:
    """The conditions that an entry was seen under."""
    return tuple(dict.fromkeys(r["condition"] for r in entry["records"]))


def tested_entries(results: Results) -> tuple[Entry, ...]:
    """The entries that were seen under more than the saved file."""
    return tuple(entry for entry in ordered_entries(results) if len(conditions_of(entry)) > 1)


def most_photos(results: Results) -> int:
    """How many photos of each person the entries with the most cloak."""
    return max((entry["photos"] for entry in results["entries"]), default=0)


def without_cloak(results: Results, evaluator: str) -> Estimate:
    """PSR under evasion of the most photos that any entry has, not cloaked."""
    measure = f"psr@{rates(results)[0]}"
    for entry in sorted(results["entries"], key=lambda entry: (-entry["photos"], len(entry["failed"]))):
        found = measured(record(entry, evaluator), measure, clean=True)
        if found:
            return found
    return {}


def shown_entries(results: Results) -> tuple[Entry, ...]:
    """What plots of single entries show: our cloak on the most photos and those of others, else all with a budget."""
    full = [entry for entry in ordered_entries(results) if entry["photos"] == most_photos(results) and entry["files"]]
    chosen = [entry for entry in full if entry["method"] == "cloak" or other_software(entry)]
    chosen = chosen or [entry for entry in full if entry["dssim"] is not None]
    if any(map(other_software, chosen)):  # whole budgets, the usual one first
        nearest = sorted(chosen, key=lambda entry: abs((entry["dssim"] or USUAL_DSSIM) - USUAL_DSSIM))[:MOST_SHOWN]
        chosen = [entry for entry in chosen if entry in nearest]
    return tuple(chosen[:MOST_SHOWN])


MOST_SHOWN = 4
"""More lines than this in one plot cannot be told apart."""
