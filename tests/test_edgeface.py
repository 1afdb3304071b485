"""EdgeFace with random weights in the published layout."""

import io
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cloak import UsageError
from cloak.recognizers.edgeface import EdgeFace, LowRankLinear, edgeface_s, edgeface_xs, lower_ranks

BUILDERS = {"xs": (edgeface_xs, 1.77), "s": (edgeface_s, 3.65)}
"""Name -> what builds it, and how many million parameters the paper counts."""


pytestmark = pytest.mark.usefixtures("one_thread")


def crops(count: int = 4) -> Tensor:
    """Preprocessed crops: (count, 3, 112, 112) in -1..1."""
    coarse = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    return 2.0 * nn.functional.interpolate(coarse, (112, 112), mode="bilinear") - 1.0


def random_network(build: Callable[[], EdgeFace], seed: int = 0) -> EdgeFace:
    """Random weights, with blocks that count: timm starts their scales, the gammas, at 1e-6."""
    torch.manual_seed(seed)
    network = build()
    for name, parameter in network.named_parameters():
        if name.rpartition(".")[2].startswith("gamma"):
            nn.init.constant_(parameter, 0.5)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=BUILDERS)
def size(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("timm", reason="needs timm (pip install 'cloak[models]')")
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def edgeface(size: str) -> EdgeFace:
    return random_network(BUILDERS[size][0])


def test_it_has_as_many_parameters_as_the_paper_says(edgeface: EdgeFace, size: str) -> None:
    count = sum(parameter.numel() for parameter in edgeface.parameters())
    assert round(count / 1e6, 2) == BUILDERS[size][1]


def test_keys_are_those_of_the_published_files(edgeface: EdgeFace) -> None:
    keys = edgeface.state_dict().keys()
    assert {
        "model.stem.0.weight",
        "model.stages.0.blocks.0.mlp.fc1.linear1.weight",
        "model.stages.0.blocks.0.mlp.fc1.linear2.weight",
        "model.stages.0.blocks.0.mlp.fc1.linear2.bias",
        "model.stages.1.blocks.2.xca.qkv.linear1.weight",
        "model.head.norm.weight",
        "model.head.fc.linear1.weight",
        "model.head.fc.linear2.bias",
    } <= keys
    assert all(key.startswith("model.") for key in keys)
    assert not any(key.endswith("linear1.bias") for key in keys)


def test_no_full_linear_layer_is_left(edgeface: EdgeFace) -> None:
    linear = {name for name, layer in edgeface.named_modules() if isinstance(layer, nn.Linear)}
    low = {name for name, layer in edgeface.named_modules() if isinstance(layer, LowRankLinear)}
    assert linear == {f"{name}.{part}" for name in low for part in ("linear1", "linear2")}


def test_a_published_file_gives_the_same_embeddings(edgeface: EdgeFace, size: str) -> None:
    file = io.BytesIO()
    torch.save(edgeface.state_dict(), file)
    file.seek(0)
    other = random_network(BUILDERS[size][0], seed=1)
    assert not torch.allclose(other(crops()), edgeface(crops()), atol=0.1)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(other(crops()), edgeface(crops()))


def test_a_file_with_a_key_missing_or_too_many_is_refused(edgeface: EdgeFace) -> None:
    state = edgeface.state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*model\.head\.fc\.weight"):
        edgeface.load_state_dict(state | {"model.head.fc.weight": torch.zeros(512, 192)}, strict=True)
    missing = {name: value for name, value in state.items() if name != "model.stem.0.weight"}
    with pytest.raises(RuntimeError, match=r"Missing key.*model\.stem\.0\.weight"):
        edgeface.load_state_dict(missing, strict=True)


def test_embeddings_have_their_shape_and_differ(edgeface: EdgeFace) -> None:
    embeddings = edgeface(crops())
    assert embeddings.shape == (4, 512)
    unit = nn.functional.normalize(embeddings)
    assert float((unit @ unit.T - torch.eye(4)).max()) < 0.9


def test_an_embedding_depends_on_its_own_crop_alone(edgeface: EdgeFace) -> None:
    together = edgeface(crops())
    torch.testing.assert_close(edgeface(crops().flip(0)).flip(0), together, atol=1e-5, rtol=0)
    torch.testing.assert_close(edgeface(crops()[1:2])[0], together[1], atol=1e-5, rtol=0)


def test_the_same_crop_gives_the_same_embedding(edgeface: EdgeFace) -> None:
    assert torch.equal(edgeface(crops()), edgeface(crops()))


def test_gradients_reach_every_crop(edgeface: EdgeFace) -> None:
    inputs = crops().requires_grad_(True)
    (gradient,) = torch.autograd.grad(edgeface(inputs)[:, 0].sum(), inputs)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_a_low_rank_layer_is_the_product_of_its_two() -> None:
    layer = LowRankLinear(7, 5, 3, bias=True)
    x = torch.rand(2, 4, 7)
    full = nn.functional.linear(x, layer.linear2.weight @ layer.linear1.weight, layer.linear2.bias)
    torch.testing.assert_close(layer(x), full)


def test_layers_are_replaced_by_their_own_name_at_every_depth() -> None:
    inner = nn.ModuleDict({"fc": nn.Linear(10, 20, bias=False), "head_fc": nn.Linear(10, 20)})
    network = nn.ModuleDict({"head": inner, "tiny": nn.Linear(3, 3), "conv": nn.Conv2d(1, 1, 1)})
    lower_ranks(network, 0.55)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if "conv" not in name}
    assert shapes == {
        "head.fc.linear1.weight": (5, 10),
        "head.fc.linear2.weight": (20, 5),
        "head.head_fc.weight": (20, 10),
        "head.head_fc.bias": (20,),
        "tiny.linear1.weight": (2, 3),
        "tiny.linear2.weight": (3, 2),
        "tiny.linear2.bias": (3,),
    }


def test_without_timm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"needs the package timm.*pip install 'cloak\[models\]'"):
        edgeface_xs()
