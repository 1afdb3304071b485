"""LightCNN: our network and file against the published ones."""

import runpy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from cloak.recognizers.light_cnn import LightCNN
from cloak.recognizers.onnx_file import smooth_crops
from tests.helpers import ROOT, embedding_of_grace_hopper

convert = runpy.run_path(str(ROOT / "weights/convert_light_cnn.py"))["convert"]

PUBLISHED = (0.0254, -0.0589, -0.0096, -0.0118, -0.0444, 0.0250, 0.0319, 0.0808)
"""First numbers of Grace Hopper's embedding, as the published weights give them unrounded."""

BLOCKS = ((1, 1), (2, 2), (3, 3), (4, 4))
"""(stage, residual blocks in it)."""


def layer_by_layer(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The published network, without modules."""

    def layer(x: Tensor, name: str) -> Tensor:
        maps = F.conv2d(x, state[f"{name}.filter.weight"], state[f"{name}.filter.bias"], padding=1)
        half = maps.shape[1] // 2
        return torch.where(maps[:, :half] > maps[:, half:], maps[:, :half], maps[:, half:])

    def pooled(x: Tensor) -> Tensor:
        quarters = torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
        return quarters.amax(dim=0) + quarters.mean(dim=0)

    for stage, count in BLOCKS:
        x = layer(x, f"conv{stage}")
        x = pooled(x) if stage < 4 else x
        for block in range(count):
            x = x + layer(layer(x, f"block{stage}.{block}.conv1"), f"block{stage}.{block}.conv2")
    return pooled(layer(x, "conv5")).flatten(1) @ state["fc.weight"].T + state["fc.bias"]


def test_a_converted_file_gives_the_published_networks_embeddings() -> None:
    torch.manual_seed(0)
    state = LightCNN().state_dict()
    published = {"epoch": 40, "state_dict": {f"module.{name}": values for name, values in state.items()}}
    network = LightCNN().eval()
    network.load_state_dict(convert(published))
    crops = smooth_crops(2, (128, 128))
    with torch.no_grad():
        found, expected = network(crops), layer_by_layer(state, crops)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert float((found[0] - found[1]).abs().max()) > 1e-4


def test_the_gradient_is_that_of_the_published_network() -> None:
    torch.manual_seed(0)
    network = LightCNN().double().eval().requires_grad_(False)
    crops = torch.rand(2, 3, 128, 128, dtype=torch.float64)  # no two alike: the gradient at a tie is anybody's
    found, expected = (
        gradient_of(forward, crops) for forward in (network, partial(layer_by_layer, network.state_dict()))
    )
    torch.testing.assert_close(found, expected, atol=1e-9 * float(expected.abs().max()), rtol=1e-6)
    assert float(expected.abs().max()) > 0.0


def gradient_of(forward: Callable[[Tensor], Tensor], crops: Tensor) -> Tensor:
    shown = crops.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(forward(shown).square().sum(), shown)
    return gradient


def test_the_shipped_file_gives_the_published_files_embedding_of_a_face() -> None:
    embedding = embedding_of_grace_hopper("lightcnn")
    torch.testing.assert_close(embedding[: len(PUBLISHED)], torch.tensor(PUBLISHED), atol=5e-3, rtol=0)
