"""Photos as telephones make them, cloaked by the command: time, memory, size, visibility, what was removed.

    python -m benchmarks.phones --out benchmarks/results/phones [--mode mid]

The photos of a folder are cloaked as they are; some of them also as files such as a telephone writes:
12 and 48 megapixels with the grain of a small sensor, JPEG and HEIC, Display P3, turned (orientation
6), with position, serial number, maker note and a thumbnail that shows the face. Each is cloaked by a
process of its own. Nothing but the photo's folder and two codecs is needed. Writes OUT.json and OUT.md;
the cloaked files stay in --work, to be looked at, and with them each photo's figures: a run goes on.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image

from cloak.bench.run import provenance
from cloak.photo import read_photo
from cloak.photo.formats import register_heif
from cloak.types import Pixels
from tests.photo_files import camera_exif

HERE = Path(__file__).parent
PHONES = {"jpg 12 MP": (4032, 3024), "heic 12 MP": (4032, 3024), "jpg 48 MP": (8064, 6048), "heic 48 MP": (8064, 6048)}
"""Name of a variant, which begins with its suffix -> width and height before it is turned."""

PORTRAITS = ("obama-1080p.jpg", "multiface.jpg")
"""Photos that become telephones' files: one large face; six small ones."""

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
"""How a thumbnail begins, and the result itself, if it is a JPEG."""

SECRETS = (b"SERIAL-4711", b"MAKERNOTE", b"Jane Doe")


def variants(photos: Path, work: Path) -> Iterator[tuple[str, Path]]:
    """What is cloaked: a name for the tables, and the file."""
    for path in sorted(photos.iterdir()):
        yield "as it is", path
    register_heif()
    for name in PORTRAITS:
        for variant, size in PHONES.items():
            path = work / f"{Path(name).stem} {variant}.{variant.split()[0]}"
            if not path.exists():
                path.write_bytes(from_telephone(read_photo(photos / name).pixels, size, path.suffix))
            yield variant, path


def from_telephone(pixels: Pixels, size: tuple[int, int], suffix: str) -> bytes:
    """The file that a telephone held upright would have written of this scene."""
    image = Image.fromarray(pixels)
    scale = max(size[1] / image.width, size[0] / image.height)
    large = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.LANCZOS)
    left, top = (large.width - size[1]) // 2, (large.height - size[0]) // 3
    stored = np.rot90(np.asarray(large.crop((left, top, left + size[1], top + size[0]))))
    grain = np.random.default_rng(0).integers(-5, 6, stored.shape, dtype=np.int16)
    noisy = np.clip(stored + grain, 0, 255).astype(np.uint8)
    image.thumbnail((160, 160))
    thumbnail = io.BytesIO()
    image.save(thumbnail, "JPEG")
    profile = bytes(pyvips.Image.profile_load("p3"))
    options = {"quality": 60} if suffix == ".heic" else {"quality": 90, "subsampling": 2}
    file = io.BytesIO()
    exif = camera_exif(orientation=6, thumbnail=thumbnail.getvalue())
    name = "HEIF" if suffix == ".heic" else "JPEG"
    Image.fromarray(noisy).save(file, name, exif=exif, icc_profile=profile, **options)
    return file.getvalue()


def cloak(path: Path, mode: str, work: Path) -> dict[str, Any]:
    """One run of the command: its report, seconds and peak memory."""
    report = work / "report.jsonl"
    command = [sys.executable, "-m", "cloak", "protect", str(path), "-o", str(work / mode), "--mode", mode]
    start = time.monotonic()
    process = subprocess.Popen([*command, "--overwrite", "--quiet", "--report", str(report)], stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, peak_megabytes(process.pid))
        time.sleep(0.1)
    told: dict[str, Any] = json.loads(report.read_text())
    return told | {"seconds": time.monotonic() - start, "peak_mb": peak}


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has had so far; what wait4 tells starts with its parent's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except ProcessLookupError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def row(variant: str, path: Path, mode: str, work: Path) -> dict[str, Any]:
    """What is told of one photo."""
    kept = work / f"{mode} {path.name}.json"
    if kept.exists():
        figures: dict[str, Any] = json.loads(kept.read_text())
        return figures
    told = cloak(path, mode, work)
    figures = {
        "variant": variant,
        "photo": path.name,
        "protected": told["protected"],
        "reason": told["reason"],
        "seconds": round(told["seconds"], 1),
        "peak_mb": round(told["peak_mb"]),
        "removed": told["removed"],
        "notes": told["notes"],
    }
    if told["output"]:
        figures |= compared(path, Path(told["output"]), told["faces"])
    kept.write_text(json.dumps(figures))
    return figures


def compared(source: Path, saved: Path, faces: list[dict[str, Any]]) -> dict[str, Any]:
    """The result beside its original."""
    before, after = read_photo(source, policy="keep"), read_photo(saved, policy="keep")
    change = np.abs(before.pixels.astype(np.int16) - after.pixels).max(axis=2)
    outside = np.ones(change.shape, dtype=bool)
    for face in faces:
        left, top, right, bottom = face["face"]["box"]
        across, down = 0.5 * (right - left), 0.5 * (bottom - top)
        outside[max(0, int(top - down)) : int(bottom + down), max(0, int(left - across)) : int(right + across)] = False
    content = saved.read_bytes()
    return {
        "megapixels": round(before.pixels.shape[0] * before.pixels.shape[1] / 1e6, 1),
        "upright": before.pixels.shape == after.pixels.shape,
        "face_widths": [round(face["face"]["box"][2] - face["face"]["box"][0]) for face in faces],
        "face_dssim": [round(face["visibility"]["dssim"], 4) for face in faces],
        "size": round(saved.stat().st_size / source.stat().st_size, 2),
        "mean_change_outside": round(float(change[outside].mean()), 2) if outside.any() else 0.0,
        "same_profile": before.metadata.icc_profile == after.metadata.icc_profile,
        "secrets_left": [secret.decode() for secret in SECRETS if secret in content],
        "thumbnail_left": JPEG in content[len(JPEG) :],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    headings = ("", "photo", "MP", "faces, px wide", "protected", "s", "peak MB", "size", "face DSSIM at most",
                "change outside of faces", "removed")  # fmt: skip
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for one in rows:
        cells = [one["variant"], one["photo"]]
        if "size" in one:
            widths, dssim = ", ".join(map(str, one["face_widths"])), max(one["face_dssim"])
            cells += [str(one["megapixels"]), widths, "yes" if one["protected"] else "NO", f"{one['seconds']:.0f}"]
            cells += [str(one["peak_mb"]), f"{one['size']:.2f}", f"{dssim:.4f}", f"{one['mean_change_outside']:.1f}"]
        else:
            cells += ["", "", one["reason"], f"{one['seconds']:.0f}", str(one["peak_mb"]), "", "", ""]
        lines.append("| " + " | ".join([*cells, ", ".join(one["removed"])]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    shared = HERE.resolve().parents[1] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=shared / "data/photos")
    parser.add_argument("--mode", default="mid")
    parser.add_argument("--work", type=Path, default=HERE.parent / ".cache" / "phones")
    parser.add_argument("--out", type=Path, required=True, help="without suffix")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for variant, path in variants(options.photos, options.work):
        rows.append(row(variant, path, options.mode, options.work))
        print(rows[-1], flush=True)
    results = {"provenance": provenance("cpu"), "mode": options.mode, "rows": rows}
    options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))


if __name__ == "__main__":
    main()
