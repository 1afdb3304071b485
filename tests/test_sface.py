"""SFace in PyTorch against the file that its authors published, and a file of its layout."""

import runpy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cloak.recognizers.onnx_file import smooth_crops
from cloak.recognizers.sface import BLOCKS, SIDE, STEM, SFaceNet
from tests.helpers import ROOT, embedding_of_grace_hopper

onnx = pytest.importorskip("onnx", reason="needs onnx (pip install -e .[dev])")
runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime (pip install -e .[dev])")

convert = runpy.run_path(str(ROOT / "weights/convert_sface.py"))["convert"]

PUBLISHED = (-0.0692, 0.0417, 0.02, -0.0889, 0.1774, 0.1136, 0.1043, 0.0491)
"""First numbers of Grace Hopper's embedding, as onnxruntime gives them for the published file."""


class Published:
    """A graph in the layout of face_recognition_sface_2021dec.onnx, with random weights."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.last = "data"

    def add(self, operator: str, *parameters: NDArray[Any], **attributes: Any) -> None:
        number = len(self.nodes)
        names = [f"{number}_{index}" for index in range(len(parameters))]
        self.tensors += [
            onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)
            for name, values in zip(names, parameters, strict=True)
        ]
        output = f"after_{number}"
        self.nodes.append(onnx.helper.make_node(operator, [self.last, *names], [output], **attributes))
        self.last = output

    def normal(self, *shape: int, spread: float = 1.0) -> NDArray[Any]:
        return spread * self.random.standard_normal(shape)

    def normalised(self, channels: int, epsilon: float) -> None:
        scale, variance = self.random.uniform(0.5, 1.5, channels), self.random.uniform(0.5, 1.5, channels)
        shift, mean = self.normal(channels, spread=0.1), self.normal(channels, spread=0.1)
        self.add("BatchNormalization", scale, shift, mean, variance, epsilon=epsilon)

    def convolution(self, inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> None:
        weight = self.normal(outputs, inputs // groups, side, side, spread=(2 / (inputs // groups * side**2)) ** 0.5)
        pad, strides = side // 2, [stride, stride]
        self.add("Conv", weight, pads=[pad] * 4, strides=strides, group=groups, kernel_shape=[side, side])
        self.normalised(outputs, 1e-3)
        self.add("PRelu", self.random.uniform(-0.2, 0.5, (outputs, 1, 1)))

    def model(self) -> Any:
        self.add("Sub", np.array([127.5]))
        self.add("Mul", np.array([1 / 128]))
        self.convolution(3, STEM, 3)
        inputs = STEM
        for outputs, stride in BLOCKS:
            self.convolution(inputs, inputs, 3, stride, groups=inputs)
            self.convolution(inputs, outputs, 1)
            inputs = outputs
        self.normalised(inputs, 2e-5)
        self.add("Flatten")
        self.add("Gemm", self.normal(128, inputs * SIDE**2, spread=0.005), self.normal(128), transB=1)
        self.normalised(128, 2e-5)
        shape = [1, 3, 112, 112]
        given = onnx.helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, shape)
        result = onnx.helper.make_tensor_value_info(self.last, onnx.TensorProto.FLOAT, [1, 128])
        graph = onnx.helper.make_graph(self.nodes, "published", [given], [result], self.tensors)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=6)


def test_a_converted_file_gives_the_published_networks_embeddings() -> None:
    model = Published().model()
    session = runtime.InferenceSession(model.SerializeToString())
    network = SFaceNet().eval()
    network.load_state_dict(convert(model))
    crops = 255.0 * smooth_crops(2, (112, 112))
    expected = torch.cat([torch.from_numpy(session.run(None, {"data": crop[None].numpy()})[0]) for crop in crops])
    with torch.no_grad():
        found = network((crops - 127.5) / 128.0)
    torch.testing.assert_close(F.normalize(found), F.normalize(expected), atol=1e-4, rtol=0)
    assert float((F.normalize(found)[0] - F.normalize(found)[1]).abs().max()) > 0.01


def test_another_graph_is_refused() -> None:
    model = Published().model()
    del model.graph.node[2]
    with pytest.raises(ValueError, match="expected Conv, got BatchNormalization"):
        convert(model)


def test_the_shipped_file_gives_the_published_files_embedding_of_a_face() -> None:
    embedding = embedding_of_grace_hopper("sface")
    torch.testing.assert_close(embedding[: len(PUBLISHED)], torch.tensor(PUBLISHED), atol=2e-3, rtol=0)
