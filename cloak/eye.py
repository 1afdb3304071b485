"""A recogniser looking at a batch of patches, each aligned for it, through random views."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloak.align import Matrix, compose, fit_similarity, invert, warp
from cloak.fading import FACE_HEIGHT
from cloak.methods import Method
from cloak.objectives import identity
from cloak.patches import PatchBatch
from cloak.recognizers.base import Recognizer
from cloak.views import JITTER_NUMBERS, NO_JITTER, Degradation, degrade, jitter_matrices


@dataclass(frozen=True)
class Eye:
    """A recogniser and how each patch of a batch is aligned for it.

    Attributes:
        alignments: (n, 2, 3) float64, from crop to patch pixels.
        oversampling: samples per crop pixel and axis; the same for every patch of the project,
            so that no face's result depends on its batch.
    """

    recognizer: Recognizer
    method: Method
    alignments: Matrix
    oversampling: int

    @classmethod
    def of(cls, batch: PatchBatch, recognizer: Recognizer, method: Method) -> "Eye":
        template = np.array(recognizer.spec.template)
        alignments = np.stack([invert(fit_similarity(points, template)) for points in batch.landmarks])
        eyes_in_patch = method.patch_face / FACE_HEIGHT
        eyes_in_crop = float(np.linalg.norm(template[1] - template[0]))
        oversampling = max(1, math.ceil(eyes_in_patch / eyes_in_crop - 0.25))
        return cls(recognizer, method, alignments, oversampling)

    def embed(self, patches: Tensor, jitters: Tensor, degradations: Sequence[Degradation] = ()) -> Tensor:
        """See each patch through its views; (n, 3, s, s), (n, v, JITTER_NUMBERS), n or none -> (n, v, d)."""
        faces, count = jitters.shape[:2]
        size = self.recognizer.spec.size
        jitter = jitter_matrices(jitters.reshape(faces * count, JITTER_NUMBERS), self.method.views, size).numpy()
        alignments = self.alignments.repeat(count, axis=0)
        matrices = torch.from_numpy(compose(alignments, jitter)).to(patches.device, non_blocking=True)
        crops = warp(patches.repeat_interleave(count, dim=0), matrices, size, self.oversampling)
        if degradations:
            crops = degrade(crops, [degradation for degradation in degradations for _ in range(count)])
        embeddings: Tensor = self.recognizer(crops)
        return embeddings.view(faces, count, -1)

    @torch.no_grad()
    def identity(self, batch: PatchBatch) -> Tensor:
        """The own identity of n clean patches as they are, with what further photos tell of it; (n, d)."""
        plain = torch.tensor(NO_JITTER).repeat(len(batch.boxes), 1, 1)
        seen = self.embed(batch.pixels, plain)[:, 0]
        name = self.recognizer.spec.name
        return torch.stack([_with_kin(own, kin.get(name)) for own, kin in zip(seen, batch.kin, strict=True)])


def _with_kin(own: Tensor, kin: Tensor | None) -> Tensor:
    """Half way between a face (d,) and what the person's further faces (k, d) agree on."""
    return own if kin is None else identity(torch.stack([own, identity(kin.to(own))]))
