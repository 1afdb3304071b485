"""What a photo costs beyond the surrogate's own passes: ratios, measured in one run.

    python benchmarks/overhead.py [--mode mid] [--repeat 5] [PHOTO ...]

The floor is the time of the bare forward-and-backward passes of the surrogate, as many as the
mode takes, at the loop's own batch size. Everything else (reading, patches, views, DSSIM, the
fit to the budget, encoding, saving, the report) is overhead; detection is told apart, imports
and loading are left out. Medians of some repetitions, floor and whole by turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from cloak import Cloaker
from cloak.methods import Method
from cloak.photo import read_photo
from cloak.recognizers import Recognizer, load_recognizer


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def bare_passes(recognizer: Recognizer, method: Method) -> None:
    """The forward-and-backward passes of one face, and nothing else."""
    crops = torch.rand(method.views.count, 3, *recognizer.spec.size)
    for _ in range(method.steps):
        crops.requires_grad_(True)
        torch.autograd.grad(recognizer(crops)[:, 0].sum(), crops)


def main() -> None:
    samples = Path(__file__).resolve().parents[1] / "samples"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, default=sorted(samples.glob("*.[jp][pn]g")))
    parser.add_argument("--mode", default="mid")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()

    cloaker = Cloaker(arguments.mode, device="cpu")
    recognizer = load_recognizer("dlib")
    method = cloaker.method
    print(f"mode {method.name}: {method.steps} steps x {method.views.count} views, {torch.get_num_threads()} threads")
    print("| photo | faces | floor s | detection s | whole s | (whole - detection) / floor | range |")
    print("|---|---|---|---|---|---|---|")
    for path in arguments.photos:
        pixels = read_photo(path).pixels
        faces = len(cloaker._detector.detect(pixels))
        bare_passes(recognizer, method)
        floors, detections, wholes = [], [], []
        with TemporaryDirectory() as folder:
            for _ in range(arguments.repeat):
                floors.append(faces * seconds(lambda: bare_passes(recognizer, method)))
                detections.append(seconds(lambda pixels=pixels: cloaker._detector.detect(pixels)))  # type: ignore[misc]
                wholes.append(seconds(lambda path=path: list(cloaker.protect_files([path], folder, overwrite=True))))  # type: ignore[misc]
        ratios = [(w - d) / f for w, d, f in zip(wholes, detections, floors, strict=True)]
        medians = " | ".join(f"{statistics.median(values):.2f}" for values in (floors, detections, wholes, ratios))
        print(f"| {path.name} | {faces} | {medians} | {min(ratios):.2f} to {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
