"""The stages that a photo goes through: prepare, perturb, compose, encode. No paths, no reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from cloak.calibrate import Composition, with_fitting_quality
from cloak.detect import MIN_FACE, FaceDetector
from cloak.errors import NoFaceError
from cloak.methods import Method
from cloak.optimize import cloak_patches
from cloak.patches import FacePatch, cut_patch, residual_in_photo, stack_patches
from cloak.photo import Photo, decode, encode
from cloak.recognizers import Recognizer
from cloak.types import Face

CROPS_AT_ONCE = {"cpu": 2, "cuda": 32}
"""Crops (faces x views) in one run of the loop, always exactly so many (a smaller batch is filled
up): floating-point sums depend on the shape of a batch, and a photo's bytes must not depend on its
company. A CPU does 4 crops of many photos in three quarters of the time, but most photos have one
face; the gradient of a single crop is not reproducible on several threads."""


@dataclass(frozen=True)
class Prepared:
    """A photo on its way: its faces and their patches; ``small`` counts the faces that are left alone.

    ``found`` has these too.
    """

    photo: Photo
    faces: tuple[Face, ...]
    patches: tuple[FacePatch, ...]
    small: int = 0
    found: tuple[Face, ...] = ()


def prepare(photo: Photo, name: str, detector: FaceDetector, method: Method, seed: int) -> Prepared:
    """Find the faces of a photo and cut out their patches.

    Raises:
        NoFaceError: there is none, or only faces that are too small.
    """
    found = detector.detect(photo.pixels)
    faces = tuple(face for face in found if face.width >= MIN_FACE)
    small = len(found) - len(faces)
    if not faces:
        what = (
            f"only faces narrower than {MIN_FACE} px were found in it ({small})" if small else "no face was found in it"
        )
        raise NoFaceError(f"{name}: {what}, so nothing was changed or written")
    grey = photo.grey
    photo = with_fitting_quality(photo, faces, method)
    patches = tuple(cut_patch(photo.pixels, face, grey=grey, seed=seed, patch_face=method.patch_face) for face in faces)
    return Prepared(photo, faces, patches, small, found)


def perturb(
    patches: Sequence[FacePatch],
    recognizers: Sequence[Recognizer],
    method: Method,
    device: torch.device,
    on_share: Callable[[float], None] = lambda share: None,
    *,
    crops_at_once: int = 0,
) -> list[Tensor]:
    """The perturbation of each patch, (3, side, side), on the CPU; in the patches' order.

    Args:
        patches: of any number of photos.
        recognizers: the surrogates, on the device.
        method: budget and recipe.
        device: where the loop runs.
        on_share: called with the share of the work that is done.
        crops_at_once: instead of CROPS_AT_ONCE; another number changes results by rounding.
    """
    count = max(1, (crops_at_once or CROPS_AT_ONCE[device.type]) // method.views.count)
    by_side = sorted(range(len(patches)), key=lambda index: patches[index].side)
    batches = [
        group[start : start + count]
        for _, indices in groupby(by_side, key=lambda index: patches[index].side)
        for group in [list(indices)]
        for start in range(0, len(group), count)
    ]
    deltas: dict[int, Tensor] = {}
    for number, indices in enumerate(batches):
        filled = [patches[index] for index in indices] + [patches[indices[0]]] * (count - len(indices))
        batch = stack_patches(filled, device)

        def on_share_of_batch(share: float, number: int = number) -> None:
            on_share((number + share) / len(batches))

        result = cloak_patches(batch, recognizers, method, on_share_of_batch).cpu()
        deltas |= dict(zip(indices, result, strict=False))
    return [deltas[index] for index in range(len(patches))]


def compose(prepared: Prepared, deltas: Sequence[Tensor], method: Method) -> Composition:
    """Fit the perturbations of a photo's faces to their budgets."""
    size = (prepared.photo.pixels.shape[0], prepared.photo.pixels.shape[1])
    residuals = [residual_in_photo(patch, delta, size) for patch, delta in zip(prepared.patches, deltas, strict=True)]
    return Composition.fit(prepared.photo, prepared.faces, residuals, method)


def encode_within_budget(composition: Composition, name: str) -> bytes:
    """The file of a composed photo; faces that encoding put over their budget are reduced until they fit."""
    photo = composition.photo
    data = encode(replace(photo, pixels=composition.pixels()))
    while not photo.lossless and composition.shrink_exceeding(decode(data, name).pixels):
        data = encode(replace(photo, pixels=composition.pixels()))
    return data
