"""Cloaks that other software made, measured like ours: their files, found by the originals' names.

A folder holds, as the data does, a folder for each person, and in it of each photo a file of the
same name, of whatever format: ``PERSON/NAME.png``, or as Fawkes, LowKey and others name what they
write, ``PERSON/NAME_cloaked.png``.
"""

import math
from pathlib import Path

import numpy as np

from cloak.bench.evaluators import central_face
from cloak.errors import PhotoError, UsageError
from cloak.methods import Method
from cloak.patches import Residual
from cloak.photo import SUFFIXES, read_photo
from cloak.pipeline import Prepared, encode_protected


def foreign_method(label: str, dssim: float) -> Method:
    """How far such cloaks may go: as far as they do, or to a budget of the face DSSIM.

    Raises:
        UsageError: the budget is not between 0 and .5.
    """
    if not (0.0 < dssim < 0.5 or dssim == math.inf):
        raise UsageError(f"expected a face DSSIM between 0 and .5, got {dssim}")
    return Method(label, dssim, linf=1.0)


def cloaked_file(photo: Path, folder: Path) -> Path:
    """The cloak of a photo.

    Raises:
        PhotoError: there is none, or more than one.
    """
    home = folder / photo.parent.name
    files = [path for path in home.iterdir() if path.suffix.lower() in SUFFIXES] if home.is_dir() else []
    found = [path for path in files if path.stem == photo.stem] or [
        path for path in files if path.stem.startswith(f"{photo.stem}_")
    ]
    if len(found) != 1:
        names = ", ".join(sorted(path.name for path in found)) or "none"
        raise PhotoError(
            f"expected one cloak of it in {home}, named {photo.stem} or {photo.stem}_SOMETHING; got {names}"
        )
    return found[0]


def foreign_cloak(prepared: Prepared, file: Path, method: Method, name: str) -> bytes:
    """The file as it is; or, where there is a budget, its change to the photo brought to that, at most doubled.

    Args:
        prepared: the photo and its faces.
        file: its cloak.
        method: with the budget, of the face in the middle.
        name: of the result, for messages.

    Raises:
        CloakError: it cannot be read, has another size than the photo, or the result cannot be written.
    """
    cloaked, original = read_photo(file).pixels, prepared.photo.pixels
    if cloaked.shape != original.shape:
        sizes = [f"{width} x {height}" for height, width, _ in (original.shape, cloaked.shape)]
        raise PhotoError(f"{file}: expected {sizes[0]} pixels, as the original has, got {sizes[1]}")
    if method.dssim == math.inf:
        return file.read_bytes()
    face = central_face(prepared.faces, original)
    assert face is not None
    one = Prepared(prepared.photo, (face,), prepared.patches[:1])
    change = (cloaked.astype(np.float32) - original) / 255.0
    return encode_protected(one, [Residual(change, 0, 0)], (), method, name)[0]
