"""The recognisers that cloak knows, as a user sees them: what they are, and whether their files are sound."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cloak.errors import UsageError
from cloak.folders import own_weights, shipped_weights
from cloak.recognizers.source import Source, find_source, known_names
from cloak.toml import read_toml
from cloak.weights import file_sha256, read_manifest

SOUND, UNKNOWN, ABSENT, DAMAGED = "on disk", "on disk, hash unknown", "absent", "damaged"


@dataclass(frozen=True)
class Model:
    """One recogniser of the manifest, or of the user's own specifications.

    Attributes:
        name: as options take it.
        title: in words.
        architecture: the network's name in ``cloak.recognizers.ARCHITECTURES``; "ONNX" and the
            like where the file holds its network.
        training_data: what it was trained on.
        loss: what it was trained with.
        year: of its publication; 0 where unknown.
        size: (height, width) of the aligned crop, pixels.
        dimension: of the embedding; 0 where unknown.
        distance: how embeddings are compared.
        threshold: similarity at or above which two faces pass for one person; None where nobody
            measured it here.
        far: the false-accept rate that the threshold stands for.
        measured_on: the data of that measurement.
        licence: its identifier, or its terms in words.
        commercial: whether it may be used commercially.
        surrogate: whether it has gradients, so that cloaks can be made against it; False while a
            package is missing, see ``needs``.
        needs: packages that are missing to use it as a surrogate.
        embedded: whether it ships with cloak.
        twin_of: the recogniser that it stands in for as a surrogate, and that judges for it.
        recommended: whether ``cloak models fetch --recommended`` fetches it.
        path: where the weights are, or would be.
        bytes: of the file; 0 where unknown.
        sha256: of the file; empty where nobody published it and it was not fetched yet.
        addresses: where it is fetched from; empty where the user has to get it.
        advice: how to get the file.
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
    threshold: float | None
    far: float | None
    measured_on: str
    licence: str
    commercial: bool
    surrogate: bool
    needs: tuple[str, ...]
    embedded: bool
    twin_of: str
    recommended: bool
    path: Path | None
    bytes: int
    sha256: str
    addresses: tuple[str, ...]
    advice: str

    @property
    def present(self) -> bool:
        """Whether its file is there, whatever is in it."""
        return self.path is None or self.path.is_file()

    def state(self) -> str:
        """Whether the weights are there, and the very ones that are expected."""
        if self.path is None:
            return SOUND
        try:
            digest = file_sha256(self.path)
        except OSError:
            return ABSENT
        if not self.sha256:
            return UNKNOWN
        return SOUND if digest == self.sha256 else DAMAGED

    def to_dict(self) -> dict[str, Any]:
        """For JSON: all of it, with the state."""
        return asdict(self) | {"path": str(self.path) if self.path else None, "state": self.state()}


def known_models(on_wrong: Callable[[str], None] = lambda sentence: None) -> tuple[Model, ...]:
    """Every recogniser of the manifest, in its order, then the user's own.

    Args:
        on_wrong: called with what is wrong with a specification, which is left out then.

    Raises:
        WeightsError: the manifest is absent.
    """
    found = []
    for name in known_names():
        try:
            found.append(find_model(name))
        except UsageError as error:
            on_wrong(str(error))
    return tuple(found)


def find_model(name: str) -> Model:
    """The recogniser of this name.

    Raises:
        UsageError: there is none, or its specification is wrong.
    """
    if name not in known_names():
        raise UsageError(f"expected a recogniser, one of {', '.join(known_names())}; got {name!r}")
    manifest = read_manifest()
    own = own_weights() / f"{name}.toml"
    return _model(find_source(name), manifest[name] if name in manifest else read_toml(own, "a specification"))


def _model(source: Source, entry: Mapping[str, Any]) -> Model:
    embedding = entry.get("embedding", {})
    needs = tuple(package for package in source.needs if find_spec(package) is None)
    form = source.file.suffix.removeprefix(".").upper() if source.file else "Python"
    return Model(
        name=source.name,
        title=entry.get("title", source.name),
        architecture=source.architecture or form,
        training_data=entry.get("training_data", "unknown data"),
        loss=entry.get("loss", "unknown loss"),
        year=entry.get("year", 0),
        size=source.spec.size,
        dimension=embedding.get("dimension", 0),
        distance=embedding.get("distance", "cosine"),
        threshold=source.spec.threshold,
        far=embedding.get("far"),
        measured_on=embedding.get("measured_on", ""),
        licence=source.licence or "unknown",
        commercial=source.commercial,
        surrogate=not needs,
        needs=needs,
        embedded=source.file is not None and source.file.parent == shipped_weights(),
        twin_of=entry.get("twin_of", ""),
        recommended=entry.get("recommended", False),
        path=source.file,
        bytes=entry.get("bytes", 0),
        sha256=source.sha256,
        addresses=tuple(entry.get("addresses", ())),
        advice=source.advice,
    )
