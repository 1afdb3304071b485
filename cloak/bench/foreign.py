"""Cloaks that other software made, measured like ours: their files, found by the originals' names.

A folder holds, as the data does (perhaps in a folder ``people``), a folder for each person, and in it of
each photo a file of the same name, of whatever format: ``PERSON/NAME.png``, or as Fawkes, LowKey and
others name what they write, ``PERSON/NAME_cloaked.png``.
"""

import math
from collections.abc import Sequence
from filecmp import cmp
from pathlib import Path

import numpy as np

from cloak.bench.datasets import CLOAKED, NESTS, photos_in
from cloak.bench.evaluators import central_face
from cloak.errors import PhotoError, UsageError
from cloak.methods import Method
from cloak.patches import Residual
from cloak.photo import read_photo
from cloak.pipeline import Prepared, encode_protected
from cloak.visibility import measure_face
from cloak.walk import original_of

MOST_DSSIM = 0.3
"""A face that differs by more is another one, or turned: noise of 24 grey levels has .24, a face upside down .4."""


def foreign_method(label: str, dssim: float) -> Method:
    """How far such cloaks may go: as far as they do, or to a budget of the face DSSIM.

    Raises:
        UsageError: the budget is not between 0 and .5.
    """
    if not (0.0 < dssim < 0.5 or dssim == math.inf):
        raise UsageError(f"expected a face DSSIM between 0 and .5, got {dssim}")
    return Method(label, dssim, linf=1.0)


def cloaked_file(photo: Path, folder: Path) -> Path:
    """The cloak of a photo: of its very name, else of its stem, else of its stem and more, if no other photo's.

    Raises:
        PhotoError: there is none, or more than one.
    """
    homes = [home for nest in NESTS if (home := folder / nest / photo.parent.name).is_dir()]
    files = [path for path in photos_in(homes[0]) if path.is_file()] if homes else []
    beside = photos_in(photo.parent)
    stems = {path.stem for path in beside}
    others = {path.stem for path in beside if path.name != photo.name and not original_of(path.stem, stems, CLOAKED)}
    found = (
        [path for path in files if path.name == photo.name]
        or [path for path in files if path.stem == photo.stem and path.stem not in others]
        or [
            path for path in files if _whose(path.stem, {*others, photo.stem}) == photo.stem and path.stem not in others
        ]
    )
    if len(found) == 1 and cmp(found[0], photo, shallow=False):  # the original; its cloak may lie beside it
        found = [path for path in files if original_of(path.stem, {photo.stem}, CLOAKED)] or found
    if len(found) != 1 or (found[0].name != photo.name and photo.stem in others):
        names = ", ".join(path.name for path in found) or "none"
        raise PhotoError(
            f"expected one cloak of it in {folder.name}/{photo.parent.name}, named {photo.stem} or "
            f"{photo.stem}_SOMETHING; got {names}"
        )
    return found[0]


def _whose(stem: str, originals: set[str]) -> str:
    """The longest name of an original that a cloak's name begins with."""
    return max((name for name in originals if stem == name or stem.startswith(f"{name}_")), key=len, default="")


def check_files(label: str, folder: Path, photos: Sequence[Path]) -> None:
    """Before hours of work: whether there is a cloak of any photo.

    Raises:
        UsageError: there is none.
    """
    reasons = []
    for photo in photos:
        try:
            cloaked_file(photo, folder)
        except (PhotoError, OSError) as error:
            reasons.append(f"{photo.parent.name}/{photo.name}: {error}")
    if len(reasons) == len(photos):
        raise UsageError(f"{label}: none of {len(photos)} photos has a cloak in {folder}; of the first, {reasons[0]}")


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
        raise PhotoError(
            f"{file.name}: expected {sizes[0]} pixels, as the original has upright, got {sizes[1]}; turn it as its "
            "EXIF tag says, and neither crop nor resize it"
        )
    face = central_face(prepared.faces, original)
    assert face is not None
    dssim = measure_face(original, cloaked, face.box).dssim
    if dssim > MOST_DSSIM:
        raise PhotoError(
            f"{file.name}: expected the same face as in the original, got a DSSIM of {dssim:.2f}: is it "
            "another photo, or turned?"
        )
    if method.dssim == math.inf:
        return file.read_bytes()
    one = Prepared(prepared.photo, (face,), ())
    change = (cloaked.astype(np.float32) - original) / 255.0
    if prepared.photo.single_channel:  # what is saved of three is one
        change = np.repeat(change.mean(axis=2, keepdims=True), 3, axis=2)
    return encode_protected(one, [Residual(change, 0, 0)], (), method, name)[0]
