"""Evaluators as a tracker would use them; an ONNX file that is known to the last number."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloak.align import crop_face
from cloak.bench.embedding import Gaze, look
from cloak.bench.evaluators import Evaluator, central_face, load_evaluator, locate_by_mtcnn
from cloak.bench.measures import unit
from cloak.bench.protocol import read_protocol
from cloak.bench.store import EmbeddingStore
from cloak.errors import CloakError, UsageError
from cloak.photo import read_photo
from cloak.recognizers import ARCFACE, InputSpec, load_recognizer
from cloak.recognizers.onnx_file import onnx_session
from cloak.types import Face, Pixels
from cloak.weights import file_sha256
from tests.helpers import ROOT, SAMPLES, made_up_face, smooth_noise

HOPPER = SAMPLES / "grace_hopper.jpg"


def colours(crops: Tensor) -> Tensor:
    """An embedding by module:function: the mean colour."""
    return crops.mean(dim=(2, 3))


def wrong_shape(crops: Tensor) -> Tensor:
    return crops


def colour_model(folder: Path, size: tuple[int | str, int | str] = ("h", "w")) -> Path:
    """An ONNX file whose embedding is the mean of each channel of its input."""
    onnx = pytest.importorskip("onnx", reason="needs onnx (pip install -e .[dev])")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install -e .[dev])")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["m"]), helper.make_node("Flatten", ["m"], ["y"])],
        "colours",
        [helper.make_tensor_value_info("x", kind, ["n", 3, *size])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
    )
    path = folder / "colours.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def specification(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


def test_an_onnx_file_sees_what_its_specification_says(tmp_path: Path) -> None:
    colour_model(tmp_path)
    reference = specification(
        tmp_path,
        'name = "colours"\nfile = "colours.onnx"\n[input]\nsize = [64, 48]\nchannels = "BGR"\n'
        "mean = [10.0, 20.0, 30.0]\nscale = 2.0\n"
        "template = [[10.0, 20.0], [38.0, 20.0], [24.0, 32.0], [14.0, 46.0], [34.0, 46.0]]",
    )
    evaluator = load_evaluator(reference)
    photo, face = smooth_noise(160, 160, 3), made_up_face(40, 30, 70)
    template = ((10, 20), (38, 20), (24, 32), (14, 46), (34, 46))
    blue, green, red = crop_face(photo, face.landmarks, template, (64, 48))[0].flip(0).mean(dim=(1, 2)) * 255
    expected = [(blue - 10) / 2, (green - 20) / 2, (red - 30) / 2]
    np.testing.assert_allclose(evaluator.embed(photo, face), expected, atol=1e-3)
    assert evaluator.name == "colours"


def test_the_specification_decides_the_fingerprint(tmp_path: Path) -> None:
    colour_model(tmp_path)
    marks = {
        load_evaluator(specification(tmp_path, f'file = "colours.onnx"\n[input]\nscale = {scale}')).fingerprint
        for scale in (1.0, 2.0, 1.0)
    }
    assert len(marks) == 2


def test_a_threshold_is_stated_by_the_specification(tmp_path: Path) -> None:
    colour_model(tmp_path)
    text = 'file = "colours.onnx"\n[embedding]\nthreshold = 0.28'
    assert load_evaluator(specification(tmp_path, text)).threshold == 0.28
    assert load_evaluator("sface").threshold is None
    assert load_evaluator("dlib").threshold is None  # the manifest's is for another form of its embeddings


def test_a_python_function_gets_aligned_crops() -> None:
    evaluator = load_evaluator("tests.test_bench_evaluators:colours")
    photo, face = smooth_noise(160, 160, 3), made_up_face(40, 30, 70)
    expected = crop_face(photo, face.landmarks, ARCFACE, (112, 112)).mean(dim=(2, 3))[0]
    np.testing.assert_allclose(evaluator.embed(photo, face), expected, atol=1e-6)
    with pytest.raises(UsageError, match=r"expected embeddings \(n, d\), got shape \(2, 3, 112, 112\) of 2 crops"):
        load_evaluator("tests.test_bench_evaluators:wrong_shape")


def test_a_module_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_recogniser_of_a_test.py").write_text("def embed(crops):\n    return crops.amax(dim=(2, 3))\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    evaluator = load_evaluator("own_recogniser_of_a_test:embed")
    assert evaluator.embed(smooth_noise(160, 160, 3), made_up_face(40, 30, 70)).shape == (3,)


@pytest.mark.parametrize("name", ["a protocol", "a specification"])
def test_a_module_is_found_beside(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = f"beside_{name.split()[1]}"
    (tmp_path / f"{module}.py").write_text("def embed(crops):\n    return crops.amax(dim=(2, 3))\n")
    monkeypatch.setattr("sys.path", list(sys.path))
    if name == "a protocol":
        (tmp_path / "p.toml").write_text(
            f'data = "."\nevaluators = ["{module}:embed"]\n[[cloaks]]\nmethods = ["none"]\n'
        )
        (reference,) = read_protocol(tmp_path / "p.toml").evaluators
    else:
        reference = specification(tmp_path, f'entry = "{module}:embed"')
    assert load_evaluator(reference).embed(smooth_noise(160, 160, 3), made_up_face(40, 30, 70)).shape == (3,)


def test_a_function_of_whole_photos_finds_the_face_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "service_of_a_test.py"
    module.write_text(
        "def embed(photo):\n"
        "    answers = {1: [3e30, 4e30], 2: None, 3: [[1, 2]], 4: [0.0, 0.0], 5: ['a', 'face'], 7: [1.0, 1e999]}\n"
        "    return answers[int(photo[0, 0, 0])]\n"
        "embed.threshold = 0.25\n"
    )
    monkeypatch.chdir(tmp_path)
    evaluator = load_evaluator("photo:service_of_a_test:embed")
    assert (evaluator.name, evaluator.threshold) == ("service_of_a_test.embed", 0.25)

    def seen(answer: int) -> NDArray[np.float32] | None:
        return look(np.full((8, 8, 3), answer, np.uint8), [evaluator])[evaluator.name]

    found = seen(1)
    assert found is not None
    assert found.tolist() == pytest.approx([0.6, 0.8])
    assert seen(2) is None
    wrong = ((3, "shape"), (4, r"\[0.0, 0.0\]"), (5, "shape .* of <U4"), (6, "KeyError: 6"), (7, r"\[1.0, inf\]"))
    for answer, message in wrong:
        with pytest.raises(UsageError, match=rf"photo:service_of_a_test:embed: expected .* or None; got {message}"):
            seen(answer)
    (tmp_path / "beside.py").write_text("")
    assert load_evaluator("photo:service_of_a_test:embed").fingerprint != evaluator.fingerprint
    with pytest.raises(UsageError, match="module:function that can be imported, got 'service_of_a_test:absent'"):
        load_evaluator("photo:service_of_a_test:absent")
    (tmp_path / "script_of_a_test.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(UsageError, match="got 'script_of_a_test:embed': it ends the process when it is imported"):
        load_evaluator("photo:script_of_a_test:embed")


def test_embeddings_of_another_length_are_refused_and_not_kept(tmp_path: Path) -> None:
    lengths = iter((3, 4))
    evaluator = Evaluator("grown", "1", lambda pixels: pixels, lambda pixels, place: np.ones(next(lengths), np.float32))
    gaze = Gaze([evaluator], EmbeddingStore(tmp_path / "kept.sqlite"))
    gaze.embed(HOPPER, ["saved"])
    with pytest.raises(UsageError, match=r"grown: expected embeddings of one length, got 4 .* 3; .*kept\.sqlite"):
        gaze.embed(HOPPER, ["jpeg75"])
    assert not gaze.store.get(file_sha256(HOPPER), "jpeg75", "1")[0]


def test_a_known_recogniser_is_compared_by_its_plain_cosine() -> None:
    evaluator, recognizer = load_evaluator("dlib"), load_recognizer("dlib")
    photo = read_photo(HOPPER).pixels
    face = evaluator.locate(photo)
    crop = crop_face(photo, face.landmarks, recognizer.spec.template, recognizer.spec.size)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(evaluator.embed(photo, face)), recognizer.raw(crop)[0])


def test_evaluators_with_one_detector_share_its_work_and_a_lost_face_is_none() -> None:
    calls = []

    def locate(pixels: Pixels) -> Face | None:
        calls.append(1)
        return None if pixels.max() == 0 else made_up_face(2, 2, 10)

    evaluators = [
        Evaluator(name, name, locate, lambda pixels, face: np.ones(2, dtype=np.float32)) for name in ("a", "b")
    ]
    assert set(look(np.ones((20, 20, 3), np.uint8), evaluators)) == {"a", "b"}
    assert len(calls) == 1
    assert look(np.zeros((20, 20, 3), np.uint8), evaluators) == {"a": None, "b": None}
    assert locate_by_mtcnn("cpu") is locate_by_mtcnn("cpu")


def test_the_face_in_the_middle_is_the_persons() -> None:
    photo = np.zeros((100, 100, 3), np.uint8)
    large, central = made_up_face(0, 0, 40), made_up_face(40, 40, 20)
    assert central_face([large, central], photo) == central
    assert central_face([], photo) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "expected TOML, got"),
        ('name = "x"', "expected name, input, embedding, and either file or entry; got name"),
        ('file = "a.onnx"\nentry = "a:b"', "either file or entry; got entry, file"),
        ('file = "a.onnx"\nsize = [1, 1]', "either file or entry; got file, size"),
        ('file = "absent.onnx"', r"absent\.onnx: expected model weights, got No such file"),
        ('file = "own.toml"', r"own\.toml: expected a TorchScript file, got"),
        ('entry = "cloak.absent:f"', r"expected module:factory that can be imported, got 'cloak\.absent:f'"),
        ('entry = "cloak.align:absent"', "expected module:factory that can be imported, got 'cloak.align:absent'"),
        ('file = "colours.onnx"\n[input]\nsides = [1, 1]', "expected size, template, channels, mean and scale"),
        ('file = "colours.onnx"\n[input]\nchannels = "GBR"', "channels 'GBR': RGB or BGR"),
        ('file = "colours.onnx"\n[input]\nsize = [112]', r"size \(112,\): two whole numbers"),
        ('file = "colours.onnx"\n[input]\ntemplate = [[1, 2]]', "five points"),
        ('file = "colours.onnx"\n[input]\nscale = 0.0', "a positive one"),
    ],
)
def test_what_is_wrong_with_a_specification_is_said(tmp_path: Path, text: str, message: str) -> None:
    colour_model(tmp_path)
    with pytest.raises(CloakError, match=message):
        load_evaluator(specification(tmp_path, text))


def test_a_model_for_crops_of_another_size_is_refused(tmp_path: Path) -> None:
    colour_model(tmp_path, size=(112, 96))
    with pytest.raises(UsageError, match=r"expected a model for crops of \(112, 112\) .*, got one for \(112, 96\)"):
        load_evaluator(specification(tmp_path, 'file = "colours.onnx"'))


def test_unknown_references_list_the_kinds_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"expected a recogniser, one of dlib, .*; got 'arcface'; an evaluator can also be dlib-cpp"
    ):
        load_evaluator("arcface")
    with pytest.raises(UsageError, match=r"expected the specification of a recogniser, got No such file"):
        load_evaluator(str(tmp_path / "absent.toml"))


def test_arcface_is_the_default_of_a_specification() -> None:
    spec = InputSpec.from_toml({})
    assert (spec.size, spec.template, spec.channels) == ((112, 112), ARCFACE, "RGB")
    crop = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(spec.preprocess(crop), (255 * crop - 127.5) / 127.5)


def test_the_shared_evaluators_tell_people_apart(shared: Path, tmp_path: Path) -> None:
    people = sorted((shared / "data/lfw-dev/people").iterdir())[:2]
    photos = (*sorted(people[0].iterdir())[:2], min(people[1].iterdir()))
    every = sorted((ROOT / "benchmarks/evaluators").glob("*.toml"))
    specifications = [path for path in every if "/shared/" in path.read_text()]
    assert specifications
    for path in specifications:
        own = tmp_path / path.name
        own.write_text(path.read_text().replace("../../../shared", str(shared.resolve())))
        evaluator = load_evaluator(str(own))
        one, same, other = (
            unit(evaluator.embed(pixels, evaluator.locate(pixels)))
            for pixels in (read_photo(photo).pixels for photo in photos)
        )
        assert one @ same > 0.4 > one @ other, path.stem


def test_onnxruntime_says_what_is_no_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install -e .[dev])")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x00" * 100)
    with pytest.raises(UsageError, match=r"broken\.onnx: expected an ONNX model, got"):
        onnx_session(broken)
