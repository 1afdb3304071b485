"""Weights in eight bits, so that a network of twenty million numbers is a file of twenty megabytes.

Each row of a matrix, and each output channel of a convolution, is a whole number of -127..127 times
one scale; embeddings keep a cosine of .999 to the unrounded network's. All else (biases, running
statistics) stays as it is, and the network computes in float32 as ever.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
"""Ending of the tensor that holds the scales of another."""

LARGEST = 127.0


def rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as it is stored: int8 and scales for what has rows."""
    stored = {}
    for name, values in state.items():
        if values.ndim < 2:
            stored[name] = values
            continue
        scales = values.float().flatten(1).abs().amax(dim=1).clamp_min(1e-12) / LARGEST
        stored[name] = (values / _for_rows(scales, values)).round().to(torch.int8)
        stored[name + SCALE] = scales
    return stored


def restored(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``rounded`` stored, as float32; a state dict without tensors in eight bits stays as it is."""
    scales = {name + SCALE for name, values in stored.items() if values.dtype == torch.int8} & stored.keys()
    return {
        name: values.float() * _for_rows(stored[name + SCALE], values) if name + SCALE in scales else values
        for name, values in stored.items()
        if name not in scales
    }


def _for_rows(scales: Tensor, values: Tensor) -> Tensor:
    return scales.view(-1, *[1] * (values.ndim - 1))
