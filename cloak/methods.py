"""Named recipes for the one loop, as data: the modes low, mid and high, and the baselines."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from cloak.errors import UsageError
from cloak.turns import USUAL_SHARE
from cloak.views import ViewDistribution

PEAK_RATIO = 6.0
"""The peak DSSIM may be this many times the face DSSIM; see benchmarks/METHOD.md."""

ROOM = 0.8
"""What saving a small face as JPEG leaves of its budget, about; see benchmarks/METHOD.md."""

APART = 0.2
"""Weight of the likeness to earlier cloaks, where these are to be kept apart: two cloaks of a person are then
about as unlike as a cloak and a clean photo; see benchmarks/TRIED.md."""

FEWEST_STEPS, MOST_STEPS = 20, 1000
"""That a user may ask for: with fewer the surrogates are hardly seen, with more nothing is gained."""

PATCH_FACE = 160
"""Longer side of the face box in the patch that the loop works on, at most, pixels."""


PLAIN_VIEW = ViewDistribution(
    count=1, scale=0.0, rotation=0.0, shift=0.0, mirror=0.0, blur=(0.0, 0.0), resize=(1.0, 1.0), jpeg=0.0
)
"""One view a step: the aligned face as it is."""


@dataclass(frozen=True)
class Method:
    """How far a cloak may go, and how it is found.

    Attributes:
        name: as the user calls it.
        dssim: budget of the face DSSIM.
        linf: largest change of a pixel, in 0..1 units.
        chroma: largest difference between the change of one colour channel and the mean change
            of the three, in 0..1 units; 0 for a cloak without colour.
        fading: share of its contrast that a place on the eyes may lose, see ``cloak.fading``; 1: all.
        peak_ratio: budget of the peak DSSIM over that of the face DSSIM.
        room: share of the DSSIM budget for the loop, where saving the patch's own pixels takes the rest.
        projected: whether each step ends within the DSSIM budget; else the perturbation is only
            scaled into it at the end.
        steps: of the optimiser.
        rule: how a gradient becomes a step, one of ``cloak.steps.RULES``.
        step_size: for "texture" the length of the first step over the radius of the budget; for
            "sign" in 0..1 units; for "adadelta" the learning rate.
        momentum: weight of the past steps' directions.
        start: largest value of the random perturbation to start from, in 0..1 units.
        space: what the steps are taken in, one of ``cloak.steps.SPACES``.
        objective: what is minimised, one of ``cloak.objectives.OBJECTIVES``.
        apart: weight of the likeness to what was made of the person's photos before, see ``cloak.earlier``; 0: none.
        turns: surrogates take turns, one a step, as ``cloak.turns`` deals them out, and one of the
            usual share has at least so many; 0: all of them look in every step.
        penalty: weight of a penalty on the DSSIM, one of ``cloak.constraint.PENALTIES``; 0: none.
        penalised: which penalty.
        blurred_too: whether the loss is also taken on a blurred copy of the patch.
        patch_face: longer side of the face box in the patch, at most, pixels.
        views: what the face is seen through.
        saved: whether the photo is written anew at all.
    """

    name: str
    dssim: float
    linf: float
    chroma: float = 1.0
    fading: float = 1.0
    peak_ratio: float = math.inf
    room: float = 1.0
    projected: bool = True
    steps: int = 0
    rule: str = "sign"
    step_size: float = 0.0
    momentum: float = 0.0
    start: float = 0.0
    space: str = "pixels"
    objective: str = "similarity"
    apart: float = 0.0
    turns: int = 0
    penalty: float = 0.0
    penalised: str = "excess"
    blurred_too: bool = False
    patch_face: int = PATCH_FACE
    views: ViewDistribution = PLAIN_VIEW
    saved: bool = True

    @property
    def peak_dssim(self) -> float:
        """Budget of the peak DSSIM."""
        return self.peak_ratio * self.dssim

    def for_surrogates(self, shares: Sequence[int]) -> "Method":
        """The same with as many steps as surrogates with these shares of the turns need."""
        return replace(self, steps=max(self.steps, math.ceil(self.turns * sum(shares) / USUAL_SHARE)))

    def crops_at_once(self, surrogates: int) -> int:
        """Of each face, so many are seen in a step."""
        return self.views.count * (1 if self.turns else surrogates)

    @property
    def title(self) -> str:
        """Name and budget, for results."""
        return f"{self.name}@{self.dssim:g}" if 0.0 < self.dssim < math.inf else self.name


def _cloak(dssim: float) -> Method:
    """Ours; L-inf 24, 32 and 40 grey levels in low, mid and high, and in between."""
    linf = float(np.interp(dssim, [0.004, 0.009, 0.017], [24.0, 32.0, 40.0])) / 255
    return Method(
        "cloak",
        dssim,
        linf,
        chroma=4 / 255,
        fading=0.05,
        peak_ratio=PEAK_RATIO,
        room=ROOM,
        steps=60,
        rule="texture",
        step_size=0.8,
        momentum=0.6,
        turns=15,
        views=ViewDistribution(),
    )


def _pgd(dssim: float) -> Method:
    """Projected gradient descent (Madry et al., 2018), in the DSSIM ball as well."""
    return Method("pgd", dssim, 16 / 255, steps=40, step_size=0.5 / 255, start=4 / 255)


def _mifgsm(dssim: float) -> Method:
    """MI-FGSM (Dong et al., 2018) with input diversity (Xie et al., 2019): resized and shifted."""
    diverse = replace(PLAIN_VIEW, scale=0.1, shift=0.06)
    return Method("mifgsm-di", dssim, 16 / 255, steps=40, step_size=0.4 / 255, momentum=1.0, views=diverse)


FAWKES_MODES = ((0.004, 40, 25.0), (0.012, 75, 20.0), (0.017, 150, 15.0))
"""Fawkes 1.0: budget of DSSIM, steps, learning rate of its modes low, mid, high."""


def _fawkes(dssim: float) -> Method:
    """Fawkes 1.0 (Shan et al., 2020), in the mode whose budget is nearest.

    DSSIM-penalised feature distance from the own face, Adadelta in tanh space, faces of 112 px,
    change clipped to 15 grey levels.
    """
    _, steps, rate = min(FAWKES_MODES, key=lambda mode: abs(mode[0] - dssim))
    return Method(
        "fawkes-style",
        dssim,
        15 / 255,
        projected=False,
        steps=steps,
        rule="adadelta",
        step_size=rate,
        start=1e-6,
        space="tanh",
        objective="distance",
        penalty=1e6,
        patch_face=112,
    )


def _lowkey(dssim: float) -> Method:
    """LowKey (Cherepanova et al., 2021), with DSSIM in place of LPIPS.

    Signed steps away from the own face, on the plain and on the blurred picture, faces of 112 px.
    """
    return Method(
        "lowkey-style",
        dssim,
        0.05,
        projected=False,
        steps=50,
        step_size=0.0025,
        start=0.005,
        penalty=0.05,
        penalised="whole",
        blurred_too=True,
        patch_face=112,
    )


METHODS: Mapping[str, Callable[[float], Method]] = MappingProxyType(
    {
        "none": lambda dssim: Method("none", math.inf, 0.0, saved=False),
        "jpeg": lambda dssim: Method("jpeg", math.inf, 0.0),
        "noise": lambda dssim: Method("noise", dssim, 48 / 255, start=48 / 255),
        "pgd": _pgd,
        "mifgsm-di": _mifgsm,
        "fawkes-style": _fawkes,
        "lowkey-style": _lowkey,
        "cloak": _cloak,
    }
)
"""Name -> the method at a budget of the face DSSIM; "none" and "jpeg" have no budget."""

MODES: Mapping[str, Method] = MappingProxyType(
    {name: replace(_cloak(dssim), name=name) for name, dssim in (("low", 0.004), ("mid", 0.009), ("high", 0.017))}
)


def find_mode(name: str, *, steps: int = 0, apart: bool = False) -> Method:
    """The mode of this name.

    Args:
        name: low, mid or high.
        steps: of the optimiser; 0: as many as usual.
        apart: whether cloaks of a person are kept apart, see ``cloak.earlier``.

    Raises:
        UsageError: there is none, or it cannot have so many steps.
    """
    if name not in MODES:
        raise UsageError(f"expected a mode, one of {', '.join(MODES)}; got {name!r}")
    if steps and not FEWEST_STEPS <= steps <= MOST_STEPS:
        raise UsageError(f"expected {FEWEST_STEPS} to {MOST_STEPS} steps, got {steps}")
    mode = replace(MODES[name], apart=APART if apart else 0.0)
    return replace(mode, steps=steps, turns=mode.turns * steps // mode.steps) if steps else mode


def find_method(name: str, dssim: float) -> Method:
    """The method of this name at a budget.

    Raises:
        UsageError: there is none, or the budget is not between 0 and .5.
    """
    if name not in METHODS:
        raise UsageError(f"expected a method, one of {', '.join(METHODS)}; got {name!r}")
    if not 0.0 < dssim < 0.5:
        raise UsageError(f"expected a face DSSIM between 0 and .5, got {dssim}")
    return METHODS[name](dssim)
