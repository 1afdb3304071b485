"""The recognisers that cloak knows, as a user sees them: what they are, and whether their files are sound."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloak.weights import file_sha256, read_manifest, weights_folder

SOUND, ABSENT, DAMAGED = "on disk", "absent", "damaged"


@dataclass(frozen=True)
class Model:
    """One entry of the manifest.

    Attributes:
        name: as options take it.
        title: in words.
        architecture: the network's name in ``cloak.recognizers``.
        training_data: what it was trained on.
        loss: what it was trained with.
        year: of its publication.
        size: (height, width) of the aligned crop, pixels.
        dimension: of the embedding.
        distance: how embeddings are compared.
        threshold: similarity at or above which two faces pass for one person.
        far: the false-accept rate that the threshold stands for.
        measured_on: the data of that measurement.
        licence: its identifier.
        commercial: whether the licence allows commercial use.
        surrogate: whether it has gradients, so that cloaks can be made against it.
        file: of the weights.
        bytes: of the file.
        sha256: of the file.
    """

    name: str
    title: str
    architecture: str
    training_data: str
    loss: str
    year: int
    size: tuple[int, int]
    dimension: int
    distance: str
    threshold: float
    far: float
    measured_on: str
    licence: str
    commercial: bool
    surrogate: bool
    file: str
    bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where the weights are, or would be."""
        return weights_folder() / self.file

    def state(self) -> str:
        """Whether the weights are there, and the very ones that the manifest names."""
        try:
            return SOUND if file_sha256(self.path) == self.sha256 else DAMAGED
        except OSError:
            return ABSENT

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all of it, with the path and the state."""
        return asdict(self) | {"path": str(self.path), "state": self.state()}


def known_models() -> tuple[Model, ...]:
    """Every recogniser of the manifest, in its order.

    Raises:
        WeightsError: the manifest is absent.
    """
    return tuple(_model(name, entry) for name, entry in read_manifest().items())


def _model(name: str, entry: Mapping[str, Any]) -> Model:
    height, width = entry["input"]["size"]
    embedding = entry["embedding"]
    kept = (
        "title",
        "architecture",
        "training_data",
        "loss",
        "year",
        "licence",
        "commercial",
        "file",
        "bytes",
        "sha256",
    )
    return Model(
        name=name,
        size=(height, width),
        dimension=embedding["dimension"],
        distance=embedding["distance"],
        threshold=embedding["threshold"],
        far=embedding["far"],
        measured_on=embedding["measured_on"],
        surrogate=True,  # every architecture of the manifest is in PyTorch
        **{key: entry[key] for key in kept},
    )
