"""Every form that a recogniser comes in: state dict, TorchScript, Python; what each may serve as."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cloak import UsageError, WeightsError
from cloak.recognizers import Recognizer, load_recognizer
from cloak.recognizers.dlib_resnet import DlibResNet29
from cloak.recognizers.facenet import FACENET_SIZE, UNUSED, FaceNet
from cloak.recognizers.onnx_file import smooth_crops

HERE = "tests.test_networks"
SIZE = (24, 20)
TEMPLATE = "template = [[5.0, 8.0], [15.0, 8.0], [10.0, 12.0], [6.0, 18.0], [14.0, 18.0]]"
SIZED = f"size = {list(SIZE)}\n{TEMPLATE}"


pytestmark = pytest.mark.usefixtures("one_thread")


class Small(nn.Module):
    """Crops (n, 3, h, w) -> (n, 6); dropout and batch norm show whether it is in eval."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 5, 3, stride=2)
        self.norm = nn.BatchNorm2d(5)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(5, 6)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.convolution(x)).relu().mean(dim=(2, 3))
        embeddings: Tensor = self.head(self.dropout(y))
        return embeddings.detach() if self.kind == "detached" else embeddings


class Pair(Small):
    """Gives more than embeddings."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


INSTANCE = Small()


def factory() -> nn.Module:
    return INSTANCE


def function_factory() -> Callable[[Tensor], Tensor]:
    return function


def function(crops: Tensor) -> Tensor:
    embeddings: Tensor = INSTANCE.eval()(crops)
    return embeddings


def numbers(crops: Tensor) -> object:
    """Leaves PyTorch, so has no gradients."""
    return crops.detach().numpy().mean(axis=(2, 3))


def broken_factory() -> nn.Module:
    raise FileNotFoundError("no such file: mine.pt")


def silent_failure(crops: Tensor) -> Tensor:
    raise KeyError


def flat(crops: Tensor) -> Tensor:
    return crops.mean(dim=(1, 2, 3))


def one_for_all(crops: Tensor) -> Tensor:
    return crops.mean(dim=(0, 2, 3))[None]


def not_a_number(crops: Tensor) -> Tensor:
    return crops.mean(dim=(2, 3)) / 0.0


def nothing(crops: Tensor) -> None:
    return None


TEXT = "no network"


def specification(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


def traced(folder: Path, network: nn.Module) -> str:
    """A specification of a TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch would rather have torch.export
        torch.jit.trace(network.eval(), torch.rand(2, 3, *SIZE)).save(str(folder / "own.pt"))  # type: ignore[no-untyped-call]
    return specification(folder, f'file = "own.pt"\n[input]\n{SIZED}\nchannels = "BGR"')


# TorchScript


def test_a_torchscript_file_is_a_surrogate(tmp_path: Path) -> None:
    recognizer = load_recognizer(traced(tmp_path, Small()))
    crops = smooth_crops(3, SIZE).requires_grad_(True)
    expected = Small().eval()(2.0 * crops.flip(1) - 1.0)
    torch.testing.assert_close(recognizer.raw(crops), expected)
    found, wanted = (torch.autograd.grad(part[:, 0].sum(), crops)[0] for part in (recognizer.raw(crops), expected))
    torch.testing.assert_close(found, wanted)
    assert not any(parameter.requires_grad for parameter in recognizer.parameters())


def test_a_file_that_is_no_torchscript_says_what_a_state_dict_needs(tmp_path: Path) -> None:
    torch.save(Small().state_dict(), tmp_path / "own.pt")
    message = r"own\.pt: expected a TorchScript file, got: .*; a state dict needs its architecture named"
    with pytest.raises(UsageError, match=message):
        load_recognizer(specification(tmp_path, 'file = "own.pt"'))


def test_a_network_that_takes_crops_of_another_size_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 20, 4))
    reference = traced(tmp_path, network)
    assert load_recognizer(reference)(smooth_crops(2, SIZE)).shape == (2, 4)
    own = specification(tmp_path, 'file = "own.pt"\n[input]\nsize = [20, 20]')
    with pytest.raises(
        UsageError, match=r"own: expected a network for crops \(2, 3, 20, 20\), got: .*shapes cannot be"
    ):
        load_recognizer(own)


# Without gradients


def test_what_has_no_gradients_is_an_evaluator_and_no_surrogate(tmp_path: Path) -> None:
    message = "expected a network with gradients, got one without; it can only be an evaluator"
    for reference in (traced(tmp_path, Small("detached")), f"{HERE}:numbers"):
        with pytest.raises(UsageError, match=message):
            load_recognizer(reference)
        recognizer = load_recognizer(reference, gradients=False)
        assert recognizer(smooth_crops(3, recognizer.spec.size)).norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_an_onnx_file_through_which_no_gradient_passes_is_an_evaluator_and_no_surrogate(tmp_path: Path) -> None:
    onnx_file = pytest.importorskip("tests.test_onnx_file", reason="needs onnx (pip install -e .[dev])")
    whole = onnx_file.onnx.TensorProto.INT32
    nodes = [onnx_file.node("Cast", "x", "i", to=whole), onnx_file.node("Cast", "i", "r", to=onnx_file.FLOAT)]
    nodes += [onnx_file.node("GlobalAveragePool", "r", "m"), onnx_file.node("Flatten", "m", "y")]
    onnx_file.save(tmp_path, nodes)
    reference = specification(tmp_path, f'file = "network.onnx"\n[input]\n{SIZED}\nmean = [0.0, 0.0, 0.0]\nscale = 1.0')
    crops = smooth_crops(3, SIZE)
    found = load_recognizer(reference, gradients=False).raw(crops)
    torch.testing.assert_close(found, (255.0 * crops).trunc().mean(dim=(2, 3)))
    with pytest.raises(UsageError, match="own: expected a network with gradients, got one without"):
        load_recognizer(reference)


# Python


@pytest.mark.parametrize("entry", ["INSTANCE", "factory", "function", "function_factory", "Small"])
def test_python_gives_a_network_a_factory_or_a_function(entry: str) -> None:
    recognizer = load_recognizer(f"{HERE}:{entry}")
    crops = smooth_crops(3, (112, 112)).requires_grad_(True)
    torch.testing.assert_close(recognizer.raw(crops), INSTANCE.eval()(crops))
    (gradient,) = torch.autograd.grad(recognizer(crops)[:, 0].sum(), crops)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_python_can_have_a_specification(tmp_path: Path) -> None:
    reference = specification(tmp_path, f'entry = "{HERE}:function"\n[input]\n{SIZED}\nchannels = "BGR"')
    recognizer = load_recognizer(reference)
    crops = smooth_crops(2, SIZE)
    torch.testing.assert_close(recognizer.raw(crops), function(2.0 * crops.flip(1) - 1.0))
    assert recognizer.spec.name == "own"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("cloak.absent:f", r"expected module:factory that can be imported, got 'cloak\.absent:f': No module named"),
        (f"{HERE}:absent", "expected module:factory that can be imported, got .* has no attribute 'absent'"),
        (f"{HERE}:TEXT", f"{HERE}:TEXT: expected a network, or a function that makes one, got str"),
        (f"{HERE}:broken_factory", r"broken_factory: expected a factory of a network, got no such file: mine\.pt"),
        (f"{HERE}:silent_failure", r"silent_failure: expected a network for crops \(2, 3, 112, 112\), got: KeyError"),
        (f"{HERE}:flat", r"expected embeddings \(n, d\), got shape \(2,\) of 2 crops"),
        (f"{HERE}:one_for_all", r"expected embeddings \(n, d\), got shape \(1, 3\) of 2 crops"),
        (f"{HERE}:Pair", r"expected embeddings \(n, d\), got tuple of 2 crops"),
        (f"{HERE}:nothing", "expected a network for crops .*, got: .*NoneType"),
        (f"{HERE}:not_a_number", "not_a_number: expected embeddings of finite numbers, got some that are not; check"),
        ("torch:relu", r"expected embeddings \(n, d\), got shape \(2, 3, 112, 112\) of 2 crops"),
    ],
)
@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_wrong_with_python_is_said(reference: str, message: str, gradients: bool) -> None:
    with pytest.raises(UsageError, match=message):
        load_recognizer(reference, gradients=gradients)


def test_a_module_that_fails_at_import_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module_of_a_test.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="module:factory that can be imported, got 'own_module_of_a_test:f': division"):
        load_recognizer("own_module_of_a_test:f")


# State dicts


def published(network: nn.Module) -> dict[str, Tensor]:
    """Weights as their authors publish them: with the classifier of the training."""
    return {**network.state_dict(), "logits.weight": torch.zeros(10, 512), "logits.bias": torch.zeros(10)}


@pytest.fixture(scope="module")
def facenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaceNet, Path]:
    """FaceNet with random weights, and its file in the published layout."""
    torch.manual_seed(0)
    network = FaceNet().eval()
    path = tmp_path_factory.mktemp("facenet") / "facenet.pt"
    torch.save(published(network), path)
    return network, path


def facenet_specification(folder: Path, path: Path, architecture: str = "inception_resnet_v1") -> str:
    shown = f"[input]\nsize = {list(FACENET_SIZE)}\n{TEMPLATE}\nscale = 128.0"
    return specification(folder, f'file = "{path}"\narchitecture = "{architecture}"\n{shown}')


def test_a_state_dict_in_the_published_layout_is_a_surrogate(tmp_path: Path, facenet: tuple[FaceNet, Path]) -> None:
    network, path = facenet
    recognizer = load_recognizer(facenet_specification(tmp_path, path))
    crops = smooth_crops(1, FACENET_SIZE).requires_grad_(True)
    embeddings = recognizer.raw(crops)
    torch.testing.assert_close(embeddings, network((255.0 * crops - 127.5) / 128.0), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(embeddings[0, 0], crops)
    assert gradient.abs().max() > 0
    assert set(UNUSED) == published(network).keys() - network.state_dict().keys()


def test_the_weights_of_another_architecture_are_refused(tmp_path: Path, facenet: tuple[FaceNet, Path]) -> None:
    reference = facenet_specification(tmp_path, facenet[1], "dlib_resnet29")
    message = r"facenet\.pt: expected the weights of dlib_resnet29, got: .*Missing key.*stem\.weight"
    with pytest.raises(WeightsError, match=message) as error:
        load_recognizer(reference)
    assert "\n" not in str(error.value)


def dlib_like(folder: Path, state: dict[str, Tensor]) -> str:
    torch.save(state, folder / "own.pt")
    return specification(folder, 'file = "own.pt"\narchitecture = "dlib_resnet29"\n[input]\nsize = [150, 150]')


def test_a_state_dict_may_hold_the_mean_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, mean = DlibResNet29().eval(), torch.full((128,), 0.25)
    recognizer = load_recognizer(dlib_like(tmp_path, {**network.state_dict(), "embedding_mean": mean}))
    crops = smooth_crops(1, (150, 150))
    expected = nn.functional.normalize(network(2.0 * crops - 1.0) - 0.25)
    torch.testing.assert_close(recognizer(crops), expected, atol=1e-5, rtol=0)
    assert isinstance(recognizer, Recognizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.weight"), r'Missing key\(s\) in state_dict: "head\.weight"'),
        (lambda state: state.update(more=torch.zeros(1)), r'Unexpected key\(s\) in state_dict: "more"'),
        (lambda state: state.update({"head.weight": torch.zeros(2, 256)}), r"size mismatch for head\.weight"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = dict(DlibResNet29().state_dict())
    change(state)
    with pytest.raises(WeightsError, match=rf"own\.pt: expected the weights of dlib_resnet29, got: .*{message}"):
        load_recognizer(dlib_like(tmp_path, state))


def test_an_unknown_architecture_lists_the_known_ones(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "own.pt")
    with pytest.raises(
        UsageError,
        match=r"expected an architecture, one of dlib_resnet29, .*edgeface_s, sface, mobilefacenet; "
        r"got 'resnet' in own",
    ):
        load_recognizer(specification(tmp_path, 'file = "own.pt"\narchitecture = "resnet"'))


def test_a_file_that_differs_from_its_sha256_is_refused_before_use(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "run": print}, tmp_path / "own.pt")  # would be refused in other words
    text = f'file = "own.pt"\narchitecture = "dlib_resnet29"\nsha256 = "{"0" * 64}"'
    with pytest.raises(WeightsError, match=r"own\.pt: expected sha256 0{64}, got [0-9a-f]{64}; the file is damaged or"):
        load_recognizer(specification(tmp_path, text))
