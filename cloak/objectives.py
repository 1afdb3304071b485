"""What the optimiser minimises: pure functions of embeddings of length 1."""

import torch.nn.functional as F
from torch import Tensor


def identity(embeddings: Tensor) -> Tensor:
    """The direction that several views of one face agree on; (n, v, d) -> (n, d)."""
    return F.normalize(embeddings.mean(dim=1), dim=1)


def similarity_to_self(embeddings: Tensor, identities: Tensor) -> Tensor:
    """Mean cosine of a face's views to its own identity.

    Args:
        embeddings: (n, v, d) of the cloaked views.
        identities: (n, d) of the clean face.

    Returns:
        (n,) in -1..1.
    """
    return (embeddings * identities[:, None]).sum(dim=2).mean(dim=1)
