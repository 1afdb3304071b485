"""How many faces are found, by what happens to them, and what is taken for a face that is none.

    python -m benchmarks.detection --out benchmarks/results/detection [--photos 100]

The central faces of photos of LFW, as the first look finds them in the photos as they are, are turned,
covered, cut off, made large, small or dark. Each way of looking then says what it finds: the first
look, the first with the second look where it finds nothing, and the check of saved files alone.
Pictures without faces (scikit-image's, LFW's with the head covered, noise) show what each takes for
a face wrongly. Writes OUT.json and OUT.md.
"""

import argparse
import json
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.detection_cases import CONDITIONS, LARGE, Case, without_faces
from cloak.bench.evaluators import central_face
from cloak.detect import CHECK, FIRST_LOOK, MIN_FACE, SECOND_LOOK, FaceDetector
from cloak.looks import overlap
from cloak.measure import missed_faces
from cloak.photo import read_photo
from cloak.types import Face, Pixels

HERE = Path(__file__).parent
FOUND = 0.4
"""A face is found where a box overlaps its own by this share of their union."""

IN_PLACE = 0.25
"""Landmarks are in place when none is further off than this share of the distance from the eyes to the mouth."""

FEW = 6
"""Conditions that make large photos take so many."""

REALLY_FACES = {
    "Jason_Kidd_0003.jpg": "a face, half of it outside of the photo",
    "Megawati_Sukarnoputri_0001.jpg": "a face, half of it behind a hand",
    "Megawati_Sukarnoputri_0005.jpg": "a face (a painting), cut off by the photo's edge",
    "Pete_Sampras_0003.jpg": "a face, the upper half outside of the photo",
    "Tom_Hanks_0002.jpg": "a face, half of it outside of the photo",
}
"""What a person saw in the boxes that the check reported."""


Way = Callable[[Pixels], tuple[Face, ...]]


def ways_of(detector: FaceDetector) -> dict[str, Way]:
    """What is compared."""
    return {
        "first look": lambda pixels: detector.look(pixels, (FIRST_LOOK,)),
        "with the second look": detector.detect,
        "check of the saved file": lambda pixels: tuple(
            face for face in detector.look(pixels, CHECK) if face.width >= MIN_FACE
        ),
    }


def found_of(case: Case, faces: Sequence[Face]) -> dict[str, int]:
    """How many of a case's faces were found, and with all landmarks in place; how many boxes are elsewhere."""
    hits = [[face for face in faces if overlap(face.box, true.box) >= FOUND] for true in case.faces]
    return {
        "faces": len(case.faces),
        "found": sum(bool(hit) for hit in hits),
        "in_place": sum(any(in_place(true, face) for face in hit) for true, hit in zip(case.faces, hits, strict=True)),
        "twice": sum(len(hit) > 1 for hit in hits),
        "elsewhere": sum(all(overlap(face.box, true.box) < FOUND / 2 for true in case.faces) for face in faces),
    }


def in_place(true: Face, face: Face) -> bool:
    points, others = np.array(true.landmarks), np.array(face.landmarks)
    to_mouth = np.linalg.norm(points[:2].mean(axis=0) - points[3:].mean(axis=0))
    return bool(np.linalg.norm(points - others, axis=1).max() < IN_PLACE * to_mouth)


def recall(photos: Sequence[tuple[Path, Pixels, Face]], ways: dict[str, Way]) -> list[dict[str, Any]]:
    """A row for each condition: sums over its photos, by way of looking."""
    rows = []
    for name, condition in CONDITIONS.items():
        start = time.perf_counter()
        some = photos[:: max(1, len(photos) // FEW)][:FEW] if name in LARGE else photos
        counts: dict[str, Counter[str]] = {way: Counter() for way in ways}
        for _, pixels, face in some:
            case = condition(pixels, face)
            for way, look in ways.items():
                counts[way].update(found_of(case, look(case.pixels)))
        rows.append({"condition": name, "photos": len(some)} | {way: dict(count) for way, count in counts.items()})
        print(rows[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
    return rows


def not_faces(photos: Sequence[tuple[Path, Pixels, Face]], ways: dict[str, Way]) -> dict[str, Any]:
    """What each way reports in pictures without faces."""
    pictures = list(without_faces(photos))
    kinds = Counter(name.split()[0].strip(",") for name, _ in pictures)
    reported: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for name, pixels in pictures:
        for way, look in ways.items():
            reported[way] += [{"picture": name, **asdict(face)} for face in look(pixels)]
    return {"pictures": dict(kinds), "reported": reported}


def missed(photos: Sequence[Path], detector: FaceDetector) -> dict[str, Any]:
    """What the check reports in photos as they are, over what was found: mostly people in the background."""
    reported = []
    for path in photos:
        pixels = read_photo(path).pixels
        reported += [
            {"photo": path.name, **asdict(face)} for face in missed_faces(pixels, detector.detect(pixels), detector)
        ]
    return {"photos": len(photos), "reported": reported}


def seconds_at_12_mp(ways: dict[str, Way]) -> dict[str, dict[str, float]]:
    """Median seconds, with a face and without one; one thread."""
    import skimage

    data = {
        "a face": HERE.parent / "samples/astronaut.png",
        "no face": Path(skimage.__file__).parent / "data/rocket.jpg",
    }
    result: dict[str, dict[str, float]] = {}
    for name, path in data.items():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC))
        result[name] = {way: round(median(seconds(look, pixels) for _ in range(5)), 2) for way, look in ways.items()}
    return result


def seconds(look: Way, pixels: Pixels) -> float:
    start = time.perf_counter()
    look(pixels)
    return time.perf_counter() - start


def tables(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    ways = list(results["seconds_at_12_mp"]["a face"])
    lines = [
        "# Which faces are found",
        "",
        f"`python -m benchmarks.detection --photos {results['photos']}`, commit {results['commit']}; of 100 faces,"
        " so many are found, and so many with all five landmarks in place. The faces are those that the first look"
        " finds in the photos as they are, so its first row is 100 by construction.",
        "",
        f"| | faces | {' | '.join(ways)} |",
        f"|---|---|{'---|' * len(ways)}",
    ]
    for row in results["recall"]:
        faces = row[ways[0]]["faces"]
        shares = (f"{100 * row[way]['found'] / faces:.0f}, {100 * row[way]['in_place'] / faces:.0f}" for way in ways)
        lines.append(f"| {row['condition']} | {faces} | {' | '.join(shares)} |")
    kinds = ", ".join(f"{count} {kind}" for kind, count in results["not_faces"]["pictures"].items())
    lines += ["", f"What is reported in pictures without a face ({kinds}):", ""]
    for way, reported in results["not_faces"]["reported"].items():
        names = ", ".join(f"{one['picture']} ({one['score']:.3f}, {one['look']})" for one in reported)
        lines.append(f"- {way}: {len(reported)}{': ' if names else ''}{names}")
    check = results["missed"]
    lines += ["", f"What the check reports in {check['photos']} photos as they are, over the faces that are found:", ""]
    for one in check["reported"]:
        box = ", ".join(f"{value:.0f}" for value in one["box"])
        verdict = REALLY_FACES.get(one["photo"], "not looked at")
        lines.append(f"- {one['photo']}: ({box}), {one['score']:.3f}, {one['look']}; {verdict}")
    lines += ["", "Seconds at 12 megapixels, one thread:", ""]
    for name, row in results["seconds_at_12_mp"].items():
        lines.append(f"- {name}: {', '.join(f'{way} {value}' for way, value in row.items())}")
    return "\n".join(lines) + "\n"


def main() -> None:
    shared = HERE.resolve().parents[1] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev/people")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    options = parser.parse_args()

    detector = FaceDetector()
    everyone = sorted(options.data.glob("*/*.jpg"))
    paths = everyone[:: len(everyone) // options.photos][: options.photos]
    photos = []
    for path in paths:
        pixels = read_photo(path).pixels
        face = central_face(detector.look(pixels, (FIRST_LOOK,)), pixels)
        assert face is not None, f"{path}: the first look finds no face"
        photos.append((path, pixels, face))
    ways = ways_of(detector)
    results = {
        "photos": len(photos),
        "names": [path.name for path in paths],
        "commit": commit(),
        "versions": {name: version(name) for name in ("torch", "facenet-pytorch", "numpy", "pillow", "scikit-image")},
        "python": platform.python_version(),
        "settings": {way: [asdict(look) for look in looks] for way, looks in
                     {"first look": (FIRST_LOOK,), "second look": SECOND_LOOK, "check": CHECK}.items()},
        "recall": recall(photos, ways),
        "not_faces": not_faces(photos, ways),
        "missed": missed(everyone[1::4], detector),
        "seconds_at_12_mp": seconds_at_12_mp(ways),
    }  # fmt: skip
    options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(tables(results))


def commit() -> str:
    """The commit that is measured, marked where files were changed since."""
    command = ("git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
