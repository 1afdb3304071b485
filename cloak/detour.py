"""Which stranger a cloak first leads towards: one that is unlike the face, another for each photo.

Whatever leads away from a face leads two photos of a person to nearly the same place, so their cloaks
match each other. Where the first steps lead decides much of where the last one ends; chosen for each
photo by its seed, it sets the two apart. Somebody unlike the face lies on the way out, besides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

DRAWN = 8
"""Strangers that a face's seed draws; the least alike of them is its target."""

TARGET_SEED = 2
"""Added to a face's seed for these."""


def choose_targets(strangers: Sequence[Tensor], identities: Sequence[Tensor], seeds: Sequence[int]) -> list[Tensor]:
    """The target of each face, as each surrogate sees it.

    Args:
        strangers: for each surrogate (k, d), the same people in the same order; (0, 0) where it knows none.
        identities: for each surrogate (n, d), the faces.
        seeds: one for each face.

    Returns:
        For each surrogate (n, d); (n, 0) where it knows none.
    """
    alike = [own @ known.T for known, own in zip(strangers, identities, strict=True) if len(known)]
    if not alike:
        return [own.new_zeros(len(seeds), 0) for own in identities]
    likeness = torch.stack(alike).mean(dim=0)  # (n, k)
    drawn = torch.stack([_draw(likeness.shape[1], seed) for seed in seeds]).to(likeness.device)  # (n, DRAWN)
    chosen = drawn.gather(1, likeness.gather(1, drawn).argmin(dim=1, keepdim=True)).squeeze(1)  # (n,)
    return [known[chosen] if len(known) else known.new_zeros(len(seeds), 0) for known in strangers]


def _draw(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + TARGET_SEED)
    return torch.randperm(count, generator=generator)[:DRAWN]
