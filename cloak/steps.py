"""How a gradient becomes a step, and in what space it is taken."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from cloak.constraint import Constraint
from cloak.methods import Method

LAST_STEP = 0.05
"""Length of the last step over that of the first, for the rules that have a schedule."""

RENEWAL = 8
"""Steps from one look at what the perturbation itself makes of the budget's metric to the next."""


class Rule(Protocol):
    """The state of an optimiser."""

    def displacement(self, gradient: Tensor, variable: Tensor, step: int, weight: float = 1.0) -> Tensor:
        """What to add to the variable.

        Args:
            gradient: (n, 3, s, s).
            variable: where it was taken, the same shape.
            step: counts from 0.
            weight: how much this gradient counts beside those of the other steps.
        """


class TextureSteps:
    """Momentum steps along the steepest direction in the metric of the budget; the variable is the perturbation."""

    def __init__(self, method: Method, constraint: Constraint) -> None:
        self.method, self.constraint = method, constraint
        self.velocity = torch.zeros_like(constraint.batch.pixels)
        self.texture = torch.empty(0)

    def displacement(self, gradient: Tensor, variable: Tensor, step: int, weight: float = 1.0) -> Tensor:
        if step % RENEWAL == 0:
            self.texture = self.constraint.texture(variable)
        momentum = self.method.momentum
        direction = self.constraint.direction(gradient, self.texture)
        self.velocity = momentum * self.velocity + (1.0 - momentum) * weight * direction
        unbiased = self.velocity / (1.0 - momentum ** (step + 1))
        return -self.method.step_size * self._schedule(step) * unbiased

    def _schedule(self, step: int) -> float:
        """Half a cosine wave from 1 down to LAST_STEP."""
        return max(LAST_STEP, 0.5 + 0.5 * math.cos(math.pi * step / self.method.steps))


class SignSteps:
    """Steps of one length for every pixel, along the sign of the gathered gradients (MI-FGSM; PGD without momentum)."""

    def __init__(self, method: Method, constraint: Constraint) -> None:
        self.method = method
        self.gathered = torch.zeros_like(constraint.batch.pixels)

    def displacement(self, gradient: Tensor, variable: Tensor, step: int, weight: float = 1.0) -> Tensor:
        mean = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
        self.gathered = self.method.momentum * self.gathered + weight * gradient / mean
        return -self.method.step_size * self.gathered.sign()


class AdadeltaSteps:
    """Adadelta (Zeiler, 2012) with the constants of Keras."""

    DECAY, EPSILON = 0.95, 1e-7

    def __init__(self, method: Method, constraint: Constraint) -> None:
        self.method = method
        self.gradients = torch.zeros_like(constraint.batch.pixels)
        self.updates = torch.zeros_like(self.gradients)

    def displacement(self, gradient: Tensor, variable: Tensor, step: int, weight: float = 1.0) -> Tensor:
        self.gradients = self.DECAY * self.gradients + (1.0 - self.DECAY) * gradient**2
        update = ((self.updates + self.EPSILON) / (self.gradients + self.EPSILON)).sqrt() * gradient
        self.updates = self.DECAY * self.updates + (1.0 - self.DECAY) * update**2
        return -self.method.step_size * weight * update


RULES: Mapping[str, Callable[[Method, Constraint], Rule]] = MappingProxyType(
    {"texture": TextureSteps, "sign": SignSteps, "adadelta": AdadeltaSteps}
)


class PixelSpace:
    """The variable is the perturbation itself."""

    def __init__(self, clean: Tensor) -> None:
        self.clean = clean

    def variable(self, delta: Tensor) -> Tensor:
        return delta

    def delta(self, variable: Tensor) -> Tensor:
        return variable


class TanhSpace(PixelSpace):
    """Pixels are (1 + tanh(variable)) / 2 (Carlini and Wagner, 2017): they cannot leave 0..1."""

    SHRINK = 1.0 - 1e-6

    def variable(self, delta: Tensor) -> Tensor:
        return torch.atanh((2.0 * (self.clean + delta) - 1.0).clamp(-1.0, 1.0) * self.SHRINK)

    def delta(self, variable: Tensor) -> Tensor:
        return 0.5 + 0.5 * torch.tanh(variable) / self.SHRINK - self.clean


SPACES: Mapping[str, Callable[[Tensor], PixelSpace]] = MappingProxyType({"pixels": PixelSpace, "tanh": TanhSpace})
