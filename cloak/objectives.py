"""What the optimiser minimises: pure functions of embeddings of length 1."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor


def identity(embeddings: Tensor) -> Tensor:
    """The direction that several embeddings of one person agree on; (..., v, d) -> (..., d)."""
    return F.normalize(embeddings.mean(dim=-2), dim=-1)


def similarity_to_self(embeddings: Tensor, identities: Tensor) -> Tensor:
    """Mean cosine of a face's views to its own identity.

    Args:
        embeddings: (n, v, d) of the cloaked views.
        identities: (n, d) of the clean face.

    Returns:
        (n,) in -1..1.
    """
    return (embeddings * identities[:, None]).sum(dim=2).mean(dim=1)


def closeness_to_self(embeddings: Tensor, identities: Tensor) -> Tensor:
    """Minus the mean Euclidean distance of a face's views from its own identity; (n,) in -2..0."""
    squared = (embeddings - identities[:, None]).square().sum(dim=2)
    return -(squared + 1e-12).sqrt().mean(dim=1)


def likeness_to(others: Sequence[Tensor | None], embeddings: Tensor) -> Tensor:
    """Mean cosine of a face's views to that of several others which is most like it, 0 where all are unlike.

    Args:
        others: for each face (k, d), or None where there are none.
        embeddings: (n, v, d) of the cloaked views.

    Returns:
        (n,) in 0..1.
    """
    nearest = [
        embeddings.new_zeros(()) if rows is None else (views @ rows.T).mean(dim=0).amax().clamp_min(0.0)
        for views, rows in zip(embeddings, others, strict=True)
    ]
    return torch.stack(nearest)


OBJECTIVES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"similarity": similarity_to_self, "distance": closeness_to_self}
)
