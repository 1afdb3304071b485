"""The main job: photos -> faces -> patches -> the loop -> saved files -> reports."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cloak.calibrate import Composition, with_fitting_quality
from cloak.detect import FaceDetector
from cloak.errors import CloakError, NoFaceError, UsageError
from cloak.files import Job, plan_jobs
from cloak.measure import compare_photos, report_face
from cloak.methods import find_mode
from cloak.optimize import cloak_patches
from cloak.patches import FacePatch, cut_patch, residual_in_photo, stack_patches
from cloak.photo import Photo, decode, encode, photo_of, read_photo, save_bytes, to_image
from cloak.recognizers import EMBEDDED, load_recognizer
from cloak.types import CloakResult, Comparison, Face, PhotoReport, Pixels

FACES_AT_ONCE = {"cpu": 1, "cuda": 16}
"""Faces in one run of the loop, always exactly so many (a smaller batch is filled up): floating
point sums depend on the shape of a batch, and a photo's bytes must not depend on its company.
On a CPU a larger batch is no faster."""


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
class _Prepared:
    """A photo on its way: its faces and their patches."""

    photo: Photo
    faces: tuple[Face, ...]
    patches: tuple[FacePatch, ...]


class Cloaker:
    """Protects photos. Holds the detector and the surrogates, so make one and keep it.

    Args:
        mode: "low", "mid" or "high": face DSSIM at most .004, .009 or .017.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        seed: the same photo, mode and seed give the same result on one machine.

    Raises:
        UsageError: unknown mode or device.
        WeightsError: the shipped weights are absent or damaged.
    """

    def __init__(self, mode: str = "mid", *, device: str = "auto", seed: int = 0) -> None:
        self.method = find_mode(mode)
        self.device = find_device(device)
        self.seed = seed
        self._detector = FaceDetector(self.device)
        self._recognizers = tuple(load_recognizer(name, self.device) for name in EMBEDDED)

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
        prepared = self._prepare(photo, "the photo")
        pixels = self._compose(prepared, self._perturb(prepared.patches)).pixels()
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

    def compare(
        self, first: Path | str | Image.Image | Pixels, second: Path | str | Image.Image | Pixels
    ) -> Comparison:
        """Compare the faces of two photos, see ``Comparison``.

        Raises:
            PhotoError: not a photo that can be read.
            NoFaceError: no face was found in one of them.
        """
        photos = (_open(first), _open(second))
        comparison = compare_photos(photos[0].pixels, photos[1].pixels, self._recognizers, self._detector)
        for name, count in ((first, len(comparison.faces)), (second, comparison.faces_in_second)):
            if not count:
                raise NoFaceError(f"{name if isinstance(name, (str, Path)) else 'the photo'}: no face was found in it")
        return comparison

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
        prepared = self._prepare(photo, str(job.source))
        deltas = self._perturb(prepared.patches, lambda share: tell("cloaking", 0.05 + 0.85 * share))
        tell("saving", 0.9)
        composition = self._compose(prepared, deltas)
        data = encode(replace(prepared.photo, pixels=composition.pixels()))
        while not photo.lossless and composition.shrink_exceeding(decode(data, str(job.target)).pixels):
            data = encode(replace(prepared.photo, pixels=composition.pixels()))
        save_bytes(data, job.target, overwrite=overwrite)
        return replace(self._report(prepared, read_photo(job.target).pixels), output=job.target)

    def _prepare(self, photo: Photo, name: str) -> _Prepared:
        faces = self._detector.detect(photo.pixels)
        if not faces:
            raise NoFaceError(f"{name}: no face was found in it, so nothing was changed or written")
        grey = photo.grey
        photo = with_fitting_quality(photo, faces, self.method)
        patches = tuple(cut_patch(photo.pixels, face, grey=grey, seed=self.seed) for face in faces)
        return _Prepared(photo, faces, patches)

    def _perturb(
        self, patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None
    ) -> list[Tensor]:
        """The perturbation of each patch, (3, side, side), on the CPU; in the patches' order."""
        count = FACES_AT_ONCE[self.device.type]
        by_side = sorted(range(len(patches)), key=lambda index: patches[index].side)
        batches = [
            group[start : start + count]
            for _, indices in groupby(by_side, key=lambda index: patches[index].side)
            for group in [list(indices)]
            for start in range(0, len(group), count)
        ]
        deltas: dict[int, Tensor] = {}
        for number, indices in enumerate(batches):
            filled = [patches[index] for index in indices] + [patches[indices[0]]] * (count - len(indices))
            batch = stack_patches(filled, self.device)

            def on_step(step: int, number: int = number) -> None:
                on_share((number + step / self.method.steps) / len(batches))

            result = cloak_patches(batch, self._recognizers, self.method, on_step).cpu()
            deltas |= dict(zip(indices, result, strict=False))
        return [deltas[index] for index in range(len(patches))]

    def _compose(self, prepared: _Prepared, deltas: Sequence[Tensor]) -> Composition:
        size = (prepared.photo.pixels.shape[0], prepared.photo.pixels.shape[1])
        residuals = [
            residual_in_photo(patch, delta, size) for patch, delta in zip(prepared.patches, deltas, strict=True)
        ]
        return Composition.fit(prepared.photo, prepared.faces, residuals, self.method)

    def _report(self, prepared: _Prepared, saved: Pixels) -> PhotoReport:
        original = prepared.photo.pixels
        faces = tuple(report_face(original, saved, face, self._recognizers, self._detector) for face in prepared.faces)
        return PhotoReport(mode=self.method.name, faces=faces)


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
    first: Path | str | Image.Image | Pixels, second: Path | str | Image.Image | Pixels, *, device: str = "auto"
) -> Comparison:
    """Compare the faces of two photos; see ``Cloaker.compare``."""
    return Cloaker(device=device).compare(first, second)


def _open(image: Path | str | Image.Image | Pixels) -> Photo:
    if isinstance(image, (str, Path)):
        return read_photo(Path(image))
    if isinstance(image, Image.Image):
        return photo_of(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"expected pixels of shape (h, w, 3) and type uint8, got {image.shape} and {image.dtype}")
    return Photo(pixels=image)
