"""Where a look's picture lies in the photo, and what the second look finds."""

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cloak.align import apply
from cloak.detect import CHECK, FIRST_LOOK, MIN_FACE, SECOND_LOOK, FaceDetector
from cloak.looks import SWAPPED, Look, covered, face_in_photo, merge, overlap, picture_of
from cloak.photo import read_photo
from cloak.types import Face, Pixels
from tests.helpers import SAMPLES, made_up_face, smooth_noise

PLAIN = Look("plain", min_face=MIN_FACE, min_score=0.9)
NEAR = 0.1  # of the face's width


@pytest.fixture(scope="module")
def head() -> Pixels:
    """The astronaut's head with some surroundings."""
    return np.ascontiguousarray(read_photo(SAMPLES / "astronaut.png").pixels[10:230, 130:330])


@pytest.fixture(scope="module")
def upright(detector: FaceDetector, head: Pixels) -> Face:
    (face,) = detector.detect(head)
    return face


def turned(pixels: Pixels, degrees: float) -> Pixels:
    """Counter-clockwise, as Pillow does it: independent of what is tested."""
    return np.asarray(
        Image.fromarray(pixels).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(90,) * 3)
    )


def place_of(point: tuple[float, float], size: tuple[int, int], degrees: float, new: tuple[int, int]) -> complex:
    """Where a point of a picture (width, height) lies once it was turned counter-clockwise."""
    middle, new_middle = (complex(*each) / 2 - complex(0.5, 0.5) for each in (size, new))
    return new_middle + (complex(*point) - middle) * cmath.exp(-1j * math.radians(degrees))


@pytest.mark.parametrize(
    "changes",
    [{"padding": 0.3}, {"mirrored": True}, {"rotation": 90.0}, {"rotation": 180.0},
     {"rotation": 270.0}, {"rotation": 45.0}, {"rotation": -30.0, "padding": 0.2, "mirrored": True}],
)  # fmt: skip
def test_a_dot_is_where_the_transform_says(changes: dict[str, float]) -> None:
    photo = np.full((120, 200, 3), 127, np.uint8)
    photo[40:47, 150:157] = 255
    picture, to_photo = picture_of(photo, replace(PLAIN, **changes), (120, 200))  # type: ignore[arg-type]
    bright = np.clip(picture[..., 0].astype(float) - 127, 0, None)
    rows, columns = np.indices(bright.shape)
    centre = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum()
    np.testing.assert_allclose(apply(to_photo, centre + 0.5) - 0.5, (153, 43), atol=0.05)


def test_a_box_comes_back_whole_and_a_mirrored_face_keeps_its_left() -> None:
    face = made_up_face(20, 30, 50)
    photo = smooth_noise(150, 100)
    for look in (replace(PLAIN, rotation=90), replace(PLAIN, rotation=180, padding=0.2), replace(PLAIN, mirrored=True)):
        _, to_photo = picture_of(photo, look, (150, 100))
        there = np.linalg.inv(np.vstack([to_photo, (0, 0, 1)]))[:2]
        points = apply(there, np.array(face.landmarks) + 0.5) - 0.5
        corners = apply(there, np.array(face.box).reshape(2, 2) + 0.5) - 0.5
        box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
        seen = points[list(SWAPPED)] if look.mirrored else points
        back = face_in_photo(box, seen, face.score, to_photo, (150, 100))
        np.testing.assert_allclose(back.box, face.box)
        np.testing.assert_allclose(back.landmarks, face.landmarks)


def test_the_box_of_a_face_turned_by_45_degrees_is_no_larger_than_the_head() -> None:
    _, to_photo = picture_of(smooth_noise(200, 200), replace(PLAIN, rotation=45), (200, 200))
    face = face_in_photo((100.0, 90.0, 180.0, 190.0), [(140.0, 140.0)] * 5, 1.0, to_photo, (200, 200))
    assert face.width == pytest.approx(np.hypot(80, 100) / np.sqrt(2))
    assert face.height == pytest.approx(face.width)
    np.testing.assert_allclose(np.add(face.box[:2], face.box[2:]) / 2, face.landmarks[2])


def test_a_box_within_another_is_covered_by_it() -> None:
    assert covered((0, 0, 10, 10), (2, 2, 6, 6)) == 1.0
    assert covered((0, 0, 10, 10), (5, 0, 25, 10)) == pytest.approx(0.5)
    assert covered((0, 0, 10, 10), (20, 20, 30, 30)) == 0.0


def test_the_same_face_counts_once() -> None:
    one, same, other = made_up_face(10, 10, 50), made_up_face(13, 8, 52), made_up_face(55, 10, 50)
    assert merge([one, same, other], 0.4) == (one, other)


@pytest.mark.parametrize("degrees", [0, 45, 90, 180, 270, 315])
def test_turned_heads_are_found_with_their_landmarks(
    detector: FaceDetector, head: Pixels, upright: Face, degrees: int
) -> None:
    picture = turned(head, degrees)
    (face,) = detector.detect(picture)
    sizes = (head.shape[1], head.shape[0]), (picture.shape[1], picture.shape[0])
    for found, before in zip(face.landmarks, upright.landmarks, strict=True):
        assert abs(complex(*found) - place_of(before, sizes[0], degrees, sizes[1])) < NEAR * upright.width
    if degrees % 90 == 0:
        assert face.width * face.height == pytest.approx(upright.width * upright.height, rel=0.15)


def test_a_head_over_the_edge_or_in_the_dark_is_found(detector: FaceDetector, head: Pixels, upright: Face) -> None:
    left, top, right, bottom = (round(value) for value in upright.box)
    middle = (left + right) // 2
    changed = {
        "padded": np.ascontiguousarray(head[: (top + bottom) // 2]),
        "cut off, left": np.ascontiguousarray(head[:, middle:]),
        "contrast": np.rint(head * 0.04 + 118).astype(np.uint8),
    }
    for name, picture in changed.items():
        assert len(detector.detect(picture)) == 1, name
        assert detector.look(picture, (FIRST_LOOK,)) == (), name


def test_a_face_that_fills_the_photo_is_found_turned_too(detector: FaceDetector, head: Pixels, upright: Face) -> None:
    left, top, right, bottom = (round(value) for value in upright.box)
    tight = np.ascontiguousarray(head[top:bottom, left:right])
    for degrees in (0, 90, 180):
        (face,) = detector.detect(np.ascontiguousarray(np.rot90(tight, degrees // 90)))
        assert overlap(face.box, (0.0, 0.0, *np.rot90(tight, degrees // 90).shape[1::-1])) > 0.7


def test_where_the_first_look_finds_a_face_there_is_no_second(
    detector: FaceDetector, head: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = detector.look(head, (FIRST_LOOK,))

    def refuse(*arguments: object) -> tuple[Face, ...]:
        raise AssertionError

    monkeypatch.setattr(detector, "look", refuse)
    assert detector.detect(head) == first


def test_small_faces_of_the_first_look_stay_beside_what_the_second_finds(detector: FaceDetector, head: Pixels) -> None:
    small = np.asarray(Image.fromarray(head).resize((75, 82)))
    photo = np.full((220, 320, 3), 90, np.uint8)
    photo[:, :200] = np.rot90(head, 2)
    photo[:82, 230:305] = small
    turned_face, small_face = detector.detect(photo)
    assert (turned_face.look, small_face.look) == ("turned 180", "first")
    assert small_face.width < MIN_FACE < turned_face.width


def test_noise_has_no_face_by_any_look(detector: FaceDetector) -> None:
    for seed in range(3):
        photo = smooth_noise(240, 300, seed)
        assert detector.look(photo, (*SECOND_LOOK, *CHECK)) == ()
