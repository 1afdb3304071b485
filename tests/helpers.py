"""What several tests share: the samples, small analytic recognisers, synthetic faces."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cloak import Cloaker, Face
from cloak.detect import FaceDetector
from cloak.metadata import Policy
from cloak.methods import MODES
from cloak.photo import read_photo
from cloak.pipeline import Prepared, prepare
from cloak.recognizers import Recognizer, RecognizerSpec, load_recognizer
from cloak.types import Pixels

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"

Similarity = Callable[[float, float, float, float], NDArray[np.float64]]
"""(scale, degrees, x, y) -> (2, 3) transform."""


class TinyNetwork(nn.Module):
    """A smooth analytic embedding: average brightness of a grid of cells, mixed by a fixed matrix."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        mix = torch.randn(3 * 8 * 8, dimension, generator=torch.Generator().manual_seed(1))
        self.register_buffer("mix", mix)

    def forward(self, x: Tensor) -> Tensor:
        cells = nn.functional.adaptive_avg_pool2d(x, 8).flatten(1)
        mix: Tensor = self.mix  # type: ignore[assignment]
        return (cells - cells.mean(dim=1, keepdim=True)) @ mix


def tiny_factory() -> TinyNetwork:
    """For module:factory."""
    return TinyNetwork(16)


def tiny_recognizer(side: int = 48, dimension: int = 16) -> Recognizer:
    points = ((0.32, 0.36), (0.68, 0.36), (0.5, 0.55), (0.36, 0.74), (0.64, 0.74))
    spec = RecognizerSpec(
        name="tiny",
        size=(side, side),
        template=tuple((side * x, side * y) for x, y in points),
        channels="RGB",
        mean=(127.5, 127.5, 127.5),
        scale=128.0,
        threshold=0.5,
    )
    return Recognizer(spec, TinyNetwork(dimension))


def embedding_of_grace_hopper(name: str) -> Tensor:
    """What a recogniser makes of the sample, (d,), of length 1."""
    photo = read_photo(SAMPLES / "grace_hopper.jpg").pixels
    (face,) = FaceDetector().detect(photo)
    return load_recognizer(name).embed(photo, face)


def smooth_noise(height: int, width: int, seed: int = 0, *, grey: bool = False) -> Pixels:
    """A picture with structure at several scales, as photos have it."""
    generator = torch.Generator().manual_seed(seed)
    channels = 1 if grey else 3
    total = torch.zeros(1, channels, height, width)
    for cell in (4, 16, 64):
        coarse = torch.rand(1, channels, height // cell + 2, width // cell + 2, generator=generator)
        total += nn.functional.interpolate(coarse, (height, width), mode="bicubic") / 3
    picture = (255 * total.clamp(0, 1)).round().byte()[0].permute(1, 2, 0).expand(-1, -1, 3)
    return np.ascontiguousarray(picture.numpy())


def made_up_face(left: float, top: float, width: float) -> Face:
    """A face whose landmarks lie where a frontal face has them."""
    height = 1.3 * width
    points = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.34, 0.78), (0.66, 0.78))
    landmarks = tuple((left + x * width, top + y * height) for x, y in points)
    return Face((left, top, left + width, top + height), landmarks, 0.99)


CUTS = {"eileen": ("astronaut.png", (130, 10, 330, 230)), "grace": ("grace_hopper.jpg", (120, 60, 410, 400))}
"""Of each person of the samples the file, and where the head is in it."""


def prepared(path: Path, detector: FaceDetector) -> Prepared:
    """A photo on its way to a cloak in mode mid."""
    return prepare(read_photo(path), path.name, detector, MODES["mid"], 0)


def quick(
    mode: str = "mid",
    *,
    seed: int = 0,
    steps: int = 6,
    metadata: Policy = "default",
    identity: Path | str | Sequence[Path] = (),
    apart: bool = False,
) -> Cloaker:
    """A real Cloaker whose cloaks are made in a few steps."""
    cloaker = Cloaker(mode, device="cpu", seed=seed, metadata=metadata, identity=identity, apart=apart)
    cloaker.method = replace(cloaker.method, steps=steps, turns=1)
    return cloaker


ANY_BYTES = pytest.mark.skipif(
    sys.platform in ("darwin", "win32"), reason="this system takes no names that are no UTF-8 or hold a line's end"
)
"""For tests of such names."""


def sample_faces() -> dict[str, Image.Image]:
    """The faces of the two samples, cut out, 170 x 190, by the files' names."""
    boxes = {"grace_hopper.jpg": (120, 60, 410, 400), "astronaut.png": (130, 10, 330, 230)}
    return {name: Image.open(SAMPLES / name).convert("RGB").crop(box).resize((170, 190)) for name, box in boxes.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run's results but the journal and its lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".cloak-journal")
    }
