"""A job -> its photo, as it is to be saved but for the cloak, and where the result goes."""

from dataclasses import replace
from pathlib import Path

from cloak import __version__
from cloak.errors import AlreadyCloakedError, UsageError
from cloak.files import Job, Layout
from cloak.metadata import Policy, apply_policy, left_out
from cloak.methods import Method
from cloak.names import shown
from cloak.photo import Limits, Photo, read_photo, suffix_for


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
        AlreadyCloakedError: the photo is a result itself.
        PhotoError: not a photo that can be read.
    """
    if job.error:
        raise UsageError(job.error)
    layout.check(job.target, job, overwrite=overwrite)
    photo = read_photo(job.source, limits, policy)
    if photo.earlier:
        raise AlreadyCloakedError(
            f"{shown(job.source)}: was cloaked before ({photo.earlier}); to do it anew, cloak its original"
        )
    format_name = photo.encoding.format
    suffix = suffix_for(photo.encoding, job.target.suffix)
    target = layout.place(job, suffix, overwrite=overwrite)
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
