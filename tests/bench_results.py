"""A small made-up results dictionary of a benchmark, for the tests of its report."""

from typing import Any

EVALUATORS = ("dlib", "other")
ODD = "cloak<b>&lt;|x@0.009"
"""An entry's name that neither HTML nor Markdown may take for markup."""


def estimate(value: float | None, count: int = 8) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "count": 0}
    return {"value": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1), "count": count}


def measures(psr: float | None, **others: float | None) -> dict[str, Any]:
    lower = None if psr is None else 1.0 - psr
    result = {"psr@0.01": psr, "psr@0.001": psr, "tar@0.01": lower, "tar@0.001": lower, "similarity": -0.0421}
    result |= dict.fromkeys(("rank1", "rank5", "nearest", "linear", "detected"), 0.876)
    return {name: estimate(value) for name, value in (result | others).items()}


def record(evaluator: str, psr: float | None, condition: str = "saved", scenario: str = "evasion") -> dict[str, Any]:
    cloaked = measures(psr, adaptive=0.432)
    clean = measures(0.123, similarity=0.654, rank1=0.987)
    names = {"condition": condition, "evaluator": evaluator, "scenario": scenario, "photos": 2}
    return {**names, "measures": cloaked, "clean": clean}


def entry(name: str, method: str, dssim: float | None, psr: float | None, **others: Any) -> dict[str, Any]:
    changed = {
        measure: {"mean": value, "max": 2 * value}
        for measure, value in (
            ("dssim", 0.0078),
            ("peak_dssim", 0.0345),
            ("psnr", 37.8),
            ("linf", 31),
            ("chroma", 1.57),
        )
    }
    scenarios = ("evasion", "poisoning")
    return {
        "name": name,
        "method": method,
        "dssim": dssim,
        "settings": {},
        "photos": 2,
        "files": 4,
        "surrogates": ["dlib"],
        "unchanged": 0,
        "failed": [],
        "seconds_per_face": 2.34,
        "visibility": {"face": changed, "photo": changed, "lpips": None},
        "records": [record(evaluator, psr, scenario=s) for evaluator in EVALUATORS for s in scenarios],
        "curves": [{"evaluator": e, "histogram": [0.0, 0.5, 0.5, 0.0], "roc": [0.1, 0.5, 1.0]} for e in EVALUATORS],
    } | others


def evaluator(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "thresholds": {"0.01": 0.321, "0.001": 0.456},
        "clean_tar": {"0.01": estimate(0.912), "0.001": estimate(0.877)},
        "genuine_pairs": 56,
        "impostor_pairs": 1394,
        "detected": 0.998,
        "histogram_genuine": [0.0, 0.0, 0.5, 0.5],
        "histogram_impostor": [0.2, 0.8, 0.0, 0.0],
        "roc": [0.5, 0.9, 1.0],
    }


def made_up_results() -> dict[str, Any]:
    """Two evaluators; no cloak, a cloak with a failed photo and conditions, one that changed nothing."""
    tested = [record(e, 0.765, c) for e in EVALUATORS for c in ("jpeg75", "median")]
    cloaked = entry(ODD, "cloak", 0.009, 0.789, files=3, failed=["a|b.jpg: no face <found>"])
    cloaked["records"] += tested
    cheat = entry("pgd@0.009", "pgd", 0.009, None, photos=1, files=2, unchanged=2)
    none = entry("none", "none", None, 0.123, unchanged=4, visibility={"lpips": None})
    return {
        "schema": 1,
        "protocol": {
            "name": "tiny",
            "data": "faces",
            "people": 2,
            "cloaked": 2,
            "distractors": 20,
            "evaluators": list(EVALUATORS),
            "surrogates": ["dlib"],
            "cloaks": [{"methods": ["none", "cloak"], "dssim": [0.009], "photos": 0, "conditions": ["saved"]}],
            "fars": [0.01, 0.001],
            "resamples": 10,
            "seed": 7,
        },
        "provenance": {
            "commit": "0123456789abcdef",
            "changed": True,
            "versions": {"python": "3.11", "lost": ""},
            "device": "cpu, 2 threads",
            "date": "2026-01-02",
            "seconds": 120.0,
        },
        "dataset": {"people": ["A", "B"], "photos": 12, "distractors": 19, "unreadable": ["x.jpg: damaged"]},
        "evaluators": [evaluator(name) for name in EVALUATORS],
        "sanity": [
            {"evaluator": name, "identical": measures(0.0), "strangers": measures(0.999), "original": measures(0.123)}
            for name in EVALUATORS
        ],
        "fars": [0.0001, 0.01, 1.0],
        "entries": [cloaked, cheat, none],
    }
