"""Who the people of a photo are, as further photos of them tell.

The embedding of one photo is the person and the moment: light, pose, expression. A tracker compares
with photos of other moments, so a cloak had better lead away from what all photos of a person share.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cloak.detect import FaceDetector, large_enough
from cloak.errors import AlreadyCloakedError, CloakError, NoFaceError, UsageError, sentence_on
from cloak.files import plan_jobs
from cloak.names import is_url, shown
from cloak.photo import LIMITS, Limits, read_photo
from cloak.pipeline import Own, Prepared
from cloak.recognizers import Recognizer
from cloak.threads import one_thread_each
from cloak.types import Face, Pixels
from cloak.weights import file_sha256
from cloak.words import amount

ITSELF = 0.98
"""A face that is so similar to another is that face, in the same photo, and tells nothing new."""

MOST_KIN = 16
"""So many faces, the most similar, tell who somebody is: among very many strangers some are alike."""


@dataclass(frozen=True)
class Identities:
    """The faces of some photos, to know the people of other photos by.

    Attributes:
        judges: recognisers with thresholds, who tell which faces are one person's.
        judged: for each of them (m, d), all faces.
        embeddings: surrogate -> (m, d), all faces, each the mean with its mirror image, of length 1.
        photo_of: the number of the photo that each face is in.
        sources: the photos that show faces.
        problems: why others were left out, a sentence each.
        digest: of the photos' bytes; empty without photos.
    """

    judges: tuple[Recognizer, ...] = ()
    judged: tuple[Tensor, ...] = ()
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    photo_of: tuple[int, ...] = ()
    sources: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    digest: str = ""

    @classmethod
    @one_thread_each()
    def of(
        cls,
        photos: Iterable[Path],
        detector: FaceDetector,
        surrogates: Sequence[Recognizer],
        judges: Sequence[Recognizer],
        limits: Limits = LIMITS,
    ) -> "Identities":
        """Look at photos; at several copies of one, once. Their order does not matter.

        Args:
            photos: files, see ``identity_photos``; none: nobody is known.
            detector: finds the faces.
            surrogates: that cloaks are made against.
            judges: those of them that have a threshold tell people apart.
            limits: on what a file may ask of this machine.

        Raises:
            UsageError: none of the photos shows a face.
        """
        judges = able(judges)
        rows: list[list[Tensor]] = []
        judged: list[list[Tensor]] = []
        photo_of: list[int] = []
        sources: dict[str, Path] = {}
        by_content, problems = _by_content(photos)
        for digest, source in sorted(by_content.items()):
            try:
                pixels, faces = _look_at(source, detector, limits)
            except (CloakError, OSError, MemoryError) as error:
                problems.append(sentence_on(error, source))
                continue
            for face in faces:
                photo_of.append(len(sources))
                rows.append([_embed(surrogate, pixels, face) for surrogate in surrogates])
                judged.append([judge.embed(pixels, face) for judge in judges])
            sources[digest] = source
        if not sources and not problems:
            return cls()
        if not sources:
            raise UsageError(f"expected photos that show faces, to know people by, got none: {problems[0]}")
        return cls(
            judges,
            tuple(torch.stack(column) for column in zip(*judged, strict=True)),
            {one.spec.name: torch.stack(found) for one, found in zip(surrogates, zip(*rows, strict=True), strict=True)},
            tuple(photo_of),
            tuple(sources.values()),
            tuple(problems),
            hashlib.sha256("".join(sources).encode()).hexdigest()[:16],
        )

    @property
    def note(self) -> str:
        """What a user should know of them; empty without photos."""
        if not self.sources:
            return ""
        faces, photos = len(self.photo_of), len(self.sources)
        others = f"; {len(self.problems)} left out, the first: {self.problems[0]}" if self.problems else ""
        return f"identity: {amount(faces, 'face')} in {amount(photos, 'photo')}{others}"

    def unknown_among(self, known: Sequence[int]) -> tuple[str, ...]:
        """What a user should know of faces, from how many faces each is known; nothing without photos."""
        strangers = sum(not count for count in known) if self.sources else 0
        return (f"of {amount(len(known), 'face')}, {strangers} in no other photo of the identity",) if strangers else ()

    def kin(self, own: Own, face: Face) -> dict[str, Tensor]:
        """The embeddings of the faces that every judge takes for the same person's; of each photo one.

        Args:
            own: embeds the faces of another photo.
            face: in it.

        Returns:
            Surrogate -> (k, d), at most MOST_KIN, the most similar first; nothing where there is none.
        """
        similar = [known @ own(judge, face) for judge, known in zip(self.judges, self.judged, strict=True)]
        best = same_person(self.judges, similar, self.photo_of)
        return {name: rows[best] for name, rows in self.embeddings.items()} if best else {}


def able(judges: Sequence[Recognizer]) -> tuple[Recognizer, ...]:
    """Those that can tell people apart: that have a threshold."""
    return tuple(judge for judge in judges if judge.spec.threshold is not None)


def same_person(
    judges: Sequence[Recognizer], similar: Sequence[Tensor], photo_of: Sequence[int], itself: float = ITSELF
) -> list[int]:
    """The faces that every judge takes for one person's; of each photo one.

    Args:
        judges: that can tell people apart.
        similar: for each of them, (m,) similarities of all faces to one.
        photo_of: the number of the photo that each face is in.
        itself: faces as similar as this are left out.

    Returns:
        At most MOST_KIN, the most similar first.
    """
    thresholds = [judge.spec.threshold or 0.0 for judge in judges]
    chosen: dict[int, int] = {}  # photo -> face
    for row in torch.stack(list(similar)).mean(dim=0).argsort(descending=True, stable=True).tolist() if similar else ():
        values = [float(one[row]) for one in similar]
        if all(least <= value < itself for value, least in zip(values, thresholds, strict=True)):
            chosen.setdefault(photo_of[row], row)
    return list(chosen.values())[:MOST_KIN]


def identity_photos(paths: Sequence[Path | str], out: Path | None = None) -> list[Path]:
    """The files that some paths mean: photos, and folders that are searched to their depth.

    Args:
        paths: files and folders of this machine.
        out: the folder of the results, which is left out.

    Raises:
        UsageError: one of the paths is not there, or is a folder without photos.
    """
    for path in paths:
        if is_url(str(path)):
            raise UsageError(f"{path}: expected a path of this machine for the identity, got a URL; fetch the photos")
    jobs = plan_jobs([Path(path) for path in paths], out, recursive=True)
    for job in jobs:
        if job.error or not job.source.exists():
            raise UsageError(job.error or f"{shown(job.source)}: expected a photo or a folder, got nothing there")
    return [job.source.absolute() for job in jobs]


def knowing(prepared: Prepared, identities: Identities) -> Prepared:
    """The same photo, its patches with what is known of the people."""
    if not identities.sources:
        return prepared
    return prepared.learning(lambda patch, face: replace(patch, kin=identities.kin(prepared.own, face)))


def _by_content(photos: Iterable[Path]) -> tuple[dict[str, Path], list[str]]:
    """Digest -> photo, of several copies one; and why others cannot be read, a sentence each."""
    found, problems = {}, []
    for photo in photos:
        try:
            found[file_sha256(photo)] = photo
        except OSError as error:
            problems.append(sentence_on(error, photo))
    return found, problems


def _look_at(source: Path, detector: FaceDetector, limits: Limits) -> tuple[Pixels, tuple[Face, ...]]:
    """A photo, and its faces that are large enough.

    Raises:
        CloakError: it cannot be read, shows no such face, or is cloaked.
    """
    photo = read_photo(source, limits)
    if photo.earlier:
        raise AlreadyCloakedError(f"{shown(source)}: was cloaked before ({photo.earlier})")
    faces = large_enough(detector.detect(photo.pixels))
    if not faces:
        raise NoFaceError(f"{shown(source)}: no face was found in it")
    return photo.pixels, faces


def _embed(recognizer: Recognizer, pixels: Pixels, face: Face) -> Tensor:
    crop = recognizer.crop(pixels, face)
    return F.normalize(recognizer.embed_crops([crop, crop.flip(3)]).sum(dim=0), dim=0)
