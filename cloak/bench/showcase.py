"""The photos that a report shows, cloaked by every method."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cloak.bench.cloaking import Workshop
from cloak.bench.contact import Shown
from cloak.bench.datasets import Dataset
from cloak.bench.evaluators import central_face
from cloak.bench.protocol import Entry, Protocol
from cloak.bench.store import Journal
from cloak.errors import UsageError
from cloak.files import plan_jobs
from cloak.photo import read_photo

FROM_DATA = 3
"""How many of the data's people are shown where the protocol names no photos."""


def photos_to_show(protocol: Protocol, dataset: Dataset) -> list[Path]:
    """The protocol's own photos, or the first of some people: of those there are cloaks of other software, too.

    Raises:
        UsageError: the protocol names a photo that is not there.
    """
    if not protocol.contact_sheet or any(cloaks.files for cloaks in protocol.cloaks):
        return [person.cloaked[0] for person in dataset.people[:FROM_DATA]]
    jobs = plan_jobs([protocol.folder / name for name in protocol.contact_sheet])
    for job in jobs:
        if job.error:
            raise UsageError(f"contact_sheet: {job.error}")
    return [job.source for job in jobs]


def show(
    workshop: Workshop,
    entries: Sequence[Entry],
    photos: Sequence[Path],
    dataset: Dataset,
    journal: Journal,
    known: Callable[[Entry], Mapping[str, Sequence[Path]]],
    tell: Callable[[str, int, int], None],
) -> list[Shown]:
    """Cloak some photos by the entries that cloak the most photos of each person.

    Photos without a face, or that a method cannot cloak, are left out. Photos that are not the data's have a
    folder of their own, whatever they are called.
    """
    largest = max(entry.photos for entry in entries)
    shown = [entry for entry in entries if entry.photos == largest and entry.method.saved]
    own = {photo for person in dataset.people for photo in person.cloaked}
    place, made = "cloaked" if own.issuperset(photos) else "shown", {}
    for number, entry in enumerate(shown):
        tell("cloaking the contact sheet", number, len(shown))
        made[entry.name] = workshop.cloak(entry, photos, journal, lambda done: None, known(entry), place)
    tell("cloaking the contact sheet", len(shown), len(shown))
    rows: list[Shown] = []
    for index, photo in enumerate(photos):
        if any(records[index]["error"] for records in made.values()):
            continue
        original = read_photo(photo).pixels
        face = central_face(workshop.detector.detect(original), original)
        if face is not None:
            columns = [(name, read_photo(workshop.out / r[index]["output"]).pixels) for name, r in made.items()]
            rows.append((photo.stem.replace("_", " "), original, face, columns))
    return rows
