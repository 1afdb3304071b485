"""Who holds what: which photos are asked about, and which have names. Never the same photo twice.

In every scenario all people of the benchmark cloak; the distractors in the gallery do not. What a
condition does to a photo (recompression, a purifier) it does to the photos that were to be
cloaked, since these are what was published; clean photos of the other side stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cloak.bench.datasets import Person


@dataclass(frozen=True)
class Item:
    """A photo in a scenario; ``published``: it is one of those that are cloaked."""

    path: Path
    published: bool


@dataclass(frozen=True)
class Sides:
    """The photos asked about, and the photos with names, of one person."""

    probes: tuple[Item, ...]
    gallery: tuple[Item, ...]


def _published(paths: Sequence[Path]) -> tuple[Item, ...]:
    return tuple(Item(path, True) for path in paths)


def _clean(paths: Sequence[Path]) -> tuple[Item, ...]:
    return tuple(Item(path, False) for path in paths)


def _leaky(share: float) -> Callable[[Person, Sequence[Path]], Sides]:
    """Poisoning with so large a share of clean photos in the gallery."""

    def split(person: Person, cloaked: Sequence[Path]) -> Sides:
        leaked = min(len(person.leaked), round(len(cloaked) * share / (1.0 - share)))
        kept = min(len(cloaked), round(leaked * (1.0 - share) / share))
        if not leaked or not kept:
            return Sides((), ())
        return Sides(_clean(person.probes), _published(cloaked[:kept]) + _clean(person.leaked[:leaked]))

    return split


SCENARIOS: Mapping[str, Callable[[Person, Sequence[Path]], Sides]] = MappingProxyType(
    {
        "evasion": lambda person, cloaked: Sides(_published(cloaked), _clean(person.clean)),
        "poisoning": lambda person, cloaked: Sides(_clean(person.probes), _published(cloaked)),
        "leak20": _leaky(0.2),
        "leak50": _leaky(0.5),
        "both": lambda person, cloaked: Sides(_published(cloaked[1::2]), _published(cloaked[::2])),
    }
)
"""Name -> (person, which of the person's photos are cloaked) -> the two sides; empty where there
are too few photos for it.

evasion: a cloaked photo is asked about, the gallery is clean. poisoning: a clean photo is asked
about, the gallery is cloaked. leak20, leak50: a fifth, or half, of the gallery is clean. both:
cloaked photos on both sides."""

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "evasion": "evasion: cloaked photo, clean gallery",
        "poisoning": "poisoning: clean photo, cloaked gallery",
        "leak20": "poisoning, 20 % of the gallery clean",
        "leak50": "poisoning, 50 % of the gallery clean",
        "both": "both sides cloaked",
    }
)
