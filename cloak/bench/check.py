"""Does a recogniser see what it was trained to see? Its accuracy under the stated and the usual preprocessing.

The most common mistake with a model of one's own is the wrong channel order or scaling: it still
tells people apart, but badly, and cloaks made against it are worth little.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloak.align import crop_face
from cloak.bench.datasets import Dataset, Person
from cloak.bench.evaluators import locate_by_mtcnn
from cloak.bench.measures import STRANGER, Faces, Floats, genuine_scores_within, impostor_scores, threshold_at_far
from cloak.errors import CloakError, UsageError
from cloak.photo import read_photo
from cloak.recognizers import InputSpec, Recognizer, Source, load_source

FARS = (1e-2, 1e-3)

BATCH = 16
"""Photos that are embedded at once."""

SLACK = 0.03
"""A preprocessing fits where its separation is at most this share below the best. On 60 people
x 4 photos of LFW, four recognisers lose 6 % or more by every alternative; the TAR at 1e-3 of a good one
may not change at all."""

SCALINGS: Mapping[str, Mapping[str, Any]] = {
    "-1..1": {"mean": (127.5,) * 3, "scale": 127.5},
    "0..1": {"mean": (0.0,) * 3, "scale": 255.0},
    "0..255": {"mean": (0.0,) * 3, "scale": 1.0},
    "ImageNet": {"mean": (123.675, 116.28, 103.53), "scale": (58.395, 57.12, 57.375)},
}
"""The usual ways to scale pixels, the most usual first."""


@dataclass(frozen=True)
class Fit:
    """One preprocessing, and how well the recogniser does with it.

    Attributes:
        label: in words.
        input: what the network was given.
        tar: true-accept rate at each of FARS.
        thresholds: for these, cosine.
        genuine: mean similarity of two photos of one person.
        separation: of genuine and impostor similarities, see ``separation``.
    """

    label: str
    input: InputSpec
    tar: tuple[float, ...]
    thresholds: tuple[float, ...]
    genuine: float
    separation: float


@dataclass(frozen=True)
class Check:
    """What was found about a recogniser.

    Attributes:
        name: of the recogniser.
        surrogate: empty where it can be one, else why not.
        faces: found in the photos.
        people: with several photos, and strangers.
        impostors: pairs of different people that the thresholds rest on.
        fits: the stated preprocessing first.
    """

    name: str
    surrogate: str
    faces: int
    people: int
    impostors: int
    fits: tuple[Fit, ...]

    @property
    def stated(self) -> Fit:
        return self.fits[0]

    @property
    def best(self) -> Fit:
        """The first whose separation is within SLACK of the largest: the stated one, then the most usual."""
        largest = max(fit.separation for fit in self.fits)
        return next(fit for fit in self.fits if fit.separation >= largest - SLACK * abs(largest))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self) | {"best": self.best.label}, ensure_ascii=False)


def alternatives(stated: InputSpec) -> dict[str, InputSpec]:
    """Label -> input: the stated one, and every usual one that differs from it."""
    found = {"as stated": stated}
    for channels in ("RGB", "BGR"):
        for label, scaling in SCALINGS.items():
            other = replace(stated, channels=channels, **scaling)
            if not any(_alike(other, known) for known in found.values()):
                found[f"{channels}, {label}"] = other
    return found


def _alike(a: InputSpec, b: InputSpec) -> bool:
    """Whether two inputs differ by so little that no recogniser minds, as a scale of 127.5 and of 128 do."""
    ends = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    difference = (a.preprocess(ends) - b.preprocess(ends)).abs().max()
    return a.channels == b.channels and float(difference) <= 0.01 * float(a.preprocess(ends).abs().max())


def check_recognizer(
    source: Source,
    dataset: Dataset,
    *,
    photos: int = 4,
    device: torch.device | str = "cpu",
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Check:
    """Measure a recogniser on clean photos.

    Args:
        source: the recogniser.
        dataset: people, and strangers that join the impostors.
        photos: of each person, at most.
        device: where it runs.
        tell: called with the photos done, and of all.

    Raises:
        UsageError: the recogniser cannot be loaded, or too few faces were found.
        WeightsError: its file is absent or damaged.
    """
    recognizer, problem = _load(source, device)
    inputs = alternatives(_input_of(recognizer))
    networks = {
        label: Recognizer(replace(recognizer.spec, **asdict(given)), recognizer.network, recognizer.embedding_mean)
        for label, given in inputs.items()
    }
    shown = [(path, number) for number, person in enumerate(dataset.people) for path in _first(person, photos)]
    shown += [(path, STRANGER) for path in dataset.distractors]
    rows: dict[str, list[Tensor]] = {label: [] for label in networks}
    people: list[int] = []
    for crops, labels in _crops(shown, recognizer, device, tell):
        people += labels
        for label, network in networks.items():
            with torch.no_grad():
                rows[label].append(network(crops.to(device)).nan_to_num().cpu())  # a wrong scaling may overflow
    faces = {label: Faces(torch.cat(found).numpy(), np.array(people)) for label, found in rows.items() if found}
    counts = Counter(person for person in people if person != STRANGER)
    if len(counts) < 2 or max(counts.values()) < 2:
        raise UsageError(
            "expected faces of at least two people, and several of one, got fewer; "
            "pass --data with a folder-per-person tree"
        )
    impostors = len(impostor_scores(next(iter(faces.values()))))
    fits = tuple(_fit(label, inputs[label], found) for label, found in faces.items())
    return Check(source.name, problem, len(people), len(dataset.people) + len(dataset.distractors), impostors, fits)


def _load(source: Source, device: torch.device | str) -> tuple[Recognizer, str]:
    """The recogniser, with gradients where it has them; else why it has none."""
    try:
        return load_source(source, device), ""
    except UsageError as error:
        return load_source(source, device, gradients=False), str(error)


def _input_of(recognizer: Recognizer) -> InputSpec:
    return InputSpec(**{field.name: getattr(recognizer.spec, field.name) for field in fields(InputSpec)})


def _first(person: Person, photos: int) -> Sequence[Path]:
    return (*person.cloaked, *person.clean)[:photos]


def _crops(
    shown: Sequence[tuple[Path, int]],
    recognizer: Recognizer,
    device: torch.device | str,
    tell: Callable[[int, int], None],
) -> Iterator[tuple[Tensor, list[int]]]:
    """Aligned faces and their people, BATCH photos at a time; photos without a face are left out."""
    locate = locate_by_mtcnn(str(device))
    for start in range(0, len(shown), BATCH):
        crops, labels = [], []
        for path, person in shown[start : start + BATCH]:
            try:
                pixels = read_photo(path).pixels
            except CloakError:
                continue
            face = locate(pixels)
            if face is not None:
                crops.append(crop_face(pixels, face.landmarks, recognizer.spec.template, recognizer.spec.size))
                labels.append(person)
        tell(min(start + BATCH, len(shown)), len(shown))
        if crops:
            yield torch.cat(crops), labels


def _fit(label: str, given: InputSpec, faces: Faces) -> Fit:
    impostors, genuine = impostor_scores(faces), genuine_scores_within(faces)
    thresholds = tuple(threshold_at_far(impostors, far) for far in FARS)
    tar = tuple(float((genuine >= threshold).mean()) for threshold in thresholds)
    return Fit(label, given, tar, thresholds, float(genuine.mean()), separation(genuine, impostors))


def separation(genuine: Floats, impostors: Floats) -> float:
    """How many standard deviations two sets of similarities, (n,) and (m,), lie apart.

    Daugman's decidability d' (2000). Unlike a rate at a threshold it rests on all pairs, so that few
    photos and recognisers that hardly err still show which preprocessing is better.
    """
    spread = np.sqrt((genuine.var() + impostors.var()) / 2)
    return float((genuine.mean() - impostors.mean()) / max(spread, 1e-6))
