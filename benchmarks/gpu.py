"""The whole way on a GPU: from a folder of JPEGs of 12 megapixels to a folder of JPEGs.

    python -m benchmarks.gpu --out benchmarks/results/gpu [--photos 400] [--device cuda] [--workers N]

Four things: a crop of each surrogate with its channels last and first; faces a second of the loop
alone, by the size of its batch (the median of five runs, when what is planned once for a size is
planned); the whole command, with the GPU's utilisation looked at
twice a second, both without the first and last tenth, as the results come; and some of the photos by
the CPU, whose similarities must be the same within noise. With ``--device cpu`` all but the
utilisation is tried without a GPU. Writes OUT.json.
"""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from PIL import Image

from benchmarks.speed import seconds_a_crop, synchronized
from cloak import Cloaker
from cloak.batches import Room
from cloak.bench.run import provenance
from cloak.photo import read_photo
from cloak.pipeline import prepare

SAMPLES = [Path(__file__).parent.parent / "samples" / name for name in ("astronaut.png", "grace_hopper.jpg")]
SIZE = (3000, 4000)
BATCHES = (1, 4, 16, 64, 128)
LAYOUT_BATCH = 16
WARM_UP, RUNS = 2, 5


def large_photos(folder: Path, count: int) -> list[Path]:
    """The two samples as a telephone's photos, each a little different."""
    photos: list[Path] = []
    for number in range(count):
        sample = SAMPLES[number % 2]
        path = folder / f"{number:05}.jpg"
        if number < 16:
            with Image.open(sample) as image:
                left = number // 2
                box = (left, left, image.width, image.height)
                image.convert("RGB").crop(box).resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=92)
        else:
            shutil.copy(photos[number % 16], path)
        photos.append(path)
    return photos


def faces_a_second(cloaker: Cloaker, photo: Path, batches: Sequence[int]) -> Iterator[dict[str, float]]:
    """Of the loop alone."""
    (patch, *_) = prepare(read_photo(photo), "", cloaker._detector, cloaker.method, 0).patches
    for batch in batches:
        cloaker._room = Room(batch)
        patches = [replace(patch, seed=number) for number in range(batch)]
        taken = []
        for _ in range(WARM_UP + RUNS):
            start = synchronized(cloaker.device)
            cloaker.perturb(patches)
            taken.append(synchronized(cloaker.device) - start)
        yield {"asked": batch, "fitted": cloaker._room.faces, "rate": batch / median(taken[WARM_UP:])}


def milliseconds_a_crop(cloaker: Cloaker) -> Iterator[tuple[str, dict[str, float]]]:
    """Of each surrogate, forward and backward in a batch, with its channels last, as it is loaded, and first."""
    for recognizer in cloaker._recognizers:
        taken = {}
        for name, layout in {"first": torch.contiguous_format, "last": torch.channels_last}.items():
            recognizer.to(memory_format=layout)
            taken[name] = 1000 * seconds_a_crop(recognizer, LAYOUT_BATCH, 1, cloaker.device)
        yield recognizer.spec.name, taken


def command(source: Path, out: Path, device: str, workers: int) -> dict[str, Any]:
    """The command, and how busy the GPU was meanwhile."""
    report = out.with_suffix(".jsonl")
    words = ["protect", str(source), "-o", str(out), "--device", device, "--quiet", "--report", str(report)]
    words += ["--workers", str(workers)] if workers else []
    start, used = time.perf_counter(), list[float]()
    with subprocess.Popen([sys.executable, "-m", "cloak", *words]) as process:
        while process.poll() is None:
            used += utilisation() if device == "cuda" else []
            time.sleep(0.5)
    if process.returncode not in (0, 1):
        raise SystemExit(f"the command ended with {process.returncode}")
    seconds = time.perf_counter() - start
    written = sorted(path.stat().st_mtime for path in out.glob("*.jpg"))
    first, last = len(written) // 10, len(written) - 1 - len(written) // 10
    reports = [json.loads(line) for line in report.read_text().splitlines()]
    faces = [face for one in reports for face in one["faces"]]
    steady = used[len(used) // 10 : len(used) - len(used) // 10]
    return {
        "seconds": seconds,
        "faces": len(faces),
        "faces a second": len(faces) / seconds,
        "photos a second, steady": (last - first) / (written[last] - written[first]) if last > first else None,
        "utilisation": fmean(steady) if steady else None,
        "not protected": sum(not one["protected"] for one in reports),
        "similarity after": {
            name: fmean(face["matches"][name]["after"] for face in faces) for name in faces[0]["matches"]
        },
    }


def utilisation() -> list[float]:
    """Percent, as nvidia-smi says of the first GPU; nothing where it does not know, as of a part of one (MIG)."""
    words = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[:1]
    except (OSError, subprocess.CalledProcessError):
        return []
    return [float(one) for one in said if one.replace(".", "").isdigit()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--compared", type=int, default=16, help="photos that the CPU does as well")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=0, help="else what the command chooses")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"provenance": provenance(options.device), "cores": os.cpu_count()}

    def keep(name: str, found: object) -> None:
        """At once, so that what comes later takes nothing with it."""
        results[name] = found
        print(json.dumps({name: found}, indent=1), flush=True)
        options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "few").mkdir()
        photos = large_photos(folder / "in", options.photos)
        cloaker = Cloaker(device=options.device)
        keep("a crop in either layout", dict(milliseconds_a_crop(cloaker)))
        keep("loop", list(faces_a_second(cloaker, photos[0], options.batches)))
        del cloaker
        gc.collect()  # it holds itself
        torch.cuda.empty_cache()
        keep("command", command(folder / "in", folder / "out", options.device, options.workers))
        for photo in photos[: options.compared]:
            shutil.copy(photo, folder / "few")
        keep("few", command(folder / "few", folder / "few_out", options.device, options.workers))
        keep("few on the CPU", command(folder / "few", folder / "few_cpu", "cpu", options.workers))


if __name__ == "__main__":
    main()
