"""Photos -> the faces that are found in them, as ``cloak detect`` shows them; nothing is changed."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cloak.detect import MIN_FACE, FaceDetector
from cloak.errors import PHOTO_ERRORS, sentence_on
from cloak.files import plan_jobs
from cloak.lines import to_json
from cloak.names import shown
from cloak.photo import LIMITS, Limits, read_photo
from cloak.types import Face


@dataclass(frozen=True)
class Survey:
    """What was found in one photo.

    Attributes:
        source: the photo.
        size: its width and height in pixels, upright.
        faces: the largest first.
        error: why it could not be looked at, in one sentence; else empty.
    """

    source: Path
    size: tuple[int, int] = (0, 0)
    faces: tuple[Face, ...] = ()
    error: str = ""

    @property
    def reason(self) -> str:
        """Why there is nothing to protect, in one sentence; empty where there is a face."""
        if self.error or any(not left_alone(face) for face in self.faces):
            return self.error
        found = f"only faces narrower than {MIN_FACE} px were" if self.faces else "no face was"
        return f"{shown(self.source)}: {found} found in it"

    def to_json(self) -> str:
        """One line of JSON."""
        faces = [asdict(face) | {"left_alone": left_alone(face)} for face in self.faces]
        record = {"source": str(self.source), "size": self.size, "faces": faces, "reason": self.reason}
        return to_json(record)


def left_alone(face: Face) -> bool:
    """Whether a face is too narrow to be protected."""
    return face.width < MIN_FACE


def survey_files(
    paths: Iterable[Path], detector: FaceDetector, *, recursive: bool = False, limits: Limits = LIMITS
) -> Iterator[Survey]:
    """Look for faces in files and folders, one result a photo, in order; one that fails does not stop the others.

    Args:
        paths: files and folders.
        detector: who looks.
        recursive: whether folders are searched to their depth.
        limits: on what a file may ask of this machine.
    """
    for job in plan_jobs(paths, recursive=recursive):
        if job.error:
            yield Survey(job.source, error=job.error)
            continue
        try:
            pixels = read_photo(job.source, limits).pixels
            faces = detector.detect(pixels)
        except PHOTO_ERRORS as error:
            yield Survey(job.source, error=sentence_on(error, job.source))
        else:
            yield Survey(job.source, (pixels.shape[1], pixels.shape[0]), faces)
