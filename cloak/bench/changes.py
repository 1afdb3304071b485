"""Methods with other values in some of their fields, as protocols ask for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from cloak.constraint import PENALTIES
from cloak.errors import UsageError
from cloak.methods import Method
from cloak.objectives import OBJECTIVES
from cloak.steps import RULES, SPACES
from cloak.views import ViewDistribution

CHOICES: Mapping[str, Collection[str]] = MappingProxyType(
    {"rule": RULES, "space": SPACES, "objective": OBJECTIVES, "penalised": PENALTIES}
)
"""Fields of a method that name an entry of a table."""


def changed(method: Method, key: str, value: Any) -> Method:
    """A method with another value in one field, or in one of its views ("views.FIELD").

    Raises:
        UsageError: there is no such field, or the value is of another kind.
    """
    of, _, inner = key.rpartition(".")
    owner: Method | ViewDistribution = method.views if of == "views" else method
    kept: Any = getattr(owner, inner, None)
    if of not in ("", "views") or inner not in {item.name for item in fields(owner)}:
        raise UsageError(f"expected a field of a method or views.FIELD to change, got {key!r}")
    value = tuple(value) if isinstance(value, list) else value
    value = float(value) if isinstance(kept, float) and isinstance(value, int) else value
    if type(value) is not type(kept) or (isinstance(value, tuple) and not _alike(value, kept)):
        raise UsageError(f"expected {key} like {kept!r}, got {value!r}")
    if inner in CHOICES and value not in CHOICES[inner]:
        raise UsageError(f"expected {key}, one of {', '.join(CHOICES[inner])}; got {value!r}")
    changes: dict[str, Any] = {inner: value}
    if isinstance(owner, ViewDistribution):
        return replace(method, views=replace(owner, **changes))
    return replace(method, **changes)


def _alike(values: Sequence[Any], kept: Sequence[Any]) -> bool:
    """Whether there are as many, and all numbers."""
    return len(values) == len(kept) and all(isinstance(value, (int, float)) for value in values)
