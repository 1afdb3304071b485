"""What every recogniser is to the rest of cloak: aligned crops in, unit embeddings out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloak.align import crop_face
from cloak.errors import UsageError
from cloak.turns import USUAL_SHARE
from cloak.types import Face, Pixels

ARCFACE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""The five landmarks in the 112 x 112 crop that most recognisers since ArcFace (2019) take."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a recogniser wants to be shown.

    Attributes:
        size: (height, width) of the aligned crop, pixels.
        template: where the crop has the five landmarks, (x, y) each.
        channels: "RGB" or "BGR".
        mean: per channel, subtracted from 0..255.
        scale: divides after that; one number, or one per channel.
    """

    size: tuple[int, int] = (112, 112)
    template: tuple[tuple[float, float], ...] = ARCFACE
    channels: str = "RGB"
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    scale: float | tuple[float, ...] = 127.5

    @classmethod
    def from_toml(cls, given: Mapping[str, Any]) -> "InputSpec":
        """Read ``size``, ``template``, ``channels``, ``mean`` and ``scale``; what is absent is as for ArcFace.

        A square crop of another size has ArcFace's template, scaled.

        Raises:
            UsageError: an unknown key, or a value of the wrong kind.
        """
        try:
            values = {key: _tuples(value) for key, value in given.items()}
            spec = cls(**values)
            spec.check()
            if "template" not in given:
                spec = replace(spec, template=_scaled_arcface(spec.size))
        except (TypeError, ValueError) as error:
            raise UsageError(f"expected size, template, channels, mean and scale of an input, got {error}") from None
        return spec

    def check(self) -> None:
        """Raise ValueError where a value makes no sense."""
        if len(self.size) != 2 or not all(isinstance(side, int) and side > 0 for side in self.size):
            raise ValueError(f"size {self.size}: two whole numbers, height and width")
        if len(self.template) != 5 or any(len(point) != 2 for point in self.template):
            raise ValueError(f"template {self.template}: five points x, y")
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f"channels {self.channels!r}: RGB or BGR")
        points = [value for point in self.template for value in point]
        if not _are_numbers(points) or len(set(self.template)) < 2:
            raise ValueError(f"template {self.template}: the places of five landmarks, in pixels")
        numbers = _are_numbers((*self.mean, *self._scales))
        if not numbers or len(self.mean) != 3 or len(self._scales) != 3 or min(self._scales) <= 0:
            raise ValueError(f"mean {self.mean} and scale {self.scale}: three numbers, and a positive one or three")

    @property
    def _scales(self) -> tuple[float, ...]:
        return self.scale if isinstance(self.scale, tuple) else (self.scale,) * 3

    def preprocess(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) RGB in 0..1 -> what the network takes."""
        x = crops if self.channels == "RGB" else crops.flip(1)
        return (255.0 * x - _on(self.mean, crops.device)) / _on(self._scales, crops.device)


@lru_cache
def _on(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(3, 1, 1)


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _scaled_arcface(size: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    if size[0] != size[1]:
        raise ValueError(f"size {size} without a template: five points x, y in such a crop")
    scale = size[0] / 112
    return tuple(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in ARCFACE) if scale != 1 else ARCFACE


@dataclass(frozen=True, kw_only=True)
class RecognizerSpec(InputSpec):
    """A recogniser's name, input, and what its similarities mean.

    Attributes:
        name: in reports and results.
        threshold: cosine similarity at or above which two faces pass for one person; None where
            nobody measured it.
        share: how often it looks where surrogates take turns, beside the shares of the others; the less
            often, the more each look counts.
    """

    name: str
    threshold: float | None = None
    share: int = USUAL_SHARE


class Recognizer(nn.Module):
    """A frozen face recogniser.

    Args:
        spec: its input and embedding.
        network: preprocessed crops (n, 3, h, w) -> raw embeddings (n, d).
        embedding_mean: (d,) mean raw embedding of many people, subtracted before normalisation;
            none by default.
        fingerprint: a hash of what decides its embeddings; empty where it was made in memory.
    """

    embedding_mean: Tensor

    def __init__(
        self,
        spec: RecognizerSpec,
        network: nn.Module,
        embedding_mean: Tensor | None = None,
        *,
        fingerprint: str = "",
    ) -> None:
        super().__init__()
        self.fingerprint = fingerprint
        self.spec = spec
        self.network = network
        self.register_buffer("embedding_mean", torch.zeros(1) if embedding_mean is None else embedding_mean)
        self.eval().requires_grad_(False)

    def raw(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) RGB in 0..1, aligned to the template -> (n, d) as the network gives them."""
        embeddings: Tensor = self.network(self.spec.preprocess(crops))
        return embeddings

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) RGB in 0..1, aligned to the template -> (n, d), centred, of length 1."""
        return F.normalize(self.raw(crops) - self.embedding_mean, dim=1)

    def crop(self, pixels: Pixels, face: Face) -> Tensor:
        """One face of a photo, (h, w, 3) uint8, as the recogniser wants it; (1, 3, h, w) in 0..1, on the CPU."""
        return crop_face(pixels, face.landmarks, self.spec.template, self.spec.size)

    @torch.no_grad()
    def embed_crops(self, crops: Sequence[Tensor]) -> Tensor:
        """Several crops, (1, 3, h, w) each, seen at once -> (n, d) of length 1, on the CPU."""
        embeddings: Tensor = self(torch.cat(list(crops)).to(self.embedding_mean.device))
        return embeddings.cpu()

    def embed(self, pixels: Pixels, face: Face) -> Tensor:
        """One face of a photo, (h, w, 3) uint8, -> (d,) of length 1, on the CPU."""
        return self.embed_crops([self.crop(pixels, face)])[0]
