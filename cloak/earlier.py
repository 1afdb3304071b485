"""What was made of people's photos before, so that their next cloaks do not match it.

Left to themselves the cloaks of a person all lead the same way out, and match each other. Here a face is
known by its original, as ``cloak.identities`` tells people apart, and kept as its published photo shows it.
Of published photos without their originals nobody knows whose faces they show; of these the likest count.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from cloak.detect import FaceDetector, large_enough
from cloak.errors import CloakError, UsageError, sentence_on
from cloak.identities import MOST_KIN, able, same_person
from cloak.names import is_url, shown
from cloak.photo import LIMITS, SUFFIXES, TRUSTED, Limits, read_note, read_photo
from cloak.pipeline import Own, Prepared
from cloak.recognizers import Recognizer
from cloak.threads import each, one_thread_each
from cloak.types import Face, Pixels
from cloak.walk import MARK
from cloak.words import amount

MOST_PHOTOS = 300
"""So many results are remembered, the latest: a run that goes on looks at them again, at one to four a second."""


@dataclass(frozen=True)
class Seen:
    """A face that was published.

    Attributes:
        judged: by each judge, (d,) of the original; None where that is not at hand.
        cloaked: surrogate -> (d,) of what was made of it.
    """

    judged: tuple[Tensor, ...] | None
    cloaked: Mapping[str, Tensor]


@dataclass
class Earlier:
    """The faces of the results so far.

    Attributes:
        detector: finds the faces of originals.
        surrogates: that cloaks are made against.
        judges: those that have a threshold tell people apart.
        limits: on what a file may ask of this machine.
        photos: of each result, its faces.
        problems: why published photos were left out, a sentence each.
    """

    detector: FaceDetector
    surrogates: Sequence[Recognizer]
    judges: Sequence[Recognizer]
    limits: Limits = LIMITS
    photos: deque[tuple[Seen, ...]] = field(default_factory=lambda: deque(maxlen=MOST_PHOTOS))
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.judges = able(self.judges)

    @property
    def note(self) -> str:
        """What a user should know of them, before a run."""
        faces, problems = sum(map(len, self.photos)), len(self.problems)
        published = f" and from {amount(faces, 'face')} published before" if faces else ""
        left_out = f"; {amount(problems, 'photo')} left out, the first: {self.problems[0]}" if problems else ""
        return f"apart: each photo is kept from the results before it{published}{left_out}"

    def add(self, prepared: Prepared, saved: Pixels) -> None:
        """Remember the faces of a photo as it was published: ``saved``, (h, w, 3) uint8."""
        self.photos.append(
            tuple(
                Seen(tuple(prepared.own(judge, face) for judge in self.judges), self._cloaked(saved, face))
                for face in prepared.faces
            )
        )

    def _cloaked(self, saved: Pixels, face: Face) -> dict[str, Tensor]:
        embeddings = each(lambda surrogate: surrogate.embed(saved, face), self.surrogates)
        return {one.spec.name: found for one, found in zip(self.surrogates, embeddings, strict=True)}

    def _unknown(self, saved: Pixels) -> tuple[Seen, ...]:
        """The faces of a published photo whose original is not at hand."""
        return tuple(Seen(None, self._cloaked(saved, face)) for face in self._faces_of(saved))

    def _faces_of(self, pixels: Pixels) -> tuple[Face, ...]:
        return large_enough(self.detector.detect(pixels))

    @one_thread_each()
    def add_published(self, paths: Sequence[Path | str]) -> None:
        """Remember photos as they were published, the last MOST_PHOTOS; their originals are not at hand.

        Args:
            paths: see ``published_among``.

        Raises:
            UsageError: one of the paths is not there, or no such photo shows a face.
        """
        for path in published_among(paths)[-MOST_PHOTOS:]:
            try:
                seen = self._unknown(read_photo(path, self.limits).pixels)
            except (CloakError, OSError, MemoryError) as error:
                self.problems.append(sentence_on(error, path))
                continue
            if not seen:
                self.problems.append(f"{shown(path)}: no face was found in it")
            self.photos.append(seen)
        if not any(self.photos):
            raise UsageError(f"expected published photos that show faces, got none: {self.problems[0]}")

    @one_thread_each()
    def recall(
        self, pairs: Iterable[tuple[Path, Path]], going_on: Callable[[Path], bool] = lambda original: True
    ) -> None:
        """Remember results of earlier runs: the last MOST_PHOTOS of these originals, and what was made of them.

        A result that is gone is left out; without its original it counts like any published photo.

        Args:
            pairs: original and result.
            going_on: told of each original before it is looked at; false ends it.
        """
        for original, result in list(pairs)[-MOST_PHOTOS:]:
            if not going_on(original):
                return
            with suppress(CloakError, OSError, MemoryError):
                saved = read_photo(result, TRUSTED).pixels
                self._recall_one(original, saved)

    def _recall_one(self, original: Path, saved: Pixels) -> None:
        try:
            photo = read_photo(original, self.limits)
        except (CloakError, OSError):
            photo = None
        if photo and photo.pixels.shape == saved.shape:
            self.add(Prepared(photo, self._faces_of(photo.pixels), ()), saved)
        else:
            self.photos.append(self._unknown(saved))

    def of(self, own: Own, face: Face) -> dict[str, Tensor]:
        """What was made of the photos of a face's person.

        Args:
            own: a recogniser's embedding (d,) of a face of the photo.
            face: in it.

        Returns:
            Surrogate -> (k, d), at most MOST_KIN of the photos whose originals are most similar, and as many of those
            without; nothing where there is none.
        """
        faces = [(number, seen) for number, photo in enumerate(self.photos) for seen in photo]
        found = [*self._same(own, face, faces), *self._likest(own, face, faces)]
        return {one.spec.name: torch.stack([made[one.spec.name] for made in found]) for one in self.surrogates if found}

    def _same(self, own: Own, face: Face, faces: Sequence[tuple[int, Seen]]) -> list[Mapping[str, Tensor]]:
        """What was made of the same person, as the originals tell."""
        known = [(number, seen.judged, seen.cloaked) for number, seen in faces if seen.judged]
        columns = zip(*(judged for _, judged, _ in known), strict=True)
        similar = [torch.stack(rows) @ own(judge, face) for judge, rows in zip(self.judges, columns, strict=False)]
        rows = same_person(self.judges, similar, [number for number, _, _ in known], itself=math.inf)
        return [known[row][2] for row in rows]

    def _likest(self, own: Own, face: Face, faces: Sequence[tuple[int, Seen]]) -> list[Mapping[str, Tensor]]:
        """What was made of nobody knows whom: the likest to the face first, as the surrogates see it."""
        unknown = [seen.cloaked for _, seen in faces if seen.judged is None]
        if not unknown:
            return []
        rows = [torch.stack([made[one.spec.name] for made in unknown]) @ own(one, face) for one in self.surrogates]
        return [unknown[row] for row in torch.stack(rows).mean(dim=0).argsort(descending=True, stable=True)[:MOST_KIN]]


def earlier_for(
    apart: bool | Sequence[Path | str],
    detector: FaceDetector,
    surrogates: Sequence[Recognizer],
    judges: Sequence[Recognizer],
    limits: Limits,
) -> Earlier | None:
    """What cloaks are to be kept apart from, at first: nothing, or photos that were published; None if from nothing
    ever.

    Raises:
        UsageError: as ``Earlier.add_published``.
    """
    if not apart:
        return None
    earlier = Earlier(detector, surrogates, judges, limits)
    if not isinstance(apart, bool):
        earlier.add_published([apart] if isinstance(apart, (str, Path)) else apart)
    return earlier


def keep_apart(prepared: Prepared, earlier: Earlier | None) -> Prepared:
    """The same photo, its patches with what was made of its people's photos before."""
    if earlier is None:
        return prepared
    return prepared.learning(lambda patch, face: replace(patch, earlier=earlier.of(prepared.own, face)))


def remember(earlier: Earlier | None, prepared: Prepared, saved: Pixels) -> None:
    """Note a result that is published, where others are to be kept from it."""
    if earlier:
        earlier.add(prepared, saved)


def published_among(paths: Sequence[Path | str], own: Collection[Path] = ()) -> list[Path]:
    """The photos that some paths mean: files, and in folders those that cloak has made, by their note or their name.

    Args:
        paths: files and folders of this machine.
        own: results of the run itself, which its journal knows better; left out whatever their suffix.

    Returns:
        Each once, the oldest first.

    Raises:
        UsageError: one of the paths is not there, or there is no such photo.
    """
    found: dict[Path, None] = {}
    for path in map(str, paths):
        if is_url(path):
            raise UsageError(f"{path}: expected a path of this machine for --apart-from, got a URL; fetch the photos")
        if not Path(path).exists():
            raise UsageError(f"{shown(path)}: expected cloaked photos or a folder of such, got nothing there")
        named = filter(_is_cloaked, sorted(Path(path).rglob("*"))) if Path(path).is_dir() else [Path(path)]
        found |= dict.fromkeys(one.absolute() for one in named)
    if not found:
        raise UsageError(
            f"{shown(str(paths[0]))}: expected photos that cloak has made, got none that say so by their note or name; "
            "name the files themselves"
        )
    known = {path.absolute().with_suffix("") for path in own}
    others = (path for path in found if path.with_suffix("") not in known)
    return sorted(others, key=lambda path: (path.stat().st_mtime, path))


def _is_cloaked(path: Path) -> bool:
    if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
        return False
    return MARK in path.stem or bool(read_note(path))
