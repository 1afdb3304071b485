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

from cloak.detect import MIN_FACE, FaceDetector
from cloak.errors import PHOTO_ERRORS, AlreadyCloakedError, NoFaceError, UsageError, sentence_on
from cloak.files import Job, plan_jobs
from cloak.names import shown
from cloak.photo import LIMITS, Limits, read_photo
from cloak.pipeline import Prepared
from cloak.recognizers import Recognizer
from cloak.types import Face, Pixels
from cloak.weights import file_sha256

ITSELF = 0.98
"""A face that is so similar to another is that face, in the same photo, and tells nothing new."""


@dataclass(frozen=True)
class Identities:
    """The faces of some photos, to know the people of other photos by.

    Attributes:
        judges: recognisers with thresholds, who tell which faces are one person's.
        judged: for each of them (m, d), all faces.
        embeddings: surrogate -> (m, d), all faces, each the mean with its mirror image, of length 1.
        photos: how many showed a face.
        left_out: how many did not, cannot be read, or are cloaked.
        digest: of the photos' bytes; empty without photos.
    """

    judges: tuple[Recognizer, ...] = ()
    judged: tuple[Tensor, ...] = ()
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    photos: int = 0
    left_out: int = 0
    digest: str = ""

    @classmethod
    def of(
        cls,
        paths: Iterable[Path | str],
        detector: FaceDetector,
        surrogates: Sequence[Recognizer],
        judges: Sequence[Recognizer],
        limits: Limits = LIMITS,
    ) -> "Identities":
        """Look at photos.

        Args:
            paths: photos, and folders that are searched to their depth; none: nobody is known.
            detector: finds the faces.
            surrogates: that cloaks are made against.
            judges: those of them that have a threshold tell people apart.
            limits: on what a file may ask of this machine.

        Raises:
            UsageError: none of the photos shows a face.
        """
        able = tuple(judge for judge in judges if judge.spec.threshold is not None)
        rows: dict[str, list[Tensor]] = {surrogate.spec.name: [] for surrogate in surrogates}
        judged: list[list[Tensor]] = [[] for _ in able]
        digests, problems = [], []
        jobs = plan_jobs([Path(path) for path in paths], recursive=True)
        for job in jobs:
            try:
                pixels, faces = _look_at(job, detector, limits)
            except PHOTO_ERRORS as error:
                problems.append(sentence_on(error, job.source))
                continue
            digests.append(file_sha256(job.source))
            for face in faces:
                for surrogate in surrogates:
                    rows[surrogate.spec.name].append(_embed(surrogate, pixels, face))
                for kept, judge in zip(judged, able, strict=True):
                    kept.append(judge.embed(pixels, face))
        if not digests:
            if not jobs:
                return cls()
            raise UsageError(f"expected photos that show faces, to know people by, got none: {problems[0]}")
        return cls(
            able,
            tuple(torch.stack(kept) for kept in judged),
            {name: torch.stack(found) for name, found in rows.items()},
            len(digests),
            len(problems),
            hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16],
        )

    @property
    def note(self) -> str:
        """What a user should know of them; empty without photos."""
        if not self.photos:
            return ""
        faces, photos = len(self.judged[0]), self.photos
        others = f", {self.left_out} left out (no face, cloaked, or not read)" if self.left_out else ""
        return f"identity: {faces} face{'s' * (faces > 1)} in {photos} photo{'s' * (photos > 1)}{others}"

    def unknown_among(self, known: Sequence[int]) -> tuple[str, ...]:
        """What a user should know of faces, from how many faces each is known; nothing without photos."""
        strangers = sum(not count for count in known) if self.photos else 0
        return (f"{strangers} of {len(known)} faces are of nobody in the photos of --identity",) if strangers else ()

    def kin(self, pixels: Pixels, face: Face) -> dict[str, Tensor]:
        """The embeddings of the faces that every judge takes for the same person's.

        Args:
            pixels: (h, w, 3) uint8, of another photo.
            face: in it.

        Returns:
            Surrogate -> (k, d); nothing where there is no such face.
        """
        same = torch.ones(len(self.judged[0]), dtype=torch.bool) if self.judges else torch.zeros(0, dtype=torch.bool)
        for judge, known in zip(self.judges, self.judged, strict=True):
            similar = known @ judge.embed(pixels, face)
            assert judge.spec.threshold is not None
            same &= (similar >= judge.spec.threshold) & (similar < ITSELF)
        return {name: rows[same] for name, rows in self.embeddings.items()} if same.any() else {}


def _look_at(job: Job, detector: FaceDetector, limits: Limits) -> tuple[Pixels, tuple[Face, ...]]:
    """A photo, and its faces that are large enough.

    Raises:
        CloakError: it cannot be read, shows no such face, or is cloaked.
    """
    if job.error:
        raise UsageError(job.error)
    photo = read_photo(job.source, limits)
    if photo.earlier:
        raise AlreadyCloakedError(f"{shown(job.source)}: was cloaked before ({photo.earlier})")
    faces = tuple(face for face in detector.detect(photo.pixels) if face.width >= MIN_FACE)
    if not faces:
        raise NoFaceError(f"{shown(job.source)}: no face was found in it")
    return photo.pixels, faces


def _embed(recognizer: Recognizer, pixels: Pixels, face: Face) -> Tensor:
    both = recognizer.embed(pixels, face) + recognizer.embed(pixels, face, mirror=True)
    return F.normalize(both, dim=0)


def knowing(prepared: Prepared, identities: Identities) -> Prepared:
    """The same photo, its patches with what is known of the people."""
    if not identities.photos:
        return prepared
    pixels = prepared.photo.pixels
    patches = tuple(
        replace(patch, kin=identities.kin(pixels, face))
        for patch, face in zip(prepared.patches, prepared.faces, strict=True)
    )
    return replace(prepared, patches=patches)
