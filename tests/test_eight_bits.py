"""Weights in eight bits."""

import torch

from cloak.recognizers.eight_bits import SCALE, restored, rounded


def test_every_row_is_kept_to_half_a_step_of_its_own_scale_and_the_rest_as_it_is() -> None:
    drawn = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 5, 5, generator=drawn) * torch.tensor([1e-3, 1.0, 50.0, 0.0]).view(4, 1, 1, 1)
    state = {"a.weight": weight, "a.bias": torch.randn(4, generator=drawn), "count": torch.tensor(7)}
    stored = rounded(state)
    assert stored["a.weight"].dtype == torch.int8
    assert stored["a.weight"].flatten(1).abs().amax(dim=1).tolist() == [127, 127, 127, 0]
    found = restored(stored)
    assert found.keys() == state.keys()
    steps = stored["a.weight" + SCALE].view(4, 1, 1, 1)
    assert bool(((found["a.weight"] - weight).abs() <= 0.501 * steps).all())
    assert found["a.bias"] is state["a.bias"]
    assert found["count"] is state["count"]


def test_a_file_that_was_never_rounded_stays_as_it_is() -> None:
    state = {"a.weight": torch.ones(2, 2).half(), "a.scale": torch.ones(2)}
    assert restored(state) == state
