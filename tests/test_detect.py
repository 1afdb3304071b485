import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloak.cascade import Sightings
from cloak.detect import FIRST_LOOK, MIN_FACE, FaceDetector, detection_scale
from cloak.photo import read_photo
from cloak.types import Pixels
from tests.helpers import SAMPLES, smooth_noise

EYES_APART = 0.35  # of the box's width, at least, in a frontal face


@pytest.fixture(scope="module")
def astronaut() -> Pixels:
    return read_photo(SAMPLES / "astronaut.png").pixels


def enlarged(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((round(width * factor), round(height * factor))))


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg"])
def test_the_samples_have_one_face_with_its_landmarks_in_place(detector: FaceDetector, name: str) -> None:
    pixels = read_photo(SAMPLES / name).pixels
    (face,) = detector.detect(pixels)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert face.score > 0.99
    assert right_eye[0] - left_eye[0] > EYES_APART * face.width
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert 0 <= face.box[0] < face.box[2] <= pixels.shape[1] - 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 500), (500, 3), (40, 40), (200, 200)])
def test_a_picture_without_a_face_gives_none(detector: FaceDetector, height: int, width: int) -> None:
    assert detector.detect(np.full((height, width, 3), 128, np.uint8)) == ()
    assert detector.detect(smooth_noise(height, width)) == ()


def test_faces_from_40_px_are_found(detector: FaceDetector, astronaut: Pixels) -> None:
    (face,) = detector.detect(astronaut)
    small = enlarged(astronaut, MIN_FACE / face.width)
    (found,) = detector.detect(small)
    assert found.width == pytest.approx(MIN_FACE, rel=0.15)


def test_a_24_megapixel_photo_is_detected_small_in_bounded_memory(detector: FaceDetector, astronaut: Pixels) -> None:
    (face,) = detector.detect(astronaut)
    photo = np.full((4000, 6000, 3), 90, np.uint8)
    photo[3000:3512, 5000:5512] = astronaut
    resource = pytest.importorskip("resource", reason="needs a system that counts a process's memory")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = detector.detect(photo)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 1.5e9
    np.testing.assert_allclose(np.array(found[0].box), np.array(face.box) + (5000, 3000) * 2, atol=6)
    tiny = enlarged(astronaut, MIN_FACE / face.width)
    photo[200 : 200 + tiny.shape[0], 300 : 300 + tiny.shape[1]] = tiny
    assert len(detector.detect(photo)) == 2


def test_the_detection_scale_keeps_40_px_faces_findable() -> None:
    assert detection_scale(1000, 1000, 30, 4_000_000) == 1.0
    assert detection_scale(2000, 8000, 30, 4_000_000) == pytest.approx(16 / 30)
    assert detection_scale(2000, 8000, 90, 4_000_000) == 0.5
    assert detection_scale(20000, 20000, 0.75 * MIN_FACE, FIRST_LOOK.max_pixels) * MIN_FACE >= 20


def test_many_faces_come_in_a_fixed_order_the_largest_first(detector: FaceDetector, astronaut: Pixels) -> None:
    row = np.concatenate([astronaut[:300, 100:350], enlarged(astronaut[:300, 100:350], 1.5)[:300, :300]], axis=1)
    sheet = np.concatenate([row, row, row])
    faces = detector.detect(sheet)
    assert len(faces) == 6
    areas = [face.width * face.height for face in faces]
    assert areas == sorted(areas, reverse=True)
    assert faces == detector.detect(sheet)


def test_hundreds_of_faces(detector: FaceDetector, astronaut: Pixels) -> None:
    tile = enlarged(astronaut[20:220, 120:320], 0.6)
    sheet = np.tile(tile, (12, 17, 1))
    assert len(detector.detect(sheet)) >= 195


class StubCascade:
    """Finds the same in every picture."""

    def __init__(self, boxes: list[list[float]], scores: list[float]) -> None:
        self.found = Sightings(
            np.array(boxes, np.float32),
            np.array(scores, np.float32),
            np.array([[[box[0] + 1, box[1] + 1]] * 5 for box in boxes], np.float32),
        )

    def find(self, picture: Pixels, min_face: float, thresholds: Sequence[float]) -> Sightings:
        return self.found


def test_low_scores_and_boxes_beyond_the_edge(detector: FaceDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = StubCascade([[-20.0, 10.0, 60.0, 90.0], [10.0, 10.0, 30.0, 30.0]], [0.96, 0.94])
    monkeypatch.setattr(detector, "_cascade", stub)
    (face,) = detector.look(smooth_noise(80, 100), [FIRST_LOOK])
    assert face.box == (0.0, 10.0, 60.0, 79.0)
    assert isinstance(face.score, float)


@pytest.mark.parametrize("side", range(4))
def test_the_landmarks_of_a_face_that_the_edge_cuts_off(detector: FaceDetector, side: int) -> None:
    pixels = read_photo(SAMPLES / "astronaut.png").pixels
    whole = detector.detect(pixels)[0]
    left, top, right, bottom = (round(value) for value in whole.box)
    across, down = (right - left) // 5, (bottom - top) // 5
    x0, x1 = (left + across if side == 0 else 0), (right - across if side == 1 else pixels.shape[1])
    y0, y1 = (top + down if side == 2 else 0), (bottom - down if side == 3 else pixels.shape[0])
    face = detector.detect(np.ascontiguousarray(pixels[y0:y1, x0:x1]))[0]
    wrong = np.array(face.landmarks) + np.array((x0, y0)) - np.array(whole.landmarks)
    assert face.look == "padded"
    assert np.abs(wrong).max() < 0.05 * whole.width


def test_the_group_photos_of_the_shared_folder(detector: FaceDetector, shared: Path) -> None:
    photos = shared / "data/photos"
    counts = {
        name: len(detector.detect(read_photo(photos / name).pixels)) for name in ("multiface.jpg", "two_people.jpg")
    }
    assert counts == {"multiface.jpg": 6, "two_people.jpg": 2}
