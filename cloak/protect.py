"""The main job: photos -> faces -> patches -> the loop -> saved files -> reports."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cloak.detect import FaceDetector
from cloak.errors import CloakError, NoFaceError, UsageError
from cloak.expected import expect
from cloak.files import Job, plan_jobs
from cloak.measure import compare_photos, missed_faces, report_face
from cloak.methods import find_mode
from cloak.photo import Photo, photo_of, read_photo, save_bytes, to_image
from cloak.pipeline import Prepared, compose, encode_within_budget, perturb, prepare
from cloak.recognizers import SURROGATES, Recognizer, load_recognizer
from cloak.recognizers.source import twins
from cloak.surrogates import AUTO, load_surrogates
from cloak.types import CloakResult, Comparison, Expected, Face, PhotoReport, Pixels


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


class Cloaker:
    """Protects photos. Holds the detector and the surrogates, so make one and keep it.

    Args:
        mode: "low", "mid" or "high": face DSSIM at most .004, .009 or .017.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        seed: the same photo, mode, surrogates and seed give the same result on one machine.
        surrogates: recognisers that the cloak is made against, and that measure it: names, files,
            specifications or module:factory (see ``cloak.recognizers.source``); "auto" stands for
            all that are on disk.

    Attributes:
        notes: what a user should know of the surrogates, a sentence each.

    Raises:
        UsageError: unknown mode or device; a surrogate that is unknown or has no gradients.
        WeightsError: weights are absent or damaged.
    """

    def __init__(
        self, mode: str = "mid", *, device: str = "auto", seed: int = 0, surrogates: Sequence[str] = (AUTO,)
    ) -> None:
        self.method = find_mode(mode)
        self.device = find_device(device)
        self.seed = seed
        self._recognizers, self.notes = load_surrogates(surrogates, self.device)
        self._detector = FaceDetector(self.device)
        self._judges = judges_of(self._recognizers, self.device)

    def protect(self, image: Path | str | Image.Image | Pixels) -> CloakResult:
        """Protect one photo in memory; nothing is written.

        Args:
            image: a file, a Pillow image, or (h, w, 3) uint8 RGB.

        Returns:
            The protected photo, upright, and the report, measured on its pixels.

        Raises:
            PhotoError: not a photo that can be read.
            NoFaceError: no face was found.
        """
        start = time.perf_counter()
        photo = replace(_open(image), format="PNG")  # nothing is lost in memory
        prepared = prepare(photo, "the photo", self._detector, self.method, self.seed)
        deltas = perturb(prepared.patches, self._recognizers, self.method, self.device)
        pixels = compose(prepared, deltas, self.method).pixels()
        report = self._report(prepared, pixels)
        seconds = time.perf_counter() - start
        source = Path(image) if isinstance(image, (str, Path)) else None
        result = to_image(replace(photo, pixels=pixels))
        return CloakResult(result, replace(report, source=source, seconds=seconds))

    def protect_files(
        self,
        paths: Iterable[Path | str],
        out: Path | str | None = None,
        *,
        recursive: bool = False,
        overwrite: bool = False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[PhotoReport]:
        """Protect files and folders, one report a photo, in order, as each is done.

        Originals are never touched. A photo that fails is reported with the reason, and the
        others go on.

        Args:
            paths: files and folders.
            out: the folder for the results, made when needed; without it, each result lies
                beside its photo as NAME_cloaked.EXT.
            recursive: whether folders are searched to their depth.
            overwrite: whether results that exist already are replaced.
            on_progress: called at each step.

        Raises:
            UsageError: ``out`` is a file.
        """
        jobs = plan_jobs([Path(path) for path in paths], Path(out) if out is not None else None, recursive=recursive)
        sources = {job.source.resolve() for job in jobs}
        for index, job in enumerate(jobs):

            def tell(step: str, done: float, index: int = index, job: Job = job) -> None:
                on_progress(Progress(index, len(jobs), job.source, step, done))

            start = time.perf_counter()
            try:
                report = self._protect_file(job, sources, overwrite, tell)
            except CloakError as error:
                report = PhotoReport(error=str(error))
            except (OSError, RuntimeError, MemoryError) as error:
                report = PhotoReport(error=f"{job.source}: {type(error).__name__}: {error}")
            tell("done", 1.0)
            seconds = time.perf_counter() - start
            yield replace(report, source=job.source, mode=self.method.name, seconds=seconds)

    def _protect_file(
        self, job: Job, sources: set[Path], overwrite: bool, tell: Callable[[str, float], None]
    ) -> PhotoReport:
        if job.error:
            raise UsageError(job.error)
        if job.target.resolve() in sources:
            raise UsageError(
                f"{job.target}: is itself a photo to protect and would be overwritten; pass another folder with -o"
            )
        if job.target.exists() and not overwrite:
            raise UsageError(f"{job.target}: exists already; pass --overwrite to replace it")
        tell("finding faces", 0.0)
        photo = read_photo(job.source)
        prepared = prepare(photo, str(job.source), self._detector, self.method, self.seed)

        def cloaking(share: float) -> None:
            tell("cloaking", 0.05 + 0.85 * share)

        deltas = perturb(prepared.patches, self._recognizers, self.method, self.device, cloaking)
        tell("saving", 0.9)
        data = encode_within_budget(compose(prepared, deltas, self.method), str(job.target))
        save_bytes(data, job.target, overwrite=overwrite)
        return replace(self._report(prepared, read_photo(job.target).pixels), output=job.target)

    def _report(self, prepared: Prepared, saved: Pixels) -> PhotoReport:
        original = prepared.photo.pixels
        measured = (report_face(original, saved, face, self._judges, self._detector) for face in prepared.faces)
        faces = tuple(replace(report, expected=self._expect(report.face)) for report in measured)
        missed = missed_faces(saved, prepared.found, self._detector)
        return PhotoReport(mode=self.method.name, faces=faces, small=prepared.small, missed=missed)

    def _expect(self, face: Face) -> Expected | None:
        """What the benchmark says of such a face; it was made with all the surrogates that ship."""
        names = {recognizer.spec.name for recognizer in self._recognizers}
        return expect(self.method.name, face.width) if names >= set(SURROGATES) else None


def judges_of(surrogates: Sequence[Recognizer], device: torch.device) -> tuple[Recognizer, ...]:
    """Who measures the result: the surrogates, for a twin its original, and in any case one that has a threshold."""
    own = {recognizer.spec.name: recognizer for recognizer in surrogates}
    names = dict.fromkeys([twins().get(name, name) for name in own])
    judges = tuple(own.get(name) or load_recognizer(name, device) for name in names)
    if any(judge.spec.threshold is not None for judge in judges):
        return judges
    return (*judges, load_recognizer("dlib", device))


def find_device(name: str) -> torch.device:
    """ "auto", "cpu" or "cuda" -> the device.

    Raises:
        UsageError: another name, or CUDA where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"expected a device, one of auto, cpu, cuda; got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("expected a CUDA device, got none that PyTorch can use; pass --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def detect_faces(image: Path | str | Image.Image | Pixels, *, device: str = "auto") -> tuple[Face, ...]:
    """The faces of one photo, the largest first; empty when there is none.

    Args:
        image: a file, a Pillow image, or (h, w, 3) uint8 RGB.
        device: "auto", "cpu" or "cuda".

    Raises:
        PhotoError: not a photo that can be read.
    """
    return FaceDetector(find_device(device)).detect(_open(image).pixels)


def compare(
    first: Path | str | Image.Image | Pixels,
    second: Path | str | Image.Image | Pixels,
    *,
    device: str = "auto",
    recognizers: Sequence[str] = (AUTO,),
) -> Comparison:
    """Compare the faces of two photos.

    Args:
        first: a photo.
        second: another, or the same one cloaked.
        device: "auto", "cpu" or "cuda".
        recognizers: see ``Cloaker``; gradients are not needed here.

    Raises:
        PhotoError: not a photo that can be read.
        NoFaceError: no face was found in one of them.
        UsageError: a recogniser is unknown or cannot be loaded.
        WeightsError: weights are absent or damaged.
    """
    where = find_device(device)
    photos = (_open(first), _open(second))
    loaded, _ = load_surrogates(recognizers, where, gradients=False)
    comparison = compare_photos(photos[0].pixels, photos[1].pixels, loaded, FaceDetector(where))
    for name, count in ((first, len(comparison.faces)), (second, comparison.faces_in_second)):
        if not count:
            raise NoFaceError(f"{name if isinstance(name, (str, Path)) else 'the photo'}: no face was found in it")
    return comparison


def _open(image: Path | str | Image.Image | Pixels) -> Photo:
    if isinstance(image, (str, Path)):
        return read_photo(Path(image))
    if isinstance(image, Image.Image):
        return photo_of(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"expected pixels of shape (h, w, 3) and type uint8, got {image.shape} and {image.dtype}")
    return Photo(pixels=image)
