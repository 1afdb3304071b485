"""MobileFaceNet in PyTorch against a file of the published one's layout, and what that one gives."""

import runpy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cloak.recognizers.mobilefacenet import BLOCKS, SIDE, STEM, WIDTH, MobileFaceNet
from cloak.recognizers.onnx_file import smooth_crops
from tests.helpers import ROOT, embedding_of_grace_hopper

onnx = pytest.importorskip("onnx", reason="needs onnx (pip install -e .[dev])")
runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install -e .[dev])")

convert = runpy.run_path(str(ROOT / "weights/convert_mobilefacenet.py"))["convert"]

PUBLISHED = (0.0351, 0.0386, 0.0401, 0.051, -0.0089, 0.0346, 0.0365, -0.018)
"""First numbers of Grace Hopper's embedding, as onnxruntime gives them for the published file."""


class Published:
    """A graph in the layout of fr_feature.onnx, with random weights."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.last = "input"

    def add(self, operator: str, *parameters: Any, **attributes: Any) -> None:
        number = len(self.nodes)
        names = [f"{number}_{index}" for index in range(len(parameters))]
        self.tensors += [
            onnx.numpy_helper.from_array(np.asarray(values), name)
            for name, values in zip(names, parameters, strict=True)
        ]
        self.nodes.append(onnx.helper.make_node(operator, [self.last, *names], [f"after_{number}"], **attributes))
        self.last = f"after_{number}"

    def convolution(
        self, inputs: int, outputs: int, side: int = 1, stride: int = 1, groups: int = 1, pad: int = 0
    ) -> None:
        spread = (2 / (inputs // groups * side**2)) ** 0.5
        weight = spread * self.random.standard_normal((outputs, inputs // groups, side, side))
        bias = 0.1 * self.random.standard_normal(outputs)
        numbers = {"pads": [pad] * 4, "strides": [stride] * 2, "group": groups, "kernel_shape": [side] * 2}
        self.add("Conv", weight.astype(np.float32), bias.astype(np.float32), **numbers)

    def layer(self, inputs: int, outputs: int, side: int = 1, stride: int = 1, groups: int = 1) -> None:
        self.convolution(inputs, outputs, side, stride, groups, side // 2)
        self.add("PRelu", self.random.uniform(-0.2, 0.5, (outputs, 1, 1)).astype(np.float32))

    def bottleneck(self, inputs: int, within: int, outputs: int, stride: int) -> None:
        before = self.last
        self.layer(inputs, within)
        self.layer(within, within, 3, stride, within)
        self.convolution(within, outputs)
        if stride == 1:
            self.nodes.append(onnx.helper.make_node("Add", [before, self.last], [f"sum_{len(self.nodes)}"]))
            self.last = f"sum_{len(self.nodes) - 1}"

    def model(self) -> Any:
        self.layer(3, STEM, 3, 2)
        self.layer(STEM, STEM, 3, 1, STEM)
        inputs = STEM
        for within, outputs, stride in BLOCKS:
            self.bottleneck(inputs, within, outputs, stride)
            inputs = outputs
        self.layer(inputs, WIDTH)
        self.convolution(WIDTH, WIDTH, SIDE, groups=WIDTH)
        self.convolution(WIDTH, WIDTH)
        self.add("Reshape", np.array([1, -1]))
        given = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 112, 112])
        result = onnx.helper.make_tensor_value_info(self.last, onnx.TensorProto.FLOAT, [1, WIDTH])
        graph = onnx.helper.make_graph(self.nodes, "published", [given], [result], self.tensors)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 9)], ir_version=6)


def test_a_converted_file_gives_the_published_networks_embeddings() -> None:
    model = Published().model()
    session = runtime.InferenceSession(model.SerializeToString())
    network = MobileFaceNet().eval()
    network.load_state_dict(convert(model))
    crops = 2.0 * smooth_crops(2, (112, 112)) - 1.0
    expected = torch.cat([torch.from_numpy(session.run(None, {"input": crop[None].numpy()})[0]) for crop in crops])
    with torch.no_grad():
        found = network(crops)
    torch.testing.assert_close(F.normalize(found), F.normalize(expected), atol=1e-4, rtol=0)
    assert float((F.normalize(found)[0] - F.normalize(found)[1]).abs().max()) > 0.01


def test_another_graph_is_refused() -> None:
    model = Published().model()
    first, second = model.graph.node[:2]
    first.op_type, second.op_type = second.op_type, first.op_type
    with pytest.raises(ValueError, match=r"expected Conv for stem\.0\.0, got PRelu"):
        convert(model)
    del model.graph.node[:2]
    with pytest.raises(ValueError, match="expected 83 layers, got 81"):
        convert(model)


def test_the_shipped_file_gives_the_published_files_embedding_of_a_face() -> None:
    embedding = embedding_of_grace_hopper("mobilefacenet")
    torch.testing.assert_close(embedding[: len(PUBLISHED)], torch.tensor(PUBLISHED), atol=2e-3, rtol=0)
