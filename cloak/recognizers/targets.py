"""Strangers that a cloak first leads towards: means of many like faces, as each surrogate sees them.

``weights/make_targets.py`` made the file. All surrogates have the same strangers in the same order.
"""

from collections.abc import Mapping
from functools import cache

import torch
from safetensors.torch import load
from torch import Tensor

from cloak.folders import shipped_weights
from cloak.weights import read_verified

FILE = "targets_v1.safetensors"
SHA256 = "f61c55040a25702246d80dc6c6ca9de5312aa917c4b6eb43b96b813d63d89a2b"


@cache
def _shipped() -> Mapping[str, Tensor]:
    return load(read_verified(shipped_weights() / FILE, SHA256, "reinstall cloak"))


def targets_of(name: str) -> Tensor:
    """The strangers' embeddings, (k, d) of length 1; none, (0, 0), for a recogniser that does not ship.

    Raises:
        WeightsError: the file is absent or damaged.
    """
    return _shipped()[name].float() if name in _shipped() else torch.zeros(0, 0)
