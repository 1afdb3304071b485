"""cloak: change the faces in your photos so little that people do not mind, and so well that
face recognisers no longer match them with other photos of you.

>>> from cloak import Cloaker
>>> result = Cloaker(mode="mid").protect("me.jpg")
>>> result.image.save("me_cloaked.png")
>>> result.report.protected
True
"""

from typing import TYPE_CHECKING, Any

from cloak.errors import CloakError, NoFaceError, PhotoError, SaveError, UsageError, WeightsError
from cloak.types import (
    CloakResult,
    ComparedFace,
    Comparison,
    Face,
    FaceReport,
    Match,
    PhotoReport,
    Visibility,
)

if TYPE_CHECKING:
    from cloak.protect import Cloaker, Progress, compare, detect_faces

__version__ = "0.1.0"

__all__ = [
    "CloakError",
    "CloakResult",
    "Cloaker",
    "ComparedFace",
    "Comparison",
    "Face",
    "FaceReport",
    "Match",
    "NoFaceError",
    "PhotoError",
    "PhotoReport",
    "Progress",
    "SaveError",
    "UsageError",
    "Visibility",
    "WeightsError",
    "__version__",
    "compare",
    "detect_faces",
]


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch only when it is asked for."""
    if name in ("Cloaker", "Progress", "compare", "detect_faces"):
        from cloak import protect

        return getattr(protect, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
