"""Photo and face -> a small patch that the optimiser changes, and the way back.

A patch is an upright square around the face box. Up to PATCH_FACE pixels a face keeps the
photo's own pixels (a plain cut, aligned to JPEG's 8-px blocks); a larger one is brought down.
Only the residual goes back to the photo, never the resampled patch.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cloak.align import Matrix, apply, crop, invert, soft_box_mask, warp
from cloak.methods import PATCH_FACE
from cloak.types import Box, Face, Pixels

MARGIN = 1.4
"""Side of the patch over the longer side of the box."""

BLOCK = 16
"""Patch sides are multiples of this: a JPEG block with halved chroma."""


@dataclass(frozen=True)
class FacePatch:
    """A face cut out for the optimiser.

    Attributes:
        pixels: (3, side, side) float32 in 0..1, on the CPU.
        frame: (2, 3) from patch to photo pixels.
        box: the face box in the patch.
        mask_box: the box that the mask fills: the same, but reaching beyond the photo where the
            face is cut off by its edge, so that the mask does not fall there.
        landmarks: (5, 2) in the patch.
        grey: whether the photo has no colour, so that the cloak may have none.
        recoded: whether these are the photo's own pixels, and saving them will change them.
        seed: from the caller's seed and the patch's content, nothing else.
        kin: surrogate -> (k, d), embeddings of length 1 of the person's face in further photos.
        earlier: surrogate -> (k, d), the same of what was made of the person's photos before.
    """

    pixels: Tensor
    frame: Matrix
    box: Box
    mask_box: Box
    landmarks: NDArray[np.float64]
    grey: bool
    recoded: bool
    seed: int
    kin: Mapping[str, Tensor] = field(default_factory=dict)
    earlier: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def side(self) -> int:
        return self.pixels.shape[1]

    @property
    def known(self) -> int:
        """From how many further faces the person is known."""
        return max((len(rows) for rows in self.kin.values()), default=0)

    @property
    def kept_from(self) -> int:
        """From how many earlier results the cloak is kept apart."""
        return max((len(rows) for rows in self.earlier.values()), default=0)


@dataclass(frozen=True)
class PatchBatch:
    """Patches, stacked; the smaller ones reach to the right and below as far as the largest, by their last pixels.

    Attributes:
        pixels: (n, 3, side, side).
        sides: of each patch by itself.
        boxes: in the patches.
        landmarks: (n, 5, 2) in the patches.
        masks: (n, 1, side, side) in 0..1: where a cloak may be.
        grey: (n, 1, 1, 1) bool.
        recoded: (n,) bool, see ``FacePatch``.
        cut_off: for each face, whether the photo's edge cuts it off: it has no mirror image then.
        seeds: one for each face.
        kin, earlier: for each face, see ``FacePatch``.
    """

    pixels: Tensor
    sides: tuple[int, ...]
    boxes: tuple[Box, ...]
    landmarks: NDArray[np.float64]
    masks: Tensor
    grey: Tensor
    recoded: Tensor
    cut_off: tuple[bool, ...]
    seeds: tuple[int, ...]
    kin: tuple[Mapping[str, Tensor], ...]
    earlier: tuple[Mapping[str, Tensor], ...]


@dataclass(frozen=True)
class Residual:
    """What a cloak adds to a photo: ``values`` (h, w, 3) in 0..1 units, at ``left``, ``top``."""

    values: NDArray[np.float32]
    left: int
    top: int


def cut_patch(
    pixels: Pixels,
    face: Face,
    *,
    grey: bool = False,
    lossy: bool = False,
    seed: int = 0,
    patch_face: int = PATCH_FACE,
) -> FacePatch:
    """Cut the patch around one face of a photo, which will be saved ``lossy``; ``patch_face`` as in ``Method``."""
    longer = max(face.width, face.height)
    scale = max(1.0, longer / patch_face)
    side = BLOCK * math.ceil(MARGIN * longer / scale / BLOCK)
    centre = np.array([face.box[0] + face.box[2], face.box[1] + face.box[3]]) / 2
    corner = 8 * np.round((centre - scale * side / 2) / 8)
    offset = corner + (scale - 1) / 2  # pixel centres lie at whole numbers
    frame = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
    patch = crop(pixels, frame, (side, side))[0]
    mask_box = _open_at_edges(face.box, (pixels.shape[0], pixels.shape[1]))
    return FacePatch(
        pixels=patch,
        frame=frame,
        box=_to_patch(frame, face.box),
        mask_box=_to_patch(frame, mask_box),
        landmarks=apply(invert(frame), face.landmarks),
        grey=grey,
        recoded=lossy and scale == 1.0,
        seed=_content_seed(patch, seed),
    )


def _to_patch(frame: Matrix, box: Box) -> Box:
    left, top, right, bottom = apply(invert(frame), np.reshape(box, (2, 2))).ravel()
    return (left, top, right, bottom)


def _open_at_edges(box: Box, size: tuple[int, int]) -> Box:
    """Move the sides that lie on the edge of a photo of ``size`` (height, width) outwards."""
    left, top, right, bottom = box
    return (
        left - (right - left) / 3 * (left <= 0),
        top - (bottom - top) / 3 * (top <= 0),
        right + (right - left) / 3 * (right >= size[1] - 1),
        bottom + (bottom - top) / 3 * (bottom >= size[0] - 1),
    )


def _content_seed(patch: Tensor, seed: int) -> int:
    digest = hashlib.sha256(seed.to_bytes(8, "little", signed=True) + patch.numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "little") >> 1  # torch takes 63 bits


def stack_patches(patches: Sequence[FacePatch], device: torch.device | str = "cpu") -> PatchBatch:
    """Patches -> a batch on a device."""
    sides = tuple(patch.side for patch in patches)
    beyond = [(0, max(sides) - side) * 2 for side in sides]
    pixels = [F.pad(patch.pixels[None], more, mode="replicate") for patch, more in zip(patches, beyond, strict=True)]
    masks = [
        F.pad(soft_box_mask((patch.side, patch.side), patch.mask_box), more)
        for patch, more in zip(patches, beyond, strict=True)
    ]
    return PatchBatch(
        pixels=torch.cat(pixels).to(device),
        sides=sides,
        boxes=tuple(patch.box for patch in patches),
        landmarks=np.stack([patch.landmarks for patch in patches]),
        masks=torch.stack(masks).to(device),
        grey=torch.tensor([patch.grey for patch in patches], device=device).view(-1, 1, 1, 1),
        recoded=torch.tensor([patch.recoded for patch in patches], device=device),
        cut_off=tuple(patch.mask_box != patch.box for patch in patches),
        seeds=tuple(patch.seed for patch in patches),
        kin=tuple(patch.kin for patch in patches),
        earlier=tuple(patch.earlier for patch in patches),
    )


def residual_in_photo(patch: FacePatch, delta: Tensor, size: tuple[int, int]) -> Residual:
    """Take a patch's perturbation (3, side, side) back to a photo of ``size`` (height, width)."""
    corners = apply(patch.frame, np.reshape(patch.box, (2, 2)))
    left, top = (max(0, math.floor(v)) for v in corners[0])
    right, bottom = (min(end, math.ceil(v) + 1) for end, v in zip((size[1], size[0]), corners[1], strict=True))
    matrix = invert(patch.frame) @ np.array([[1.0, 0.0, left], [0.0, 1.0, top], [0.0, 0.0, 1.0]])
    values = warp(delta[None].cpu(), torch.from_numpy(matrix)[None], (bottom - top, right - left))[0]
    return Residual(values.permute(1, 2, 0).contiguous().numpy(), left, top)
