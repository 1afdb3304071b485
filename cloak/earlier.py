"""What was made of people's photos before, so that their next cloaks do not match it.

Left to themselves the cloaks of a person all lead the same way out, and match each other. Here a face is
known by its original, as ``cloak.identities`` tells people apart, and kept as its published photo shows it.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from cloak.detect import MIN_FACE, FaceDetector
from cloak.errors import CloakError
from cloak.identities import able, same_person
from cloak.photo import LIMITS, Limits, read_photo
from cloak.pipeline import Prepared
from cloak.recognizers import Recognizer
from cloak.threads import one_thread_each
from cloak.types import Face, Pixels

MOST_HELD = 20_000
"""So many faces are remembered, the latest: 4 KB each."""


@dataclass(frozen=True)
class Seen:
    """A face that was published.

    Attributes:
        photo: the number of the photo that it is in.
        judged: by each judge, (d,) of the original.
        cloaked: surrogate -> (d,) of what was made of it.
    """

    photo: int
    judged: tuple[Tensor, ...]
    cloaked: Mapping[str, Tensor]


@dataclass
class Earlier:
    """The faces of the results so far.

    Attributes:
        detector: finds the faces of originals.
        surrogates: that cloaks are made against.
        judges: those that have a threshold tell people apart.
        limits: on what a file may ask of this machine.
    """

    detector: FaceDetector
    surrogates: Sequence[Recognizer]
    judges: Sequence[Recognizer]
    limits: Limits = LIMITS
    _faces: deque[Seen] = field(default_factory=lambda: deque(maxlen=MOST_HELD))
    _photos: int = 0

    def __post_init__(self) -> None:
        self.judges = able(self.judges)

    def add(self, prepared: Prepared, saved: Pixels) -> None:
        """Remember the faces of a photo (``saved``, (h, w, 3) uint8), as it was published."""
        for face in prepared.faces:
            judged = tuple(prepared.own(judge, face) for judge in self.judges)
            cloaked = {one.spec.name: one.embed(saved, face) for one in self.surrogates}
            self._faces.append(Seen(self._photos, judged, cloaked))
        self._photos += 1

    @one_thread_each()
    def recall(self, pairs: Iterable[tuple[Path, Path]]) -> None:
        """Remember results of earlier runs: originals, and what was made of them. What cannot be read any more is
        left out."""
        for original, result in pairs:
            try:
                photo, saved = read_photo(original, self.limits), read_photo(result, self.limits)
            except (CloakError, OSError, MemoryError):
                continue
            if photo.pixels.shape == saved.pixels.shape:
                faces = tuple(face for face in self.detector.detect(photo.pixels) if face.width >= MIN_FACE)
                self.add(Prepared(photo, faces, ()), saved.pixels)

    def of(self, own: Callable[[Recognizer, Face], Tensor], face: Face) -> dict[str, Tensor]:
        """What was made of the photos of a face's person.

        Args:
            own: a recogniser's embedding (d,) of a face of the photo.
            face: in it.

        Returns:
            Surrogate -> (k, d), of the k photos whose originals are most similar; nothing where there is none.
        """
        if not self._faces or not self.judges:
            return {}
        judged = zip(*(seen.judged for seen in self._faces), strict=True)
        similar = [torch.stack(known) @ own(judge, face) for judge, known in zip(self.judges, judged, strict=True)]
        rows = same_person(self.judges, similar, [seen.photo for seen in self._faces], itself=math.inf)
        found = [self._faces[row].cloaked for row in rows]
        return {one.spec.name: torch.stack([seen[one.spec.name] for seen in found]) for one in self.surrogates if found}


def keep_apart(prepared: Prepared, earlier: Earlier | None) -> Prepared:
    """The same photo, its patches with what was made of its people's photos before."""
    if earlier is None:
        return prepared
    patches = tuple(
        replace(patch, earlier=earlier.of(prepared.own, face))
        for patch, face in zip(prepared.patches, prepared.faces, strict=True)
    )
    return replace(prepared, patches=patches)
