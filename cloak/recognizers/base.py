"""What every recogniser is to the rest of cloak: aligned crops in, unit embeddings out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloak.align import crop_face
from cloak.types import Face, Pixels


@dataclass(frozen=True)
class RecognizerSpec:
    """A recogniser's input and embedding, as its manifest entry gives them.

    Attributes:
        name: its name in the manifest.
        size: (height, width) of the aligned crop, pixels.
        template: where the crop has the five landmarks, (x, y) each.
        channels: "RGB" or "BGR".
        mean: per channel, subtracted from 0..255.
        scale: divides after that.
        dimension: of the embedding.
        threshold: cosine similarity at or above which two faces pass for one person.
    """

    name: str
    size: tuple[int, int]
    template: tuple[tuple[float, float], ...]
    channels: str
    mean: tuple[float, ...]
    scale: float
    dimension: int
    threshold: float

    @classmethod
    def from_manifest(cls, name: str, entry: Mapping[str, Any]) -> "RecognizerSpec":
        given, embedding = entry["input"], entry["embedding"]
        return cls(
            name=name,
            size=(given["size"][0], given["size"][1]),
            template=tuple((x, y) for x, y in given["template"]),
            channels=given["channels"],
            mean=tuple(given["mean"]),
            scale=given["scale"],
            dimension=embedding["dimension"],
            threshold=embedding["threshold"],
        )


class Recognizer(nn.Module):
    """A frozen face recogniser.

    Args:
        spec: its input and embedding.
        network: preprocessed crops (n, 3, h, w) -> raw embeddings (n, d).
        embedding_mean: (d,) mean raw embedding of many people, subtracted before normalisation.
    """

    mean: Tensor
    embedding_mean: Tensor

    def __init__(self, spec: RecognizerSpec, network: nn.Module, embedding_mean: Tensor) -> None:
        super().__init__()
        self.spec = spec
        self.network = network
        self.register_buffer("embedding_mean", embedding_mean)
        self.register_buffer("mean", torch.tensor(spec.mean).view(3, 1, 1))
        self.eval().requires_grad_(False)

    def raw(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) RGB in 0..1, aligned to the template -> (n, d) as the network gives them."""
        x = crops if self.spec.channels == "RGB" else crops.flip(1)
        embeddings: Tensor = self.network((255.0 * x - self.mean) / self.spec.scale)
        return embeddings

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 3, h, w) RGB in 0..1, aligned to the template -> (n, d), centred, of length 1."""
        return F.normalize(self.raw(crops) - self.embedding_mean, dim=1)

    @torch.no_grad()
    def embed(self, pixels: Pixels, face: Face, *, mirror: bool = False) -> Tensor:
        """One face of a photo -> (d,) of length 1, on the CPU.

        Args:
            pixels: (h, w, 3) uint8, RGB.
            face: with landmarks in the photo.
            mirror: embed the mirrored face.
        """
        crop = crop_face(pixels, face.landmarks, self.spec.template, self.spec.size).to(self.mean.device)
        embeddings: Tensor = self(crop.flip(3) if mirror else crop)
        return embeddings[0].cpu()
