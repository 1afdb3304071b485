"""A protocol in TOML -> what is measured: whose photos, which cloaks, by whom, under what."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_origin

from cloak.bench.changes import changed
from cloak.bench.conditions import find_condition
from cloak.bench.foreign import foreign_method
from cloak.errors import UsageError
from cloak.imports import look_in
from cloak.methods import METHODS, Method, find_method
from cloak.recognizers import SURROGATES
from cloak.toml import read_toml

USUAL_DSSIM = 0.009
"""The budget of methods where none is given."""


USUAL_REFERENCE = "cloak"
"""What others are compared with where no method is named."""


@dataclass(frozen=True, kw_only=True)
class Cloaks:
    """Some methods at some budgets, or what other software made, and what they are put through.

    Attributes:
        methods: names of ``cloak.methods.METHODS``.
        files: instead of methods, a folder with cloaks that other software made, see ``cloak.bench.foreign``.
        dssim: budgets of the face DSSIM; methods without a budget run once. Files are measured as they are,
            and brought to each budget besides.
        photos: how many of each person's photos are cloaked; 0: all that the protocol names.
        conditions: see ``cloak.bench.conditions.find_condition``; "saved" is always among them.
        label: joins the methods' names, for what differs from them; files have no other name.
        surrogates: recognisers that the cloaks are made against; empty: the protocol's, of files unknown.
        identity: from how many further photos the cloaks know each person; at most the protocol's.
        changes: fields of ``Method`` with other values, "views.FIELD" for those of its views.
    """

    methods: tuple[str, ...] = ()
    files: str = ""
    dssim: tuple[float, ...] = ()
    photos: int = 0
    conditions: tuple[str, ...] = ("saved",)
    label: str = ""
    surrogates: tuple[str, ...] = ()
    identity: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)

    def recipes(self) -> list[Method]:
        """Each method at each budget, changed and labelled; of files, how far they may go.

        Raises:
            UsageError: an unknown method, budget or change.
        """
        if self.files:
            return [foreign_method(self.label, dssim) for dssim in (math.inf, *self.dssim)]
        found = [find_method(name, dssim) for name in self.methods for dssim in self.dssim or (USUAL_DSSIM,)]
        for key, value in self.changes.items():
            found = [changed(method, key, value) for method in found]
        return [replace(method, name=f"{method.name} {self.label}") if self.label else method for method in found]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that decides a result, but the code.

    Attributes:
        name: in the results.
        folder: where the protocol lies; its relative paths start there.
        data: the folder of photos.
        people: how many people are cloaked.
        cloaked: how many photos of each.
        distractors: how many strangers join the gallery.
        identity: how many photos of each are kept for cloaks to know the person by, and for nothing else.
        evaluators: references, see ``cloak.bench.evaluators``.
        surrogates: recognisers that the cloaks are made against.
        cloaks: what is measured.
        fars: false-accept rates.
        resamples: of the bootstrap.
        seed: of everything that is drawn.
        reference: the method, with its label, that all others of its budget are compared with, person by person.
        contact_sheet: photos, or folders of photos, that the page shows cloaked by every method;
            empty: the first photos of the data.
    """

    name: str
    folder: Path
    data: str = ""
    people: int = 50
    cloaked: int = 4
    distractors: int = 2000
    identity: int = 0
    evaluators: tuple[str, ...]
    surrogates: tuple[str, ...] = SURROGATES
    cloaks: tuple[Cloaks, ...]
    fars: tuple[float, ...] = (1e-2, 1e-3)
    resamples: int = 1000
    seed: int = 0
    reference: str = USUAL_REFERENCE
    contact_sheet: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One cloak to measure.

    Attributes:
        method: with its budget filled in.
        photos: how many of each person's photos.
        surrogates: references of the recognisers that it is made against; none where it looks at none, or
            where those of other software are not stated.
        conditions: condition -> on how many of each person's photos.
        identity: from how many further photos each person is known.
        files: the folder of the cloaks that other software made, of which this is one kind.
    """

    method: Method
    photos: int
    surrogates: tuple[str, ...]
    conditions: Mapping[str, int] = field(default_factory=dict)
    identity: int = 0
    files: Path | None = None

    @property
    def name(self) -> str:
        """Method and budget."""
        return self.method.title


def read_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Raises:
        UsageError: no such file, not TOML, or something in it that is unknown or wrong.
    """
    given = read_toml(path, "a protocol", "; there are some in benchmarks/")
    look_in(path.parent)
    try:
        given["cloaks"] = tuple(_build(Cloaks, item) for item in given.get("cloaks", ()))
        whole = {"name": _safe(path.stem), **given, "folder": path.resolve().parent}
        protocol: Protocol = _build(Protocol, whole)
        _check(protocol)
        if "reference" in given:
            protocol = with_reference(protocol, given["reference"])
    except (TypeError, ValueError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from None
    return protocol


def _build(kind: type[Any], given: Mapping[str, Any]) -> Any:
    """A dataclass from a table of TOML; lists become tuples."""
    known = {item.name: item.type for item in fields(kind)}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(f"expected keys among {', '.join(known)}; got {', '.join(unknown)}")
    for key, value in given.items():
        listed = get_origin(known[key]) is tuple
        if listed != isinstance(value, (list, tuple)):
            raise ValueError(f"expected {key} {'as' if listed else 'not as'} a list, got {value!r}")
        if known[key] is str and not isinstance(value, str):
            raise ValueError(f"expected {key} as a text, got {value!r}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})


def _check(protocol: Protocol) -> None:
    for name in ("people", "cloaked", "distractors", "identity", "resamples", "seed"):
        value = getattr(protocol, name)
        if not isinstance(value, int) or value < (0 if name in ("distractors", "identity", "seed") else 1):
            raise ValueError(f"expected {name} as a whole number, got {value!r}")
    for cloaks in protocol.cloaks:
        if not isinstance(cloaks.identity, int) or not 0 <= cloaks.identity <= protocol.identity:
            raise ValueError(f"expected identity of cloaks from 0 to the protocol's, got {cloaks.identity!r}")
        if not isinstance(cloaks.photos, int) or cloaks.photos < 0:
            raise ValueError(f"expected photos of cloaks as a whole number, got {cloaks.photos!r}")
        _check_files(cloaks)
    _check_names(protocol)
    if not protocol.cloaks or not protocol.evaluators:
        raise ValueError("expected at least one [[cloaks]] table and one evaluator, got none")
    if not protocol.fars or not all(isinstance(far, float) and 0.0 < far < 1.0 for far in protocol.fars):
        raise ValueError(f"expected fars between 0 and 1, got {protocol.fars}")
    for entry in entries_of(protocol):
        for condition in entry.conditions:
            find_condition(condition)


NAME = re.compile(r"[^\W_][\w .,+()-]*")
"""What names of files and of lines in plots may be made of."""


def _safe(stem: str) -> str:
    """A protocol's name, from its file's."""
    return re.sub(r"[^\w .,+()-]", "-", stem).lstrip("-_.,+() ") or "protocol"


def _check_names(protocol: Protocol) -> None:
    for what, name in (("name", protocol.name), *(("label", cloaks.label) for cloaks in protocol.cloaks)):
        if name and not NAME.fullmatch(name):
            raise ValueError(
                f"expected a {what} of letters, digits, spaces and _.,+()-, beginning with a letter or digit; "
                f"got {name!r}"
            )


def _check_files(cloaks: Cloaks) -> None:
    if bool(cloaks.methods) == bool(cloaks.files):
        raise ValueError("expected either methods or files in each [[cloaks]] table, got neither or both")
    if not isinstance(cloaks.changes, Mapping):
        raise ValueError(f"expected changes as a table, got {cloaks.changes!r}")
    if cloaks.files and (cloaks.label in ("", *METHODS) or cloaks.identity or cloaks.changes):
        raise ValueError(
            "expected files with a label that is no method's name, and without identity and changes; "
            f"got {cloaks.files} as {cloaks.label!r}"
        )


def select_methods(protocol: Protocol, names: Sequence[str]) -> Protocol:
    """The protocol with only these methods; one that it does not have is added at its first budgets.

    Raises:
        UsageError: an unknown method.
    """
    first = next((cloaks for cloaks in protocol.cloaks if cloaks.methods), Cloaks())
    chosen = [
        cloaks
        if cloaks.files and cloaks.label in names
        else replace(cloaks, methods=tuple(n for n in cloaks.methods if n in names), files="")
        for cloaks in protocol.cloaks
    ]
    present = {name for cloaks in chosen for name in (*cloaks.methods, cloaks.files and cloaks.label)}
    added = tuple(name for name in names if name not in present)
    if added:
        chosen.append(replace(first, methods=added))
    selected = replace(protocol, cloaks=tuple(cloaks for cloaks in chosen if cloaks.methods or cloaks.files))
    return selected if selected.reference in _comparable(selected) else replace(selected, reference=USUAL_REFERENCE)


def with_all(protocol: Protocol, dssim: Sequence[float], conditions: Sequence[str]) -> Protocol:
    """The protocol with other budgets or conditions, where any are given, in all its tables.

    Raises:
        UsageError: an unknown condition, or a budget that makes no sense.
    """
    cloaks = [
        replace(one, dssim=tuple(dssim) or one.dssim, conditions=tuple(conditions) or one.conditions)
        for one in protocol.cloaks
    ]
    return _checked(replace(protocol, cloaks=tuple(cloaks)))


def with_reference(protocol: Protocol, name: str) -> Protocol:
    """The protocol with another method that all others are compared with.

    Raises:
        UsageError: it is none of the protocol's.
    """
    known = _comparable(protocol)
    if name not in known:
        raise UsageError(
            f"expected as a reference one of {', '.join(known) or 'the methods with a budget'}; got {name!r}"
        )
    return replace(protocol, reference=name)


def _comparable(protocol: Protocol) -> list[str]:
    """The methods that have a budget, at which others can be compared with them."""
    return list(dict.fromkeys(entry.method.name for entry in entries_of(protocol) if 0.0 < entry.method.dssim < 1.0))


def add_files(protocol: Protocol, label: str, folder: Path) -> Protocol:
    """The protocol with cloaks that other software made, at its first budgets and under its first conditions.

    Raises:
        UsageError: the label will not do.
    """
    first = protocol.cloaks[0]
    budgets = first.dssim or (USUAL_DSSIM,)
    added = Cloaks(files=str(folder), label=label, dssim=budgets, photos=first.photos, conditions=first.conditions)
    return _checked(replace(protocol, cloaks=(*protocol.cloaks, added)))


def _checked(protocol: Protocol) -> Protocol:
    """The protocol, if all is well with it."""
    try:
        _check(protocol)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return protocol


def entries_of(protocol: Protocol) -> tuple[Entry, ...]:
    """The cloaks of a protocol, each once, with all that any table asks of it.

    Raises:
        UsageError: an unknown method or a budget that makes no sense.
    """
    merged: dict[str, Entry] = {}
    for cloaks in protocol.cloaks:
        photos = min(cloaks.photos or protocol.cloaked, protocol.cloaked)
        files = protocol.folder / Path(cloaks.files).expanduser() if cloaks.files else None
        asked = dict.fromkeys(("saved", *cloaks.conditions), photos)
        for method in cloaks.recipes():
            looking = cloaks.surrogates or (protocol.surrogates if method.steps else ())
            entry = Entry(method, photos, looking, asked, cloaks.identity, files)
            old = merged.get(entry.name, entry)
            if replace(old, photos=photos, conditions=entry.conditions) != entry:
                if files or old.files:
                    raise UsageError(f"two of the cloaks are called {entry.name}; give each its own label")
                raise UsageError(f"expected a label for what differs from {entry.name}, got none")
            conditions = {
                condition: max(old.conditions.get(condition, 0), entry.conditions.get(condition, 0))
                for condition in (*old.conditions, *entry.conditions)
            }
            merged[entry.name] = replace(entry, photos=max(old.photos, photos), conditions=conditions)
    return tuple(merged.values())
