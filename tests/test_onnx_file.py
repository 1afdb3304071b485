"""ONNX files, run by onnxruntime and converted to PyTorch: the same embeddings, and gradients."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cloak.align import crop_face
from cloak.bench.evaluators import locate_by_mtcnn
from cloak.errors import UsageError
from cloak.photo import read_photo
from cloak.recognizers import InputSpec, load_recognizer
from cloak.recognizers.onnx_file import TOLERANCE, OneByOne, OnnxRuntime, convert_onnx, smooth_crops
from cloak.recognizers.source import external_files
from tests.helpers import ROOT

onnx = pytest.importorskip("onnx", reason="needs onnx (pip install -e .[dev])")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install -e .[dev])")
onnx2torch = pytest.importorskip("onnx2torch", reason="needs onnx2torch (pip install -e .[dev])")

HEIGHT, WIDTH = SIZE = (24, 20)
SPEC = InputSpec(size=SIZE)
TEMPLATE = "template = [[5.0, 8.0], [15.0, 8.0], [10.0, 12.0], [6.0, 18.0], [14.0, 18.0]]"
FLOAT = onnx.TensorProto.FLOAT
CROPS = (1, 3, HEIGHT, WIDTH)


pytestmark = pytest.mark.usefixtures("one_thread")


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def save(
    folder: Path,
    nodes: Sequence[Any],
    tensors: dict[str, Any] | None = None,
    *,
    batch: int | str = "n",
    inputs: dict[str, Any] | None = None,
    outputs: str = "y",
) -> Path:
    """An ONNX file whose graph takes crops ``x`` and gives ``y``; ``inputs``: name -> (kind, shape)."""
    helper = onnx.helper
    inputs = inputs or {"x": (FLOAT, [batch, 3, HEIGHT, WIDTH])}
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info(name, *given) for name, given in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs.split()],
        [onnx.numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()],
    )
    path = folder / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


MEANS = (node("GlobalAveragePool", "x", "m"), node("Flatten", "m", "y"))
"""The simplest embedding: the mean of each channel."""


def convolutional(folder: Path) -> Path:
    """A small network of the layers that recognisers have, with seeded weights."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return random.normal(size=shape, scale=0.5).astype(np.float32)

    nodes = [
        node("Conv", "x w1 b1", "a", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a scale shift mean variance", "b"),
        node("PRelu", "b slope", "c"),
        node("Conv", "c w2", "d", group=8, pads=[1, 1, 1, 1]),
        node("Add", "c d", "e"),
        node("Conv", "e w3", "f", strides=[2, 2]),
        node("Sigmoid", "f", "g"),
        node("GlobalAveragePool", "g", "m"),
        node("Flatten", "m", "h"),
        node("Gemm", "h w4 b4", "y", transB=1),
    ]
    tensors = {"w1": normal(8, 3, 3, 3), "b1": normal(8), "w2": normal(8, 1, 3, 3), "w3": normal(12, 8, 3, 3)}
    tensors |= {"scale": normal(8), "shift": normal(8), "mean": normal(8), "variance": normal(8) ** 2 + 0.5}
    tensors |= {"slope": np.full((8, 1, 1), 0.25, np.float32), "w4": normal(16, 12), "b4": normal(16)}
    return save(folder, nodes, tensors)


def preprocessed(count: int, seed: int = 1) -> Tensor:
    """(count, 3, *SIZE) in -1..1, other ones than conversion itself is tried on."""
    return 2.0 * torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed)) - 1.0


def test_a_converted_network_gives_the_embeddings_of_onnxruntime(tmp_path: Path) -> None:
    path = convolutional(tmp_path)
    expected = OnnxRuntime(path, SPEC)(preprocessed(5))
    assert expected.std(dim=0).min() > 100 * TOLERANCE
    torch.testing.assert_close(convert_onnx(path, SPEC)(preprocessed(5)), expected, atol=TOLERANCE, rtol=0)


def test_the_gradient_is_the_slope_that_onnxruntime_shows(tmp_path: Path) -> None:
    path = convolutional(tmp_path)
    crops = preprocessed(2).requires_grad_(True)
    along = torch.randn(2, 16, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((convert_onnx(path, SPEC)(crops) * along).sum(), crops)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
    runtime, step = OnnxRuntime(path, SPEC), 0.1 * gradient / gradient.norm()
    rise = ((runtime(crops + step) - runtime(crops - step)) * along).sum()
    torch.testing.assert_close(rise, 0.2 * gradient.norm(), rtol=0.02, atol=0)


def test_weights_that_the_graph_computes_are_folded(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    nodes = [
        node("Constant", "", "double", value=onnx.numpy_helper.from_array(weights)),
        node("Cast", "double", "whole", to=FLOAT),
        node("Mul", "whole half", "w"),
        node("Conv", "x w", "c"),
        node("GlobalAveragePool", "c", "m"),
        node("Flatten", "m", "y"),
    ]
    path = save(tmp_path, nodes, {"half": np.array(0.5, np.float32)})
    with pytest.raises(KeyError):
        onnx2torch.convert(onnx.load(path))
    crops = preprocessed(3)
    expected = nn.functional.conv2d(crops, torch.from_numpy(weights / 2).float()).mean(dim=(2, 3))
    torch.testing.assert_close(convert_onnx(path, SPEC)(crops), expected, atol=TOLERANCE, rtol=0)


def test_a_file_that_was_exported_for_a_single_crop_takes_batches(tmp_path: Path) -> None:
    nodes = [node("GlobalAveragePool", "x", "m"), node("Reshape", "m shape", "y")]
    path = save(tmp_path, nodes, {"shape": np.array([1, -1])}, batch=1)
    crops = preprocessed(5)
    expected = crops.mean(dim=(2, 3))
    torch.testing.assert_close(OnnxRuntime(path, SPEC)(crops), expected)
    network = convert_onnx(path, SPEC)
    assert isinstance(network, OneByOne)
    torch.testing.assert_close(network(crops), expected)
    crops.requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(crops)[3].sum(), crops)
    assert gradient.abs().amax(dim=(1, 2, 3)).gt(0).tolist() == [False, False, False, True, False]


def test_a_file_that_says_it_takes_batches_and_does_not_is_run_one_by_one(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x shape", "a"), node("ReduceMean", "a", "y", axes=[2], keepdims=0)]
    path, crops = save(tmp_path, nodes, {"shape": np.array([1, 3, HEIGHT * WIDTH])}), preprocessed(3)
    for network in (OnnxRuntime(path, SPEC), convert_onnx(path, SPEC)):
        torch.testing.assert_close(network(crops), crops.mean(dim=(2, 3)))


def test_normalisation_that_cannot_be_folded_uses_the_files_statistics(tmp_path: Path) -> None:
    nodes = [*MEANS[:1], node("Flatten", "m", "f"), node("BatchNormalization", "f scale shift mean variance", "y")]
    tensors = {name: np.array(values, np.float32) for name, values in STATISTICS.items()}
    path, crops = save(tmp_path, nodes, tensors), preprocessed(3)
    expected = OnnxRuntime(path, SPEC)(crops)
    torch.testing.assert_close(convert_onnx(path, SPEC)(crops), expected, atol=TOLERANCE, rtol=0)


STATISTICS = {"scale": (1, 2, 3), "shift": (0, 1, 2), "mean": (0.1, 0.2, 0.3), "variance": (0.5, 1.0, 2.0)}


@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_file_for_batches_of_one_size_takes_others(tmp_path: Path, count: int) -> None:
    path, crops = save(tmp_path, MEANS, batch=4), preprocessed(count)
    for network in (OnnxRuntime(path, SPEC), convert_onnx(path, SPEC)):
        torch.testing.assert_close(network(crops), crops.mean(dim=(2, 3)))


def test_of_several_outputs_the_first_is_the_embedding(tmp_path: Path) -> None:
    path, crops = save(tmp_path, [*MEANS, node("Neg", "y", "z")], outputs="z y"), preprocessed(2)
    for network in (OnnxRuntime(path, SPEC), convert_onnx(path, SPEC)):
        torch.testing.assert_close(network(crops), -crops.mean(dim=(2, 3)))


UNSUPPORTED = [
    node("GlobalMaxPool", "x", "m"),
    node("Flatten", "m", "f"),
    node("LpNormalization", "f", "g"),
    node("LpNormalization", "g", "y"),
]
"""Operators that onnxruntime runs, and onnx2torch has no converter for."""


def test_operators_that_cannot_be_converted_are_named_and_serve_an_evaluator(tmp_path: Path) -> None:
    path = save(tmp_path, UNSUPPORTED)
    with pytest.raises(
        UsageError,
        match=r"network\.onnx: expected operators that can be converted to PyTorch, got GlobalMaxPool, "
        r"LpNormalization; it can be an evaluator, but no surrogate",
    ):
        convert_onnx(path, SPEC)
    specification = tmp_path / "own.toml"
    specification.write_text(f'file = "network.onnx"\n[input]\nsize = [{HEIGHT}, {WIDTH}]\n{TEMPLATE}')
    crops = smooth_crops(3, SIZE)
    expected = nn.functional.normalize((2.0 * crops - 1.0).amax(dim=(2, 3)))
    found = load_recognizer(str(specification), gradients=False)(crops)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match="no surrogate"):
        load_recognizer(str(specification))


def test_what_a_converter_refuses_is_said(tmp_path: Path) -> None:
    nodes = [node("MaxPool", "x", "p", kernel_shape=[2, 2], auto_pad="SAME_LOWER"), node("Flatten", "p", "y")]
    path = save(tmp_path, nodes)
    with pytest.raises(
        UsageError, match=r"could not be converted to PyTorch \(NotImplementedError: .*SAME_LOWER.*\); it can be an eva"
    ):
        convert_onnx(path, SPEC)


def test_a_conversion_that_changes_the_embeddings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, convert = convolutional(tmp_path), onnx2torch.convert

    def convert_wrongly(model: Any) -> nn.Module:
        network: nn.Module = convert(model)
        with torch.no_grad():
            next(network.parameters())[0] += 0.05
        return network

    monkeypatch.setattr(onnx2torch, "convert", convert_wrongly)
    with pytest.raises(
        UsageError, match=r"expected the embeddings of onnxruntime within 0\.0001 .*, got \d\.\de-0\d; "
    ):
        convert_onnx(path, SPEC)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": (FLOAT, ["n", 3, 24, 24])}, r"for crops of \(24, 20\) \(height, width\), got one for \(24, 24\)"),
        ({"x": (FLOAT, ["n", 3, 20, 24])}, r"for crops of \(24, 20\) \(height, width\), got one for \(20, 24\)"),
        ({"x": (FLOAT, ["n", 3])}, r"takes \(n, 3, height, width\) .*, got tensor\(float\) \('n', 3\)"),
        ({"x": (FLOAT, ["n", 1, 24, 20])}, r"takes \(n, 3, height, width\) .*, got tensor\(float\) \('n', 1, 24, 20\)"),
        ({"x": (FLOAT, ["n", 24, 20, 3])}, r"'n', 24, 20, 3\); export it with the channels first \(tf2onnx: --inputs"),
        ({"x": (onnx.TensorProto.FLOAT16, CROPS)}, r"in float32, and nothing else, got tensor\(float16\) \(1, 3"),
        ({"x": (FLOAT, CROPS), "mask": (FLOAT, ["n", 3])}, r"got tensor\(float\) .* and tensor\(float\) \('n', 3\)"),
    ],
)
def test_a_model_for_other_inputs_is_refused(tmp_path: Path, inputs: dict[str, Any], message: str) -> None:
    path = save(tmp_path, [node("Cast", "x", "y", to=FLOAT)], inputs=inputs)
    for load in (OnnxRuntime, convert_onnx):
        with pytest.raises(UsageError, match=rf"network\.onnx: expected a model .*{message}"):
            load(path, SPEC)


def test_a_model_for_crops_of_any_size_is_accepted(tmp_path: Path) -> None:
    path = save(tmp_path, MEANS, inputs={"x": (FLOAT, ["n", "c", "h", None])})
    for network in (OnnxRuntime(path, SPEC), convert_onnx(path, SPEC)):
        torch.testing.assert_close(network(preprocessed(2)), preprocessed(2).mean(dim=(2, 3)))


def test_a_model_that_fails_on_crops_is_refused(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x shape", "y")]
    path = save(tmp_path, nodes, {"shape": np.array([7, 11])})
    with pytest.raises(UsageError, match=r"expected a model for crops \(1, 3, 24, 20\), got: .*ONNXRuntimeError"):
        convert_onnx(path, SPEC)


@pytest.mark.parametrize(("package", "gradients"), [("onnx", True), ("onnx2torch", True), ("onnxruntime", False)])
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, gradients: bool
) -> None:
    save(tmp_path, MEANS)
    specification = tmp_path / "own.toml"
    specification.write_text(f'file = "network.onnx"\n[input]\nsize = [{HEIGHT}, {WIDTH}]\n{TEMPLATE}')
    monkeypatch.setitem(sys.modules, package, None)  # as import sees a package that is not there
    with pytest.raises(UsageError, match=rf"needs {package}; install it with: pip install 'cloak\[models\]'"):
        load_recognizer(str(specification), gradients=gradients)
    if gradients:
        assert load_recognizer(str(specification), gradients=False)(smooth_crops(2, SIZE)).shape == (2, 3)


@pytest.mark.parametrize("name", ["mfn_casia", "mfn_sirius", "mobileface"])
def test_real_recognisers_see_the_same_faces_when_converted(shared: Path, tmp_path: Path, name: str) -> None:
    text = (ROOT / "benchmarks/evaluators" / f"{name}.toml").read_text()
    specification = tmp_path / "own.toml"
    specification.write_text(text.replace("../../../shared", str(shared.resolve())))
    converted = load_recognizer(str(specification))
    run = load_recognizer(str(specification), gradients=False)
    crops = []
    for person in sorted((shared / "data/lfw-dev/people").iterdir())[:2]:
        pixels = read_photo(min(person.iterdir())).pixels
        face = locate_by_mtcnn("cpu")(pixels)
        assert face
        crops.append(crop_face(pixels, face.landmarks, run.spec.template, run.spec.size))
    faces = torch.cat(crops).requires_grad_(True)
    found, expected = converted(faces), run(faces.detach())
    assert float(expected[0] @ expected[1]) < 0.5
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    (gradient,) = torch.autograd.grad((found[0] * found[1]).sum(), faces)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_weights_beside_the_file_are_read_and_part_of_what_it_is(tmp_path: Path) -> None:
    """As ``torch.onnx.export`` writes them."""
    weights = np.random.default_rng(0).normal(size=(3 * HEIGHT * WIDTH, 8)).astype(np.float32)
    path = save(tmp_path, [node("Flatten", "x", "flat"), node("MatMul", "flat W", "y")], {"W": weights})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="network.onnx.data", size_threshold=0)
    (data,) = external_files(path)
    assert data == tmp_path / "network.onnx.data"
    specification = tmp_path / "own.toml"
    specification.write_text(f'file = "network.onnx"\n[input]\nsize = [{HEIGHT}, {WIDTH}]\n{TEMPLATE}\n')
    before = load_recognizer(str(specification))
    crops = smooth_crops(2, SIZE)
    expected = SPEC.preprocess(crops).flatten(1) @ torch.from_numpy(weights)
    torch.testing.assert_close(before.raw(crops), expected, rtol=1e-4, atol=1e-2)
    onnx_bytes = path.read_bytes()
    data.write_bytes(np.roll(weights, 1, axis=1).tobytes())
    after = load_recognizer(str(specification))
    assert path.read_bytes() == onnx_bytes
    assert after.fingerprint != before.fingerprint
    data.unlink()
    with pytest.raises(UsageError, match=r"network\.onnx"):
        load_recognizer(str(specification))
    assert external_files(tmp_path / "own.toml") == []
