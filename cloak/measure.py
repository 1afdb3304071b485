"""Two versions of a photo -> what the eye and the recognisers make of the difference."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from cloak.detect import CHECK, MIN_FACE, MIN_SCORE, SAME_FACE, FaceDetector, large_enough
from cloak.expected import expect
from cloak.fading import eye_fading
from cloak.looks import Look, covered, overlap
from cloak.pipeline import Prepared
from cloak.recognizers import Recognizer
from cloak.threads import each
from cloak.types import ComparedFace, Comparison, Face, FaceReport, Match, Pixels
from cloak.visibility import measure_face

KNOWN = 0.35
"""A box that lies by this share of the smaller one within a face that was found is no face that was missed."""

AGAIN = Look("again", MIN_FACE, MIN_SCORE, max_pixels=500_000)
"""How a face is looked at again: alone in its region, so nothing much smaller is looked for."""


def report_faces(
    prepared: Prepared,
    saved: Pixels,
    recognizers: Sequence[Recognizer],
    detector: FaceDetector,
    measured: str,
) -> tuple[FaceReport, ...]:
    """Measure all faces of a photo.

    Args:
        prepared: the photo.
        saved: what its result shows.
        recognizers: that look at it.
        detector: finds faces again.
        measured: the mode whose benchmark says what such a cloak lets one expect; empty: none.
    """
    return tuple(
        replace(
            report_face(prepared, saved, face, recognizers, detector),
            expected=expect(measured, face.width),
            known=patch.known,
            apart=patch.kept_from,
        )
        for face, patch in zip(prepared.faces, prepared.patches, strict=True)
    )


def report_face(
    prepared: Prepared,
    saved: Pixels,
    face: Face,
    recognizers: Sequence[Recognizer],
    detector: FaceDetector,
) -> FaceReport:
    """Measure one face of a photo against what was saved of it.

    Each recogniser sees the saved face twice, aligned by the original landmarks and by those
    that the detector finds in the saved photo; the higher similarity counts.
    """
    original = prepared.photo.pixels
    found = find_again(saved, face, detector)

    def match(recognizer: Recognizer) -> Match:
        mirrored = recognizer.crop(original, face).flip(3)
        crops = [mirrored, *(recognizer.crop(saved, seen) for seen in (face, *found))]
        before, *after = (recognizer.embed_crops(crops) @ prepared.own(recognizer, face)).tolist()
        return Match(before=before, after=max(after), threshold=recognizer.spec.threshold)

    slow_first = sorted(recognizers, key=lambda recognizer: recognizer.spec.share)  # so no thread waits for them
    found_by = dict(zip(slow_first, each(match, slow_first), strict=True))
    matches = {recognizer.spec.name: found_by[recognizer] for recognizer in recognizers}
    visibility = measure_face(original, saved, face.box)
    return FaceReport(face, visibility, eye_fading(original, saved, face), matches)


def find_again(pixels: Pixels, face: Face, detector: FaceDetector) -> tuple[Face, ...]:
    """The faces that the detector sees where ``face`` was; usually one."""
    margin = max(face.width, face.height) / 2
    height, width = pixels.shape[:2]
    left, top = max(0, round(face.box[0] - margin)), max(0, round(face.box[1] - margin))
    right, bottom = min(width, round(face.box[2] + margin)), min(height, round(face.box[3] + margin))
    region = pixels[top:bottom, left:right]
    seen = detector.look(region, (replace(AGAIN, min_face=face.width / 2),)) or detector.detect(region)
    found = (_moved(other, left, top) for other in seen)
    return tuple(other for other in found if overlap(face.box, other.box) >= SAME_FACE)


def missed_faces(saved: Pixels, found: Sequence[Face], detector: FaceDetector) -> tuple[Face, ...]:
    """Faces of a saved photo, MIN_FACE px or wider, that were not found when it was cloaked.

    Args:
        saved: the pixels.
        found: all faces that were, those that were left alone too.
        detector: looks in the way of CHECK.
    """
    seen = large_enough(detector.look(saved, CHECK))
    return tuple(face for face in seen if all(covered(face.box, other.box) < KNOWN for other in found))


def compare_photos(
    first: Pixels, second: Pixels, recognizers: Sequence[Recognizer], detector: FaceDetector
) -> Comparison:
    """Compare each face of the first photo with all faces of the second."""
    faces, others = detector.detect(first), detector.detect(second)
    known = {recognizer.spec.name: recognizer for recognizer in recognizers}
    embedded = {name: [recognizer.embed(second, other) for other in others] for name, recognizer in known.items()}
    same_size = first.shape == second.shape
    compared = tuple(
        ComparedFace(
            face=face,
            similarities={
                name: float((torch.stack(embedded[name]) @ recognizer.embed(first, face)).max())
                for name, recognizer in known.items()
                if others
            },
            visibility=measure_face(first, second, face.box) if same_size else None,
        )
        for face in faces
    )
    thresholds = {name: recognizer.spec.threshold for name, recognizer in known.items()}
    return Comparison(compared, len(others), thresholds)


def _moved(face: Face, right: int, down: int) -> Face:
    box = (face.box[0] + right, face.box[1] + down, face.box[2] + right, face.box[3] + down)
    return replace(face, box=box, landmarks=tuple((x + right, y + down) for x, y in face.landmarks))
