"""Whose turn it is, where surrogates take turns: each as often as its share says, spread evenly."""

from collections.abc import Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")

USUAL_SHARE = 3
"""Of a recogniser that nothing is known of."""


def turn_order(shares: Sequence[int], count: int) -> list[int]:
    """The index of the surrogate in each of ``count`` turns, by smooth weighted round-robin.

    In every turn each surrogate gains its share of credit, and the one that has most of it, the
    first of equals, pays for all.

    Args:
        shares: of each surrogate, 1 or more.
        count: of turns.
    """
    credit, order = [0] * len(shares), []
    for _ in range(count):
        credit = [had + share for had, share in zip(credit, shares, strict=True)]
        order.append(max(range(len(shares)), key=credit.__getitem__))
        credit[order[-1]] -= sum(shares)
    return order


def turn_weights(shares: Sequence[int]) -> list[float]:
    """How much a look of each surrogate counts: the less often it looks, the more, so that all count alike; 1 on
    average over the turns."""
    return [sum(shares) / len(shares) / share for share in shares]


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """The items in another order, the same one for a seed."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed))
    return [items[index] for index in order.tolist()]
