"""The frozen PReLU against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from cloak.recognizers.prelu import FrozenPReLU, frozen_prelu


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 7), (3, 5, 6, 4), (1, 5, 1, 1)])
@pytest.mark.parametrize("slopes", [(0.1, -0.3, 0.0, 0.49, 0.25), (0.7, 1.0, 1.5, -1.2, 0.5), (0.2,)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_pytorchs(
    shape: tuple[int, ...], slopes: tuple[float, ...], memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape).round(decimals=1)  # some are zero
    x = x.contiguous(memory_format=memory_format) if x.ndim == 4 else x
    weight, upstream = torch.tensor(slopes), torch.randn(shape)
    values: list[torch.Tensor] = []
    gradients: list[torch.Tensor] = []
    for function in (F.prelu, frozen_prelu):
        shown = x.clone().requires_grad_(True)
        values.append(function(shown, weight))
        gradients += torch.autograd.grad(values[-1], shown, upstream)
    assert torch.equal(*values)
    torch.testing.assert_close(*gradients)
    if max(slopes) < 0.5:
        assert torch.equal(*gradients)


def test_slopes_get_no_gradient() -> None:
    layer = FrozenPReLU(4)
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
