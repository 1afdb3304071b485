"""The work on another device than the CPU, as on a GPU: nothing is left behind, and it comes to the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cloak import Cloaker
from cloak.batches import Room, perturb
from cloak.cascade import Cascade, Sightings
from cloak.detect import FIRST_LOOK, FaceDetector
from cloak.methods import METHODS, MODES, Method
from cloak.models import find_model
from cloak.optimize import cloak_patches
from cloak.patches import FacePatch, stack_patches
from cloak.photo import read_photo
from cloak.pipeline import prepare
from cloak.recognizers import SURROGATES, load_recognizer
from tests.helpers import SAMPLES
from tests.stand_in import POSSIBLE, WAITS, StandIn, stand_in

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(
    not POSSIBLE, reason="expected a PyTorch in which Python can stand for a device, got an older one"
)


@pytest.fixture(scope="module")
def patches() -> list[FacePatch]:
    """Of two faces, which have different sizes."""
    found: list[FacePatch] = []
    for name in ("astronaut.png", "grace_hopper.jpg"):
        photo = read_photo(SAMPLES / name)
        found += prepare(photo, name, FaceDetector(), MODES["mid"], 0).patches
    return found


def on_both(patches: list[FacePatch], method: Method, names: tuple[str, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
    for device, room in ((CPU, None), (stand_in(), Room(2))):
        recognizers = [load_recognizer(name, device) for name in names]
        yield tuple(perturb(patches, recognizers, method, device, room=room))


def test_the_stand_in_refuses_what_a_gpu_refuses() -> None:
    there = torch.ones(3, device=stand_in())
    assert isinstance(there + 1, StandIn)
    assert (there + 1).cpu().tolist() == [2.0] * 3
    with pytest.raises(RuntimeError, match=r"tensors on standin:0 and, \(3,\), on the CPU"):
        there + torch.ones(3)


def test_the_loop_finds_the_same_in_batches_there(patches: list[FacePatch]) -> None:
    method = replace(MODES["mid"], steps=12, turns=1)  # one turn of the rarest surrogate
    twice = [replace(patch, seed=patch.seed + more) for patch in patches for more in (0, 8)]
    for here, there in zip(*on_both(twice, method, tuple(SURROGATES)), strict=True):
        assert type(there) is torch.Tensor
        assert here.abs().mean() > 0.5 / 255
        assert (there - here).abs().mean() < 0.1 * here.abs().mean()


def kept_apart(patches: list[FacePatch]) -> list[FacePatch]:
    """The first face is to be kept from something, the others from nothing."""
    torch.manual_seed(0)
    earlier = {name: F.normalize(torch.randn(16, find_model(name).dimension or 0), dim=1) for name in SURROGATES}
    return [replace(patches[0], earlier=earlier), *patches[1:]]


def test_cloaks_are_kept_apart_there_each_by_itself(patches: list[FacePatch]) -> None:
    method = replace(MODES["mid"], steps=12, turns=1, apart=1.0)
    device = stand_in()
    recognizers = [load_recognizer(name, device) for name in SURROGATES[:2]]
    plain, apart = (
        perturb(chosen, recognizers, method, device, room=Room(2)) for chosen in (patches, kept_apart(patches))
    )
    changes = [float((one - other).abs().mean()) for one, other in zip(plain, apart, strict=True)]
    assert changes[0] > 0.1 / 255 > 1e-3 / 255 > changes[1]


def test_no_step_waits_for_the_device(patches: list[FacePatch]) -> None:
    device, method = stand_in(), replace(MODES["mid"], steps=12, turns=1, apart=0.2)
    recognizers = [load_recognizer(name, device) for name in SURROGATES]
    batch = stack_patches(kept_apart(patches), device)
    done: list[int] = []
    for _ in range(2):  # what is kept for the next face is made by the first
        WAITS.clear()
        done.clear()
        cloak_patches(batch, recognizers, method, lambda share: done.append(len(WAITS)))
    assert len(done) == 12
    assert WAITS[done[0] : done[-1]] == []
    torch.ones(3).to(device)
    assert WAITS[-1] == "aten::_to_copy"


@pytest.mark.parametrize("name", ["noise", "pgd", "mifgsm-di", "fawkes-style", "lowkey-style"])
def test_every_method_works_there(name: str, patches: list[FacePatch]) -> None:
    method = replace(METHODS[name](0.009), steps=2)
    for here, there in zip(*on_both(patches[:1], method, ("mobilefacenet",)), strict=True):
        assert here.abs().mean() > 0
        assert torch.cosine_similarity(there.flatten(), here.flatten(), dim=0) > 0.85  # Adadelta makes much of little


def test_faces_are_found_at_the_same_places_there() -> None:
    pixels = read_photo(SAMPLES / "grace_hopper.jpg").pixels
    (here,), (there,) = FaceDetector().detect(pixels), FaceDetector(stand_in()).detect(pixels)
    np.testing.assert_allclose(there.landmarks, here.landmarks, atol=0.05)


def test_the_detector_waits_for_the_device_as_often_however_many_faces_there_are() -> None:
    pixels = read_photo(SAMPLES / "astronaut.png").pixels
    tile = np.ascontiguousarray(pixels[10:210, 120:320])
    detector, waits = FaceDetector(stand_in()), []
    for picture in (np.tile(tile, (4, 4, 1)), np.pad(tile, ((0, 600), (0, 600), (0, 0)))):
        WAITS.clear()
        found = detector.look(picture, [FIRST_LOOK])
        waits.append((len(found), len(WAITS)))
    (many, waits_for_many), (few, waits_for_few) = waits
    assert many >= 16 > few == 1
    assert waits_for_many <= waits_for_few + 4 < 50


def test_where_a_gpu_has_no_room_for_a_picture_the_cpu_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = read_photo(SAMPLES / "grace_hopper.jpg").pixels
    detector = FaceDetector(stand_in())
    looked: list[str] = []
    find = Cascade.find

    def short(cascade: Cascade, *rest: Any) -> Sightings:
        looked.append(cascade.device.type)
        if cascade.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return find(cascade, *rest)

    monkeypatch.setattr(Cascade, "find", short)
    assert detector.detect(pixels) == FaceDetector().detect(pixels)
    assert looked[:2] == ["standin", "cpu"]


def test_a_photo_is_cloaked_and_measured_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "astronaut.png"
    Image.open(SAMPLES / "astronaut.png").crop((130, 10, 330, 230)).save(photo)
    reports = {}
    for place, room in ((CPU, None), (stand_in(), Room(4))):
        monkeypatch.setattr("cloak.protect.find_device", lambda name, place=place: place)
        cloaker = Cloaker(surrogates=["mobilefacenet", "dlib-robust"])
        cloaker.method, cloaker._room = replace(cloaker.method, steps=6, turns=1), room
        (reports[place.type],) = cloaker.protect_files([photo], tmp_path / place.type)
    here, there = (report.faces[0] for report in reports.values())
    assert there.visibility.dssim == pytest.approx(here.visibility.dssim, rel=0.05)
    for name, match in here.matches.items():
        assert there.matches[name].before == pytest.approx(match.before, abs=1e-3)
        assert there.matches[name].after == pytest.approx(match.after, abs=0.05)
