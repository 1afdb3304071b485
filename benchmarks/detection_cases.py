"""What happens to the faces of photos, and pictures without faces: the conditions of ``detection.py``."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cloak.align import Matrix, compose, invert
from cloak.looks import Look, face_in_photo, picture_of
from cloak.types import Face, Pixels

WITHOUT_FACES = ("brick", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel", "horse",
                 "hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text")  # fmt: skip
"""Pictures that come inside scikit-image's package."""

BYSTANDERS = ("Carlos_Menem_0003", "Colin_Powell_0010", "Fidel_Castro_0005", "Jack_Straw_0003", "Jennifer_Lopez_0010",
              "John_Allen_Muhammad_0006", "John_Ashcroft_0008", "Naomi_Watts_0010", "Pete_Sampras_0002",
              "Recep_Tayyip_Erdogan_0006", "Tom_Hanks_0001")  # fmt: skip
"""Photos that show others than the one in the middle: no pictures without faces."""


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
        picture, to_old = picture_of(pixels, Look("", 40, 0, rotation=degrees), pixels.shape)
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
    picture, to_old = picture_of(pixels, Look("", 40, 0, rotation=90), pixels.shape)
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
