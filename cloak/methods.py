"""Named recipes for the one loop, as data: the modes low, mid and high."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cloak.errors import UsageError
from cloak.views import ViewDistribution

PEAK_RATIO = 6.0
"""The peak DSSIM may be this many times the face DSSIM; see benchmarks/METHOD.md."""


@dataclass(frozen=True)
class Method:
    """How far a cloak may go, and how it is found.

    Attributes:
        name: as the user calls it.
        dssim: budget of the face DSSIM.
        linf: largest change of a pixel, in 0..1 units.
        chroma: largest difference between the change of one colour channel and the mean change
            of the three, in 0..1 units; 0 for a cloak without colour.
        steps: of the optimiser.
        step_size: length of the first step over the radius of the budget.
        momentum: weight of the past steps' directions, 0..1.
        views: what the face is seen through.
    """

    name: str
    dssim: float
    linf: float
    chroma: float = 4 / 255
    steps: int = 60
    step_size: float = 0.25
    momentum: float = 0.9
    views: ViewDistribution = field(default_factory=ViewDistribution)

    @property
    def peak_dssim(self) -> float:
        """Budget of the peak DSSIM."""
        return PEAK_RATIO * self.dssim


MODES: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("low", dssim=0.004, linf=24 / 255),
            Method("mid", dssim=0.009, linf=32 / 255),
            Method("high", dssim=0.017, linf=40 / 255),
        )
    }
)


def find_mode(name: str) -> Method:
    """The mode of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in MODES:
        raise UsageError(f"expected a mode, one of {', '.join(MODES)}; got {name!r}")
    return MODES[name]
