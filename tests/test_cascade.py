from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cloak.areas import Areas, _windows
from cloak.cascade import NOTHING, Cascade, InStrips, Sightings, scales_of
from cloak.detect import cascade_on
from cloak.facenet_package import facenet_pytorch
from cloak.photo import read_photo
from cloak.types import Pixels
from tests.helpers import SAMPLES, smooth_noise

THRESHOLDS = (0.6, 0.7, 0.7)


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return cascade_on("cpu")


def by_facenet_pytorch(cascade: Cascade, picture: Pixels, min_face: float) -> Sightings:
    """What the package's own way through the same networks gives."""
    mtcnn: Any = facenet_pytorch().MTCNN(keep_all=True, min_face_size=min_face, thresholds=list(THRESHOLDS))
    mtcnn.pnet, mtcnn.rnet, mtcnn.onet = cascade.first, cascade.second, cascade.third
    found = mtcnn.detect(picture, landmarks=True)
    if found[0] is None:
        return NOTHING
    return Sightings(*(np.asarray(values, np.float32) for values in found))


def assert_the_same(ours: Sightings, theirs: Sightings) -> None:
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    np.testing.assert_array_equal(ours.landmarks, theirs.landmarks)


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg"])
@pytest.mark.parametrize("min_face", [20.0, 47.3])
def test_what_it_finds_is_what_facenet_pytorch_finds(cascade: Cascade, name: str, min_face: float) -> None:
    picture = read_photo(SAMPLES / name).pixels
    found = cascade.find(picture, min_face, THRESHOLDS)
    assert len(found.boxes) >= 1
    assert_the_same(found, by_facenet_pytorch(cascade, picture, min_face))


def test_many_faces_beside_and_over_each_other_are_the_same_too(cascade: Cascade) -> None:
    face = Image.open(SAMPLES / "astronaut.png").convert("RGB").crop((130, 10, 330, 210))
    sheet = Image.new("RGB", (700, 331), (90, 120, 60))
    for number in range(12):
        sheet.paste(face.resize((60 + 12 * number,) * 2), (50 * number, 11 * number))
    picture = np.asarray(sheet)
    found = cascade.find(picture, 20.0, THRESHOLDS)
    assert len(found.boxes) >= 6
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert (np.diff(sides.prod(axis=1)) <= 0).all()
    assert_the_same(found, by_facenet_pytorch(cascade, picture, 20.0))


@pytest.mark.parametrize("size", [(12, 12), (40, 300), (120, 90)])
def test_where_there_is_no_face_it_finds_none(cascade: Cascade, size: tuple[int, int]) -> None:
    for picture in (np.full((*size, 3), 127, np.uint8), smooth_noise(*size)):
        found = cascade.find(picture, 12.0, THRESHOLDS)
        assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def test_networks_that_let_everything_pass_end_well_too(cascade: Cascade) -> None:
    found = cascade.find(smooth_noise(60, 80), 12.0, (0.0, 0.0, 0.0))
    assert np.isfinite(found.landmarks).all()
    assert len(found.boxes) > 0


def test_a_pyramid_goes_down_to_a_single_cell() -> None:
    scales = list(scales_of((200, 300), 24.0))
    assert scales[0] == 0.5
    assert 200 * scales[-1] >= 12 > 200 * scales[-1] * 0.709
    assert list(scales_of((12, 50), 12.5)) == []


@pytest.mark.parametrize("size", [(12, 900), (13, 40), (331, 1000), (640, 1001), (641, 1100), (2000, 700)])
def test_the_first_network_says_the_same_in_strips(size: tuple[int, int], cascade: Cascade) -> None:
    in_strips = cascade.first
    assert isinstance(in_strips, InStrips)
    picture = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(0)).permute(0, 3, 1, 2) - 0.5
    with torch.no_grad():
        for ours, whole in zip(in_strips(picture), in_strips.network(picture), strict=True):
            torch.testing.assert_close(ours, whole, rtol=0.0, atol=1e-5)


def on_cpu(picture: Pixels) -> Areas:
    return Areas(picture, torch.device("cpu"))


@pytest.mark.parametrize("scale", [1.0, 0.77, 0.3, 0.02])
def test_levels_are_pytorchs_area_means(scale: float) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (211, 157, 3), np.uint8)
    level = on_cpu(picture).level(scale)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    means = torch.nn.functional.interpolate(planes, size=level.shape[1:3], mode="area")
    assert torch.equal(level.permute(0, 3, 1, 2), means)


def test_crops_are_area_means_of_what_lies_in_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    boxes = torch.tensor([[3.9, 5.2, 40.7, 44.1], [-9.0, -2.0, 12.0, 19.0], [50.0, 40.0, 90.0, 80.0], [10, 10, 13, 13]])
    places = [(5, 44, 3, 40), (1, 19, 1, 12), (40, 50, 50, 60), (10, 13, 10, 13)]  # counted from 1, ends included
    (crops,) = on_cpu(picture).crops(boxes, 24)
    for crop, (top, bottom, left, right) in zip(crops, places, strict=True):
        region = torch.from_numpy(picture[top - 1 : bottom, left - 1 : right]).permute(2, 0, 1)[None].float()
        means = torch.nn.functional.interpolate(region, size=(24, 24), mode="area")[0]
        assert torch.equal(crop.permute(2, 0, 1), means)


def test_a_box_outside_of_the_picture_is_shown_its_edge() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    boxes = torch.tensor([[70.0, 80.0, 90.0, 100.0], [-40.0, -40.0, -20.0, -20.0]])
    (crops,) = on_cpu(picture).crops(boxes, 24)
    for crop, pixel in zip(crops, (picture[-1, -1], picture[0, 0]), strict=True):
        np.testing.assert_array_equal(crop.numpy(), np.broadcast_to(pixel, (24, 24, 3)))


def test_many_crops_come_in_parts() -> None:
    boxes = torch.tensor([[1.0, 1.0, 24.0, 24.0]]).repeat(1100, 1)
    assert [len(crops) for crops in on_cpu(smooth_noise(30, 30)).crops(boxes, 24)] == [512, 512, 76]


def test_windows_of_very_long_pictures() -> None:
    (starts,), (ends,) = _windows(torch.zeros(1, dtype=torch.int32), torch.tensor([90_000]), 36_001)
    assert starts.tolist() == [index * 90_000 // 36_001 for index in range(36_001)]
    assert ends.tolist() == [-(-(index + 1) * 90_000 // 36_001) for index in range(36_001)]


def test_sums_that_wrap_around_give_the_same_means() -> None:
    white = np.full((3000, 3000, 3), 255, np.uint8)  # 2.3e9 in all, more than 31 bits
    assert (on_cpu(white).level(0.01) == 255.0).all()
