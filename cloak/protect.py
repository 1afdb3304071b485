"""The main job: photos -> faces -> patches -> the loop -> saved files -> reports."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image
from torch import Tensor

from cloak import __version__
from cloak.batches import Perturb, Room, perturb
from cloak.calibrate import Composition
from cloak.detect import FaceDetector, order_faces
from cloak.earlier import earlier_for, keep_apart, remember
from cloak.errors import PHOTO_ERRORS, AlreadyCloakedError, UsageError, is_passing, sentence_on
from cloak.examine import find_device, open_photo, unused_gpu
from cloak.files import Job, Layout, lay_out
from cloak.identities import Identities, identity_photos, knowing
from cloak.measure import missed_faces, report_faces
from cloak.memory import device_is_lost, lost, told_if_short
from cloak.metadata import Policy, check_policy
from cloak.methods import find_mode
from cloak.names import shown
from cloak.opening import DONE_BEFORE, OTHERS, Opened, another, open_job
from cloak.patches import FacePatch
from cloak.photo import IN_MEMORY, LIMITS, Limits, Photo, save_bytes, to_image
from cloak.pipeline import Prepared, cut, encode_protected, prepare, to_residuals
from cloak.runs import work_through
from cloak.surrogates import AUTO, judges_of, load_surrogates, measured_mode
from cloak.threads import one_thread_each
from cloak.types import CloakResult, Face, PhotoPlan, PhotoReport, Pixels, Progress

Result = TypeVar("Result")

MOST_OF_BUDGET = 1.5
"""A face that changed by more than so many times its budget was not cloaked in this mode."""


class Cloaker:
    """Protects photos. Holds the detector and the surrogates, so make one and keep it.

    Args:
        mode: "low", "mid" or "high": face DSSIM at most .004, .009 or .017.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        seed: the same photo, mode, steps, surrogates, identity and seed give the same result on one machine.
        steps: of the optimiser; 0: 60, or more with further surrogates. More protect a little better.
        metadata: what of a photo's metadata goes into its result: "default" (colour profile, date,
            copyright, camera settings), "keep" (all but hidden pictures and face regions) or
            "strip" (the colour profile alone).
        limits: on what a file may ask of this machine.
        surrogates: recognisers that the cloak is made against, and that measure it: names, files,
            specifications or module:factory (see ``cloak.recognizers.source``); "auto" stands for
            all that are on disk.
        identity: further photos of the people, or folders of such: a cloak then leads away from all
            of a person's faces among them, not from this one alone. It protects better against matches
            with other clean photos, worse against the original and between two cloaked photos.
        apart: whether each cloak is also led away from what this Cloaker made of the person's photos before,
            so that two of them do not match each other: results then depend on those before them. Photos
            that were published earlier, or folders of them: from these, too.
        loop: what runs the loop in place of this Cloaker, on another device (``cloak.loop_server``).

    Attributes:
        notes: what a user should know of the surrogates, the identity and the device, a sentence each.
        earlier: with ``apart``, what results are kept apart from; those of earlier runs can be added.

    Raises:
        UsageError: unknown mode or device; too few or too many steps; a seed of more than 64 bits; a surrogate
            that is unknown or has no gradients; no face in the photos of ``identity``.
        WeightsError: weights are absent or damaged.
        DeviceError: the GPU's memory does not suffice.
    """

    @told_if_short("the recognisers")
    def __init__(
        self,
        mode: str = "mid",
        *,
        device: str = "auto",
        seed: int = 0,
        steps: int = 0,
        surrogates: str | Sequence[str] = (AUTO,),
        identity: Path | str | Sequence[Path | str] = (),
        apart: bool | Sequence[Path | str] = False,
        metadata: Policy = "default",
        limits: Limits = LIMITS,
        loop: Perturb | None = None,
    ) -> None:
        self.method = find_mode(mode, steps=steps, apart=bool(apart))
        check_policy(metadata)
        if not -(2**63) <= seed < 2**63:
            raise UsageError(f"expected a seed of 64 bits, got {seed}")
        self.device = find_device(device)
        self.seed, self.metadata, self.limits = seed, metadata, limits
        named = [surrogates] if isinstance(surrogates, str) else surrogates
        self._recognizers, notes = load_surrogates(named, self.device)
        self._detector = FaceDetector(self.device)
        self._judges = judges_of(self._recognizers, self.device)
        others = identity_photos([identity] if isinstance(identity, (str, Path)) else identity)
        self._identities = Identities.of(others, self._detector, self._recognizers, self._judges, limits)
        self.earlier = earlier_for(apart, self._detector, self._recognizers, self._judges, limits)
        self._measured = measured_mode(self.method, self._recognizers)
        words = (self._identities.note, self.earlier.note if self.earlier else "", unused_gpu(device, self.device))
        self.notes = (*notes, *filter(None, words))
        self._room = Room.of(self.device, self.method.crops_at_once(len(self._recognizers)))
        self._loop: Perturb = loop or self.perturb

    @property
    def settings(self) -> dict[str, object]:
        """What decides how results look: for a journal, to tell whether they were made in one way.

        Of a surrogate that is its name, its model and preprocessing (by their hash), and its share.
        """
        marks = [f"{one.spec.name} {one.fingerprint[:8]} ({one.spec.share})" for one in self._recognizers]
        return {
            "version": __version__,
            "mode": self.method.name,
            "seed": self.seed,
            "metadata": self.metadata,
            "surrogates": marks,
            **({"identity": self._identities.digest} if self._identities.digest else {}),
            **({"apart": self.method.apart} if self.earlier else {}),
            **({"steps": self.method.steps} if self.method.steps != find_mode(self.method.name).steps else {}),
        }

    @one_thread_each()
    def protect(self, image: Path | str | Image.Image | Pixels) -> CloakResult:
        """Protect one photo in memory; nothing is written.

        Args:
            image: a file, a Pillow image, or (h, w, 3) uint8 RGB.

        Returns:
            The protected photo, upright, with its colour profile, and the report, measured on its pixels.

        Raises:
            PhotoError: not a photo that can be read.
            NoFaceError: no face was found.
        """
        start = time.perf_counter()
        photo = replace(open_photo(image, self.limits), encodings=IN_MEMORY, deep=None)

        def compose(prepared: Prepared) -> tuple[Pixels, Pixels]:
            residuals = to_residuals(prepared, self._loop(prepared.patches))
            pixels = Composition(photo, prepared.yardsticks, residuals, self.method).fitted().pixels()
            return pixels, pixels

        pixels, report, publish = self._protect(photo, "the photo", compose)
        publish()
        seconds = time.perf_counter() - start
        source = Path(image) if isinstance(image, (str, Path)) else None
        result = to_image(replace(photo, pixels=pixels))
        if photo.metadata.icc_profile:
            result.info["icc_profile"] = photo.metadata.icc_profile
        return CloakResult(result, replace(report, source=source, seconds=seconds))

    def protect_files(
        self,
        paths: Path | str | Iterable[Path | str],
        out: Path | str | None = None,
        *,
        recursive: bool = False,
        overwrite: bool = False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[PhotoReport]:
        """Protect files and folders, one report a photo, in order, as each is done.

        Originals are never touched. A photo that fails is reported with the reason, and the
        others go on; one that was cloaked before is skipped.

        Args:
            paths: files and folders.
            out: the folder for the results, made when needed; without it, each result lies
                beside its photo as NAME_cloaked.EXT.
            recursive: whether folders are searched to their depth.
            overwrite: whether results that exist already are replaced.
            on_progress: called at each step.

        Raises:
            UsageError: ``out`` is a file.
            LostDeviceError: the GPU failed, and with it the run.
        """
        layout = lay_out(paths, out, recursive=recursive, spared=self._identities.sources)
        yield from work_through(self, layout, layout.jobs, overwrite=overwrite, on_progress=on_progress)

    def perturb(
        self, patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None
    ) -> list[Tensor]:
        """The loop on the patches of any number of photos; see ``cloak.batches``."""
        return perturb(patches, self._recognizers, self.method, self.device, on_share, room=self._room)

    @one_thread_each()
    def protect_job(
        self,
        job: Job,
        layout: Layout,
        *,
        overwrite: bool = False,
        on_step: Callable[[str, float], None] = lambda step, done: None,
        on_saving: Callable[[Path], None] = lambda target: None,
    ) -> PhotoReport:
        """Protect one photo of a layout; what goes wrong with it is in its report.

        Args:
            job: the photo, and where its result goes.
            layout: that it belongs to.
            overwrite: whether a result that exists already is replaced.
            on_step: called with what is done, and the share of the photo that is done, 0..1.
            on_saving: called with the result's path just before it is written.

        Raises:
            LostDeviceError: the GPU failed, so that no other photo would fare better in this process.
        """
        start = time.perf_counter()
        try:
            report = self._protect_file(job, layout, overwrite, on_step, on_saving)
        except AlreadyCloakedError as error:
            report = PhotoReport(skipped=str(error))
        except PHOTO_ERRORS as error:
            if device_is_lost(error):
                raise lost(error) from error
            report = PhotoReport(error=sentence_on(error, job.source), passing=is_passing(error))
        on_step("done", 1.0)
        return replace(report, source=job.source, mode=self.method.name, seconds=time.perf_counter() - start)

    def plan_files(
        self,
        paths: Path | str | Iterable[Path | str],
        out: Path | str | None = None,
        *,
        recursive: bool = False,
        overwrite: bool = False,
    ) -> Iterator[PhotoPlan]:
        """What ``protect_files`` would do: photos are read and their faces found, nothing is written."""
        layout = lay_out(paths, out, recursive=recursive, spared=self._identities.sources)
        for job in layout.jobs:
            yield self.plan_job(job, layout, overwrite=overwrite)

    def plan_job(self, job: Job, layout: Layout, *, overwrite: bool = False) -> PhotoPlan:
        """What ``protect_job`` would do."""
        try:
            found = open_job(job, layout, self.method, self.metadata, self.limits, overwrite=overwrite)
            if found.made is not None:
                return PhotoPlan(job.source, skipped=DONE_BEFORE)
            photo, target = found.photo, found.target
            prepared = prepare(photo.coarsest, shown(job.source), self._detector, self.method, self.seed)
        except AlreadyCloakedError as error:
            return PhotoPlan(job.source, skipped=str(error))
        except PHOTO_ERRORS as error:
            return PhotoPlan(job.source, error=sentence_on(error, job.source))
        return PhotoPlan(job.source, target, prepared.faces, prepared.small, removed=photo.removed, notes=photo.notes)

    def _protect_file(
        self,
        job: Job,
        layout: Layout,
        overwrite: bool,
        tell: Callable[[str, float], None],
        on_saving: Callable[[Path], None],
    ) -> PhotoReport:
        tell("finding faces", 0.0)
        found = open_job(job, layout, self.method, self.metadata, self.limits, overwrite=overwrite)
        if found.made is not None:
            return self._report_on(found, found.made, shown(job.source))
        photo, target = found.photo, found.target

        def cloaking(share: float) -> None:
            tell("cloaking", 0.05 + 0.85 * share)

        def make(prepared: Prepared) -> tuple[bytes, Pixels]:
            residuals = to_residuals(prepared, self._loop(prepared.patches, cloaking))
            tell("saving", 0.9)
            return encode_protected(prepared, residuals, self._recognizers, self.method, shown(target))

        data, report, publish = self._protect(photo, shown(job.source), make)
        layout.check(target, job)  # again: folders change
        on_saving(target)
        save_bytes(data, target, overwrite=found.replaces)
        publish()
        unknown = self._identities.unknown_among([face.known for face in report.faces])
        notes, growth = (*photo.notes, *unknown), round(len(data) / photo.bytes, 3)
        return replace(report, output=target, growth=growth, removed=photo.removed, notes=notes)

    def _protect(
        self, photo: Photo, name: str, make: Callable[[Prepared], tuple[Result, Pixels]]
    ) -> tuple[Result, PhotoReport, Callable[[], None]]:
        """The result, its report, and what to call once it is published; made once more where it shows missed faces.

        Args:
            photo: to protect.
            name: for messages.
            make: from a photo with its faces, its result and the pixels that this shows.
        """
        first = prepare(photo, name, self._detector, self.method, self.seed)
        prepared = self._acquainted(first)
        result, saved = make(prepared)
        missed = missed_faces(saved, prepared.found, self._detector)
        if missed:
            prepared = self._acquainted(self._with(missed, prepared, name))
            result, saved = make(prepared)
            missed = missed_faces(saved, prepared.found, self._detector)
        report = replace(self._report(prepared, saved), missed=missed)
        return result, report, partial(remember, self.earlier, first, saved)

    def _report_on(self, found: Opened, made: Pixels, name: str) -> PhotoReport:
        """The report on a result that is there already.

        Raises:
            UsageError: it is no cloak of this photo.
        """
        prepared = prepare(found.photo.coarsest, name, self._detector, self.method, self.seed)
        missed = missed_faces(made, prepared.found, self._detector)
        if missed:
            prepared = self._with(missed, prepared, name)
            missed = missed_faces(made, prepared.found, self._detector)
        report = self._report(knowing(prepared, self._identities), made)
        if any(face.visibility.dssim > MOST_OF_BUDGET * self.method.dssim for face in report.faces):
            raise another(found.target, OTHERS)
        growth = round(found.target.stat().st_size / found.photo.bytes, 3)
        return replace(report, output=found.target, missed=missed, growth=growth, notes=(DONE_BEFORE,))

    def _with(self, missed: Sequence[Face], prepared: Prepared, name: str) -> Prepared:
        """A photo with faces that were missed."""
        return cut(prepared.photo, name, order_faces((*prepared.found, *missed)), self.method, self.seed)

    def _acquainted(self, prepared: Prepared) -> Prepared:
        """A photo with what is known of its people."""
        return keep_apart(knowing(prepared, self._identities), self.earlier)

    def _report(self, prepared: Prepared, saved: Pixels) -> PhotoReport:
        faces = report_faces(prepared, saved, self._judges, self._detector, self._measured)
        return PhotoReport(mode=self.method.name, faces=faces, small=prepared.small)
