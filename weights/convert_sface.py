"""Convert SFace's published network to ``sface_v1.safetensors``.

    python weights/convert_sface.py face_recognition_sface_2021dec.onnx

Each batch normalisation is folded, in float64, into the convolution before it; the head's two
into its matrix. What the file does to its input first, (x - 127.5) / 128, is the manifest's to say.
The weights are kept in half precision.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.recognizers.sface import SIDE, SFaceNet
from weights.conversion import read_published, write_weights

SOURCE_SHA256 = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
OUTPUT = Path(__file__).with_name("sface_v1.safetensors")

Array = NDArray[np.float64]


def read_layers(model: onnx.ModelProto) -> Iterator[tuple[str, list[Array]]]:
    """The layers that have parameters, from the input up: (operator, its parameters)."""
    tensors = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in model.graph.initializer}
    for node in model.graph.node:
        parameters = [tensors[name] for name in node.input if name in tensors]
        if node.op_type == "BatchNormalization":
            (epsilon,) = (attribute.f for attribute in node.attribute if attribute.name == "epsilon")
            gamma, beta, mean, variance = parameters
            scale = gamma / np.sqrt(variance + epsilon)
            parameters = [scale, beta - mean * scale]
        if parameters:
            yield node.op_type, parameters


def convert(model: onnx.ModelProto) -> dict[str, Tensor]:
    """The published file -> state dict of ``SFaceNet``."""
    layers = read_layers(model)

    def next_of(operator: str) -> list[Array]:
        found, parameters = next(layers, ("nothing", []))
        if found != operator:
            raise ValueError(f"expected {operator}, got {found}")
        return parameters

    mean, factor = next_of("Sub")[0].item(), next_of("Mul")[0].item()
    if (mean, factor) != (127.5, 1 / 128):
        raise ValueError(f"expected (x - 127.5) / 128, got (x - {mean}) * {factor}")
    state = {}
    for name, module in SFaceNet().named_modules():
        if isinstance(module, torch.nn.Conv2d):
            (weight,), (scale, shift) = next_of("Conv"), next_of("BatchNormalization")
            state[f"{name}.weight"] = weight * scale[:, None, None, None]
            state[f"{name}.bias"] = shift
        elif isinstance(module, torch.nn.PReLU):
            state[f"{name}.weight"] = next_of("PRelu")[0].reshape(-1)
    (before, offset), (weight, bias), (scale, shift) = (
        next_of(operator) for operator in ("BatchNormalization", "Gemm", "BatchNormalization")
    )
    state["head.bias"] = (weight @ np.repeat(offset, SIDE * SIDE) + bias) * scale + shift
    state["head.weight"] = weight * np.repeat(before, SIDE * SIDE) * scale[:, None]
    return {name: torch.from_numpy(values).float() for name, values in state.items()}


def main() -> None:
    data = read_published(__doc__, "face_recognition_sface_2021dec.onnx", SOURCE_SHA256)
    state = convert(onnx.load_from_string(data))
    SFaceNet().load_state_dict(state)
    write_weights({name: tensor.half() for name, tensor in state.items()}, OUTPUT)


if __name__ == "__main__":
    main()
