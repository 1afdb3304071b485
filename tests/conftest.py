"""Fixtures that several tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from cloak import Face
from cloak.detect import FaceDetector
from cloak.recognizers import Recognizer, load_recognizer
from cloak.types import Pixels
from tests.helpers import CUTS, ROOT, SAMPLES, Similarity, made_up_face, smooth_noise, tiny_recognizer
from tests.stand_in import POSSIBLE, stand_in

if POSSIBLE:
    stand_in()  # before the first backward pass, when PyTorch counts its devices
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")))


@pytest.fixture(autouse=True)
def own_weights_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tests do not see what the developer has fetched; this folder is as empty as a new user's."""
    folder = tmp_path_factory.getbasetemp() / "no_weights"
    monkeypatch.setenv("CLOAK_WEIGHTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recognisers and photos for development; tests that need it are skipped without."""
    folder = Path(os.environ.get("CLOAK_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the development data, not at {folder} (set CLOAK_SHARED)")
    return folder


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of each person of the samples "NAME", and as other moments "NAME_mirrored" and "NAME_soft"."""
    folder = tmp_path_factory.mktemp("people")
    made = {}
    for name, (file, box) in CUTS.items():
        cut = Image.open(SAMPLES / file).convert("RGB").crop(box)
        dark = ImageEnhance.Brightness(ImageOps.mirror(cut).rotate(8, Image.Resampling.BICUBIC)).enhance(0.6)
        soft = ImageEnhance.Contrast(cut.filter(ImageFilter.GaussianBlur(2.5))).enhance(0.7)
        for suffix, image in (("", cut), ("_mirrored", dark), ("_soft", soft)):
            made[name + suffix] = folder / f"{name}{suffix}.png"
            image.save(made[name + suffix])
    return made


@pytest.fixture(scope="session")
def dlib() -> Recognizer:
    return load_recognizer("dlib")


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture
def tiny() -> Recognizer:
    return tiny_recognizer()


@pytest.fixture
def portrait() -> tuple[Pixels, Face]:
    """A synthetic photo and where its face is said to be."""
    return smooth_noise(160, 160, seed=3), made_up_face(40, 30, 70)


@pytest.fixture
def similarity() -> Similarity:
    def make(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
        cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
        return np.array([[cos, -sin, x], [sin, cos, y]])

    return make


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_weights_folder: Path) -> Path:
    """The user's own weights, for one test."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("CLOAK_WEIGHTS", str(folder))
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As a piece of the product's work: the same bits each time. (On two threads a sum may come out otherwise, and on
    a busy machine many small layers are ten times slower.)"""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
