"""The one loop: views, objective, step, projection. It knows nothing of files.

Maximise the distance from the own identity under a DSSIM budget. To second order, the DSSIM of
a small change d is a weighted sum of squares, sum d^2 / (2 w) with w = 2 variance + C2 at each
pixel: change costs little where the photo is textured and much where it is smooth. In that
metric the steepest step is w * gradient, and the budget is a ball; so the loop takes momentum
steps along w * gradient and scales back into the ball by the measured DSSIM.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloak.align import Matrix, compose, fit_similarity, invert, warp
from cloak.methods import Method
from cloak.objectives import identity, similarity_to_self
from cloak.patches import PATCH_FACE, PatchBatch
from cloak.recognizers.base import Recognizer
from cloak.views import (
    JITTER_NUMBERS,
    MIRROR_NUMBER,
    MIRRORED,
    NO_JITTER,
    Degradation,
    ViewDistribution,
    degrade,
    draw_degradations,
    draw_jitters,
    jitter_matrices,
    jpeg,
)
from cloak.visibility import (
    C2,
    Regions,
    dssim_map,
    face_mean,
    local_statistics,
    regions_of,
    spread_windows,
    window_means,
)

IDENTITY_VIEWS = 8
"""Clean views, besides the plain face and its mirror image, that the own identity is the mean of."""

WINDOW_STRIDE = 4
"""The loop looks for the peak at every so many pixels; ``calibrate`` looks at all."""

LAST_STEP = 0.05
"""Length of the last step over that of the first."""


def cloak_patches(
    batch: PatchBatch,
    recognizers: Sequence[Recognizer],
    method: Method,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Find the perturbation of each patch.

    Every face is treated by itself: its views, its budget and its result depend on nothing else
    in the batch.

    Args:
        batch: patches of one size.
        recognizers: the surrogates, on the batch's device.
        method: the budget and the recipe.
        on_step: called with the number of steps done, after each.

    Returns:
        (n, 3, side, side) perturbation in 0..1 units, zero outside the masks and within the
        budget as far as patches show it; the saved pixels are held to it in ``calibrate``.
    """
    constraint = Constraint.of(batch, method)
    eyes = [Eye.of(batch, recognizer, method.views) for recognizer in recognizers]
    jitters = draw_jitters(batch.seeds, method.steps, method.views.count)
    jitters[:, list(batch.cut_off), :, MIRROR_NUMBER] = NO_JITTER[MIRROR_NUMBER]
    degradations = draw_degradations(method.views, method.steps)
    with torch.no_grad():
        identities = [eye.identity(batch, jitters[:IDENTITY_VIEWS, :, 0]) for eye in eyes]
    delta = torch.zeros_like(batch.pixels)
    velocity = torch.zeros_like(delta)
    for step, degradation in enumerate(degradations):
        delta.requires_grad_(True)
        seen = (batch.pixels + delta).clamp(0.0, 1.0)
        if degradation.jpeg_quality:
            seen = jpeg(seen, degradation.jpeg_quality)
        loss = torch.zeros((), device=delta.device)
        for eye, own in zip(eyes, identities, strict=True):
            embeddings = eye.embed(seen, jitters[step], degradation)
            loss = loss + similarity_to_self(embeddings, own).sum()
        (gradient,) = torch.autograd.grad(loss, delta)
        with torch.no_grad():
            velocity = method.momentum * velocity + (1.0 - method.momentum) * constraint.direction(gradient)
            unbiased = velocity / (1.0 - method.momentum ** (step + 1))
            delta = constraint.project(delta - method.step_size * _schedule(step, method.steps) * unbiased)
        on_step(step + 1)
    return delta


def _schedule(step: int, steps: int) -> float:
    """Half a cosine wave from 1 down to LAST_STEP."""
    return max(LAST_STEP, 0.5 + 0.5 * math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Eye:
    """A recogniser and how each patch of a batch is aligned for it.

    Attributes:
        alignments: (n, 2, 3) float64, from crop to patch pixels.
        oversampling: samples per crop pixel and axis; the same for every patch of the project,
            so that no face's result depends on its batch.
    """

    recognizer: Recognizer
    views: ViewDistribution
    alignments: Matrix
    oversampling: int

    @classmethod
    def of(cls, batch: PatchBatch, recognizer: Recognizer, views: ViewDistribution) -> "Eye":
        template = np.array(recognizer.spec.template)
        alignments = np.stack([invert(fit_similarity(points, template)) for points in batch.landmarks])
        # MTCNN's boxes are about 2.9 times as high as the eyes are apart.
        eyes_in_patch = PATCH_FACE / 2.9
        eyes_in_crop = float(np.linalg.norm(template[1] - template[0]))
        oversampling = max(1, math.ceil(eyes_in_patch / eyes_in_crop - 0.25))
        return cls(recognizer, views, alignments, oversampling)

    def embed(self, patches: Tensor, jitters: Tensor, degradation: Degradation | None = None) -> Tensor:
        """See each patch through its views; (n, 3, s, s), (n, v, JITTER_NUMBERS) -> (n, v, d)."""
        faces, count = jitters.shape[:2]
        size = self.recognizer.spec.size
        jitter = jitter_matrices(jitters.reshape(faces * count, JITTER_NUMBERS), self.views, size).numpy()
        alignments = self.alignments.repeat(count, axis=0)
        matrices = torch.from_numpy(compose(alignments, jitter)).to(patches.device)
        crops = warp(patches.repeat_interleave(count, dim=0), matrices, size, self.oversampling)
        if degradation is not None:
            crops = degrade(crops, degradation)
        embeddings: Tensor = self.recognizer(crops)
        return embeddings.view(faces, count, -1)

    def identity(self, batch: PatchBatch, jitters: Tensor) -> Tensor:
        """The own identity of clean patches: plain, mirrored and in some views; (n, d).

        Args:
            batch: n patches.
            jitters: (views, n, JITTER_NUMBERS).
        """
        plain = torch.tensor(NO_JITTER).repeat(len(batch.boxes), 1)
        mirrored = torch.tensor([NO_JITTER if cut_off else MIRRORED for cut_off in batch.cut_off])
        # one view at a time: as many crops at once as there are faces
        views = torch.cat([torch.stack([plain, mirrored]), jitters])
        embeddings = [self.embed(batch.pixels, view[:, None]) for view in views]
        return identity(torch.cat(embeddings, dim=1))


@dataclass(frozen=True)
class Constraint:
    """The budget of a batch, on its patches.

    Attributes:
        texture: (n, 1, side, side) w = 2 variance + C2 of the clean patch, mean over colours.
        chroma: (n, 1, 1, 1) bound of the colour, 0 for photos that have none.
    """

    method: Method
    batch: PatchBatch
    regions: Regions
    statistics: tuple[Tensor, Tensor]
    texture: Tensor
    chroma: Tensor

    @classmethod
    def of(cls, batch: PatchBatch, method: Method) -> "Constraint":
        statistics = local_statistics(batch.pixels)
        texture = 2.0 * statistics[1].mean(dim=1, keepdim=True).clamp_min(0.0) + C2
        size = (batch.pixels.shape[2], batch.pixels.shape[3])
        regions = regions_of(batch.boxes, size, batch.pixels.device, stride=WINDOW_STRIDE)
        chroma = method.chroma * (~batch.grey).float()
        return cls(method, batch, regions, statistics, texture, chroma)

    def direction(self, gradient: Tensor) -> Tensor:
        """The steepest step in the metric of the budget, as long as the budget's radius."""
        step = gradient * self.batch.masks**2 * self.texture
        step = torch.where(self.chroma > 0.0, step, step.mean(dim=1, keepdim=True))
        cost = face_mean((step**2 / (2.0 * self.texture)).mean(dim=1), self.regions)
        length = (self.method.dssim / cost.clamp_min(1e-30)).sqrt()
        return step * length.view(-1, 1, 1, 1)

    def project(self, delta: Tensor) -> Tensor:
        """Back into the budget: colour, L-inf, pixel range, peak DSSIM (locally), face DSSIM."""
        clean = self.batch.pixels
        neutral = delta.mean(dim=1, keepdim=True)
        delta = neutral + (delta - neutral).clamp(-self.chroma, self.chroma)
        delta = (clean + delta.clamp(-self.method.linf, self.method.linf)).clamp(0.0, 1.0) - clean
        maps = dssim_map(clean, clean + delta, self.statistics)
        peaks = spread_windows((window_means(maps, self.regions) / self.method.peak_dssim).clamp_min(1.0), self.regions)
        local = peaks.clamp_min(1.0).rsqrt()  # (n, side, side)
        face = face_mean(maps * local**2, self.regions)
        whole = (self.method.dssim / face.clamp_min(1e-30)).sqrt().clamp_max(1.0)
        return delta * local[:, None] * whole.view(-1, 1, 1, 1)
