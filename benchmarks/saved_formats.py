"""What ``cloak protect`` leaves of a cloak in the file formats that people have.

    python benchmarks/saved_formats.py --out benchmarks/results/saved_formats.json [--people 30] [--modes mid high]

The first photo of each person who is in no protocol (LFW: 250 x 250, faces of about 95 px) is written in each of
SOURCES, cloaked with what ships, and compared with the person's other photos as they are: the file before it was
cloaked ("clean"), the saved one, and what a platform makes of that which writes JPEG at quality 75. Evaluators and
their thresholds at a false-accept rate of 1e-3 come from a result of ``cloak bench``; nothing is chosen by them. Each
cloaked photo is kept in ``--work``, so a run that was cut short goes on; after a change of the loop or of the formats
take another.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image

from benchmarks.face_sizes import parser_of, people_of_no_protocol, tracker
from cloak.bench.embedding import Gaze
from cloak.photo import read_photo
from cloak.photo.formats import register_heif
from cloak.protect import Cloaker

PLATFORM_QUALITY = 75


@dataclass(frozen=True)
class Source:
    """How a photo came: its suffix, and Pillow's options; none: the file as it is."""

    suffix: str
    options: Mapping[str, Any]


SOURCES = {
    "JPEG, as LFW has it (75)": Source(".jpg", {}),
    "WebP 75": Source(".webp", {"quality": 75}),
    "WebP 90": Source(".webp", {"quality": 90}),
    "HEIC 50": Source(".heic", {"quality": 50}),
    "HEIC 75": Source(".heic", {"quality": 75}),
    "AVIF 75": Source(".avif", {"quality": 75}),
}


def main() -> None:
    parser = parser_of(__doc__, people=30, work="saved_formats")
    parser.add_argument("--modes", nargs="+", default=["mid"])
    options = parser.parse_args()
    register_heif()
    gaze, thresholds = tracker(options.results)
    people = people_of_no_protocol(options.data)[: options.people]
    rows = []
    for mode in options.modes:
        cloaker = Cloaker(mode)
        for name, source in SOURCES.items():
            folder = options.work / mode / name.replace(" ", "_")
            pairs = cloak(people, cloaker, source, folder)
            growth = fmean(after.stat().st_size / before.stat().st_size for before, after in pairs.values())
            row = {"mode": mode, "source": name, "photos": len(pairs), "growth": round(growth, 2)}
            row["clean"] = compare({person: before for person, (before, _) in pairs.items()}, gaze, thresholds)
            row["saved"] = compare({person: after for person, (_, after) in pairs.items()}, gaze, thresholds)
            row["platform"] = compare({person: sent(after) for person, (_, after) in pairs.items()}, gaze, thresholds)
            print(json.dumps(row), flush=True)
            rows.append(row)
    options.out.write_text(json.dumps({"people": len(people), "thresholds": thresholds, "rows": rows}, indent=1) + "\n")


def cloak(people: list[Path], cloaker: Cloaker, source: Source, folder: Path) -> dict[Path, tuple[Path, Path]]:
    """Person -> (photo, cloaked photo) of those that could be protected."""
    inside, outside = folder / "in", folder / "out"
    inside.mkdir(parents=True, exist_ok=True)
    pairs = {}
    for person in people:
        first = sorted(person.glob("*.jpg"))[0]
        photo, result = inside / f"{first.stem}{source.suffix}", outside / f"{first.stem}{source.suffix}"
        if not photo.exists():
            photo.write_bytes(first.read_bytes() if not source.options else _written(first, source))
        if not result.exists():
            list(cloaker.protect_files(photo, outside))
        if result.exists():
            pairs[person] = photo, result
    return pairs


def sent(result: Path) -> Path:
    """The file that a platform makes of it."""
    copy = result.parents[1] / "platform" / f"{result.stem}.jpg"
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        Image.fromarray(read_photo(result).pixels).save(copy, quality=PLATFORM_QUALITY)
    return copy


def _written(photo: Path, source: Source) -> bytes:
    buffer = io.BytesIO()
    kind = {".webp": "WEBP", ".heic": "HEIF", ".avif": "AVIF"}[source.suffix]
    with Image.open(photo) as image:
        image.save(buffer, kind, **source.options)
    return buffer.getvalue()


def compare(probes: Mapping[Path, Path], gaze: Gaze, thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Evaluator -> PSR and mean similarity of each person's probe with the person's other photos."""
    found: dict[str, list[float]] = {name: [] for name in thresholds}
    for person, photo in probes.items():
        probe = gaze.embed(photo, ["saved"])["saved"]
        for other in sorted(person.glob("*.jpg"))[1:]:
            gallery = gaze.embed(other, ["saved"])["saved"]
            for name, values in found.items():
                one, two = probe[name], gallery[name]
                if one is not None and two is not None:
                    values.append(float(one @ two))
    return {
        name: {"psr": round(fmean(v < thresholds[name] for v in values), 3), "similarity": round(fmean(values), 3)}
        for name, values in found.items()
    }


if __name__ == "__main__":
    main()
