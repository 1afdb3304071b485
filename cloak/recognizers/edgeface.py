"""EdgeFace: timm's EdgeNeXt with low-rank linear layers.

A. George, C. Ecabert, H. Otroshi Shahreza, K. Kotwal, S. Marcel: EdgeFace: Efficient Face
Recognition Model for Edge Devices, IEEE T-BIOM 2024. Weights by the authors, CC BY-NC-SA 4.0:
``edgeface_xs_gamma_06.pt`` and ``edgeface_s_gamma_05.pt``. Needs timm (``pip install
'cloak[models]'``), of which only the architecture is used, never a pretrained weight.
"""

from typing import Any

from torch import Tensor, nn

from cloak.errors import UsageError

DIMENSION = 512


class LowRankLinear(nn.Module):
    """A linear layer whose matrix is the product of two thin ones: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, rank, bias=False)
        self.linear2 = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear2(self.linear1(x))
        return y


def lower_ranks(module: nn.Module, ratio: float) -> None:
    """Replace every linear layer below ``module`` by a low-rank one, in place, with new random weights.

    A layer stays as it is where its own name, without its parents', contains "head".

    Args:
        module: changed in place.
        ratio: rank over the smaller side of the matrix; the rank is at least 2.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and "head" not in name:
            rank = max(2, int(ratio * min(child.in_features, child.out_features)))
            low = LowRankLinear(child.in_features, child.out_features, rank, bias=child.bias is not None)
            setattr(module, name, low)
        else:
            lower_ranks(child, ratio)


class EdgeFace(nn.Module):
    """(n, 3, 112, 112) preprocessed crops -> (n, 512) embeddings, not normalised.

    Preprocessing: RGB 0..255, minus 127.5, divided by 127.5; ArcFace's template.

    Args:
        backbone: timm's name of an EdgeNeXt.
        ratio: rank of the linear layers over the smaller side of their matrices (the paper's gamma).

    Raises:
        UsageError: timm is not installed.
    """

    def __init__(self, backbone: str, ratio: float) -> None:
        super().__init__()
        try:
            import timm
        except ImportError:
            raise UsageError(
                "EdgeFace needs the package timm, which is not installed; install it with pip install 'cloak[models]'"
            ) from None
        model: Any = timm.create_model(backbone, pretrained=False)
        model.reset_classifier(DIMENSION)
        lower_ranks(model, ratio)
        self.model = model

    def forward(self, crops: Tensor) -> Tensor:
        embeddings: Tensor = self.model(crops)
        return embeddings


def edgeface_xs() -> EdgeFace:
    """EdgeFace-XS (gamma 0.6), 1.77 million parameters."""
    return EdgeFace("edgenext_x_small", 0.6)


def edgeface_s() -> EdgeFace:
    """EdgeFace-S (gamma 0.5), 3.65 million parameters."""
    return EdgeFace("edgenext_small", 0.5)
