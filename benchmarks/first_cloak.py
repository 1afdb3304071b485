"""How far a cloak reduces identity match, on people and recognisers that were never optimised.

    python benchmarks/first_cloak.py --data ../shared/data/lfw-dev/people --models ../shared/models

The first people of a folder-per-person tree, in alphabetical order; two photos of each are
cloaked as files and compared with the person's other, clean photos. Every photo, cloaked or
clean, is detected and aligned anew from the file, as a tracker would. Thresholds: cosine
similarity that lets one of 1,000 pairs of different people pass, over the clean photos of all
people in the tree, four of each. Protection success rate (PSR): share of genuine pairs below it.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from cloak import Cloaker, Face
from cloak.align import crop_face
from cloak.detect import FaceDetector
from cloak.methods import MODES, Method
from cloak.photo import read_photo
from cloak.recognizers import load_recognizer
from cloak.types import PhotoReport, Pixels
from cloak.views import ViewDistribution

FAR = 1e-3
CLOAKED_EACH = 2
THRESHOLD_PHOTOS = 4

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


class Evaluator(Protocol):
    def embed(self, pixels: Pixels, face: Face) -> torch.Tensor: ...


@dataclass(frozen=True)
class OnnxEvaluator:
    """A recogniser as a black box: aligned crops through onnxruntime."""

    session: onnxruntime.InferenceSession
    size: tuple[int, int]
    template: NDArray[np.float64]
    normalise: bool

    def embed(self, pixels: Pixels, face: Face) -> torch.Tensor:
        crop = 255.0 * crop_face(pixels, face.landmarks, self.template, self.size)
        crop = (crop - 127.5) / 128.0 if self.normalise else crop
        (embedding,) = self.session.run(None, {"input": crop.numpy()})[0]
        return torch.nn.functional.normalize(torch.from_numpy(embedding), dim=0)


def load_evaluators(folder: Path) -> dict[str, Evaluator]:
    """dlib, and the recognisers of ``../shared/models`` that are there."""
    evaluators: dict[str, Evaluator] = {"dlib": load_recognizer("dlib")}
    known = {
        "mfn_casia": ((112, 96), ARCFACE - (8.0, 0.0), True),
        "mfn_sirius": ((112, 112), ARCFACE, True),
        "mobileface": ((112, 112), ARCFACE, False),
    }
    for name, (size, template, normalise) in known.items():
        path = folder / f"{name}.onnx"
        if path.exists():
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            evaluators[name] = OnnxEvaluator(session, size, template, normalise)
    return evaluators


@dataclass(frozen=True)
class Tracker:
    """Detects the face nearest the middle of a photo and embeds it with every evaluator."""

    detector: FaceDetector
    evaluators: Mapping[str, Evaluator]

    def embed(self, pixels: Pixels) -> dict[str, torch.Tensor]:
        """Evaluator -> embedding; empty where no face is found."""
        faces = self.detector.detect(pixels)
        if not faces:
            return {}
        middle = np.array([pixels.shape[1], pixels.shape[0]]) / 2
        face = min(faces, key=lambda face: float(np.abs(np.reshape(face.box, (2, 2)).mean(axis=0) - middle).sum()))
        return {name: evaluator.embed(pixels, face) for name, evaluator in self.evaluators.items()}


Embeddings = Mapping[Path, Mapping[str, torch.Tensor]]


def embed_clean(photos: Sequence[Path], tracker: Tracker, cache: Path) -> Embeddings:
    """Embeddings of clean photos, kept in a file from one run to the next."""
    kept = torch.load(cache, weights_only=True) if cache.exists() else {}
    for path in photos:
        if str(path) not in kept:
            kept[str(path)] = tracker.embed(read_photo(path).pixels)
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save(kept, cache)
    return {path: kept[str(path)] for path in photos}


def thresholds_at_far(people: Mapping[str, Sequence[Path]], clean: Embeddings, name: str) -> tuple[float, float]:
    """(threshold at FAR, clean true-accept rate there) over all pairs of the people's first photos."""
    chosen = [(person, path) for person, paths in people.items() for path in paths[:THRESHOLD_PHOTOS] if clean[path]]
    labels = np.array([person for person, _ in chosen])
    embeddings = torch.stack([clean[path][name] for _, path in chosen])
    similarities = (embeddings @ embeddings.T).numpy()
    pairs = np.triu(np.ones_like(similarities, dtype=bool), 1)
    same = labels[:, None] == labels
    threshold = float(np.quantile(similarities[pairs & ~same], 1.0 - FAR))
    return threshold, float((similarities[pairs & same] >= threshold).mean())


def recompress(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def halve(pixels: Pixels) -> Pixels:
    """Down to half the size and up again."""
    image = Image.fromarray(pixels)
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


CONDITIONS = {
    "saved": lambda pixels: pixels,
    "jpeg75": lambda pixels: recompress(pixels, 75),
    "half": halve,
}


def protection(
    probes: Sequence[tuple[str, Mapping[str, torch.Tensor]]],
    gallery: Mapping[str, Sequence[Mapping[str, torch.Tensor]]],
    name: str,
    threshold: float,
) -> dict[str, float]:
    """PSR and mean similarity of cloaked probes against clean photos, and of cloaked pairs.

    A probe in which no face is found counts as protected in every comparison.
    """
    evasion = [
        float(probe[name] @ other[name]) if probe else -1.0
        for person, probe in probes
        for other in gallery[person]
        if other
    ]
    both = [
        float(a[name] @ b[name]) if a and b else -1.0
        for index, (person, a) in enumerate(probes)
        for other, b in probes[index + 1 :]
        if other == person
    ]
    return {
        "psr": float((np.array(evasion) < threshold).mean()),
        "psr_both": float((np.array(both) < threshold).mean()),
        "similarity": float(np.mean(evasion)),
    }


def without_cloak(
    people: Mapping[str, Sequence[Path]], tested: Sequence[str], clean: Embeddings, thresholds: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """The same comparisons with the clean photos: what no cloak at all gives."""
    probes = [(person, clean[path]) for person in tested for path in people[person][:CLOAKED_EACH]]
    gallery = {person: [clean[path] for path in people[person][CLOAKED_EACH:]] for person in tested}
    return {name: protection(probes, gallery, name, threshold) for name, threshold in thresholds.items()}


def evaluate(
    cloaker: Cloaker,
    people: Mapping[str, Sequence[Path]],
    tested: Sequence[str],
    clean: Embeddings,
    tracker: Tracker,
    thresholds: Mapping[str, float],
) -> dict[str, object]:
    """Cloak the tested people's photos as files and measure protection and visibility."""
    probes: dict[str, list[tuple[str, Mapping[str, torch.Tensor]]]] = {condition: [] for condition in CONDITIONS}
    reports: list[PhotoReport] = []
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        for person in tested:
            for report in cloaker.protect_files(people[person][:CLOAKED_EACH], folder):
                reports.append(report)
                if report.output is None:
                    print(report.error, file=sys.stderr)
                    continue
                pixels = read_photo(report.output).pixels
                for condition, change in CONDITIONS.items():
                    probes[condition].append((person, tracker.embed(change(pixels))))
    gallery = {person: [clean[path] for path in people[person][CLOAKED_EACH:]] for person in tested}
    faces = [report.faces[0] for report in reports if report.faces]
    return {
        "photos": len(reports),
        "protected": sum(report.protected for report in reports),
        "undetected": sum(not embeddings for _, embeddings in probes["saved"]),
        "seconds_per_photo": sum(report.seconds for report in reports) / len(reports),
        "wall_seconds": time.perf_counter() - start,
        "dssim": float(np.mean([face.visibility.dssim for face in faces])),
        "largest_dssim": max(face.visibility.dssim for face in faces),
        "peak_dssim": float(np.mean([face.visibility.peak_dssim for face in faces])),
        "psnr": float(np.mean([face.visibility.psnr for face in faces])),
        "linf": max(face.visibility.linf for face in faces),
        "evaluators": {
            name: {
                condition: protection(probes[condition], gallery, name, thresholds[name]) for condition in CONDITIONS
            }
            for name in tracker.evaluators
        },
    }


def with_settings(method: Method, settings: Sequence[str]) -> Method:
    """A mode with some fields changed: ``steps=60``, ``views.count=1``."""
    views: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        target = views if key.startswith("views.") else fields
        parsed = json.loads(value)
        target[key.removeprefix("views.")] = tuple(parsed) if isinstance(parsed, list) else parsed
    if views:
        fields["views"] = ViewDistribution(**{**asdict(method.views), **views})
    return replace(method, **fields)


def row(title: str, result: Mapping[str, object]) -> str:
    cells = [title, f"{result['dssim']:.4f}", f"{result['peak_dssim']:.3f}", f"{result['seconds_per_photo']:.1f}"]
    evaluators = result["evaluators"]
    assert isinstance(evaluators, dict)
    for by_condition in evaluators.values():
        saved = by_condition["saved"]
        shares = "/".join(f"{by_condition[condition]['psr']:.3f}" for condition in CONDITIONS)
        cells.append(f"{shares} both {saved['psr_both']:.2f} sim {saved['similarity']:+.2f}")
    return "| " + " | ".join(cells) + " |"


def parse() -> argparse.Namespace:
    shared = Path(__file__).resolve().parents[2] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev/people")
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--people", type=int, default=20, help="how many are cloaked (default 20)")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=JSON", help="change a mode: steps=60 views.count=1"
    )
    parser.add_argument("--out", type=Path, help="write the results there as JSON")
    return parser.parse_args()


def provenance() -> dict[str, object]:
    return {
        "commit": subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip(),
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        "device": f"cpu, {torch.get_num_threads()} threads",
        "seed": 0,
        "far": FAR,
    }


def main() -> None:
    arguments = parse()
    people = {folder.name: sorted(folder.glob("*.jpg")) for folder in sorted(arguments.data.iterdir())}
    tested = list(people)[: arguments.people]
    photos = [
        path for name, paths in people.items() for path in (paths if name in tested else paths[:THRESHOLD_PHOTOS])
    ]
    tracker = Tracker(FaceDetector(), load_evaluators(arguments.models))
    clean = embed_clean(photos, tracker, Path(".cache/clean_embeddings.pt"))
    measured = {name: thresholds_at_far(people, clean, name) for name in tracker.evaluators}
    thresholds = {name: threshold for name, (threshold, _) in measured.items()}
    uncloaked = without_cloak(people, tested, clean, thresholds)
    for name, (threshold, rate) in measured.items():
        print(
            f"{name}: threshold {threshold:.3f}, clean TAR {rate:.3f} at FAR {FAR}; without a cloak {uncloaked[name]}"
        )

    conditions = "/".join(CONDITIONS)
    print("| mode | DSSIM | peak | s/photo | " + " | ".join(f"{name} {conditions}" for name in measured) + " |")
    print("|---|" + "---|" * (3 + len(measured)), flush=True)
    results: dict[str, object] = {}
    for mode in arguments.modes:
        cloaker = Cloaker(mode, device="cpu")
        cloaker.method = with_settings(cloaker.method, arguments.set)
        result = evaluate(cloaker, people, tested, clean, tracker, thresholds)
        results[mode] = {"method": asdict(cloaker.method), **result}
        print(row(" ".join([mode, *arguments.set]), result), flush=True)
    if arguments.out:
        rates = {name: {"threshold": threshold, "clean_tar": rate} for name, (threshold, rate) in measured.items()}
        record = {**provenance(), "people": tested, "thresholds": rates, "without_cloak": uncloaked, "modes": results}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
