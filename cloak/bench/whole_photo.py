"""Evaluators of one's own that take whole photos: a program or a service with its own detector."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from cloak.bench.evaluators import Embedding, Evaluator, fingerprint
from cloak.errors import UsageError, in_a_line
from cloak.imports import find_attribute
from cloak.recognizers.source import model_sha256
from cloak.types import Pixels


def whole_photo(entry: str) -> Evaluator:
    """An evaluator from a user's function.

    What it gave for a photo, None too, is kept until a Python file in the folder of its module
    changes, or its attribute ``version``, for what else it works with. Its attribute
    ``threshold``, if it has one, is the cosine at or above which it takes two faces for one person.

    Args:
        entry: ``module:function``, (h, w, 3) uint8, RGB -> (d,) numbers, the embedding of the person's face,
            or None where it finds none; compared by cosine.

    Raises:
        UsageError: there is no such function; or, when it is asked, it fails or gives something else.
    """
    function = find_attribute(entry, "function")
    if not callable(function):
        raise UsageError(f"photo:{entry}: expected a function of a photo, got {type(function).__name__}")

    def locate(pixels: Pixels) -> Embedding | None:
        try:
            found = function(pixels.copy())
            return None if found is None else _embedding(np.asarray(found))
        except Exception as error:  # whatever a user's function raises
            what = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {in_a_line(error)}"
            raise UsageError(
                f"photo:{entry}: expected (d,) finite numbers that are not all 0, or None; got {what}"
            ) from error

    threshold = getattr(function, "threshold", None)
    if threshold is not None and not (isinstance(threshold, (int, float)) and -1.0 < threshold < 1.0):
        raise UsageError(f"photo:{entry}: expected its threshold as a cosine between -1 and 1, got {threshold!r}")
    return Evaluator(entry.replace(":", "."), _mark(entry, function), locate, lambda pixels, found: found, threshold)


def _embedding(found: np.ndarray[Any, Any]) -> Embedding:
    """What a function gave, at length 1.

    Raises:
        UsageError: with what was given, where that is no embedding.
    """
    if found.ndim != 1 or len(found) < 2 or found.dtype.kind not in "fiu":
        raise UsageError(f"shape {found.shape} of {found.dtype}")
    numbers = found.astype(np.float64)
    largest = np.abs(numbers).max()
    if not np.isfinite(largest) or not largest:
        raise UsageError(f"{found[:3].tolist()} and so on")
    numbers = numbers / largest
    embedding: Embedding = (numbers / np.linalg.norm(numbers)).astype(np.float32)
    return embedding


def _mark(entry: str, function: Any) -> str:
    """A hash of the function's version and the Python files in its module's folder; of a package's, of its own."""
    file = getattr(sys.modules[entry.partition(":")[0]], "__file__", None)
    own = [Path(file)] if file else []
    beside = sorted(own[0].parent.glob("*.py")) if own and "site-packages" not in own[0].parts else own
    return fingerprint(entry, getattr(function, "version", ""), *map(model_sha256, beside))
