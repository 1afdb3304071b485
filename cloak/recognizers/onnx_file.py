"""Recognisers in ONNX files: run by onnxruntime, or converted to PyTorch, which has gradients.

Conversion is onnx2torch's, of the graph that onnxruntime has simplified (constants folded). What
comes out is compared with onnxruntime before it is used.
"""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloak.errors import UsageError, in_a_line
from cloak.recognizers.base import InputSpec
from cloak.recognizers.prelu import frozen_prelu

TOLERANCE = 1e-4
"""Largest difference of any number of two embeddings of length 1 that still counts as equal."""


def onnx_session(path: Path, simplified: Path | None = None) -> Any:
    """Open an ONNX file with onnxruntime; its threads do not spin, so that PyTorch's can work.

    Args:
        path: the file.
        simplified: where to write the graph with its constants folded, if anywhere.

    Raises:
        UsageError: onnxruntime is absent, or this is not a model that it can run.
    """
    runtime = _package("onnxruntime", path)
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised as well
    if simplified:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(simplified)
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise UsageError(f"{path}: expected an ONNX model, got: {in_a_line(error)}") from None


class OnnxRuntime(nn.Module):
    """An ONNX file as onnxruntime runs it: no gradients. On the CPU.

    Args:
        path: the file.
        spec: what it wants to be shown.

    Raises:
        UsageError: it is not a recogniser for such crops.
    """

    def __init__(self, path: Path, spec: InputSpec) -> None:
        super().__init__()
        self.path = path
        self.session = onnx_session(path)
        _check_input(path, self.session.get_inputs(), spec)
        given = self.session.get_inputs()[0]
        self.input = given.name
        self.at_once = given.shape[0] if isinstance(given.shape[0], int) else 0
        if not self.at_once and not self._takes_two(spec):
            self.at_once = 1

    def _takes_two(self, spec: InputSpec) -> bool:
        """Whether batches work: some files say so, and reshape to one crop further inside."""
        try:
            self._run(smooth_crops(2, spec.size))
        except UsageError:
            return False
        return True

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, self.at_once) if self.at_once else (x,)
        return torch.cat([self._run(part) for part in parts]).to(x.device)

    def _run(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, d); a model for batches of one size gets black crops besides."""
        lacking = max(0, self.at_once - len(crops))
        shown = F.pad(crops, (0, 0, 0, 0, 0, 0, 0, lacking)).cpu().numpy()
        try:
            embeddings = torch.from_numpy(self.session.run(None, {self.input: shown})[0])
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise UsageError(
                f"{self.path}: expected a model for crops {tuple(crops.shape)}, got: {in_a_line(error)}"
            ) from None
        return (embeddings[: len(crops)] if lacking else embeddings).float()


def _check_input(path: Path, inputs: Sequence[Any], spec: InputSpec) -> None:
    """Raise UsageError unless a model takes crops, of the size that is stated, and nothing else."""
    shape = tuple(inputs[0].shape)
    others = len(inputs) != 1 or inputs[0].type != "tensor(float)"
    if others or len(shape) != 4 or _differ(shape[1:2], (3,)):
        found = " and ".join(f"{given.type} {tuple(given.shape)}" for given in inputs)
        advice = "; export it with the channels first (tf2onnx: --inputs-as-nchw)" if shape[3:] == (3,) else ""
        raise UsageError(
            f"{path}: expected a model that takes (n, 3, height, width) in float32, and nothing else, "
            f"got {found}{advice}"
        )
    if _differ(shape[2:], spec.size):
        raise UsageError(f"{path}: expected a model for crops of {spec.size} (height, width), got one for {shape[2:]}")


def _differ(sides: Sequence[Any], wanted: Sequence[int]) -> bool:
    """Whether sides differ from those wanted; one that has no number fits all."""
    return any(isinstance(side, int) and side != want for side, want in zip(sides, wanted, strict=True))


class OneByOne(nn.Module):
    """A network that was exported for a single crop, for batches."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.network(crop[None]) for crop in x])


def convert_onnx(path: Path, spec: InputSpec) -> nn.Module:
    """An ONNX file as a PyTorch network, checked against onnxruntime.

    Raises:
        UsageError: a package is absent; operators that cannot be converted (each named); or the
            embeddings differ.
    """
    reference = OnnxRuntime(path, spec)
    converted = _convert(path)
    probe = spec.preprocess(smooth_crops(2, spec.size))
    expected = F.normalize(reference(probe), dim=1)
    differences = []
    for network in (converted, OneByOne(converted)):
        try:
            with torch.no_grad():
                found = network(probe)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            differences.append(in_a_line(error))
            continue
        if found.shape == expected.shape:
            difference = float((F.normalize(found, dim=1) - expected).abs().max())
            if difference <= TOLERANCE:
                return network
            differences.append(f"{difference:.1e}")
        else:
            differences.append(f"shape {tuple(found.shape)}")
    raise UsageError(
        f"{path}: expected the embeddings of onnxruntime within {TOLERANCE} after conversion to PyTorch, "
        f"got {differences[-1]}; it can be an evaluator, but no surrogate"
    )


def smooth_crops(count: int, size: tuple[int, int]) -> Tensor:
    """Seeded pictures with structure, to try a recogniser on; (count, 3, *size) in 0..1."""
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size, mode="bilinear")


def _convert(path: Path) -> nn.Module:
    onnx, onnx2torch = _package("onnx", path), _package("onnx2torch", path)
    with tempfile.TemporaryDirectory() as folder:
        simplified = Path(folder) / "simplified.onnx"
        onnx_session(path, simplified)
        model = onnx.load(simplified, load_external_data=False)
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # the checker raises what it comes upon
        raise UsageError(f"{path}: expected its weights in it or beside it, got: {in_a_line(error)}") from None
    unsupported = unsupported_operators(model)
    if unsupported:
        raise UsageError(
            f"{path}: expected operators that can be converted to PyTorch, got {', '.join(unsupported)}; "
            "it can be an evaluator, but no surrogate"
        )
    try:
        network: nn.Module = onnx2torch.convert(model)
    except Exception as error:  # onnx2torch's converters raise what they come upon
        raise UsageError(
            f"{path}: could not be converted to PyTorch ({type(error).__name__}: {error}); "
            "it can be an evaluator, but no surrogate"
        ) from None
    return _Quiet(_with_fast_prelus(network)).eval()


class _PReLU(nn.Module):
    """Instead of onnx2torch's, whose backward pass is slow; what has a slope for each pixel is left to that."""

    def __init__(self, general: nn.Module) -> None:
        super().__init__()
        self.general = general

    def forward(self, x: Tensor, slopes: Tensor) -> Tensor:
        of_channels = slopes.numel() in (1, x.shape[1]) and slopes.numel() == slopes.shape[0]
        result: Tensor = frozen_prelu(x, slopes.view(-1)) if of_channels else self.general(x, slopes)
        return result


def _with_fast_prelus(network: nn.Module) -> nn.Module:
    slow: type[nn.Module] = import_module("onnx2torch.node_converters.activations").OnnxPReLU
    for name, module in list(network.named_children()):
        if isinstance(module, slow):
            setattr(network, name, _PReLU(module))
    return network


class _Quiet(nn.Module):
    """The first output of what onnx2torch made; its slices warn at every pass of what PyTorch will do later."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs: Tensor | list[Tensor] = self.network(x)
        return outputs if isinstance(outputs, Tensor) else outputs[0]


def unsupported_operators(model: Any) -> list[str]:
    """Names of the operators of a graph that onnx2torch has no converter for, in alphabetical order."""
    find: Callable[..., Any] = import_module("onnx2torch.node_converters").get_converter
    versions = {opset.domain: opset.version for opset in model.opset_import}
    missing = set()
    for node in model.graph.node:
        try:
            find(operation_type=node.op_type, version=versions[node.domain], domain=node.domain)
        except NotImplementedError:
            missing.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
    return sorted(missing)


def _package(name: str, path: Path) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"{path}: needs {name}; install it with: pip install 'cloak[models]'") from None
