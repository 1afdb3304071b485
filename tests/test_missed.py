"""The check of the saved photo: a face that was not found when it was cloaked is told."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from cloak import Cloaker, Face, PhotoReport
from cloak.detect import CHECK, FaceDetector
from cloak.looks import overlap
from cloak.measure import missed_faces
from cloak.opening import DONE_BEFORE
from cloak.patches import FacePatch
from cloak.photo import read_photo
from cloak.report import summary_table
from cloak.types import Pixels
from tests.helpers import SAMPLES, made_up_face


@pytest.fixture(scope="module")
def _loaded() -> Cloaker:
    return Cloaker("mid", device="cpu", surrogates=["dlib"])


@pytest.fixture
def cloaker(_loaded: Cloaker, monkeypatch: pytest.MonkeyPatch) -> Cloaker:
    """With noise for a cloak: quick, and nothing here depends on it."""

    def noise(patches: Sequence[FacePatch], *arguments: object, **options: object) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        return [0.1 * torch.rand(patch.pixels.shape, generator=generator) - 0.05 for patch in patches]

    monkeypatch.setattr("cloak.protect.perturb", noise)
    return _loaded


@pytest.fixture(scope="module")
def head() -> Pixels:
    return np.ascontiguousarray(read_photo(SAMPLES / "astronaut.png").pixels[10:230, 130:330])


@pytest.fixture(scope="module")
def two(head: Pixels) -> Pixels:
    """The astronaut, and beside her the same upside down."""
    return np.concatenate([head, np.rot90(head, 2)], axis=1)


def test_a_face_that_only_the_check_finds_is_cloaked_too(cloaker: Cloaker, two: Pixels, tmp_path: Path) -> None:
    photo = tmp_path / "two.png"
    Image.fromarray(two).save(photo)
    (report,) = cloaker.protect_files([photo], tmp_path / "out")
    looks = {face.face.look: face for face in report.faces}
    assert set(looks) == {"first", "turned 180"}
    assert not report.missed
    turned = looks["turned 180"]
    assert turned.face.box[0] > 200 > looks["first"].face.box[2]
    assert turned.face.landmarks[0][0] > turned.face.landmarks[1][0]
    assert 0.8 * cloaker.method.dssim < turned.visibility.dssim <= cloaker.method.dssim
    again = cloaker.protect(two).report
    assert {face.face.look for face in again.faces} == set(looks)
    (before,) = cloaker.protect_files([photo], tmp_path / "out")  # nothing is done, and no worse is said of it
    assert before.notes == (DONE_BEFORE,)
    assert {face.face.look for face in before.faces} == set(looks)
    assert (before.missed, before.growth, before.protected) == ((), report.growth, report.protected)


def test_a_face_that_is_still_missed_is_told(cloaker: Cloaker, two: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = FaceDetector().look(two, CHECK)[-1:]
    monkeypatch.setattr("cloak.protect.missed_faces", lambda *arguments: missed)
    report = cloaker.protect(two).report
    x, y = (sum(missed[0].box[axis::2]) / 2 for axis in (0, 1))
    assert not report.protected
    assert f"1 face was missed at ({x:.0f}, {y:.0f}), so it still shows; cover it" in report.reason
    assert json.loads(report.to_json())["missed"][0]["look"] == missed[0].look


def test_what_was_found_is_not_missed(cloaker: Cloaker, two: Pixels, head: Pixels) -> None:
    assert cloaker.protect(head).report.missed == ()
    detector = FaceDetector()
    found = detector.detect(two)
    (missed,) = missed_faces(two, found, detector)
    assert missed_faces(two, (*found, missed), detector) == ()
    part = replace(missed, box=(*missed.box[:2], missed.box[0] + missed.width / 2, missed.box[3]))
    assert missed_faces(two, (*found, part), detector) == ()


def test_the_reason_names_places_and_the_table_counts() -> None:
    faces: tuple[Face, ...] = (made_up_face(10, 20, 100), made_up_face(200, 20, 50))
    report = PhotoReport(source=Path("a.jpg"), missed=faces, small=1)
    assert "2 faces were missed at (60, 85), (225, 52), so they still show; cover them" in report.reason
    console = Console(width=160)
    with console.capture() as output:
        console.print(summary_table([report]))
    assert "0, 1 too small, 2 MISSED" in output.get()
    assert "NOT PROTECTED" in output.get()


def test_faces_that_overlap_each_get_their_budget(cloaker: Cloaker, head: Pixels) -> None:
    (face,) = cloaker.protect(head).report.faces
    left, top, right, bottom = (round(value) for value in face.face.box)
    width = right - left
    photo = np.pad(head, ((0, 0), (0, width), (0, 0)), mode="edge")
    x, y = left + round(0.8 * width), top + 10
    photo[y : y + bottom - top, x : x + width] = head[top:bottom, left:right, :][:, ::-1]
    report = cloaker.protect(photo).report
    first, second = (one.face.box for one in report.faces)
    assert overlap(first, second) > 0.05
    for one in report.faces:
        assert 0.8 * cloaker.method.dssim < one.visibility.dssim <= cloaker.method.dssim
        assert one.visibility.peak_dssim <= cloaker.method.peak_dssim
