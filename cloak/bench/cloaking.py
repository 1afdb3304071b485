"""The cloaking half of a benchmark: every method's files, each made once."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloak.batches import Room, perturb
from cloak.bench.evaluators import central_face
from cloak.bench.foreign import cloaked_file, foreign_cloak
from cloak.bench.protocol import Entry
from cloak.bench.store import Journal
from cloak.calibrate import Composition
from cloak.detect import FaceDetector
from cloak.earlier import Earlier, keep_apart
from cloak.errors import CloakError, NoFaceError
from cloak.fading import eye_fading
from cloak.identities import Identities, knowing
from cloak.methods import Method
from cloak.photo import FINE_JPEG, read_photo, save_bytes
from cloak.pipeline import Prepared, encode_protected, prepare, to_residuals
from cloak.recognizers import Recognizer, find_source, load_recognizer
from cloak.surrogates import judges_of
from cloak.types import Visibility
from cloak.visibility import measure_face, measure_photo
from cloak.weights import file_sha256

PHOTOS_AT_ONCE = 32
"""Photos whose faces are cloaked together, and are lost together when a run is killed."""

ENCODING_SHARE = 1 / 5
"""The share of a face's budget that a JPEG's blocks alone may use before its quality is raised."""


@dataclass(frozen=True)
class Workshop:
    """What cloaks are made with.

    Attributes:
        out: files go to ``out/cloaked/METHOD@DSSIM/PERSON/``; those of photos that are only shown to ``out/shown``.
        device: where the loop runs.
        seed: of the cloaks.
        folder: what relative references of surrogates start from.
        lpips: a perceptual distance, where its weights are at hand.
    """

    out: Path
    device: torch.device
    seed: int
    folder: Path | None = None
    lpips: Callable[[Any, Any], float] | None = None

    @cached_property
    def detector(self) -> FaceDetector:
        """Loaded when something has to be cloaked, once for all methods."""
        return FaceDetector(self.device)

    @cached_property
    def loaded(self) -> dict[str, Recognizer]:
        """The surrogates by their references, each loaded when it is first wanted."""
        return {}

    @cached_property
    def judges(self) -> dict[tuple[str, ...], tuple[Recognizer, ...]]:
        """Who tells people apart, for the surrogates of each kind of cloak; loaded once."""
        return {}

    @cached_property
    def met(self) -> dict[tuple[tuple[Path, ...], tuple[str, ...]], Identities]:
        """What photos tell of people to surrogates, each looked at once."""
        return {}

    def recognizer(self, reference: str) -> Recognizer:
        """One surrogate."""
        if reference not in self.loaded:
            self.loaded[reference] = load_recognizer(reference, self.device, folder=self.folder)
        return self.loaded[reference]

    def cloak(
        self,
        entry: Entry,
        photos: Sequence[Path],
        journal: Journal,
        on_done: Callable[[int], None],
        known: Mapping[str, Sequence[Path]] = MappingProxyType({}),
        place: str = "cloaked",
    ) -> list[dict[str, Any]]:
        """One record for each photo, in order; see ``_record``. What is in the journal is not made again.

        Args:
            entry: what makes the cloaks, or where they are.
            photos: in folders named after the people.
            journal: of finished photos.
            on_done: called with the number of photos that are finished, as it grows.
            known: person -> the photos that the person is known by.
            place: the folder in ``out`` for what is made.
        """
        looking = () if entry.files else entry.surrogates
        sources = [find_source(reference, self.folder) for reference in looking]
        prints = [
            source.fingerprint() if source.file else self.recognizer(reference).fingerprint
            for source, reference in zip(sources, looking, strict=True)
        ]
        marks = [f"{found} {source.spec.share}" for found, source in zip(prints, sources, strict=True)]
        keys: list[str] = []
        before: list[str] = []
        for photo in photos:
            keys.append(self._key(entry, marks, photo, [*map(file_sha256, known.get(photo.parent.name, ())), *before]))
            if entry.method.apart:  # what comes after it depends on it
                before.append(file_sha256(photo))
        finished = {key: record for key in keys if (record := journal.get(key)) and self._intact(record)}
        on_done(len(finished))
        earlier = self._earlier(entry) if len(finished) < len(set(keys)) else None
        todo = [(key, photo) for key, photo in zip(keys, photos, strict=True) if earlier or key not in finished]
        at_once = 1 if earlier else PHOTOS_AT_ONCE
        for start in range(0, len(todo), at_once):
            chunk = todo[start : start + at_once]
            missing = [(key, photo) for key, photo in chunk if key not in finished]
            made = self._make(entry, [photo for _, photo in missing], known, place, earlier)
            records = list(zip([key for key, _ in missing], made, strict=True))
            journal.put([(key, record) for key, record in records if not record["passing"]])
            finished |= dict(records)
            on_done(len(finished))
            if earlier:
                results = [(photo, finished[key]) for key, photo in chunk if not finished[key]["error"]]
                earlier.recall((photo, self.out / record["output"]) for photo, record in results)
        return [finished[key] | {"source": str(photo)} for key, photo in zip(keys, photos, strict=True)]

    def _key(self, entry: Entry, surrogates: Sequence[str], photo: Path, others: Sequence[str]) -> str:
        """A hash of all that decides a cloaked file, but the code, with what can be read of it; ``others``: the hashes
        of further photos that do."""
        settings = [asdict(entry.method), surrogates, self.seed, self.device.type, photo.parent.name]
        settings += others
        if entry.files:
            with suppress(CloakError, OSError):
                settings.append(file_sha256(cloaked_file(photo, entry.files)))
        digest = hashlib.sha256(json.dumps(settings, default=str).encode() + photo.read_bytes()).hexdigest()
        return f"{entry.method.title}/{photo.name}/{digest}"

    def _intact(self, record: dict[str, Any]) -> bool:
        """Whether the file of a record is still there as it was written."""
        if record["error"]:
            return True
        path = self.out / record["output"]
        return path.is_file() and file_sha256(path) == str(record["content"])

    def _make(
        self,
        entry: Entry,
        photos: Sequence[Path],
        known: Mapping[str, Sequence[Path]],
        place: str,
        earlier: Earlier | None,
    ) -> list[dict[str, Any]]:
        """Cloak photos; a record each."""
        records: list[dict[str, Any]] = [{"error": "", "passing": False} for _ in photos]
        prepared: dict[int, Prepared] = {}
        for index, photo in enumerate(photos):
            with _noted(records[index], photo):
                plain = read_photo(photo).coarsest  # see ``_finely_saved``
                found = prepare(plain, str(photo), self.detector, entry.method, self.seed)
                identities = self._identities(tuple(known.get(photo.parent.name, ())), tuple(entry.surrogates))
                acquainted = keep_apart(knowing(found, identities), earlier)
                prepared[index] = _finely_saved(acquainted, entry.method)
        started = time.perf_counter()
        deltas = self._perturb(list(prepared.values()), entry)
        each = (time.perf_counter() - started) / max(sum(map(len, deltas)), 1)
        for (index, item), own in zip(prepared.items(), deltas, strict=True):
            started = time.perf_counter()
            with _noted(records[index], photos[index], entry.files, self.out):
                target = self._save(entry, photos[index], item, own, self.out / place)
                seconds = each + (time.perf_counter() - started) / len(item.faces)
                records[index] |= self._record(item, target, None if entry.files else seconds)
        return records

    def _save(self, entry: Entry, photo: Path, prepared: Prepared, deltas: Sequence[Tensor], folder: Path) -> Path:
        """Write the cloak of a photo; where it is."""
        target = folder / entry.method.title / photo.parent.name / photo.name
        if entry.files:
            file = cloaked_file(photo, entry.files)
            data = foreign_cloak(prepared, file, entry.method, str(target))
            if entry.method.dssim == math.inf and file.suffix.lower() != photo.suffix.lower():
                target = target.with_name(target.name + file.suffix)
        elif entry.method.saved:
            recognizers = [self.recognizer(reference) for reference in entry.surrogates]
            residuals = to_residuals(prepared, deltas)
            data, _ = encode_protected(prepared, residuals, recognizers, entry.method, str(target))
        else:
            data = photo.read_bytes()
        save_bytes(data, target, overwrite=True)
        return target

    def _identities(self, photos: tuple[Path, ...], surrogates: tuple[str, ...]) -> Identities:
        if not photos:
            return Identities()
        if (photos, surrogates) not in self.met:
            recognizers, judges = self._looking_and_judging(surrogates)
            try:
                found = Identities.of(photos, self.detector, recognizers, judges)
            except CloakError:  # none of them shows a face: the photo is cloaked all the same
                found = Identities()
            self.met[photos, surrogates] = found
        return self.met[photos, surrogates]

    def _earlier(self, entry: Entry) -> Earlier | None:
        """For cloaks that are kept apart from those before them."""
        if not entry.method.apart:
            return None
        return Earlier(self.detector, *self._looking_and_judging(tuple(entry.surrogates)))

    def _looking_and_judging(self, surrogates: tuple[str, ...]) -> tuple[list[Recognizer], tuple[Recognizer, ...]]:
        """The surrogates, and who tells people apart for them."""
        recognizers = [self.recognizer(reference) for reference in surrogates]
        if surrogates not in self.judges:
            self.judges[surrogates] = judges_of(recognizers, self.device)
        return recognizers, self.judges[surrogates]

    def _perturb(self, prepared: Sequence[Prepared], entry: Entry) -> list[list[Tensor]]:
        """Of each photo the perturbations of its faces; none where nothing is made here."""
        if entry.files or not entry.method.saved:
            return [[] for _ in prepared]
        recognizers = [self.recognizer(reference) for reference in entry.surrogates]
        room = Room.of(self.device, entry.method.crops_at_once(len(recognizers)))
        patches = [patch for item in prepared for patch in item.patches]
        deltas = iter(perturb(patches, recognizers, entry.method, self.device, room=room))
        return [[next(deltas) for _ in item.patches] for item in prepared]

    def _record(self, prepared: Prepared, target: Path, seconds: float | None) -> dict[str, Any]:
        """What is known of a cloaked file: where it is, what it cost, what of it can be seen."""
        original, saved = prepared.photo.pixels, read_photo(target).pixels
        face = central_face(prepared.faces, original)
        assert face is not None
        seen = {
            "face": _finite(measure_face(original, saved, face.box)) | {"fading": eye_fading(original, saved, face)},
            "photo": _finite(measure_photo(original, saved)),
        }
        return {
            "output": str(target.relative_to(self.out)),
            "content": file_sha256(target),
            "faces": len(prepared.faces),
            "seconds_per_face": seconds,
            "unchanged": bool(np.array_equal(original, saved)),
            "lpips": self.lpips(original, saved) if self.lpips else None,
            **seen,
        }


@contextmanager
def _noted(record: dict[str, Any], photo: Path, *folders: Path | None) -> Iterator[None]:
    """What cannot be done with a photo is told in its record, and the others go on.

    A photo without a face has none another time; all else is tried again by a run that goes on.
    """
    try:
        yield
    except (CloakError, OSError) as error:
        text = str(error).replace(str(photo), f"{photo.parent.name}/{photo.name}")
        for folder in filter(None, folders):  # results say nothing of where things lay
            text = text.replace(f"{folder}/", "")
        record["error"] = text
        record["passing"] = not isinstance(error, NoFaceError)


def _finely_saved(prepared: Prepared, method: Method) -> Prepared:
    """With JPEGs saved at quality 95, whatever they came in, so that photos compare.

    Better where the blocks of 95 alone would use more than ENCODING_SHARE of a face's budget.
    """
    photo = prepared.photo
    if photo.encoding.lossless:
        return prepared
    for encoding in FINE_JPEG:
        photo = replace(photo, encodings=(encoding,))
        bare = Composition(photo, prepared.yardsticks, (), method)
        if all(bare.usage_in_region(index) <= ENCODING_SHARE for index in range(len(prepared.faces))):
            break
    return replace(prepared, photo=photo)


def _finite(visibility: Visibility) -> dict[str, float]:
    """As a dictionary; the PSNR of an unchanged picture, infinite, as 100 dB."""
    return asdict(replace(visibility, psnr=min(visibility.psnr, 100.0)))
