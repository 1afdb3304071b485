"""Damaged photos through the whole way of a file: read, cloak, write, save, read again.

    python -m tests.fuzz --files 20000

A worker process takes one mutated file after another; its parent notices when it dies or takes
too long, keeps the file, and goes on with the next. The networks are replaced by quick stand-ins:
what is tried is all that a file's bytes reach. Figures go to benchmarks/results/fuzz.json.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cloak.batches
import cloak.calibrate
import cloak.protect
from cloak import Cloaker, Face, Limits
from cloak.bench.run import provenance
from cloak.metadata import Policy
from cloak.patches import PatchBatch
from cloak.photo import read_photo
from cloak.types import Pixels
from tests.helpers import ROOT, SAMPLES, contents, made_up_face, tiny_recognizer
from tests.mutations import mutated
from tests.photo_files import KINDS, make

LOADING = 120.0
"""Seconds for a worker to start."""

SECONDS = 10.0
"""Longer than this is a hang."""

RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"

LIMITS = Limits(pixels=50_000_000)

POLICIES: tuple[Policy, ...] = ("default", "keep", "strip")


class FixedDetector:
    """Sees one face in any picture that is large enough."""

    def __init__(self, device: object) -> None: ...

    def detect(self, pixels: Pixels) -> tuple[Face, ...]:
        side = min(pixels.shape[:2])
        return (made_up_face(1, 1, 41),) if side >= 56 else ()

    def look(self, pixels: Pixels, looks: object) -> tuple[Face, ...]:
        return ()


def quick_cloaker(policy: Policy, put: Callable[[Any, str, Any], None] = setattr) -> Cloaker:
    """A Cloaker whose faces, cloak and judges cost nothing; ``put`` sets the stand-ins in the modules."""
    stand_ins = {
        "load_surrogates": lambda names, device: ((tiny_recognizer(),), ()),
        "judges_of": lambda surrogates, device: surrogates,
        "FaceDetector": FixedDetector,
    }
    for name, stand_in in stand_ins.items():
        put(cloak.protect, name, stand_in)

    def perturbation(batch: PatchBatch, *_: object) -> torch.Tensor:
        return torch.full_like(batch.pixels, 0.02)

    put(cloak.batches, "cloak_patches", perturbation)
    put(cloak.calibrate.Composition, "_usage", lambda *_: 0.99)
    return Cloaker(device="cpu", metadata=policy, limits=LIMITS)


def quick_results(photos: Path, out: Path) -> dict[str, bytes]:
    """What such a Cloaker makes of a folder, in this process, which is left as it was."""
    with pytest.MonkeyPatch.context() as patch:
        list(quick_cloaker("default", patch.setattr).protect_files([photos], out))
    return contents(out)


def corpus(larger: bool = True) -> Mapping[str, list[bytes]]:
    """Whole files of each format: every kind, small, with metadata where Pillow writes them; and the samples."""
    picture = read_photo(SAMPLES / "grace_hopper.jpg").pixels
    small: Pixels = np.ascontiguousarray(picture[20:132, 180:300])
    files: dict[str, list[bytes]] = {}
    for kind, made in KINDS.items():
        files.setdefault(made.format, []).append(make(kind, small))
        with contextlib.suppress(TypeError, ValueError, OSError, KeyError, RuntimeError):
            files[made.format].append(make(kind, small, exif=EXIF, icc_profile=PROFILE, xmp=XMP))
    for path in sorted(SAMPLES.glob("*.*g")) if larger else ():
        files["PNG" if path.suffix == ".png" else "JPEG"].append(path.read_bytes())
    return files


def _metadata() -> tuple[bytes, bytes, bytes]:
    from PIL import Image, ImageCms

    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8298] = "maker", 6, "mine"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
    return exif.tobytes(), profile, xmp


EXIF, PROFILE, XMP = _metadata()


def case(files: Mapping[str, list[bytes]], seed: int) -> tuple[str, bytes]:
    """The format and the damaged file of a seed; the formats take turns."""
    names = sorted(files)
    name = names[seed % len(names)]
    own = files[name]
    draw = seed // len(names)
    return name, mutated(own[draw % len(own)], own[(7 * draw + 1) % len(own)], seed)


def try_file(cloaker: Cloaker, data: bytes, folder: Path) -> str:
    """One file through the whole way: what came of it.

    Raises:
        AssertionError: the original was changed, something but the whole result was left in the
            folder, or the report is not one clear line.
    """
    source, out = folder / "photo.jpg", folder / "out"
    source.write_bytes(data)
    (report,) = cloaker.protect_files([source], out, overwrite=True)
    left = list(out.iterdir()) if out.is_dir() else []
    assert source.read_bytes() == data, "the original was changed"
    assert left == ([report.output] if report.output else []), f"left behind: {left}"
    if report.output:
        read_photo(report.output)
        report.output.unlink()
        return "cloaked"
    assert "\n" not in report.error, report.error
    assert ": AssertionError" not in report.error, report.error
    return "no face" if "no face" in report.error or "only faces" in report.error else "refused"


def work(seeds: range, now: Any, results: Any) -> None:
    """In a process of its own: try seeds, saying where it is."""
    torch.set_num_threads(1)
    files = corpus()
    cloakers = [quick_cloaker(policy) for policy in POLICIES]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as silence:
        os.dup2(silence.fileno(), 2)  # what C libraries print
        try_file(cloakers[0], files["JPEG"][0], Path(folder))  # imports what is imported late
        for seed in seeds:
            name, data = case(files, seed)
            now[0], now[1] = seed, time.monotonic()
            try:
                outcome = try_file(cloakers[seed % len(POLICIES)], data, Path(folder))
            except AssertionError as error:
                outcome = f"broken promise: {error}"
            results.send((name, outcome, time.monotonic() - now[1]))
    results.send(None)


def watch(worker: SpawnProcess, now: Any, results: Any, on_result: Callable[[Any], None]) -> str:
    """Wait for a worker; "" where it came to its end, else "crash" or "hang"."""
    while True:
        try:
            if results.poll(1.0):
                if (result := results.recv()) is None:
                    worker.join()
                    return ""
                on_result(result)
                continue
        except EOFError:
            return "crash"
        if not worker.is_alive():
            return "crash"
        if time.monotonic() - now[1] > SECONDS:
            return "hang"


def run(count: int, first: int, keep: Path) -> dict[str, Any]:
    """Try ``count`` seeds; the figures."""
    spawning = multiprocessing.get_context("spawn")  # a fork would inherit the locks of libraries' threads
    files = corpus()
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in sorted(files)}
    times: list[float] = []

    def note(result: tuple[str, str, float]) -> None:
        name, outcome, seconds = result
        outcomes[name][outcome] += 1
        times.append(seconds)
        if len(times) % 1000 == 0:
            print(f"{len(times)} files, the slowest {max(times):.1f} s", flush=True)

    seed = first
    while seed < first + count:
        now = spawning.Array("d", [seed, time.monotonic() + LOADING])
        receiver, sender = spawning.Pipe(duplex=False)
        worker = spawning.Process(target=work, args=(range(seed, first + count), now, sender))
        worker.start()
        sender.close()
        failure = watch(worker, now, receiver, note)
        if not failure:
            break
        worker.kill()
        worker.join()
        seed = int(now[0])
        name, data = case(files, seed)
        outcomes[name][failure] += 1
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{failure}-{seed}-{name}").write_bytes(data)
        print(f"{failure}: seed {seed}, {name}, exit code {worker.exitcode}", flush=True)
        seed += 1
    total = sum(outcomes.values(), Counter())
    return {
        "provenance": provenance("cpu"),
        "files": sum(total.values()),
        "first_seed": first,
        "partial_files": sum(number for outcome, number in total.items() if "left behind" in outcome),
        "broken_promises": {outcome: number for outcome, number in total.items() if outcome.startswith("broken")},
        "crashes": total["crash"],
        "hangs": total["hang"],
        "slowest_seconds": round(max(times), 2),
        "peak_memory_mb": round(peak_memory() / 2**20),
        "outcomes": {name: dict(counter) for name, counter in sorted(outcomes.items())},
    }


def peak_memory() -> int:
    """Bytes that the largest process so far took."""
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--keep", type=Path, default=ROOT / ".cache" / "fuzz", help="where files that failed are kept")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    figures = run(options.files, options.first, options.keep)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    return 1 if figures["crashes"] or figures["hangs"] or figures["broken_promises"] else 0


if __name__ == "__main__":
    sys.exit(main())
