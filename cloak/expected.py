"""What the benchmark lets one expect of a cloak, by its mode and the size of the face: no promise.

Measured by ``benchmarks/face_sizes.py`` on recognisers that the cloak was not made against; the
figures here are those of ``benchmarks/results/face_sizes.json``, and a test holds them to it.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from cloak.types import Expected

MEASURED: Mapping[str, tuple[tuple[float, float, float], ...]] = MappingProxyType(
    {
        "low": ((46.3, 0.022, 0.544), (92.9, 0.011, 0.433), (238.6, 0.022, 0.722)),
        "mid": ((46.3, 0.378, 1.0), (92.9, 0.189, 0.989), (238.6, 0.289, 1.0)),
        "high": ((46.3, 0.644, 1.0), (92.9, 0.433, 1.0), (238.6, 0.578, 1.0)),
    }
)
"""Mode -> (width of the face in pixels, least and greatest share of matches that failed).

The least is the lower end of the 95 % interval on the recogniser that was fooled least, the greatest
what was found on the one that was fooled most.
"""

MEANING = (
    "expected: of 100 matches with other photos, so many failed in our benchmark for faces of this size in this mode, "
    "from the worst (at the cautious end of its interval) to the best of five recognisers that the cloak is not made "
    "against; not a promise"
)


def expect(mode: str, width: float) -> Expected | None:
    """What was measured for faces of about this width; None for a mode that was not.

    Between the measured widths it is interpolated in the logarithm of the width; beyond them the
    nearest one counts.
    """
    if mode not in MEASURED:
        return None
    widths, least, greatest = (np.array(column) for column in zip(*MEASURED[mode], strict=True))
    at = np.log(width)
    return Expected(float(np.interp(at, np.log(widths), least)), float(np.interp(at, np.log(widths), greatest)))
