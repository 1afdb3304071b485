"""How many faces are found, by what happens to them, and what is taken for a face that is none.

    python benchmarks/detection.py --out benchmarks/results/detection [--photos 100]

The central faces of photos of LFW, as the first look finds them in the photos as they are, are turned,
covered, cut off, made large, small or dark. Each way of looking then says what it finds: the first
look, the first with the second look where it finds nothing, and the check of saved files alone.
Pictures without faces (scikit-image's, LFW's with the head covered, noise) show what each takes for
a face wrongly. Writes OUT.json and OUT.md.
"""

import argparse
import json
import math
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cloak.align import Matrix, compose, invert
from cloak.bench.evaluators import central_face
from cloak.detect import CHECK, FIRST_LOOK, MIN_FACE, SECOND_LOOK, FaceDetector
from cloak.looks import Look, face_in_photo, overlap, picture_of
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

WITHOUT_FACES = ("brick", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel", "horse",
                 "hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text")  # fmt: skip
"""Pictures that come inside scikit-image's package."""

BYSTANDERS = ("Carlos_Menem_0003", "Colin_Powell_0010", "Fidel_Castro_0005", "Jack_Straw_0003", "Jennifer_Lopez_0010",
              "John_Allen_Muhammad_0006", "John_Ashcroft_0008", "Naomi_Watts_0010", "Pete_Sampras_0002",
              "Recep_Tayyip_Erdogan_0006", "Tom_Hanks_0001")  # fmt: skip
"""Photos that show others than the one in the middle: no pictures without faces."""

REALLY_FACES = {
    "Jason_Kidd_0003.jpg": "a face, half of it outside of the photo",
    "Megawati_Sukarnoputri_0001.jpg": "a face, half of it behind a hand",
    "Megawati_Sukarnoputri_0005.jpg": "a face (a painting), cut off by the photo's edge",
    "Pete_Sampras_0003.jpg": "a face, the upper half outside of the photo",
    "Tom_Hanks_0002.jpg": "a face, half of it outside of the photo",
}
"""What a person saw in the boxes that the check reported."""


@dataclass(frozen=True)
class Case:
    """A picture and the faces that are in it."""

    pixels: Pixels
    faces: tuple[Face, ...]


Condition = Callable[[Pixels, Face], Case]


def moved(pixels: Pixels, face: Face, to_old: Matrix) -> Case:
    """The picture whose points ``to_old`` takes to the photo that ``face`` is in."""
    placed = face_in_photo(face.box, face.landmarks, face.score, invert(to_old), (pixels.shape[0], pixels.shape[1]))
    return Case(np.ascontiguousarray(pixels), (placed,))


def turned(degrees: float) -> Condition:
    """Turned counter-clockwise, and cut so that no corner is empty."""

    def make(pixels: Pixels, face: Face) -> Case:
        picture, to_old = picture_of(pixels, Look("", 40, 0, rotation=degrees), 1.0)
        angle = math.radians(degrees % 90)
        side = int(min(pixels.shape[:2]) / (math.cos(angle) + math.sin(angle)))
        left, top = (picture.shape[1] - side) // 2, (picture.shape[0] - side) // 2
        return moved(picture[top : top + side, left : left + side], face, compose(to_old, shift(left, top)))

    return make


def shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def cut(left: float = 0.0, top: float = 0.0, bottom: float = 0.0) -> Condition:
    """The photo's edge takes these shares of the face's box away."""

    def make(pixels: Pixels, face: Face) -> Case:
        x = round(face.box[0] + left * face.width) if left else 0
        y = round(face.box[1] + top * face.height) if top else 0
        end = round(face.box[3] - bottom * face.height) if bottom else pixels.shape[0]
        return moved(pixels[y:end, x:], face, shift(x, y))

    return make


def tight(margin: float = 0.0, width: float = 0.0) -> Condition:
    """The face's box with a margin (share of its width), the face brought to a width."""

    def make(pixels: Pixels, face: Face) -> Case:
        around = margin * face.width
        left, top = (max(0, round(value - around)) for value in face.box[:2])
        right, bottom = (round(value + around) + 1 for value in face.box[2:])
        picture = pixels[top:bottom, left:right]
        factor = width / face.width if width else 1.0
        size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
        if width:
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        scale = 1.0 / factor
        to_old = np.array([[scale, 0.0, left], [0.0, scale, top]])
        return moved(picture, face, to_old)

    return make


def small(width: float) -> Condition:
    """The photo, its face brought to a width, within a large one (clouds of noise)."""

    def make(pixels: Pixels, face: Face) -> Case:
        case = tight(0.6, width)(pixels, face)
        height, wide = case.pixels.shape[:2]
        large = noise(2000, 3000)
        x, y = 1700, 600
        large[y : y + height, x : x + wide] = case.pixels
        return moved(large, case.faces[0], shift(-x, -y))

    return make


def sunglasses(pixels: Pixels, face: Face) -> Case:
    """A dark band over the eyes."""
    image = Image.fromarray(pixels)
    left, right = (np.array(point) for point in face.landmarks[:2])
    along = right - left
    down = 0.3 * np.array([-along[1], along[0]])
    ends = left - 0.45 * along, right + 0.45 * along
    corners = (ends[0] - down, ends[1] - down, ends[1] + down, ends[0] + down)
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=(18, 18, 20))
    return Case(np.asarray(image), (face,))


def mask(pixels: Pixels, face: Face) -> Case:
    """The lower half covered from the bridge of the nose to the chin."""
    image = Image.fromarray(pixels)
    left, top, right, bottom = face.box
    bridge = (sum(point[1] for point in face.landmarks[:2]) / 2 + face.landmarks[2][1]) / 2
    middle = face.landmarks[2][0]
    corners = [(left, bridge + 0.08 * (bottom - top)), (middle, bridge), (right, bridge + 0.08 * (bottom - top)),
               (right - 0.1 * face.width, bottom), (left + 0.1 * face.width, bottom)]  # fmt: skip
    ImageDraw.Draw(image).polygon(corners, fill=(150, 180, 205))
    return Case(np.asarray(image), (face,))


def levels(gain: float, offset: float) -> Condition:
    def make(pixels: Pixels, face: Face) -> Case:
        return Case(np.rint(pixels * gain + offset).clip(0, 255).astype(np.uint8), (face,))

    return make


def beside_itself(pixels: Pixels, face: Face) -> Case:
    """The same head again, mirrored, over a quarter of the face's box: both are to be found."""
    left, top, right, bottom = (round(value) for value in face.box)
    head = Image.fromarray(pixels[top:bottom, left:right][:, ::-1])
    oval = Image.new("L", head.size)
    ImageDraw.Draw(oval).ellipse((0, 0, *head.size), fill=255)
    x, y = left + round(0.75 * (right - left)), top + round(0.1 * (bottom - top))
    wide = np.pad(pixels, ((0, 0), (0, right - left), (0, 0)), mode="edge")
    image = Image.fromarray(wide)
    image.paste(head, (x, y), oval)
    mirror = [(x + (right - left - 1) - (px - left), py + y - top) for px, py in face.landmarks]
    second = Face(
        (float(x), float(y), x + face.width, y + face.height), tuple(mirror[i] for i in (1, 0, 2, 4, 3)), face.score
    )
    return Case(np.asarray(image), (face, second))


CONDITIONS: dict[str, Condition] = {
    "as it is": lambda pixels, face: Case(pixels, (face,)),
    **{f"turned by {degrees}": turned(degrees) for degrees in (15, 30, 45, 60, 90, 180, 270)},
    "dark band over the eyes": sunglasses,
    "lower half covered": mask,
    "third cut off, left": cut(left=1 / 3),
    "half cut off, left": cut(left=1 / 2),
    "third cut off, top": cut(top=1 / 3),
    "half cut off, top": cut(top=1 / 2),
    "third cut off, bottom": cut(bottom=1 / 3),
    "half cut off, bottom": cut(bottom=1 / 2),
    "fills the photo": tight(),
    "fills the photo, turned by 90": lambda pixels, face: again(turned_whole, tight()(pixels, face)),
    "fills the photo, 3,000 px": tight(width=3000),
    "3,000 px": tight(0.15, 3000),
    "64 px in 6 MP": small(64),
    "50 px in 6 MP": small(50),
    "40 px in 6 MP": small(40),
    "dark (a tenth of the light)": levels(0.1, 0),
    "low contrast (a tenth)": levels(0.1, 115),
    "two that overlap": beside_itself,
}


def turned_whole(pixels: Pixels, face: Face) -> Case:
    picture, to_old = picture_of(pixels, Look("", 40, 0, rotation=90), 1.0)
    return moved(picture, face, to_old)


def again(condition: Condition, case: Case) -> Case:
    return condition(case.pixels, case.faces[0])


LARGE = ("fills the photo, 3,000 px", "3,000 px", "64 px in 6 MP", "50 px in 6 MP", "40 px in 6 MP")


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """Clouds of noise at three sizes."""
    generator = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cell in (12, 60, 300):
        coarse = generator.integers(0, 256, (height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) / 3.0
    return total.astype(np.uint8)


def without_faces(photos: Sequence[tuple[Path, Pixels, Face]]) -> Iterator[tuple[str, Pixels]]:
    """Pictures in which whatever is found is no face."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    for name in WITHOUT_FACES:
        path = next(path for path in folder.glob(f"{name}.*"))
        with Image.open(path) as image:
            yield f"scikit-image {name}", np.asarray(image.convert("RGB"))
    for path, pixels, face in photos:
        if path.stem in BYSTANDERS:
            continue
        left, top = (max(0, round(value - 0.35 * face.width)) for value in face.box[:2])
        covered = pixels.copy()
        covered[top : round(face.box[3] + 0.2 * face.height), left : round(face.box[2] + 0.35 * face.width)] = 128
        yield f"LFW, head covered: {path.stem}", covered
    for seed in range(10):
        yield f"noise {seed}", noise(480, 640, seed)


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
        f"`python benchmarks/detection.py --photos {results['photos']}`, commit {results['commit']}; of 100 faces,"
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
