"""Where a photo's time goes, and how much of it is the floor: ratios, measured in one run.

    python -m benchmarks.speed --out benchmarks/results/speed [--mode mid] [--photos 8] [--folder 50]

The floor is the time of the surrogates' bare forward-and-backward passes, as many as the mode takes for
a face, in the way that takes the least time on this device: batches of 1 to 16 crops, either one
after the other on all threads, or as many at once as there are threads, on one thread each. Against
it: photos one after the other in one process after start-up, with what its stages take (by wrappers
around the functions that the work consists of), and the whole command on a folder, start-up and all,
with as many processes as it chooses. Start-up is also measured by itself. Writes OUT.json and OUT.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

import cloak.batches
import cloak.opening
import cloak.optimize
import cloak.protect
from cloak import Cloaker
from cloak.bench.run import provenance
from cloak.detect import FaceDetector
from cloak.methods import Method
from cloak.photo import read_photo
from cloak.recognizers import Recognizer
from cloak.threads import each, one_thread_each
from cloak.turns import turn_order

HERE = Path(__file__).parent

PASSES = "passes of the loop"

STAGES = {
    "reading": (cloak.opening, "read_photo"),
    "detection": (FaceDetector, "detect"),
    "loop": (cloak.batches, "cloak_patches"),
    PASSES: (cloak.optimize, "gradients_of"),
    "fit and encoding": (cloak.protect, "encode_protected"),
    "check for missed faces": (cloak.protect, "missed_faces"),
    "report": (Cloaker, "_report"),
    "saving": (cloak.protect, "save_bytes"),
}
"""What is told apart -> where its function is looked up."""

BATCHES = (1, 2, 4, 8, 16)


def synchronized(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_a_crop(recognizer: Recognizer, batch: int, at_once: int, device: torch.device) -> float:
    """Forward and backward passes of batches, over their crops; the median of five."""
    crops = torch.rand(batch, 3, *recognizer.spec.size, device=device)

    def passes(_: int) -> None:
        shown = crops.clone().requires_grad_(True)
        torch.autograd.grad(recognizer(shown)[:, 0].sum(), shown)

    taken = []
    for _ in range(7):
        start = synchronized(device)
        each(passes, range(at_once))
        taken.append((synchronized(device) - start) / (batch * at_once))
    return median(taken[2:])


def floor_of(cloaker: Cloaker) -> dict[str, Any]:
    """Seconds that the bare passes of one face take, and in which way."""
    recognizers: tuple[Recognizer, ...] = cloaker._recognizers
    shares = [recognizer.spec.share for recognizer in recognizers]
    method: Method = cloaker.method.for_surrogates(shares)
    order = turn_order(shares, method.steps)
    crops = [method.views.count * (order.count(i) if method.turns else method.steps) for i in range(len(shares))]
    threads, best = torch.get_num_threads(), {}
    for recognizer in recognizers:
        times = {(batch, 1): seconds_a_crop(recognizer, batch, 1, cloaker.device) for batch in BATCHES}
        if cloaker.device.type == "cpu" and threads > 1:
            with one_thread_each():
                alone = {(n, threads): seconds_a_crop(recognizer, n, threads, cloaker.device) for n in BATCHES}
            times |= alone
        batch, at_once = min(times, key=lambda way: times[way])
        fastest = round(1000 * times[batch, at_once], 2)
        best[recognizer.spec.name] = {"batch": batch, "at_once": at_once, "ms_a_crop": fastest}
    seconds = sum(count * one["ms_a_crop"] / 1000 for count, one in zip(crops, best.values(), strict=True))
    return {"crops": sum(crops), "best": best, "seconds": seconds}


def timed(
    function: Callable[..., Any], name: str, spent: "dict[str, float]", device: torch.device
) -> Callable[..., Any]:
    """The function, whose seconds are added up under a name."""

    def run(*arguments: Any, **options: Any) -> Any:
        start = synchronized(device)
        result = function(*arguments, **options)
        spent[name] += synchronized(device) - start
        return result

    return run


def stages_of(cloaker: Cloaker, photos: list[Path], folder: str) -> tuple[float, int, dict[str, float]]:
    """Seconds of the whole work, faces, and seconds of each stage."""
    # on a GPU, waiting for the passes of each step would slow down what is measured
    places = {name: place for name, place in STAGES.items() if cloaker.device.type == "cpu" or name != PASSES}
    spent = dict.fromkeys(places, 0.0)
    originals = {name: getattr(*place) for name, place in places.items()}
    for name, (owner, attribute) in places.items():
        setattr(owner, attribute, timed(originals[name], name, spent, cloaker.device))
    try:
        start = synchronized(cloaker.device)
        faces = sum(len(report.faces) for report in cloaker.protect_files(photos, folder, overwrite=True))
        return synchronized(cloaker.device) - start, faces, spent
    finally:
        for name, (owner, attribute) in places.items():
            setattr(owner, attribute, originals[name])


def command_on_folder(photos: list[Path], mode: str, device: str) -> float:
    """Seconds of the whole command on a folder of photos, start-up and all."""
    with TemporaryDirectory() as folder:
        source, out = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        for number, photo in enumerate(photos):
            shutil.copy(photo, source / f"{number}{photo.suffix}")
        words = ["protect", str(source), "-o", str(out), "--mode", mode, "--device", device, "--quiet"]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cloak", *words], check=False)
        return time.perf_counter() - start


def seconds_to_start() -> dict[str, float]:
    """In processes of their own, medians of three: Python with our imports, and with weights loaded."""
    programs = {
        "imports of the command": "import cloak.cli",
        "and of PyTorch": "import cloak.protect",
        "and the models": "import cloak; cloak.Cloaker(device='cpu')",
    }
    return {name: round(median(_run(program) for _ in range(3)), 2) for name, program in programs.items()}


def _run(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def table(results: dict[str, Any]) -> str:
    """Markdown."""
    floor = results["floor"]["seconds"]
    lines = ["| stage | s a face | of the floor |", "|---|---|---|", f"| floor | {floor:.2f} | 1.00 |"]
    rows = [*results["stages"].items(), ("whole", results["whole"])]
    lines += [f"| {name} | {seconds:.2f} | {seconds / floor:.2f} |" for name, seconds in rows]
    start = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in results["start"].items())
    folder = results["folder"]
    lines += [
        f"| the command on a folder of {folder['photos']} | {folder['seconds']:.2f} | {folder['seconds'] / floor:.2f} |"
    ]
    return "\n".join(lines) + f"\n\nStart-up: {start}.\n"


def main() -> None:
    shared = HERE.resolve().parents[1] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev/people")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--folder", type=int, default=50)
    parser.add_argument("--mode", default="mid")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    options = parser.parse_args()
    everybody = [sorted(folder.iterdir())[0] for folder in sorted(options.data.iterdir())]
    photos = everybody[: options.photos]
    cloaker = Cloaker(options.mode, device=options.device)
    with TemporaryDirectory() as folder:
        list(cloaker.protect_files(photos[:1], folder))  # what is done once is done
        floors = [floor_of(cloaker)]
        whole, faces, spent = stages_of(cloaker, photos, folder)
        floors.append(floor_of(cloaker))
    seconds = command_on_folder(everybody[: options.folder], options.mode, options.device)
    found = sum(len(cloaker._detector.detect(read_photo(photo).pixels)) for photo in everybody[: options.folder])
    floors.append(floor_of(cloaker))
    spent["loop"] -= spent.get(PASSES, 0.0)
    rest = "loop but its passes" if PASSES in spent else "loop"
    results = {
        "provenance": provenance(options.device),
        "mode": options.mode,
        "photos": len(photos),
        "faces": faces,
        "floor": min(floors, key=lambda one: one["seconds"]),
        "whole": whole / faces,
        "stages": {rest if name == "loop" else name: seconds / faces for name, seconds in spent.items()},
        "folder": {"photos": options.folder, "faces": found, "seconds": seconds / found},
        "start": seconds_to_start(),
    }
    options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
