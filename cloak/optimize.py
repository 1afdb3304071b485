"""The one loop: views, objective, step, projection. It knows nothing of files.

Every method, ours and the baselines, goes through it; a method is data (``cloak.methods``) that
chooses the views, the objective, the rule of the step, the space and the budget.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from cloak.constraint import Constraint
from cloak.eye import Eye
from cloak.jpeg import jpeg
from cloak.methods import Method
from cloak.objectives import OBJECTIVES, likeness_to
from cloak.patches import PatchBatch
from cloak.recognizers.base import Recognizer
from cloak.steps import RULES, SPACES
from cloak.threads import each, on_device
from cloak.turns import shuffled, turn_order, turn_weights
from cloak.views import MIRROR_NUMBER, NO_JITTER, Degradation, draw_degradations, draw_jitters, soften

START_SEED, ORDER_SEED = 1, 2
"""Added to a face's seed for its random start, and for the order of its degradations."""


def cloak_patches(
    batch: PatchBatch,
    recognizers: Sequence[Recognizer],
    method: Method,
    on_share: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """Find the perturbation of each patch.

    Every face is treated by itself: its views, its budget and its result depend on nothing else
    in the batch.

    Args:
        batch: of patches.
        recognizers: the surrogates, on the batch's device.
        method: the budget and the recipe.
        on_share: called with the share of the steps that is done, after each.

    Returns:
        (n, 3, side, side) perturbation in 0..1 units, zero outside the masks and, for a projected
        method, within the budget as far as patches show it; the saved pixels are held to it in
        ``calibrate``.
    """
    shares = [recognizer.spec.share for recognizer in recognizers]
    method = method.for_surrogates(shares)
    constraint = Constraint.of(batch, method)
    eyes = [Eye.of(batch, recognizer, method) for recognizer in recognizers]
    jitters = draw_jitters(batch.seeds, method.steps, method.views.count)
    jitters[:, list(batch.cut_off), :, MIRROR_NUMBER] = NO_JITTER[MIRROR_NUMBER]
    identities = on_device(batch.pixels.device, lambda eye: eye.identity(batch), eyes)
    watchers = [Watcher(eye, own, jitters, batch.earlier) for eye, own in zip(eyes, identities, strict=True)]
    rule, space = RULES[method.rule](method, constraint), SPACES[method.space](batch.pixels)
    variable = space.variable(constraint.project(_random_start(batch, method)))
    order = shuffled(turn_order(shares, method.steps), 0)
    weights = turn_weights(shares)
    drawn = draw_degradations(method.views, method.steps)
    of_each = [shuffled(drawn, seed + ORDER_SEED) for seed in batch.seeds]
    for step, degradations in enumerate(zip(*of_each, strict=True)):
        variable.requires_grad_(True)
        seen = (batch.pixels + space.delta(variable)).clamp(0.0, 1.0)
        ends = [constraint.penalty(seen)] if method.penalty else []
        gradients: list[Tensor | None] = [None] * len(ends)
        watching, weight = ([watchers[order[step]]], weights[order[step]]) if method.turns else (watchers, 1.0)
        for picture in _pictures(seen, method, degradations):
            ends.append(picture)
            gradients.append(balanced(gradients_of(watching, picture.detach(), step, degradations)))
        (gradient,) = torch.autograd.grad(ends, variable, gradients)
        with torch.no_grad():
            moved = variable + rule.displacement(gradient, variable, step, weight)
            variable = space.variable(constraint.project(space.delta(moved)))
        on_share((step + 1) / method.steps)
    return space.delta(variable)


class Watcher:
    """One surrogate's gradient of the objective on patches.

    Args:
        eye: how it looks at them.
        identities: (n, d) of the clean faces.
        jitters: (steps, n, views, JITTER_NUMBERS).
        earlier: for each face, see ``FacePatch``.
    """

    def __init__(self, eye: Eye, identities: Tensor, jitters: Tensor, earlier: Sequence[Mapping[str, Tensor]]) -> None:
        self.eye, self.identities, self.jitters = eye, identities, jitters
        self.objective, self.apart = OBJECTIVES[eye.method.objective], eye.method.apart
        made = [before.get(eye.recognizer.spec.name) for before in earlier] if self.apart else []
        self.earlier = [None if rows is None else rows.to(identities) for rows in made]
        self.kept = any(rows is not None for rows in made)

    def gradient(self, patches: Tensor, views: Tensor, degradations: Sequence[Degradation]) -> Tensor:
        """The gradient through some of a step's views, (n, views, JITTER_NUMBERS), of patches that need none."""
        shown = patches.clone().requires_grad_(True)
        embeddings = self.eye.embed(shown, views, degradations)
        loss = self.objective(embeddings, self.identities).sum()
        if self.kept:
            loss = loss + self.apart * likeness_to(self.earlier, embeddings).sum()
        (gradient,) = torch.autograd.grad(loss, shown)
        return gradient


def gradients_of(
    watchers: Sequence[Watcher], patches: Tensor, step: int, degradations: Sequence[Degradation]
) -> list[Tensor]:
    """Each surrogate's gradient in a step; on a CPU each view of each is a piece of work by itself."""
    at_once = patches.device.type != "cpu"
    pieces = [
        (watcher, views)
        for watcher in watchers
        for views in ([watcher.jitters[step]] if at_once else torch.split(watcher.jitters[step], 1, dim=1))
    ]
    found = each(lambda piece: piece[0].gradient(patches, piece[1], degradations), pieces)
    count = len(pieces) // len(watchers)
    return [torch.stack(found[first : first + count]).mean(dim=0) for first in range(0, len(found), count)]


def balanced(gradients: Sequence[Tensor]) -> Tensor:
    """The sum of several recognisers' gradients, so that none dominates.

    Each counts as much as the others: for each face by itself, it is brought to the mean of their
    lengths.

    Args:
        gradients: (n, ...) each.
    """
    if len(gradients) == 1:
        return gradients[0]
    stacked = torch.stack(list(gradients))  # (recognisers, n, ...)
    lengths = stacked.flatten(2).norm(dim=2).view(*stacked.shape[:2], *[1] * (stacked.ndim - 2))
    total: Tensor = (stacked * (lengths.mean(dim=0) / lengths.clamp_min(1e-12))).sum(dim=0)
    return total


def _random_start(batch: PatchBatch, method: Method) -> Tensor:
    """Uniform noise, for each face from its own seed."""
    if not method.start:
        return torch.zeros_like(batch.pixels)
    start = torch.zeros_like(batch.pixels)
    for one, seed, side in zip(start, batch.seeds, batch.sides, strict=True):
        drawn = torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed + START_SEED))
        one[:, :side, :side] = method.start * (2.0 * drawn - 1.0)
    return start


def _pictures(seen: Tensor, method: Method, degradations: Sequence[Degradation]) -> list[Tensor]:
    """What the recognisers are shown of the patches in one step."""
    qualities = [degradation.jpeg_quality for degradation in degradations]
    if any(qualities):
        seen = jpeg(seen, qualities)
    return [seen, soften(seen)] if method.blurred_too else [seen]
