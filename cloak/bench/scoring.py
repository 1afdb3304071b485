"""Embeddings -> what a tracker achieves against each entry, condition, evaluator and scenario."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cloak.bench.datasets import Dataset
from cloak.bench.embedding import Album
from cloak.bench.lookup import STATED
from cloak.bench.measures import (
    STRANGER,
    Faces,
    Floats,
    Observations,
    adaptive_probe_hits,
    attack,
    estimate,
    genuine_scores,
    histogram,
    impostor_scores,
    in_numbers,
    not_matched,
    roc,
    threshold_at_far,
)
from cloak.bench.pairing import by_person
from cloak.bench.protocol import Entry, Protocol
from cloak.bench.scenarios import SCENARIOS, Item
from cloak.errors import UsageError

ROC_RATES = np.logspace(-4, 0, 41)
"""False-accept rates at which ROC curves are kept."""


@dataclass(frozen=True)
class Score:
    """What the clean photos say, and what every entry is judged by.

    Attributes:
        evaluators: for the results: name, thresholds, clean rates.
        impostors: evaluator -> sorted cosines of all pairs of different people.
        strangers: evaluator -> the distractors.
        thresholds: evaluator -> false-accept rate, or STATED -> threshold.
        known: measures without a cloak, which many entries share.
    """

    dataset: Dataset
    clean: Album
    protocol: Protocol
    evaluators: list[dict[str, Any]]
    impostors: Mapping[str, Floats]
    strangers: Mapping[str, Faces]
    thresholds: Mapping[str, Mapping[str, float]]
    known: dict[Any, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, clean: Album, evaluators: Mapping[str, float | None], protocol: Protocol) -> "Score":
        """Find the thresholds on all pairs of clean photos of different people, strangers included.

        Args:
            dataset: people and strangers.
            clean: their embedded photos.
            evaluators: name -> threshold that its specification states, if it does.
            protocol: with the false-accept rates.
        """
        photos = [
            (path, number) for number, person in enumerate(dataset.people) for path in (*person.cloaked, *person.clean)
        ]
        impostors, strangers, thresholds, described = {}, {}, {}, []
        for name, stated in evaluators.items():
            own = clean.faces(name, [(path, "saved") for path, _ in photos], [number for _, number in photos])
            unknown = [(path, "saved") for path in dataset.distractors]
            other = clean.faces(name, unknown, [STRANGER] * len(unknown))
            everyone = own.joined(other)
            impostors[name], strangers[name] = np.sort(impostor_scores(everyone)), other
            if not len(impostors[name]):
                raise UsageError(
                    f"{name}: expected faces in photos of two people or more, got none or one; look at --data, and "
                    "whether the evaluator gives numbers for a single crop"
                )
            thresholds[name] = {f"{far:g}": threshold_at_far(impostors[name], far) for far in protocol.fars}
            if stated is not None:
                thresholds[name][STATED] = stated
            genuine = _pairs_within(own)
            described.append(
                {
                    "name": name,
                    "thresholds": thresholds[name],
                    "clean_tar": {
                        by: _estimate(genuine.where(genuine.values >= t), protocol)
                        for by, t in thresholds[name].items()
                    },
                    "false_accepts": {by: float((impostors[name] >= t).mean()) for by, t in thresholds[name].items()},
                    "genuine_pairs": len(genuine.values),
                    "impostor_pairs": len(impostors[name]),
                    "detected": float(everyone.found.mean()),
                    "histogram_genuine": histogram(genuine.values),
                    "histogram_impostor": histogram(impostors[name]),
                    "roc": roc(genuine.values, impostors[name], list(ROC_RATES)),
                }
            )
        return cls(dataset, clean, protocol, described, impostors, strangers, thresholds)

    def sanity(self) -> list[dict[str, Any]]:
        """What the measures say of probes whose answer is known, per evaluator.

        identical: the gallery's own photos are asked about. strangers: photos of the next person
        are passed off as this one's. original: the uncloaked photos, clean gallery.
        """
        rows = []
        people = self.dataset.people
        for name in self.thresholds:
            gallery = self._faces(name, [(p, n) for n, person in enumerate(people) for p in person.clean])
            moved = [(p, (n + 1) % len(people)) for n, person in enumerate(people) for p in person.cloaked]
            own = [(p, n) for n, person in enumerate(people) for p in person.cloaked]
            same = _same_photos(gallery)
            rows.append(
                {
                    "evaluator": name,
                    "identical": self._against(name, same, same),
                    "strangers": self._against(name, self._faces(name, moved), gallery),
                    "original": self._against(name, self._faces(name, own), gallery),
                }
            )
        return rows

    def _against(self, name: str, probes: Faces, gallery: Faces) -> dict[str, Any]:
        return self.estimates(attack(probes, gallery, self.strangers[name], self.thresholds[name]))

    def _faces(self, name: str, photos: Sequence[tuple[Path, int]]) -> Faces:
        return self.clean.faces(name, [(path, "saved") for path, _ in photos], [number for _, number in photos])

    def estimates(self, observed: Mapping[str, Observations]) -> dict[str, Any]:
        """Each measure with its interval."""
        return {measure: _estimate(values, self.protocol) for measure, values in observed.items()}


def score(judge: Score, entry: Entry, files: Mapping[Path, Path], album: Album) -> dict[str, Any]:
    """Judge one entry.

    Args:
        judge: thresholds, clean photos.
        entry: what was cloaked.
        files: photo -> cloaked file; photos that could not be cloaked are absent.
        album: the embedded files.

    Returns:
        ``records``, one for each condition, evaluator and scenario; ``curves``; and ``by_person``, what
        ``pairing.differences`` compares.
    """
    saved = entry.conditions["saved"]
    # each condition once more on the photos that others saw, so that one can compare
    counts = sorted(set(entry.conditions.values()))
    again = [(condition, few) for condition, most in entry.conditions.items() for few in counts if few < most]
    everything = Album({**judge.clean.embedded, **album.embedded}, {})
    records, curves = [], []
    for condition, photos in (*entry.conditions.items(), *again):
        for evaluator in judge.thresholds:
            view = _View(judge, files, everything, condition, evaluator, photos)
            place = {"condition": condition, "evaluator": evaluator, "photos": photos}
            found = {scenario: view.record(scenario) for scenario in SCENARIOS}
            records += [{**place, "scenario": scenario, **record} for scenario, record in found.items() if record]
            if condition == "saved" and photos == saved:
                curves.append({"evaluator": evaluator, **view.curves()})
    persons = [
        {"evaluator": name, **_View(judge, files, everything, "saved", name, saved).by_person()}
        for name in judge.thresholds
    ]
    return {"records": records, "curves": curves, "by_person": persons}


@dataclass(frozen=True)
class _View:
    """One entry under one condition, through one evaluator; ``album`` holds cloaked files and clean photos."""

    judge: Score
    files: Mapping[Path, Path]
    album: Album
    condition: str
    evaluator: str
    photos: int

    def sides(self, scenario: str) -> tuple[list[tuple[Item, int]], list[tuple[Item, int]]]:
        """Probes and gallery of all people, each with the number of its person."""
        probes, gallery = [], []
        for number, person in enumerate(self.judge.dataset.people):
            cloaked = [path for path in person.cloaked[: self.photos] if path in self.files]
            sides = SCENARIOS[scenario](person, cloaked)
            if sides.probes and sides.gallery:
                probes += [(item, number) for item in sides.probes]
                gallery += [(item, number) for item in sides.gallery]
        return probes, gallery

    def faces(self, items: Sequence[tuple[Item, int]], *, cloaked: bool) -> Faces:
        """The rows of items; published photos as cloaked files, or as their originals."""
        places = [
            (self.files[item.path] if cloaked and item.published else item.path, self._condition(item))
            for item, _ in items
        ]
        return self.album.faces(self.evaluator, places, [number for _, number in items])

    def _condition(self, item: Item) -> str:
        return self.condition if item.published else "saved"

    def record(self, scenario: str) -> dict[str, Any]:
        """The measures with the cloak and, beside them, without; empty where photos are too few."""
        probes, gallery = self.sides(scenario)
        if not probes:
            return {}
        # the same for every entry of as many photos
        key = (self.condition, self.evaluator, scenario, self.photos, tuple(probes), tuple(gallery))
        if key not in self.judge.known:
            self.judge.known[key] = self.measures(probes, gallery, cloaked=False)
        return {"measures": self.measures(probes, gallery, cloaked=True), "clean": self.judge.known[key]}

    def measures(
        self, probes: Sequence[tuple[Item, int]], gallery: Sequence[tuple[Item, int]], *, cloaked: bool
    ) -> dict[str, Any]:
        """All measures of two sides, with the cloak or without."""
        asked, named = self.faces(probes, cloaked=cloaked), self.faces(gallery, cloaked=cloaked)
        observed = attack(asked, named, self.judge.strangers[self.evaluator], self.judge.thresholds[self.evaluator])
        if self.condition == "saved":
            observed["adaptive"] = adaptive_probe_hits(asked, named, self.others(cloaked=cloaked))
        published = [pair for pair in (*probes, *gallery) if pair[0].published]
        observed["detected"] = self.faces(published, cloaked=cloaked).detections()
        return self.judge.estimates(observed)

    def others(self, *, cloaked: bool) -> Faces:
        """What an adaptive tracker has of people: their clean photos, and those of the cloaked files or originals."""
        items = [
            (Item(path, True), number)
            for number, person in enumerate(self.judge.dataset.people)
            for path in person.cloaked[: self.photos]
            if path in self.files
        ]
        kept = [
            (Item(path, False), number)
            for number, person in enumerate(self.judge.dataset.people)
            for path in person.clean
        ]
        return self.faces(items, cloaked=cloaked).joined(self.faces(kept, cloaked=False))

    def by_person(self) -> dict[str, Any]:
        """Protection and similarity in evasion, of each photo of each person."""
        probes, gallery = self.sides("evasion")
        named, thresholds = self.faces(gallery, cloaked=True), self.judge.thresholds[self.evaluator]
        observed = []
        for rank in range(self.photos):
            photos = {path for person in self.judge.dataset.people for path in person.cloaked[rank : rank + 1]}
            of_rank = [pair for pair in probes if pair[0].path in photos]
            scores = genuine_scores(self.faces(of_rank, cloaked=True), named)
            observed.append(not_matched(scores, thresholds) | {"similarity": scores})
        return by_person(observed, len(self.judge.dataset.people))

    def curves(self) -> dict[str, Any]:
        """Scores of cloaked photos against clean ones: histogram and ROC."""
        probes, gallery = self.sides("evasion")
        scores = genuine_scores(self.faces(probes, cloaked=True), self.faces(gallery, cloaked=True)).values
        impostors = self.judge.impostors[self.evaluator]
        return {"histogram": histogram(scores), "roc": roc(scores, impostors, list(ROC_RATES))}


def _pairs_within(faces: Faces) -> Observations:
    """Cosines of all pairs of photos of one person, each pair once."""
    faces = faces.only_found()
    rows, columns = np.triu_indices(len(faces.people), 1)
    same = faces.people[rows] == faces.people[columns]
    scores = (faces.embeddings[rows[same]] * faces.embeddings[columns[same]]).sum(axis=1)
    return Observations(scores.astype(np.float64), faces.people[rows[same]])


def _same_photos(faces: Faces) -> Faces:
    """Every photo as a person of its own, so that it is compared with nothing but itself."""
    return Faces(faces.embeddings, np.arange(len(faces.people)))


def _estimate(observations: Observations, protocol: Protocol) -> dict[str, Any]:
    return in_numbers(estimate(observations, protocol.resamples, protocol.seed))
