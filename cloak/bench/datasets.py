"""Folders on disk -> people with several photos each, and strangers.

Any folder-per-person tree serves. Labeled Faces in the Wild as scikit-learn
(``lfw_home/lfw_funneled``) and torchvision (``lfw-py/lfw-deepfunneled`` and the like) unpack it is
found one or two folders further down. A folder ``distractors``, beside the people or beside their
folder ``people``, holds strangers: one photo each, in folders of their own or not.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloak.errors import CloakError, UsageError
from cloak.photo import SUFFIXES, read_photo
from cloak.walk import MARK, original_of
from cloak.weights import file_sha256

FEWEST_PHOTOS = 2
"""A person needs this many photos that can be read."""

DISTRACTORS = "distractors"

CLOAKED = (MARK, "_attacked")
"""How programs name what they made of a photo, beside it."""

NESTS = ("", "people", "lfw_funneled", "lfw-deepfunneled", "lfw", "lfw_home/lfw_funneled", "lfw_home/lfw",
         "lfw-py/lfw-deepfunneled", "lfw-py/lfw_funneled", "lfw-py/lfw")  # fmt: skip
"""Where the people's folders lie below the folder that is given, the first that fits."""


@dataclass(frozen=True)
class Person:
    """Someone whose photos are compared with each other.

    Attributes:
        name: of the folder.
        cloaked: photos that are to be cloaked; at least one.
        clean: further photos that stay as they are; at least one.
        identity: further photos that cloaks may know the person by; they take part in nothing else.
    """

    name: str
    cloaked: tuple[Path, ...]
    clean: tuple[Path, ...]
    identity: tuple[Path, ...] = ()

    @property
    def leaked(self) -> tuple[Path, ...]:
        """The clean photos that a poisoned gallery may also hold: the first half."""
        return self.clean[: len(self.clean) // 2]

    @property
    def probes(self) -> tuple[Path, ...]:
        """The clean photos that poisoned galleries are asked about: the other half."""
        return self.clean[len(self.clean) // 2 :]


@dataclass(frozen=True)
class Dataset:
    """Attributes:
    root: the folder.
    people: in the order of their names.
    distractors: one photo of each of many strangers.
    unreadable: (photo, reason) of each that was left out: damaged, cloaked before, or the same file as another.
    """

    root: Path
    people: tuple[Person, ...]
    distractors: tuple[Path, ...]
    unreadable: tuple[tuple[Path, str], ...]


def read_dataset(
    root: Path, *, people: int, cloaked: int, distractors: int, identity: int = 0, seed: int = 0
) -> Dataset:
    """Choose people, and their photos that are to be cloaked, from a folder.

    Args:
        root: see the top of this module.
        people: how many; those with the most photos come first, equal ones by a seeded shuffle;
            people with fewer than two photos never.
        cloaked: how many photos of each are cloaked, at most half of what there is.
        distractors: how many strangers at most.
        identity: how many of each, the last ones, cloaks may know the person by; fewer where fewer than
            two would remain.
        seed: of the shuffle.

    Raises:
        UsageError: the folder is absent, or has fewer than two people with two photos.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: expected a folder with a folder of photos for each person, got none; pass --data")
    home, folders = _people_folders(root)
    strangers = next((path for path in (home / DISTRACTORS, root / DISTRACTORS) if path.is_dir()), None)
    chosen: list[Person] = []
    unreadable: list[tuple[Path, str]] = []
    seen: dict[str, Path] = {}
    for folder in _most_photos_first(folders, cloaked, seed):
        if len(chosen) == people:
            break
        readable, broken = _readable(photos_in(folder), seen)
        unreadable += broken
        if len(readable) >= FEWEST_PHOTOS:
            others = len(readable) - min(identity, len(readable) - FEWEST_PHOTOS)
            count = min(cloaked, others // 2)
            chosen.append(
                Person(folder.name, tuple(readable[:count]), tuple(readable[count:others]), tuple(readable[others:]))
            )
    if len(chosen) < 2:
        raise UsageError(
            f"{root}: expected at least two people with {FEWEST_PHOTOS} readable photos each, "
            f"got {len(chosen)} among {len(folders)} folders; pass --data with a folder-per-person tree"
        )
    faces, broken = _readable(photos_in(strangers, deep=True)[:distractors], seen) if strangers else ([], [])
    return Dataset(
        root, tuple(sorted(chosen, key=lambda person: person.name)), tuple(faces), tuple(unreadable + broken)
    )


def _people_folders(root: Path) -> tuple[Path, list[Path]]:
    """The folder that holds the people's folders, and these."""
    for nest in NESTS:
        home = root / nest
        if home.is_dir():
            folders = sorted(
                path
                for path in home.iterdir()
                if path.is_dir() and path.name != DISTRACTORS and not path.name.startswith(".")
            )
            serving = [path for path in folders if len(photos_in(path)) >= FEWEST_PHOTOS]
            if len(serving) >= 2:
                return home, serving
    return root, []


def _most_photos_first(folders: Sequence[Path], cloaked: int, seed: int) -> list[Path]:
    """People with enough photos for every scenario first, each kind in a seeded order."""
    shuffled = list(folders)
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled, key=lambda folder: len(photos_in(folder)) < 2 * cloaked)


def photos_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """What is named like a photo in a folder, sorted, without what is hidden; nothing where it cannot be read."""
    try:
        found = list(folder.rglob("*") if deep else folder.iterdir())
    except OSError:
        return []
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _readable(paths: Sequence[Path], seen: dict[str, Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The photos that may take part, and why others may not; what is in one is noted in ``seen``."""
    readable, left_out = [], []
    stems = {path.stem for path in paths}
    for path in paths:
        reason = _why_not(path, stems, seen)
        if reason:
            left_out.append((path, reason))
        else:
            readable.append(path)
    return readable, left_out


def _why_not(path: Path, stems: Collection[str], seen: dict[str, Path]) -> str:
    """Why a photo is no clean photo of its own; empty where it is."""
    try:
        earlier = read_photo(path).earlier
    except CloakError as error:
        return str(error)
    original = original_of(path.stem, stems, CLOAKED)
    if earlier or original:
        return f"{path}: {f'was cloaked before ({earlier})' if earlier else f'is named as a cloak of {original}'}"
    first = seen.setdefault(file_sha256(path), path)
    return "" if first == path else f"{path}: is the same file as {first.parent.name}/{first.name}"
