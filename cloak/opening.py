"""A job -> its photo, as it is to be saved but for the cloak, and where the result goes."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cloak import __version__
from cloak.errors import AlreadyCloakedError, PhotoError, UsageError
from cloak.files import Job, Layout
from cloak.metadata import Policy, apply_policy, left_out
from cloak.methods import Method
from cloak.names import shown
from cloak.photo import TRUSTED, Limits, Photo, check_writable, read_note, read_photo, suffix_for
from cloak.types import Pixels

DONE_BEFORE = "was done before, perhaps with other settings; pass --overwrite to do it anew"

NOT_OURS = (
    "exists already, without the note that cloak made it, so it may be a photo of yours; move it away, or pass another "
    "folder with -o"
)

OTHERS = "of another photo, of this one before it changed, or with other metadata"

ALIKE = 8.0
"""A photo and its result differ by fewer grey levels on average. Two photos may, too, on plain ground: then the change
of the faces is by far too large for a cloak."""


def another(target: Path, what: str) -> UsageError:
    """What is said of a result of cloak's that is in the way."""
    return UsageError(f"{shown(target)}: exists already, {what}; pass --overwrite to replace it")


@dataclass(frozen=True)
class Opened:
    """A job's photo.

    Attributes:
        photo: with the metadata that its result has.
        target: where that goes.
        made: what it shows, where it is there already; else None.
        replaces: whether what is there is cloak's, and may go.
    """

    photo: Photo
    target: Path
    made: Pixels | None = None
    replaces: bool = False


def open_job(job: Job, layout: Layout, method: Method, policy: Policy, limits: Limits, *, overwrite: bool) -> Opened:
    """A job's photo, and where its result goes.

    Args:
        job: of the layout.
        layout: says where results may go.
        method: is named in the note that cloak was here.
        policy: on the metadata.
        limits: on what a file may ask of this machine.
        overwrite: whether a result that exists already is replaced.

    Raises:
        UsageError: the result may not go there.
        SaveError: nor can it be written.
        AlreadyCloakedError: the photo is a result itself.
        PhotoError: not a photo that can be read.
    """
    if job.error:
        raise UsageError(job.error)
    layout.check(job.target, job)
    photo = read_photo(job.source, limits, policy)
    if photo.earlier:
        raise AlreadyCloakedError(
            f"{shown(job.source)}: was cloaked before ({photo.earlier}); to do it anew, cloak its original"
        )
    format_name = photo.encoding.format
    suffix = suffix_for(photo.encoding, job.target.suffix)
    target = layout.place(job, suffix)
    check_writable(target)
    there = target != job.ours and os.path.lexists(target)
    made = _at_its_place(target, job, photo, method, policy, overwrite=overwrite) if there else None
    renamed = f"named {shown(target.name)}, since it is a {format_name}" if suffix != job.target.suffix else ""
    forgotten = "a BMP holds no note, so this photo will not be known as cloaked" if format_name == "BMP" else ""
    metadata, _ = apply_policy(photo.metadata, policy, f"cloak {__version__} {method.name}")
    photo = replace(
        photo,
        metadata=metadata,
        removed=(*photo.removed, *left_out(photo.metadata, format_name)),
        notes=tuple(word for word in (*photo.notes, renamed, forgotten) if word),
    )
    return Opened(photo, target, made, replaces=target == job.ours or (there and made is None))


def _at_its_place(
    target: Path, job: Job, photo: Photo, method: Method, policy: Policy, *, overwrite: bool
) -> Pixels | None:
    """What is at a result's place already: the photo's result as it would be now, which stays; or, if it may be
    replaced, nothing.

    Raises:
        UsageError: it may not be replaced.
    """
    note = read_note(target, TRUSTED)
    if not note:
        raise UsageError(f"{shown(target)}: {NOT_OURS}")
    if overwrite:
        return None
    made = _result_of(target, job, photo, policy)
    if made is None:
        raise another(target, OTHERS)
    if not note.endswith(f" {method.name}"):
        raise another(target, f"({note})")
    return made


def _result_of(target: Path, job: Job, photo: Photo, policy: Policy) -> Pixels | None:
    """What a file with cloak's note shows that is a photo's result, later than it and without metadata that should
    go; else None."""
    if policy == "strip":  # the note, too
        return None
    try:
        saved = read_photo(target, TRUSTED, policy)
        later = target.stat().st_mtime_ns >= job.source.stat().st_mtime_ns
    except (PhotoError, OSError):
        return None
    if not later or saved.removed or saved.pixels.shape != photo.pixels.shape:
        return None
    difference = np.abs(np.subtract(saved.pixels, photo.pixels, dtype=np.int16)).mean()
    return saved.pixels if difference < ALIKE else None
