"""The tracker's half of a benchmark: photos, through conditions, to embeddings; each made once."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloak.bench.conditions import Condition, find_condition
from cloak.bench.evaluators import Evaluator
from cloak.bench.measures import Faces, unit
from cloak.bench.store import EmbeddingStore
from cloak.errors import CloakError, UsageError
from cloak.names import shown
from cloak.photo import read_photo
from cloak.types import Pixels
from cloak.weights import file_sha256

Embedded = Mapping[str, NDArray[np.float32] | None]
"""Evaluator -> embedding of length 1, None where its detector found no face."""


@dataclass(frozen=True)
class Gaze:
    """Evaluators, and what they have seen so far.

    Attributes:
        evaluators: that look.
        store: of embeddings.
        lengths: evaluator -> how many numbers its embeddings have.
    """

    evaluators: Sequence[Evaluator]
    store: EmbeddingStore
    lengths: dict[str, int] = field(default_factory=dict)

    def embed(self, path: Path, conditions: Iterable[str]) -> dict[str, Embedded]:
        """One photo under each condition.

        Raises:
            CloakError: the photo cannot be read.
        """
        content, pixels = file_sha256(path), cache(lambda: read_photo(path).pixels)
        return {name: self._embed(find_condition(name), content, pixels) for name in conditions}

    def _embed(self, condition: Condition, content: str, pixels: Callable[[], Pixels]) -> Embedded:
        seen, place = cache(lambda: condition.apply(pixels())), (content, condition.name)
        if condition.own:  # whose code may change: it is known by what it makes
            place = (hashlib.sha256(repr(seen().shape).encode() + seen().tobytes()).hexdigest(), "pixels")
        kept = {e.name: self.store.get(*place, e.fingerprint) for e in self.evaluators}
        missing = [evaluator for evaluator in self.evaluators if not kept[evaluator.name][0]]
        found = look(seen(), missing) if missing else {}
        embedded = {name: embedding for name, (_, embedding) in kept.items()} | found
        self._of_one_length(embedded)
        if missing:
            self.store.put(*place, {e.fingerprint: found[e.name] for e in missing})
        return {name: None if raw is None else unit(raw) for name, raw in embedded.items()}

    def _of_one_length(self, embedded: Embedded) -> None:
        """Refuse embeddings that cannot be compared with those before them."""
        for name, embedding in embedded.items():
            if embedding is not None and self.lengths.setdefault(name, len(embedding)) != len(embedding):
                raise UsageError(
                    f"{name}: expected embeddings of one length, got {len(embedding)} numbers after "
                    f"{self.lengths[name]}; if its model has changed, delete {shown(self.store.path)}, which keeps them"
                )


def look(pixels: Pixels, evaluators: Sequence[Evaluator]) -> dict[str, NDArray[np.float32] | None]:
    """What each evaluator makes of a photo; a detector that several share runs once."""
    located: dict[Callable[[Pixels], Any], Any] = {}
    result: dict[str, NDArray[np.float32] | None] = {}
    for evaluator in evaluators:
        if evaluator.locate not in located:
            located[evaluator.locate] = evaluator.locate(pixels)
        place = located[evaluator.locate]
        result[evaluator.name] = None if place is None else evaluator.embed(pixels, place)
    return result


@dataclass(frozen=True)
class Album:
    """Embeddings by photo and condition, and the photos that could not be read."""

    embedded: dict[tuple[Path, str], Embedded]
    failed: dict[Path, str]

    def faces(self, evaluator: str, photos: Sequence[tuple[Path, str]], people: Sequence[int]) -> Faces:
        """(path, condition) -> rows for the measures; photos that could not be embedded are left out."""
        rows, kept = [], []
        for place, person in zip(photos, people, strict=True):
            if place in self.embedded:
                rows.append(self.embedded[place][evaluator])
                kept.append(person)
        width = next((len(row) for seen in self.embedded.values() if (row := seen[evaluator]) is not None), 1)
        blank = np.full(width, np.nan, dtype=np.float32)
        matrix = np.stack([blank if row is None else row for row in rows]) if rows else np.zeros((0, width), np.float32)
        return Faces(matrix, np.array(kept, dtype=np.int64))


def embed_all(
    wanted: Mapping[Path, Iterable[str]], gaze: Gaze, on_done: Callable[[int, int], None] = lambda done, total: None
) -> Album:
    """Embed photos, each under its conditions.

    Args:
        wanted: photo -> conditions.
        gaze: evaluators and store.
        on_done: called with the number of photos done, and of all.
    """
    album = Album({}, {})
    for number, (path, conditions) in enumerate(wanted.items(), start=1):
        try:
            for condition, embedded in gaze.embed(path, conditions).items():
                album.embedded[path, condition] = embedded
        except UsageError as error:  # not the photo's fault
            raise UsageError(f"{error} (at {shown(path)})") from error
        except CloakError as error:
            album.failed[path] = str(error)
        on_done(number, len(wanted))
    return album
