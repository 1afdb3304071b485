"""A job -> its photo, as it is to be saved but for the cloak, and where the result goes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from cloak import __version__
from cloak.errors import AlreadyCloakedError, PhotoError, UsageError
from cloak.files import Job, Layout
from cloak.metadata import Policy, apply_policy, left_out
from cloak.methods import Method
from cloak.names import shown
from cloak.photo import TRUSTED, Limits, Photo, check_writable, read_note, read_photo, suffix_for

DONE_BEFORE = "was done before"

NOT_OURS = (
    "exists already, without the note that cloak made it, so it may be a photo of yours; move it away, or pass another "
    "folder with -o"
)

ALIKE = 4.0
"""A photo and its result differ by fewer grey levels on average; two photos by several times as many."""


def open_job(
    job: Job, layout: Layout, method: Method, policy: Policy, limits: Limits, *, overwrite: bool
) -> tuple[Photo, Path]:
    """A job's photo, with the metadata that its result has, and where that goes.

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
        AlreadyCloakedError: the photo is a result itself, or has its result there.
        PhotoError: not a photo that can be read.
    """
    if job.error:
        raise UsageError(job.error)
    layout.check(job.target, job)
    check_writable(job.target)
    photo = read_photo(job.source, limits, policy)
    if photo.earlier:
        raise AlreadyCloakedError(
            f"{shown(job.source)}: was cloaked before ({photo.earlier}); to do it anew, cloak its original"
        )
    format_name = photo.encoding.format
    suffix = suffix_for(photo.encoding, job.target.suffix)
    target = layout.place(job, suffix)
    if target != job.ours and os.path.lexists(target):
        _make_way(target, job, photo, method, overwrite=overwrite)
    renamed = f"named {shown(target.name)}, since it is a {format_name}" if suffix != job.target.suffix else ""
    forgotten = "a BMP holds no note, so this photo will not be known as cloaked" if format_name == "BMP" else ""
    metadata, _ = apply_policy(photo.metadata, policy, f"cloak {__version__} {method.name}")
    photo = replace(
        photo,
        metadata=metadata,
        removed=(*photo.removed, *left_out(photo.metadata, format_name)),
        notes=tuple(word for word in (*photo.notes, renamed, forgotten) if word),
    )
    return photo, target


def _make_way(target: Path, job: Job, photo: Photo, method: Method, *, overwrite: bool) -> None:
    """Refuse to write a result over a file that is there, unless cloak made it and it may be replaced.

    Raises:
        AlreadyCloakedError: it is the photo's result in this mode.
        UsageError: it is not, or perhaps not cloak's.
    """
    note = read_note(target, TRUSTED)
    if not note:
        raise UsageError(f"{shown(target)}: {NOT_OURS}")
    if overwrite:
        return
    if note.endswith(f" {method.name}") and _shows(target, job, photo):
        raise AlreadyCloakedError(f"{shown(job.source)}: {DONE_BEFORE}; pass --overwrite to do it anew")
    raise UsageError(f"{shown(target)}: exists already; pass --overwrite to replace it")


def _shows(target: Path, job: Job, photo: Photo) -> bool:
    """Whether a result shows a photo as it is."""
    try:
        later = target.stat().st_mtime_ns >= job.source.stat().st_mtime_ns
        saved = read_photo(target, TRUSTED).pixels
    except (PhotoError, OSError):
        return False
    if not later or saved.shape != photo.pixels.shape:
        return False
    return bool(np.abs(np.subtract(saved, photo.pixels, dtype=np.int16)).mean() < ALIKE)
