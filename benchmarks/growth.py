"""How time and memory grow: with photos, pixels, faces, steps and surrogates.

    python -m benchmarks.growth --out benchmarks/results/growth

Each row is a run of its own process: the command on a folder (photos, processes), or one photo through the
library (the rest), where the seconds are those after start-up. Memory is the most that the process
and its children had at once, looked at ten times a second. Photos of other sizes are the sample,
resized; several faces are the sample, side by side. Writes OUT.json and OUT.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from cloak.bench.run import provenance
from cloak.photo import read_photo
from cloak.recognizers import SURROGATES

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "samples" / "grace_hopper.jpg"

PHOTOS = (1, 10, 40)
MEGAPIXELS = (0.3, 1.0, 3.0, 12.0, 48.0)
FACES = (1, 2, 4, 8)
STEPS = (30, 60, 120)
PROCESSES = tuple((*engine, "--workers", count) for engine in ((), ("--engine", "ray")) for count in ("1", "2"))
SHARED = 20
"""So many photos are shared out in each of these ways."""

ONE_PHOTO = """
import sys, time
from dataclasses import replace
from cloak import Cloaker
path, out, steps, *surrogates = sys.argv[1:]
cloaker = Cloaker(device="cpu", surrogates=surrogates or ("auto",))
if int(steps):
    cloaker.method = replace(cloaker.method, steps=int(steps), turns=1)
start = time.perf_counter()
(report,) = cloaker.protect_files([path], out)
assert report.faces, report
print(time.perf_counter() - start, len(report.faces))
"""


def watched(command: Sequence[str]) -> tuple[float, float, str]:
    """Seconds, most memory in MB, and what was printed, of a process with its children."""
    start, most = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, sum(map(memory_of, family_of(process.pid))))
            time.sleep(0.1)
        assert process.stdout is not None
        printed = process.stdout.read()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: failed")
    return time.perf_counter() - start, most / 1e6, printed


def family_of(pid: int) -> list[int]:
    """A process and all that it started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory_of(pid: int) -> int:
    """Bytes that a process has for itself and what it shares, by its share (Linux)."""
    try:
        lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def one_photo(photo: Path, steps: int = 0, surrogates: Iterable[str] = ()) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", ONE_PHOTO, str(photo), str(Path(folder, "out")), str(steps), *surrogates]
        _, memory, printed = watched(command)
    seconds, faces = printed.split()
    return {"seconds": float(seconds), "faces": float(faces), "megabytes": memory}


def command_on(people: Path, count: int, words: Sequence[str] = ()) -> dict[str, float]:
    """The command on a folder of so many photos."""
    photos = [sorted(folder.iterdir())[0] for folder in sorted(people.iterdir())]
    with TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        for photo in photos[:count]:
            (source / photo.name).symlink_to(photo.resolve())
        command = ["protect", str(source), "-o", str(Path(folder, "out")), "--quiet", *words]
        seconds, memory, _ = watched([sys.executable, "-m", "cloak", *command])
    row = {"seconds": seconds, "a minute": 60 * count / seconds, "megabytes": memory}
    print(row, flush=True)
    return row


def by_pixels(folder: Path, sizes: Iterable[float]) -> list[dict[str, float]]:
    rows = []
    with Image.open(SAMPLE) as sample:
        for size in sizes:
            scale = (size * 1e6 / (sample.width * sample.height)) ** 0.5
            path = folder / f"{size}.jpg"
            sides = (round(scale * sample.width), round(scale * sample.height))
            sample.convert("RGB").resize(sides, Image.Resampling.LANCZOS).save(path, quality=90)
            rows.append({"megapixels": size} | one_photo(path))
            print(rows[-1], flush=True)
    return rows


def by_faces(folder: Path, counts: Iterable[int]) -> list[dict[str, float]]:
    pixels, rows = read_photo(SAMPLE).pixels, []
    for count in counts:
        path = folder / f"{count}.png"
        Image.fromarray(np.concatenate([pixels] * count, axis=1)).save(path)
        rows.append({"wanted": count} | one_photo(path))
        print(rows[-1], flush=True)
    return rows


def tables(results: dict[str, Any]) -> str:
    """Markdown."""
    parts = []
    for name, rows in results["growth"].items():
        columns = list(rows[0])
        lines = [f"### By {name}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(_shown(row[column]) for column in columns)} |" for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def main() -> None:
    shared = HERE.resolve().parents[1] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev/people")
    parser.add_argument("--further", default=str(HERE / "evaluators/mfn_casia.toml"), help="one more surrogate")
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    options = parser.parse_args()
    all_of_them = (*SURROGATES, options.further)
    ensembles = [all_of_them[:count] for count in range(1, len(all_of_them) + 1)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        growth = {
            "photos (the whole command)": [{"photos": count} | command_on(options.data, count) for count in PHOTOS],
            f"processes ({SHARED} photos)": [
                {"options": " ".join(words)} | command_on(options.data, SHARED, words) for words in PROCESSES
            ],
            "pixels (one face)": by_pixels(folder, MEGAPIXELS),
            "faces": by_faces(folder, FACES),
            "steps": [{"steps": steps} | one_photo(SAMPLE, steps) for steps in STEPS],
            "surrogates": [{"surrogates": len(some)} | one_photo(SAMPLE, 0, some) for some in ensembles],
        }
    results = {"provenance": provenance("cpu"), "cores": os.cpu_count(), "growth": growth}
    options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(tables(results))
    print(tables(results))


if __name__ == "__main__":
    main()
