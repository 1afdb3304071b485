"""LPIPS (Zhang et al., 2018), where its weights are at hand; nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path

import torch

from cloak.align import to_tensor
from cloak.types import Pixels

TRUNK = "alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet, which the package lpips would download into PyTorch's folder."""


def find_lpips() -> Callable[[Pixels, Pixels], float] | None:
    """The distance between two photos (AlexNet, whole photo), or None: needs the package lpips and TRUNK."""
    try:
        from lpips import LPIPS
    except ImportError:
        return None
    if not (Path(torch.hub.get_dir()) / "checkpoints" / TRUNK).is_file():
        return None
    return distance_of(LPIPS(net="alex", verbose=False))


def distance_of(network: torch.nn.Module) -> Callable[[Pixels, Pixels], float]:
    """Two photos (h, w, 3) uint8 -> what an LPIPS network says of them."""
    network.eval()

    @torch.no_grad()
    def distance(original: Pixels, changed: Pixels) -> float:
        before, after = (2.0 * to_tensor(pixels) - 1.0 for pixels in (original, changed))
        return float(network(before, after))

    return distance
