"""What passes between the modules: faces, and what a report says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloak.lines import plain, to_json
from cloak.names import shown
from cloak.words import amount

Pixels: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) uint8, RGB, upright."""

Box: TypeAlias = tuple[float, float, float, float]
"""left, top, right, bottom in pixels; pixel centres lie at whole numbers."""


@dataclass(frozen=True)
class Face:
    """A face found in a photo. Coordinates are x, y in pixels; pixel centres lie at whole numbers.

    Attributes:
        box: left, top, right, bottom; within the photo.
        landmarks: left eye, right eye, nose, left and right mouth corner, as seen with the face upright.
        score: the detector's confidence, 0..1.
        look: the way of looking that found it, see ``cloak.looks``.
    """

    box: Box
    landmarks: tuple[tuple[float, float], ...]
    score: float
    look: str = "first"

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        return self.box[3] - self.box[1]


def face_of(record: Mapping[str, Any]) -> Face:
    """A face as JSON has it."""
    landmarks = tuple((float(x), float(y)) for x, y in record["landmarks"])
    return Face(**{**record, "box": tuple(record["box"]), "landmarks": landmarks})


@dataclass(frozen=True)
class Visibility:
    """How far the saved face differs from the original one.

    Attributes:
        dssim: face DSSIM: mean of (1 - SSIM) / 2 over the face box.
        peak_dssim: largest mean of the same map over any window a quarter of the box wide.
        psnr: peak signal-to-noise ratio over the face box, dB; inf (null in JSON) where nothing changed.
        linf: largest change of any pixel around the face, in grey levels of 255.
        chroma: root mean square change of colour over the face box: distance in a* and b* of
            CIELAB, where 2.3 is just noticeable side by side.
    """

    dssim: float
    peak_dssim: float
    psnr: float
    linf: int
    chroma: float


@dataclass(frozen=True)
class Match:
    """What one recogniser says of a face before and after.

    Attributes:
        before: similarity of the original to its own mirror image: what an easy match scores.
        after: similarity of the saved face to the original one.
        threshold: at or above this the recogniser takes two faces for one person; None where
            nobody measured it.
    """

    before: float
    after: float
    threshold: float | None

    @property
    def protected(self) -> bool:
        """Whether the recogniser no longer matches the face; a recogniser without a threshold cannot tell."""
        return self.threshold is None or self.after < self.threshold


@dataclass(frozen=True)
class Expected:
    """The share of matches with other photos that failed in the benchmark for faces like one: no promise.

    Attributes:
        least: on the recogniser that was fooled least, at the lower end of its 95 % interval, 0..1.
        greatest: on the one that was fooled most.
    """

    least: float
    greatest: float


@dataclass(frozen=True)
class FaceReport:
    """One face of a protected photo, measured on the saved pixels.

    Attributes:
        face: in the original.
        visibility: of the change.
        fading: the share of its contrast that the eye which fades more has lost, see ``cloak.fading``.
        matches: what each recogniser says.
        expected: what the benchmark lets one expect of recognisers that were never seen; None where
            it says nothing, as for surrogates of the user's choice.
        known: from how many faces in the photos of ``--identity`` the person is known.
        apart: from how many faces that were published before this one was led away, too (``--apart``): the person's,
            and of those that nobody knows the likest.
    """

    face: Face
    visibility: Visibility
    fading: float
    matches: Mapping[str, Match]
    expected: Expected | None = None
    known: int = 0
    apart: int = 0

    @property
    def protected(self) -> bool:
        """Whether every recogniser that can tell no longer matches the face."""
        return all(match.protected for match in self.matches.values())


@dataclass(frozen=True)
class PhotoReport:
    """What became of one photo.

    Attributes:
        source: the photo; None where pixels were given.
        output: the protected file; None where none was written.
        mode: low, mid or high.
        faces: the largest first.
        small: how many faces were found and left alone, since they are narrower than 40 px.
        missed: faces that another way of looking still finds in the result: they are as they were.
        seconds: from reading to saving, its share of a batch's time.
        growth: the size of the protected file, by that of the photo's; 0 where there is none.
        error: one sentence; empty when the photo was protected.
        passing: whether the error may be gone another time: a full disk, short memory.
        skipped: why nothing had to be done, in one sentence; else empty.
        removed: what of the original's metadata is not in the file, in a few words each.
        notes: what else a user should know, such as another format, a sentence each.
    """

    source: Path | None = None
    output: Path | None = None
    mode: str = ""
    faces: tuple[FaceReport, ...] = ()
    small: int = 0
    missed: tuple[Face, ...] = ()
    seconds: float = 0.0
    growth: float = 0.0
    error: str = ""
    passing: bool = False
    skipped: str = ""
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def protected(self) -> bool:
        seen = not self.missed and all(face.protected for face in self.faces)
        return not self.error and bool(self.faces) and seen

    @property
    def failed(self) -> bool:
        """Whether the photo should have been protected and is not."""
        return not (self.protected or self.skipped)

    @property
    def reason(self) -> str:
        """Why the photo is not protected, in one sentence that names it; empty when it is."""
        if self.protected or self.error or self.skipped:
            return self.error or self.skipped
        still = sum(not face.protected for face in self.faces)
        faces = amount(len(self.faces), "face")
        advice = "; try a stronger --mode" if self.mode != "high" else "; high is the strongest --mode"
        reasons = [
            f"{still} of {faces} still match{'es' * (still == 1)} the original{advice}" if still else "",
            _missed(self.missed) if self.missed else "",
        ]
        what = "; ".join(reason for reason in reasons if reason)
        return f"{shown(self.source)}: {what}" if self.source else what

    def to_json(self) -> str:
        """One line of JSON."""
        record = asdict(self, dict_factory=plain) | {"protected": self.protected, "reason": self.reason}
        return to_json(record)


@dataclass(frozen=True)
class PhotoPlan:
    """What would become of one photo.

    Attributes:
        source: the photo.
        target: where its result would lie; None where there would be none.
        faces: that would be cloaked, the largest first.
        small: how many faces would be left alone.
        error: why the photo could not be protected; else empty.
        skipped: why nothing would have to be done; else empty.
        removed: what of its metadata would go.
        notes: what else a user should know.
    """

    source: Path
    target: Path | None = None
    faces: tuple[Face, ...] = ()
    small: int = 0
    error: str = ""
    skipped: str = ""
    removed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line of JSON."""
        return to_json(asdict(self, dict_factory=plain))


@dataclass(frozen=True)
class Progress:
    """Where a batch stands.

    Attributes:
        photo: the photo's number, from 0.
        photos: how many there are.
        source: the photo.
        step: what is being done.
        done: the share of this photo that is done, 0..1.
    """

    photo: int
    photos: int
    source: Path
    step: str
    done: float


@dataclass(frozen=True)
class CloakResult:
    """A protected photo in memory.

    Attributes:
        image: the photo as given, upright, with its faces cloaked.
        report: measured on ``image``.
    """

    image: Image.Image
    report: PhotoReport


@dataclass(frozen=True)
class ComparedFace:
    """A face of the first of two photos, and the most similar face of the second.

    Attributes:
        face: in the first photo.
        similarities: recogniser -> highest similarity to any face of the second photo.
        visibility: of the change, where both photos have the same size; else None.
    """

    face: Face
    similarities: Mapping[str, float]
    visibility: Visibility | None


@dataclass(frozen=True)
class Comparison:
    """Two photos compared.

    Attributes:
        faces: of the first photo, the largest first.
        faces_in_second: how many were found there.
        thresholds: recogniser -> at or above this it takes two faces for one person; None where
            nobody measured it.
    """

    faces: tuple[ComparedFace, ...]
    faces_in_second: int
    thresholds: Mapping[str, float | None]

    def to_json(self) -> str:
        """One line of JSON."""
        return to_json(asdict(self, dict_factory=plain))


def _missed(faces: Sequence[Face]) -> str:
    """Where faces are that were not cloaked, in one sentence."""
    centres = ((sum(face.box[0::2]) / 2, sum(face.box[1::2]) / 2) for face in faces)
    places = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in centres)
    one = len(faces) == 1
    return (
        f"{len(faces)} {'face was' if one else 'faces were'} missed at {places}, so {'it' if one else 'they'} still "
        f"{'shows' if one else 'show'}; cover {'it' if one else 'them'}, or turn or crop the photo and try again"
    )
