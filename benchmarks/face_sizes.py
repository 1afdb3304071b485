"""How protection depends on the size of the face: what the report calls expected protection.

    python benchmarks/face_sizes.py --out benchmarks/results/face_sizes.json [--people 20]

One photo of each person is resized (LFW's faces are about 95 px wide), saved as JPEG 95, cloaked in
each mode with what ships, and compared with the person's other photos as they are. Evaluators and
their thresholds at a false-accept rate of 1e-3 come from a result of ``cloak bench``. Each cloaked
photo is kept in ``--work``, so a run that was cut short goes on; after a change of the loop take another.

The files may grow by half and no more, as large ones may: the figures are for small faces in these, too, and what
``cloak protect`` makes of small files is better (``saved_formats.py``).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cloak import pipeline
from cloak.bench.datasets import read_dataset
from cloak.bench.embedding import Gaze
from cloak.bench.evaluators import load_evaluator
from cloak.bench.measures import Observations, estimate
from cloak.bench.store import EmbeddingStore
from cloak.folders import cache_folder
from cloak.methods import MODES
from cloak.protect import Cloaker

HERE = Path(__file__).parent
EVALUATORS = ("mfn_sirius", "mfn_casia", "mobileface", "insightface_mbf", "edgeface_s")
SCALES = (0.5, 1.0, 2.5)
PROTOCOLS = 50
"""So many people the protocols have; these figures are of others."""


def main() -> None:
    options = parser_of(__doc__, people=10, work="face_sizes").parse_args()
    pipeline.ROOM = 0
    gaze, thresholds = tracker(options.results)
    people = people_of_no_protocol(options.data)[-options.people :]
    rows = []
    for mode in MODES:
        cloaker = Cloaker(mode)
        for scale in SCALES:
            row = {"mode": mode, "scale": scale, **measure(people, cloaker, scale, gaze, thresholds, options.work)}
            print(row, flush=True)
            rows.append(row)
    options.out.write_text(json.dumps({"people": len(people), "thresholds": thresholds, "rows": rows}, indent=1) + "\n")


def parser_of(description: str | None, *, people: int, work: str) -> argparse.ArgumentParser:
    """For a script that cloaks photos of people of no protocol, and keeps them in a folder of the cache."""
    shared = HERE.resolve().parents[1] / "shared"
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev/people")
    parser.add_argument("--results", type=Path, default=HERE / "results/modern/results.json", help="for the thresholds")
    parser.add_argument("--people", type=int, default=people)
    parser.add_argument("--work", type=Path, default=cache_folder() / work)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def tracker(results: Path) -> tuple[Gaze, dict[str, float]]:
    """The evaluators, and the threshold of each in a result of ``cloak bench``."""
    evaluators = [load_evaluator(str(HERE / f"evaluators/{name}.toml")) for name in EVALUATORS]
    gaze = Gaze(evaluators, EmbeddingStore(cache_folder() / "embeddings.sqlite"))
    return gaze, thresholds_of(json.loads(results.read_text()))


def people_of_no_protocol(data: Path) -> list[Path]:
    """The folders of the people who are in no protocol, by their names."""
    known = {person.name for person in read_dataset(data, people=PROTOCOLS, cloaked=2, distractors=0).people}
    return sorted(folder for folder in data.iterdir() if folder.is_dir() and folder.name not in known)


def thresholds_of(results: dict[str, Any]) -> dict[str, float]:
    """Evaluator -> its threshold at a false-accept rate of 1e-3."""
    stated = {evaluator["name"]: evaluator["thresholds"]["0.001"] for evaluator in results["evaluators"]}
    return {name: stated[name] for name in EVALUATORS}


def measure(
    people: list[Path], cloaker: Cloaker, scale: float, gaze: Gaze, thresholds: dict[str, float], work: Path
) -> dict[str, Any]:
    """PSR of each evaluator, with its 95 % interval over people, and the width of the faces, at one mode and scale."""
    resized, cloaked = work / f"resized_{scale}", work / f"{cloaker.method.name}_{scale}"
    resized.mkdir(parents=True, exist_ok=True)
    for person in people:
        first = sorted(person.glob("*.jpg"))[0]
        if not (resized / first.name).exists():
            photo = Image.open(first)
            size = (round(scale * photo.width), round(scale * photo.height))
            photo.resize(size, Image.Resampling.LANCZOS).save(resized / first.name, quality=95)
    widths_file = cloaked / "widths.json"
    widths: dict[str, float] = json.loads(widths_file.read_text()) if widths_file.exists() else {}
    names = [sorted(person.glob("*.jpg"))[0].name for person in people]
    todo = [resized / name for name in names if name not in widths]
    for report in cloaker.protect_files(todo, cloaked, overwrite=True):
        if report.source is not None and report.faces:
            widths[report.source.name] = max(face.face.width for face in report.faces)
    widths_file.write_text(json.dumps(widths))
    failed: dict[str, list[tuple[int, bool]]] = {name: [] for name in thresholds}
    for number, person in enumerate(people):
        first, *others = sorted(person.glob("*.jpg"))
        if first.name not in widths:
            continue
        probe = gaze.embed(cloaked / first.name, ["saved"])["saved"]
        for other in others:
            gallery = gaze.embed(other, ["saved"])["saved"]
            for name, threshold in thresholds.items():
                one, two = probe[name], gallery[name]
                if one is not None and two is not None:
                    failed[name].append((number, float(one @ two) < threshold))
    found = [widths[name] for name in names if name in widths]
    return {
        "faces": len(found),
        "width": round(float(np.median(found)), 1),
        "psr": {name: _with_interval(values) for name, values in failed.items()},
    }


def _with_interval(failed: list[tuple[int, bool]]) -> dict[str, float]:
    people, values = (np.array(column) for column in zip(*failed, strict=True))
    found = estimate(Observations(values.astype(np.float64), people))
    return {"value": round(found.value, 3), "low": round(found.low, 3), "high": round(found.high, 3)}


if __name__ == "__main__":
    main()
