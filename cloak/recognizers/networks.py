"""Source -> network: each form that a recogniser comes in, one function."""

import inspect
import io
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from cloak.errors import UsageError, WeightsError, in_a_line
from cloak.imports import find_attribute
from cloak.recognizers.dlib_resnet import DlibResNet29
from cloak.recognizers.edgeface import edgeface_s, edgeface_xs
from cloak.recognizers.eight_bits import restored
from cloak.recognizers.facenet import UNUSED, FaceNet, facenet_ms1m
from cloak.recognizers.light_cnn import LightCNN
from cloak.recognizers.mobilefacenet import MobileFaceNet
from cloak.recognizers.onnx_file import OnnxRuntime, convert_onnx
from cloak.recognizers.sface import SFaceNet
from cloak.recognizers.source import Source
from cloak.weights import read_verified


@dataclass(frozen=True)
class Architecture:
    """A network that a state dict is loaded into.

    Attributes:
        build: makes it, with random weights.
        unused: tensors of the published file that embedding does not need.
    """

    build: Callable[[], nn.Module]
    unused: tuple[str, ...] = ()


ARCHITECTURES: Mapping[str, Architecture] = {
    "dlib_resnet29": Architecture(DlibResNet29),
    "inception_resnet_v1": Architecture(FaceNet, UNUSED),
    "inception_resnet_v1_128": Architecture(facenet_ms1m),
    "light_cnn": Architecture(LightCNN),
    "edgeface_xs": Architecture(edgeface_xs),
    "edgeface_s": Architecture(edgeface_s),
    "sface": Architecture(SFaceNet),
    "mobilefacenet": Architecture(MobileFaceNet),
}


class Function(nn.Module):
    """A Python function as a network."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.function(x)).float().to(x.device)


def load_network(source: Source, *, gradients: bool) -> tuple[nn.Module, Tensor | None]:
    """The network of a source, and the mean embedding that its file may hold.

    Args:
        source: what to load.
        gradients: whether they are wanted; without, an ONNX file is run by onnxruntime.

    Raises:
        UsageError: it cannot be loaded, or not with gradients.
        WeightsError: its file is absent or not the one that is expected.
    """
    if source.file is None:
        return _python(source.entry), None
    data = read_verified(source.file, source.sha256, source.advice)
    if source.architecture:
        return _with_weights(source, data)
    if source.file.suffix == ".onnx":
        return (convert_onnx if gradients else OnnxRuntime)(source.file, source.spec), None
    return _torchscript(data, source.file), None


def _with_weights(source: Source, data: bytes) -> tuple[nn.Module, Tensor | None]:
    assert source.file is not None
    if source.architecture not in ARCHITECTURES:
        raise UsageError(
            f"expected an architecture, one of {', '.join(ARCHITECTURES)}; got {source.architecture!r} in {source.name}"
        )
    architecture = ARCHITECTURES[source.architecture]
    state = restored(tensors_of(data, source.file))
    mean = state.pop("embedding_mean", None)
    mean = None if mean is None else mean.float()
    network = architecture.build()
    try:
        network.load_state_dict({key: value for key, value in state.items() if key not in architecture.unused})
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:300]
        raise WeightsError(f"{source.file}: expected the weights of {source.architecture}, got: {problem}") from None
    return network, mean


def _torchscript(data: bytes, path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch would rather have torch.export
            network: nn.Module = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"{path}: expected a TorchScript file, got: {in_a_line(error)}; a state dict needs its "
            "architecture named in the specification"
        ) from None
    return network


def _python(entry: str) -> nn.Module:
    found = find_attribute(entry, "factory")
    if not isinstance(found, nn.Module) and _is_factory(found):
        try:
            found = found()
        except Exception as error:
            raise UsageError(f"{entry}: expected a factory of a network, got {in_a_line(error)}") from error
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise UsageError(f"{entry}: expected a network, or a function that makes one, got {type(found).__name__}")
    return Function(found)


def _is_factory(found: Any) -> bool:
    """Whether something can be called without arguments."""
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):  # it needs arguments, or is C code that does not tell
        return False
    return True


def tensors_of(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a PyTorch state dict; nothing in it is executed.

    Raises:
        WeightsError: it is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return load(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected tensors (safetensors, or a state dict), got: {in_a_line(error)}"
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a state dict, got {type(state).__name__}")
    return dict(state)
