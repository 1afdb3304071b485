"""A surrogate that is a slightly different network in every step.

Ghost Networks (Li, Bai, Zhou, Xie, Zhang, Yuille: Learning Transferable Adversarial Examples via
Ghost Networks, AAAI 2020): what a residual branch adds to its shortcut is scaled by a random
number, so that the optimiser meets a family of networks instead of one, at no cost.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class _Current(threading.local):
    """What is set in a thread: each face has its own, and the network is shared."""

    gains: Mapping[nn.Module, float] = {}


_current = _Current()


class Branch(nn.Module):
    """A residual block, which multiplies its branch by ``gain``."""

    @property
    def gain(self) -> float:
        """1 outside of ``as_ghost``."""
        return _current.gains.get(self, 1.0)


def branches(network: nn.Module) -> list[Branch]:
    """The residual blocks of a network, from the input up; none in a network that has no such."""
    return [module for module in network.modules() if isinstance(module, Branch)]


def draw_gains(largest: float, steps: int, count: int) -> Tensor:
    """Uniform gains of 1 - largest to 1 + largest, always the same sequence; (steps, count)."""
    numbers = torch.rand(steps, count, generator=torch.Generator().manual_seed(0))
    return 1.0 + largest * (2.0 * numbers - 1.0)


@contextmanager
def as_ghost(network: nn.Module, gains: Sequence[float]) -> Iterator[None]:
    """Run a network with these gains, one for each of its ``branches``, in this thread."""
    before = _current.gains
    _current.gains = dict(zip(branches(network), gains, strict=True))
    try:
        yield
    finally:
        _current.gains = before
