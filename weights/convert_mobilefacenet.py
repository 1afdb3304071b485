"""Convert Faceplugin's published network to ``mobilefacenet_v1.safetensors``.

    python weights/convert_mobilefacenet.py fr_feature.onnx

The file lies in the npm package ``faceplugin-face-recognition-js`` 0.0.1, under ``package/model``
(``npm pack faceplugin-face-recognition-js@0.0.1``). The weights are kept in half precision.
"""

import sys
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.recognizers.mobilefacenet import MobileFaceNet
from weights.conversion import read_published, write_weights

SOURCE_SHA256 = "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581"
OUTPUT = Path(__file__).with_name("mobilefacenet_v1.safetensors")


def convert(model: onnx.ModelProto) -> dict[str, Tensor]:
    """The published file -> state dict of ``MobileFaceNet``.

    Raises:
        ValueError: its layers are others.
    """
    tensors = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "PRelu")]
    modules = [
        (name, module) for name, module in MobileFaceNet().named_modules() if isinstance(module, nn.Conv2d | nn.PReLU)
    ]
    if len(layers) != len(modules):
        raise ValueError(f"expected {len(modules)} layers, got {len(layers)}")
    state = {}
    for node, (name, module) in zip(layers, modules, strict=True):
        expected = "Conv" if isinstance(module, nn.Conv2d) else "PRelu"
        if node.op_type != expected:
            raise ValueError(f"expected {expected} for {name}, got {node.op_type}")
        weight, *bias = (tensors[key] for key in node.input[1:])
        state[f"{name}.weight"] = weight.reshape(module.weight.shape)
        if bias:
            state[f"{name}.bias"] = bias[0]
    return state


def main() -> None:
    data = read_published(__doc__, "fr_feature.onnx", SOURCE_SHA256)
    state = convert(onnx.load_from_string(data))
    MobileFaceNet().load_state_dict(state)
    write_weights({name: tensor.half() for name, tensor in state.items()}, OUTPUT)


if __name__ == "__main__":
    main()
