"""A protocol -> results: cloak, embed, measure. Each stage keeps what is finished."""

import logging
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cloak.bench.cloaking import Workshop
from cloak.bench.contact import Shown
from cloak.bench.datasets import Dataset, read_dataset
from cloak.bench.embedding import Album, Gaze, embed_all
from cloak.bench.evaluators import load_evaluator
from cloak.bench.foreign import check_files
from cloak.bench.lpips import find_lpips
from cloak.bench.pairing import differences
from cloak.bench.protocol import Entry, Protocol, entries_of
from cloak.bench.scoring import ROC_RATES, Score, score
from cloak.bench.showcase import photos_to_show, show
from cloak.bench.store import EmbeddingStore, Journal
from cloak.errors import UsageError
from cloak.folders import cache_folder
from cloak.recognizers import find_source

LIBRARIES = ("torch", "torchvision", "facenet-pytorch", "numpy", "pillow", "kornia", "onnxruntime", "scikit-learn")

Tell = Callable[[str, int, int], None]
"""(what is being done, how many are done, of how many)."""


def run_protocol(
    protocol: Protocol,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
    tell: Tell = lambda step, done, total: None,
) -> tuple[dict[str, Any], list[Shown]]:
    """Run a protocol.

    Args:
        protocol: what to measure.
        data: the folder of photos, see ``cloak.bench.datasets``.
        out: cloaked files and their journal go there.
        resume: whether ``out`` may hold an earlier run, whose finished parts are used.
        device: where PyTorch runs.
        tell: called as the work goes on.

    Returns:
        The results, see benchmarks/README.md, plain values only, ready for JSON; and the photos for
        the contact sheet.

    Raises:
        UsageError: ``out`` holds an earlier run; or the data, an evaluator or a method cannot serve.
    """
    started = time.perf_counter()
    resumed = (out / JOURNAL).exists()
    if resumed and not resume:
        raise UsageError(f"{out}: holds an earlier run; pass --resume to finish it, or another --out")
    dataset = read_photos(protocol, data)
    evaluators = [load_evaluator(name, folder=protocol.folder, device=device) for name in protocol.evaluators]
    _refuse_equal_names([evaluator.name for evaluator in evaluators])
    gaze = Gaze(evaluators, EmbeddingStore(cache_folder() / "embeddings.sqlite"))
    workshop = Workshop(out, torch.device(device), protocol.seed, protocol.folder, find_lpips())
    entries = entries_of(protocol)
    to_show = photos_to_show(protocol, dataset)
    for entry in entries:
        if entry.files:
            check_files(entry.name, entry.files, _photos_of(entry, dataset))
    clean = _embed_clean(gaze, dataset, entries, tell)
    judge = Score.of(dataset, clean, {evaluator.name: evaluator.threshold for evaluator in evaluators}, protocol)
    journal = Journal(out / JOURNAL)
    made = _cloak_all(workshop, entries, dataset, journal, tell)
    shown = show(workshop, entries, to_show, dataset, journal, partial(_known, dataset), tell)
    results = []
    for number, entry in enumerate(entries):
        tell(f"measuring {entry.name}", number, len(entries))
        album = embed_all(_conditions_of(entry, dataset, made[entry.name], out), gaze)
        files = {Path(record["source"]): out / record["output"] for record in made[entry.name] if not record["error"]}
        results.append(score(judge, entry, files, album))
    tell("measuring", len(entries), len(entries))
    described = [
        {**describe(entry, made[entry.name], protocol), **result}
        for entry, result in zip(entries, results, strict=True)
    ]
    document = {
        "schema": 1,
        "protocol": asdict(_without_places(protocol)) | {"folder": "", "data": data.name},
        "provenance": provenance(device) | {"seconds": time.perf_counter() - started, "resumed": resumed},
        "dataset": _described(dataset, clean),
        "evaluators": judge.evaluators,
        "sanity": judge.sanity(),
        "fars": [float(f) for f in ROC_RATES],
        "entries": described,
        "differences": differences(described, protocol.reference, protocol.resamples, protocol.seed),
    }
    return document, shown


JOURNAL = "journal.sqlite"


def read_photos(protocol: Protocol, data: Path) -> Dataset:
    """The people and strangers of a protocol.

    Raises:
        UsageError: the folder cannot serve.
    """
    return read_dataset(
        data,
        people=protocol.people,
        cloaked=protocol.cloaked,
        distractors=protocol.distractors,
        identity=protocol.identity,
        seed=protocol.seed,
    )


def _refuse_equal_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"expected evaluators with different names, got {', '.join(twice)} twice")


def _cloak_all(
    workshop: Workshop, entries: Sequence[Entry], dataset: Dataset, journal: Journal, tell: Tell
) -> dict[str, list[dict[str, Any]]]:
    """Entry -> a record for each photo."""
    made = {}
    for entry in entries:
        photos = _photos_of(entry, dataset)

        def on_done(done: int, name: str = entry.name, total: int = len(photos)) -> None:
            tell(f"cloaking {name}", done, total)

        known = _known(dataset, entry)
        made[entry.name] = workshop.cloak(entry, photos, journal, on_done, known)
        failed = [record["error"] for record in made[entry.name] if record["error"]]
        if failed:
            first = f"{entry.name}: {len(failed)} of {len(photos)} photos cannot be measured; of the first: {failed[0]}"
            if len(failed) == len(photos):
                raise UsageError(first)
            logging.getLogger(__name__).warning("%s; results.md lists them", first)
    return made


def _photos_of(entry: Entry, dataset: Dataset) -> list[Path]:
    return [path for person in dataset.people for path in person.cloaked[: entry.photos]]


def _known(dataset: Dataset, entry: Entry) -> dict[str, Sequence[Path]]:
    """Person -> the photos that the entry's cloaks know the person by."""
    return {person.name: person.identity[: entry.identity] for person in dataset.people}


def _embed_clean(gaze: Gaze, dataset: Dataset, entries: Sequence[Entry], tell: Tell) -> Album:
    """Every clean photo, and the originals of the cloaked ones under each condition that is used."""
    wanted: dict[Path, list[str]] = {}
    for person in dataset.people:
        for index, path in enumerate(person.cloaked):
            used = {c for entry in entries for c, photos in entry.conditions.items() if index < photos}
            wanted[path] = ["saved", *sorted(used - {"saved"})]
        wanted |= {path: ["saved"] for path in person.clean}
    wanted |= {path: ["saved"] for path in dataset.distractors}
    return embed_all(wanted, gaze, lambda done, total: tell("embedding clean photos", done, total))


def _conditions_of(
    entry: Entry, dataset: Dataset, records: Sequence[Mapping[str, Any]], out: Path
) -> dict[Path, list[str]]:
    """Cloaked file -> the conditions that it is seen under."""
    rank = {path: index for person in dataset.people for index, path in enumerate(person.cloaked)}
    return {
        out / record["output"]: [c for c, photos in entry.conditions.items() if rank[Path(record["source"])] < photos]
        for record in records
        if not record["error"]
    }


def describe(entry: Entry, records: Sequence[Mapping[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """An entry's settings, cost and visibility."""
    made = [record for record in records if not record["error"]]
    visibility: dict[str, Any] = defaultdict(dict)
    for where in ("face", "photo"):
        for measure in made[0][where] if made else ():
            values = np.array([record[where][measure] for record in made])
            visibility[where][measure] = {"mean": float(values.mean()), "max": float(values.max())}
    seconds = [record["seconds_per_face"] for record in made if record["seconds_per_face"] is not None]
    lpips = [record["lpips"] for record in made if record["lpips"] is not None]
    return {
        "name": entry.name,
        "method": entry.method.name,
        "dssim": entry.method.dssim if 0.0 < entry.method.dssim < 1.0 else None,
        "surrogates": [_named(reference, entry, protocol.folder) for reference in entry.surrogates],
        "identity": entry.identity,
        "other_software": entry.files is not None,
        "settings": {} if entry.files else {key: str(value) for key, value in asdict(entry.method).items()},
        "photos": entry.photos,
        "files": len(made),
        "unchanged": sum(record["unchanged"] for record in made),
        "failed": [record["error"] for record in records if record["error"]],
        "seconds_per_face": float(np.median(seconds)) if seconds else None,
        "visibility": dict(visibility) | {"lpips": float(np.mean(lpips)) if lpips else None},
    }


def _without_places(protocol: Protocol) -> Protocol:
    """The protocol as results state it: of the folders of files, no more than their names."""
    named = [replace(cloaks, files=Path(cloaks.files).name) if cloaks.files else cloaks for cloaks in protocol.cloaks]
    return replace(protocol, cloaks=tuple(named))


def _named(reference: str, entry: Entry, folder: Path) -> str:
    """A surrogate's name; of other software's, which may be unknown here, as it is stated."""
    try:
        return find_source(reference, folder).name
    except UsageError:
        if entry.files:
            return reference
        raise


def _described(dataset: Dataset, clean: Album) -> dict[str, Any]:
    unreadable = [*dataset.unreadable, *clean.failed.items()]
    for _, reason in unreadable:
        logging.getLogger(__name__).warning("left out: %s", reason)
    return {
        "people": [person.name for person in dataset.people],
        "photos": sum(len(person.cloaked) + len(person.clean) for person in dataset.people),
        "distractors": len(dataset.distractors),
        "unreadable": [reason.replace(str(path), f"{path.parent.name}/{path.name}") for path, reason in unreadable],
    }


def provenance(device: torch.device | str) -> dict[str, Any]:
    """With what the results were made: commit, versions, device."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": sys.version.split()[0]} | {name: _version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name() if str(device) != "cpu" else f"cpu, threads: {torch.get_num_threads()}",
        "date": time.strftime("%Y-%m-%d"),
    }


def _git(*arguments: str) -> str:
    """What git says of the checkout that the code lies in; empty where it is none."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
