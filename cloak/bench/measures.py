"""What a tracker achieves: verification, identification, classifiers. Pure functions of arrays.

Faces are rows of a (n, d) array of embeddings of length 1; the row of a face that the
evaluator's detector did not find is NaN, and takes no part in any measure but the detection rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRANGER = -1
"""The person of every distractor; no two distractors are the same person."""


@dataclass(frozen=True)
class Faces:
    """Embedded faces.

    Attributes:
        embeddings: (n, d), of length 1 or NaN.
        people: (n,) number of the person, STRANGER for a distractor.
    """

    embeddings: NDArray[np.float32]
    people: Ints

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n,) whether the detector found the face."""
        return ~np.isnan(self.embeddings[:, 0])

    def only_found(self) -> "Faces":
        """Without the faces that were not found."""
        return Faces(self.embeddings[self.found], self.people[self.found])

    def joined(self, other: "Faces") -> "Faces":
        """These faces, then the others."""
        return Faces(np.concatenate([self.embeddings, other.embeddings]), np.concatenate([self.people, other.people]))

    def detections(self) -> "Observations":
        """1 for each face that the detector found, else 0."""
        return Observations(self.found.astype(np.float64), self.people)


@dataclass(frozen=True)
class Estimate:
    """A share or mean with its 95 % bootstrap interval over people; ``count`` observations."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Observations:
    """Values to average, each of one person: (n,) and (n,)."""

    values: Floats
    people: Ints

    def where(self, true: NDArray[np.bool_]) -> "Observations":
        """1 where true, else 0, of the same people."""
        return Observations(true.astype(np.float64), self.people)


def unit(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """An embedding brought to length 1."""
    return embedding / max(float(np.linalg.norm(embedding)), 1e-12)


def impostor_scores(faces: Faces) -> Floats:
    """Cosines of all pairs of different people, each pair once; unsorted."""
    faces = faces.only_found()
    people = np.where(faces.people == STRANGER, -2 - np.arange(len(faces.people)), faces.people)
    rows, columns = np.triu_indices(len(people), 1)
    different = people[rows] != people[columns]
    scores: Floats = (faces.embeddings @ faces.embeddings.T)[rows[different], columns[different]].astype(np.float64)
    return scores


def threshold_at_far(impostors: Floats, far: float) -> float:
    """The lowest threshold at or above which at most ``far`` of the impostor scores lie.

    The same rule as the point of scikit-learn's ``roc_curve`` with the largest true-positive
    rate at a false-positive rate of at most ``far``.
    """
    allowed = int(np.floor(far * len(impostors)))
    first_refused = np.partition(impostors, len(impostors) - 1 - allowed)[len(impostors) - 1 - allowed]
    return float(np.nextafter(first_refused, np.inf))


def genuine_scores_within(faces: Faces) -> Floats:
    """Cosines of all pairs of photos of one person, each pair once; strangers have none."""
    faces = faces.only_found()
    rows, columns = np.triu_indices(len(faces.people), 1)
    same = (faces.people[rows] == faces.people[columns]) & (faces.people[rows] != STRANGER)
    scores: Floats = (faces.embeddings @ faces.embeddings.T)[rows[same], columns[same]].astype(np.float64)
    return scores


def genuine_scores(probes: Faces, gallery: Faces, *, found: bool = True) -> Observations:
    """Cosines of all pairs of a probe and a gallery photo of its person; NaN of a face that was not found, if asked."""
    if found:
        probes, gallery = probes.only_found(), gallery.only_found()
    rows, columns = np.nonzero(probes.people[:, None] == gallery.people)
    scores = (probes.embeddings[rows] * gallery.embeddings[columns]).sum(axis=1)
    return Observations(scores.astype(np.float64), probes.people[rows])


def identification_ranks(probes: Faces, gallery: Faces) -> Observations:
    """For each probe, how many other people score above its own person; 0 is a hit at rank 1.

    A person's score is that of the best gallery photo; every distractor is a person. Equal scores
    count against the tracker. A person with no face in the gallery has no rank and is left out.
    """
    probes, gallery = probes.only_found(), gallery.only_found()
    known = np.unique(gallery.people[gallery.people != STRANGER])
    if not len(known):
        return Observations(np.zeros(0), np.zeros(0, dtype=np.int64))
    similarities = probes.embeddings @ gallery.embeddings.T  # (p, g)
    ranks, people = [], []
    best = np.stack([similarities[:, gallery.people == person].max(axis=1) for person in known], axis=1)  # (p, k)
    strangers = similarities[:, gallery.people == STRANGER]  # (p, s)
    for row, person in enumerate(probes.people):
        if person not in known:
            continue
        own = best[row, known == person]
        ranks.append(int((best[row, known != person] >= own).sum() + (strangers[row] >= own).sum()))
        people.append(person)
    return Observations(np.array(ranks, dtype=np.float64), np.array(people, dtype=np.int64))


def linear_probe_hits(probes: Faces, gallery: Faces) -> Observations:
    """Whether a logistic regression trained on the gallery names each probe's person; 1 or 0."""
    from sklearn.linear_model import LogisticRegression

    probes, gallery = probes.only_found(), gallery.only_found()
    if len(np.unique(gallery.people)) < 2 or not len(probes.people):
        return Observations(np.zeros(0), np.zeros(0, dtype=np.int64))
    model = LogisticRegression(C=LINEAR_PROBE_C, max_iter=200)
    model.fit(gallery.embeddings, gallery.people)
    hits = model.predict(probes.embeddings) == probes.people
    return Observations(hits.astype(np.float64), probes.people)


LINEAR_PROBE_C = 10.0
"""Inverse regularisation: on embeddings of length 1 scikit-learn's default of 1 hardly learns."""


def adaptive_probe_hits(probes: Faces, gallery: Faces, others: Faces) -> Observations:
    """The linear probe of a tracker that has also learned from cloaked photos of other people.

    From ``others``, cloaked and clean photos with names, the tracker learns along which directions
    photos of one person differ, cloaks included, and shrinks these before training the probe
    (within-class whitening, the first half of linear discriminant analysis). Two folds of people,
    by the parity of their number: nobody's own cloaked photos were learned from.
    """
    results = []
    for fold in (0, 1):
        tested, known = probes.people % 2 == fold, others.people % 2 != fold
        whitening = within_person_whitening(Faces(others.embeddings[known], others.people[known]))
        asked = Faces(probes.embeddings[tested], probes.people[tested])
        results.append(linear_probe_hits(transformed(asked, whitening), transformed(gallery, whitening)))
    return Observations(
        np.concatenate([result.values for result in results]), np.concatenate([result.people for result in results])
    )


def within_person_whitening(faces: Faces) -> NDArray[np.float32]:
    """(d, d) matrix after which photos of one person differ alike in all directions.

    The covariance is shrunk (Ledoit and Wolf, 2004), since there are fewer photos than it has numbers.
    """
    from sklearn.covariance import LedoitWolf

    faces = faces.only_found()
    people, rows = np.unique(faces.people, return_inverse=True)
    if len(people) == len(faces.people):
        return np.eye(faces.embeddings.shape[1], dtype=np.float32)
    sums = np.zeros((len(people), faces.embeddings.shape[1]))
    np.add.at(sums, rows, faces.embeddings)
    residuals = faces.embeddings - (sums / np.bincount(rows)[:, None])[rows]
    values, vectors = np.linalg.eigh(LedoitWolf(assume_centered=True).fit(residuals).covariance_)
    matrix: NDArray[np.float32] = ((vectors / np.sqrt(values.clip(1e-12))) @ vectors.T).astype(np.float32)
    return matrix


def transformed(faces: Faces, matrix: NDArray[np.float32]) -> Faces:
    """Embeddings through a linear map, brought to length 1 again."""
    moved = faces.embeddings @ matrix.T
    return Faces(moved / np.linalg.norm(moved, axis=1, keepdims=True).clip(1e-12), faces.people)


def estimate(observations: Observations, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Mean and 95 % interval of a bootstrap that draws people, with all their observations.

    NaN where there is nothing to average.
    """
    _, people = np.unique(observations.people, return_inverse=True)
    sums = np.bincount(people, observations.values).astype(np.float64)
    return estimate_of_sums(sums, np.bincount(people), resamples, seed)


def estimate_of_sums(sums: Floats, counts: Ints, resamples: int = 1000, seed: int = 0) -> Estimate:
    """The same from each person's sum of values and their number, (p,) and (p,); people without any take no part."""
    sums, counts = sums[counts > 0], counts[counts > 0]
    if not len(counts):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    low, high = np.quantile((draws @ sums) / (draws @ counts), [0.025, 0.975])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high), int(counts.sum()))


def in_numbers(estimate: Estimate) -> dict[str, Any]:
    """An estimate for JSON, which knows no NaN."""
    values = asdict(estimate)
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in values.items()}


def attack(
    probes: Faces, gallery: Faces, distractors: Faces, thresholds: Mapping[str, float]
) -> dict[str, Observations]:
    """Everything that a tracker gets out of probes and a gallery, but for the adaptive probe.

    Args:
        probes: photos to put a name to.
        gallery: photos with names.
        distractors: further people in the gallery.
        thresholds: by their names.
    """
    scores = genuine_scores(probes, gallery)
    ranks = identification_ranks(probes, gallery.joined(distractors))
    alone = identification_ranks(probes, gallery)
    result = {f"tar@{name}": scores.where(scores.values >= t) for name, t in thresholds.items()}
    result |= not_matched(scores, thresholds)
    whole = genuine_scores(probes, gallery, found=False)
    result |= {f"unmatched@{name}": whole.where(~(whole.values >= t)) for name, t in thresholds.items()}
    return result | {
        "similarity": scores,
        "rank1": ranks.where(ranks.values < 1),
        "rank5": ranks.where(ranks.values < 5),
        "nearest": alone.where(alone.values < 1),
        "linear": linear_probe_hits(probes, gallery),
    }


def not_matched(scores: Observations, thresholds: Mapping[str, float]) -> dict[str, Observations]:
    """For each threshold ``psr@NAME``: 1 for a genuine score below it, else 0."""
    return {f"psr@{name}": scores.where(scores.values < t) for name, t in thresholds.items()}


def roc(genuine: Floats, impostors: Floats, rates: Sequence[float]) -> list[float]:
    """True-accept rate at each false-accept rate; ``impostors`` in ascending order. Empty without pairs."""
    if not len(genuine):
        return []
    ordered = impostors[::-1]
    refused = ordered[np.minimum((np.array(rates) * len(ordered)).astype(int), len(ordered) - 1)]
    return [float((genuine > score).mean()) for score in refused]


def histogram(scores: Floats, bins: int = 200) -> list[float]:
    """Share of the scores in each of ``bins`` equal parts of -1..1."""
    counts, _ = np.histogram(scores.clip(-1.0, 1.0), bins=bins, range=(-1.0, 1.0))
    return [float(count) for count in counts / max(len(scores), 1)]
