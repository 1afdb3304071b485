"""The recognisers that cloak knows: one family a file, one entry in each table below."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from cloak.errors import UsageError
from cloak.recognizers.base import ARCFACE, InputSpec, Recognizer, RecognizerSpec
from cloak.recognizers.dlib_resnet import DlibResNet29
from cloak.weights import load_weights, read_manifest

__all__ = ["ARCFACE", "ARCHITECTURES", "EMBEDDED", "InputSpec", "Recognizer", "RecognizerSpec", "load_recognizer"]

ARCHITECTURES: Mapping[str, Callable[[], nn.Module]] = {
    "dlib_resnet29": DlibResNet29,
}

EMBEDDED = ("dlib",)
"""The recognisers whose weights ship with cloak: the default surrogates."""


def load_recognizer(name: str, device: torch.device | str = "cpu") -> Recognizer:
    """Load a recogniser of the manifest, frozen, on a device.

    Raises:
        UsageError: no recogniser of this name is known.
        WeightsError: its file is absent or not the one that the manifest names.
    """
    manifest = read_manifest()
    if name not in manifest:
        raise UsageError(f"expected a recogniser, one of {', '.join(sorted(manifest))}; got {name!r}")
    entry = manifest[name]
    state = load_weights(entry)
    embedding_mean = state.pop("embedding_mean")
    network = ARCHITECTURES[entry["architecture"]]()
    network.load_state_dict(state, strict=True)
    recognizer = Recognizer(RecognizerSpec.from_manifest(name, entry), network, embedding_mean)
    return recognizer.to(device).to(memory_format=torch.channels_last)
