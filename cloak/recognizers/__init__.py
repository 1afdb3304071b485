"""The recognisers that cloak knows, and the user's own: one family a file, one table entry each.

A network of a new kind is an entry of ``networks.ARCHITECTURES``; weights for it are an entry of
``weights/manifest.toml``; a user's own model is a specification, see ``source``.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cloak.errors import CloakError, UsageError
from cloak.recognizers.base import ARCFACE, InputSpec, Recognizer, RecognizerSpec
from cloak.recognizers.networks import ARCHITECTURES, load_network
from cloak.recognizers.onnx_file import smooth_crops
from cloak.recognizers.source import Source, find_source

__all__ = [
    "ARCFACE",
    "ARCHITECTURES",
    "EMBEDDED",
    "SURROGATES",
    "InputSpec",
    "Recognizer",
    "RecognizerSpec",
    "Source",
    "find_source",
    "load_recognizer",
    "load_source",
]

SURROGATES = ("dlib-robust", "sface", "mobilefacenet", "lightcnn", "facenet-ms1m")
"""The recognisers that ship with cloak and that cloaks are made against."""

EMBEDDED = ("dlib", *SURROGATES)
"""All whose weights ship; dlib judges."""


def load_recognizer(
    reference: str, device: torch.device | str = "cpu", *, folder: Path | None = None, gradients: bool = True
) -> Recognizer:
    """Load a recogniser, frozen, on a device.

    Args:
        reference: a name, a file, a specification or module:factory, see ``source``.
        device: where it runs.
        folder: what relative paths start from; else the current folder.
        gradients: whether it must have them, as a surrogate must.

    Raises:
        UsageError: no such recogniser, it cannot be loaded, or it has no gradients.
        WeightsError: its file is absent or not the one that is expected.
    """
    return load_source(find_source(reference, folder), device, gradients=gradients)


def load_source(source: Source, device: torch.device | str = "cpu", *, gradients: bool = True) -> Recognizer:
    """Load what was found; see ``load_recognizer``."""
    network, mean = load_network(source, gradients=gradients)
    recognizer = Recognizer(source.spec, network, mean, fingerprint=source.fingerprint())
    # its weights may come from anywhere; on the CPU if it can, since a GPU's numbers differ in their last digits
    seen = _try_on_cpu(recognizer) if source.file is None and torch.device(device).type != "cpu" else None
    recognizer = recognizer.to(device).to(memory_format=torch.channels_last)
    if source.architecture:  # those are tested
        return recognizer
    tried = _try(recognizer, device, gradients=gradients)
    if source.file is None:
        recognizer.fingerprint = _fingerprint_of(recognizer, tried if seen is None else seen)
    return recognizer


def _fingerprint_of(recognizer: Recognizer, tried: Tensor) -> str:
    """A hash of a network's code and weights, and of what it makes of some crops, coarsely: its code may lie in more
    files than are seen."""
    hashed = hashlib.sha256(recognizer.fingerprint.encode())
    for name, weights in sorted(recognizer.network.state_dict().items()):
        hashed.update(
            name.encode() + weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    hashed.update(repr(F.normalize(tried.detach().cpu(), dim=1).mul(10).round().int().tolist()).encode())
    return hashed.hexdigest()[:32]


def _try_on_cpu(recognizer: Recognizer) -> Tensor | None:
    """Some crops' embeddings; None where it does not work there."""
    try:
        return _try(recognizer, "cpu", gradients=False)
    except UsageError:
        return None


def _try(recognizer: Recognizer, device: torch.device | str, *, gradients: bool) -> Tensor:
    """Some crops' embeddings; raises UsageError unless there are such, with a gradient where that is wanted."""
    name, crops = recognizer.spec.name, smooth_crops(2, recognizer.spec.size).to(device).requires_grad_(gradients)
    try:
        embeddings: Any = recognizer.raw(crops)
    except CloakError:
        raise
    except Exception as error:  # a user's network raises what it comes upon
        problem = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise UsageError(f"{name}: expected a network for crops {tuple(crops.shape)}, got: {problem}") from error
    if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or len(embeddings) != len(crops):
        came = f"shape {tuple(embeddings.shape)}" if isinstance(embeddings, Tensor) else type(embeddings).__name__
        raise UsageError(f"{name}: expected embeddings (n, d), got {came} of {len(crops)} crops")
    if not embeddings.isfinite().all():
        raise UsageError(f"{name}: expected embeddings of finite numbers, got some that are not; check its weights")
    if gradients and not embeddings.requires_grad:
        raise UsageError(f"{name}: expected a network with gradients, got one without; it can only be an evaluator")
    return embeddings
