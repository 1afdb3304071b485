"""The adapter for InsightFace's packs, on tiny ONNX files whose outputs are known."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloak.bench.evaluators import load_evaluator
from cloak.bench.insightface import (
    SIDE,
    STRIDES,
    Detections,
    anchor_centres,
    decode,
    insightface_pack,
    letterbox,
    select,
    to_faces,
)
from cloak.errors import UsageError
from cloak.types import Pixels

onnx = pytest.importorskip("onnx", reason="needs onnx, which writes the models (pip install onnx)")
pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install -e .[dev])")

FIVE = ((-1.0, -0.5), (1.0, -0.5), (0.0, 0.0), (-0.75, 1.0), (0.75, 1.0))
"""Landmarks from an anchor's centre, in strides."""

Anchor = tuple[float, tuple[float, float, float, float]]
"""Score, and distances to left, top, right and bottom in strides."""


def raw_outputs(anchors: Mapping[tuple[int, int], Anchor]) -> list[NDArray[np.float32]]:
    """What a detector would give: nothing but these, {(stride, anchor): ...}, all with FIVE."""
    counts = [2 * (SIDE // stride) ** 2 for stride in STRIDES]
    outputs = [np.zeros((count, width), dtype=np.float32) for width in (1, 4, 10) for count in counts]
    for (stride, index), (score, distances) in anchors.items():
        level = STRIDES.index(stride)
        outputs[level][index] = score
        outputs[3 + level][index] = distances
        outputs[6 + level][index] = np.ravel(FIVE)
    return outputs


def anchor(stride: int, x: int, y: int, which: int = 0) -> tuple[int, int]:
    """The key of an anchor whose centre is (x, y) of the input."""
    return stride, 2 * (y // stride * (SIDE // stride) + x // stride) + which


def write_model(path: Path, nodes: Sequence[object], outputs: Sequence[str], constants: Sequence[object] = ()) -> None:
    """An ONNX file that takes pictures ``x`` (n, 3, h, w)."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        constants,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def write_detector(path: Path, outputs: Sequence[NDArray[np.float32]]) -> None:
    """A detector that gives the same for every picture."""
    names = [f"output{index}" for index in range(len(outputs))]
    constants = [onnx.numpy_helper.from_array(value, f"{name}_") for name, value in zip(names, outputs, strict=True)]
    nodes = [onnx.helper.make_node("Identity", [f"{name}_"], [name]) for name in names]
    write_model(path, nodes, names, constants)


def write_recognizer(path: Path) -> None:
    """A recogniser whose embedding is the average of each channel."""
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["x"], ["average"]),
        onnx.helper.make_node("Flatten", ["average"], ["embedding"]),
    ]
    write_model(path, nodes, ["embedding"])


def write_pack(folder: Path, anchors: Mapping[tuple[int, int], Anchor], *, batched: bool = False) -> Path:
    outputs = raw_outputs(anchors)
    write_detector(folder / "det_10g.onnx", [output[None] for output in outputs] if batched else outputs)
    write_recognizer(folder / "w600k_r50.onnx")
    write_recognizer(folder / "genderage.onnx")
    return folder


def plain(red: int, green: int, blue: int, *, height: int = 960, width: int = 1280) -> Pixels:
    return np.full((height, width, 3), (red, green, blue), dtype=np.uint8)


FACE = {anchor(16, 320, 240): (0.875, (2.0, 2.5, 2.0, 3.0))}
"""In a photo of 1280 x 960, which is shown at half size: 576..704 by 400..576."""


def test_anchors_lie_row_by_row_two_at_each_place() -> None:
    centres = anchor_centres(16)
    assert centres.shape == (2 * 40 * 40, 2)
    assert centres[:4].tolist() == [[0, 0], [0, 0], [16, 0], [16, 0]]
    assert centres[anchor(16, 80, 48)[1]].tolist() == [80, 48]
    assert centres[-1].tolist() == [624, 624]


def test_decoding_gives_numbers_worked_out_by_hand() -> None:
    # Stride 16, row 3, column 5: centre (80, 48). The stride-8 anchors come first: 2 * 80 * 80.
    index = 12_800 + (3 * 40 + 5) * 2 + 1
    raw = raw_outputs({anchor(16, 80, 48, 1): (0.75, (1.0, 2.0, 3.0, 0.5))})
    all_anchors = decode([torch.from_numpy(output) for output in raw])
    assert all_anchors.boxes.shape == (16_800, 4)
    assert all_anchors.landmarks.shape == (16_800, 5, 2)
    assert all_anchors.scores.nonzero().tolist() == [[index]]
    assert all_anchors.scores[index] == 0.75
    assert all_anchors.boxes[index].tolist() == [64.0, 16.0, 128.0, 56.0]
    assert all_anchors.landmarks[index].tolist() == [[64, 40], [96, 40], [80, 48], [68, 64], [92, 64]]


@pytest.mark.parametrize("stride", STRIDES)
def test_distances_count_in_strides(stride: int) -> None:
    raw = raw_outputs({anchor(stride, 64, 96): (0.75, (1.0, 1.0, 1.0, 1.0))})
    (box,) = select(decode([torch.from_numpy(output) for output in raw])).boxes.tolist()
    assert box == [64 - stride, 96 - stride, 64 + stride, 96 + stride]


def test_selection_keeps_what_scores_and_overlaps_little() -> None:
    boxes = torch.tensor(
        [
            [0.0, 0.0, 100.0, 100.0],
            [0.0, 0.0, 100.0, 41.0],  # overlaps the first by 0.41
            [0.0, 0.0, 39.0, 100.0],  # by 0.39
            [200.0, 0.0, 300.0, 100.0],
            [400.0, 0.0, 500.0, 100.0],
        ]
    )
    scores = torch.tensor([0.75, 0.625, 0.6875, 0.49, 0.5])
    landmarks = torch.arange(50.0).reshape(5, 5, 2)
    kept = select(Detections(boxes, landmarks, scores))
    assert kept.scores.tolist() == [0.75, 0.6875, 0.5]
    assert torch.equal(kept.boxes, boxes[[0, 2, 4]])
    assert torch.equal(kept.landmarks, landmarks[[0, 2, 4]])


def test_of_no_anchors_none_is_selected() -> None:
    assert len(select(Detections(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))).scores) == 0


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns", "scale"),
    [
        (960, 1280, 480, 640, 0.5),
        (1280, 960, 640, 480, 0.5),
        (160, 160, 640, 640, 4.0),
        (4, 4000, 1, 640, 0.25),
        (640, 600, 640, 600, 1.0),
    ],
)
def test_the_photo_lies_at_the_top_left(height: int, width: int, rows: int, columns: int, scale: float) -> None:
    image, found_scale = letterbox(plain(255, 51, 0, height=height, width=width))
    assert image.shape == (1, 3, SIDE, SIDE)
    assert found_scale == scale
    expected = torch.full((3, SIDE, SIDE), -127.5 / 128)
    expected[0, :rows, :columns] = 127.5 / 128
    expected[1, :rows, :columns] = -76.5 / 128
    assert torch.allclose(image[0], expected, atol=1e-6)


def test_a_photo_of_the_inputs_size_is_not_resampled() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    image, _ = letterbox(pixels)
    assert np.allclose(128 * image[0].permute(1, 2, 0).numpy() + 127.5, pixels, atol=1e-3)


def test_boxes_are_clipped_to_the_photo_and_landmarks_are_not() -> None:
    found = Detections(torch.tensor([[-8.0, 20.0, 90.0, 70.0]]), torch.tensor(FIVE)[None] * 8, torch.tensor([0.875]))
    (face,) = to_faces(found, 0.5, plain(0, 0, 0, height=120, width=160))
    assert face.box == (0.0, 40.0, 159.0, 119.0)
    assert face.landmarks == tuple((16 * x, 16 * y) for x, y in FIVE)
    assert face.score == 0.875


@pytest.mark.parametrize("batched", [False, True])
def test_the_face_comes_back_in_pixels_of_the_photo(tmp_path: Path, batched: bool) -> None:
    face = insightface_pack(write_pack(tmp_path, FACE, batched=batched)).locate(plain(90, 90, 90))
    assert face.box == (576.0, 400.0, 704.0, 576.0)
    assert face.landmarks == ((608, 464), (672, 464), (640, 480), (616, 512), (664, 512))
    assert face.score == 0.875


def test_the_central_face_is_taken(tmp_path: Path) -> None:
    others: dict[tuple[int, int], Anchor] = {
        anchor(32, 96, 96): (0.96875, (2.0, 2.0, 2.0, 2.0)),  # a better one at the corner
        anchor(16, 336, 240): (0.75, (2.0, 2.5, 2.0, 3.0)),  # overlaps the central one
        anchor(8, 320, 240): (0.25, (1.0, 1.0, 1.0, 1.0)),  # more central, but unlikely
    }
    face = insightface_pack(write_pack(tmp_path, {**FACE, **others})).locate(plain(90, 90, 90))
    assert face.score == 0.875


def test_no_face_where_nothing_scores(tmp_path: Path) -> None:
    assert insightface_pack(write_pack(tmp_path, {})).locate(plain(90, 90, 90)) is None


def test_the_recogniser_sees_rgb_from_minus_one_to_one(tmp_path: Path) -> None:
    evaluator = insightface_pack(write_pack(tmp_path, FACE))
    pixels = plain(255, 51, 0)
    embedding = evaluator.embed(pixels, evaluator.locate(pixels))
    assert embedding.dtype == np.float32
    assert embedding == pytest.approx([1.0, -0.6, -1.0], abs=1e-4)


def test_a_pack_is_named_after_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pack(tmp_path / "buffalo_x", FACE)
    assert load_evaluator("insightface:buffalo_x", folder=tmp_path).name == "buffalo_x"
    monkeypatch.chdir(folder)
    assert load_evaluator("insightface:.").name == "buffalo_x"


def test_the_names_of_antelopev2_are_known(tmp_path: Path) -> None:
    write_detector(tmp_path / "scrfd_10g_bnkps.onnx", raw_outputs(FACE))
    write_recognizer(tmp_path / "glintr100.onnx")
    assert insightface_pack(tmp_path).locate(plain(90, 90, 90)) is not None


def test_the_fingerprint_is_of_the_detector_and_the_recogniser(tmp_path: Path) -> None:
    first = insightface_pack(write_pack(tmp_path / "first", FACE)).fingerprint
    assert insightface_pack(write_pack(tmp_path / "second", FACE)).fingerprint == first
    assert insightface_pack(write_pack(tmp_path / "third", {})).fingerprint != first
    write_model(tmp_path / "second/w600k_r50.onnx", [onnx.helper.make_node("Flatten", ["x"], ["flat"])], ["flat"])
    assert insightface_pack(tmp_path / "second").fingerprint != first


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent: expected a folder .* got none; unpack for example buffalo_l\.zip"):
        insightface_pack(tmp_path / "absent")


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (
            "det_10g.onnx",
            r"expected a detector \(det_\*\.onnx or scrfd_\*\.onnx\), got genderage\.onnx, w600k_r50\.onnx",
        ),
        ("w600k_r50.onnx", r"expected a recogniser \(w600k_\*\.onnx or glintr\*\.onnx\), got det_10g\.onnx, genderage"),
    ],
)
def test_an_incomplete_pack_is_refused(tmp_path: Path, removed: str, message: str) -> None:
    (write_pack(tmp_path, FACE) / removed).unlink()
    with pytest.raises(UsageError, match=message):
        insightface_pack(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"got no \.onnx file; name the folder that has the files"):
        insightface_pack(tmp_path)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("glintr100.onnx", r"expected one recogniser .*, got glintr100\.onnx, w600k_r50\.onnx; keep one"),
        ("det_500m.onnx", r"expected one detector .*, got det_10g\.onnx, det_500m\.onnx; keep one"),
    ],
)
def test_a_pack_with_two_of_a_kind_is_refused(tmp_path: Path, added: str, message: str) -> None:
    write_recognizer(write_pack(tmp_path, FACE) / added)
    with pytest.raises(UsageError, match=message):
        insightface_pack(tmp_path)


def test_a_detector_without_landmarks_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path, FACE)
    write_detector(tmp_path / "det_10g.onnx", raw_outputs(FACE)[:6])
    with pytest.raises(UsageError, match=r"det_10g\.onnx: expected an SCRFD detector with 9 outputs .* got 6; take"):
        insightface_pack(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (write_pack(tmp_path, FACE) / "w600k_r50.onnx").write_bytes(b"not a model")
    with pytest.raises(UsageError, match=r"w600k_r50\.onnx: expected an ONNX model"):
        insightface_pack(tmp_path)
