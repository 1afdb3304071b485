"""Evaluators of one's own that take whole photos: a program or a service with its own detector."""

import numpy as np

from cloak.bench.evaluators import Embedding, Evaluator, fingerprint
from cloak.errors import UsageError, in_a_line
from cloak.imports import find_attribute
from cloak.recognizers.source import code_of
from cloak.types import Pixels


def whole_photo(entry: str) -> Evaluator:
    """An evaluator from a user's function.

    What it gave for a photo is kept by the hash of its module's file, so a change of that file is
    noticed, and one of anything else that it works with is not.

    Args:
        entry: ``module:function``, (h, w, 3) uint8, RGB -> (d,) numbers, the embedding of the person's face,
            or None where it finds none; compared by cosine.

    Raises:
        UsageError: there is no such function; or, when it is asked, it fails or gives something else.
    """
    function, widths = find_attribute(entry, "function"), set[int]()
    if not callable(function):
        raise UsageError(f"photo:{entry}: expected a function of a photo, got {type(function).__name__}")

    def locate(pixels: Pixels) -> Embedding | None:
        try:
            found = function(pixels.copy())
            embedding = None if found is None else np.asarray(found, dtype=np.float32)
        except Exception as error:  # whatever a user's function raises
            what = f"{type(error).__name__}: {in_a_line(error)}"
            raise UsageError(f"photo:{entry}: expected an embedding or None, got {what}") from error
        if embedding is None:
            return None
        widths.add(embedding.size)
        if embedding.ndim != 1 or len(widths) > 1 or not np.isfinite(embedding).all() or not embedding.any():
            raise UsageError(
                f"photo:{entry}: expected (d,) finite numbers that are not all 0, with one d for all photos, or None; "
                f"got {_shown(embedding, widths)}"
            )
        return embedding

    return Evaluator(entry.replace(":", "."), fingerprint(code_of(entry)), locate, lambda pixels, found: found)


def _shown(embedding: Embedding, widths: set[int]) -> str:
    several = f", after {sorted(widths - {embedding.size})}" if len(widths) > 1 else ""
    return f"shape {embedding.shape}{several}, first {embedding.ravel()[:3].tolist()}"
