"""cloak: change the faces in your photos so little that people do not mind, and so well that
face recognisers no longer match them with other photos of you.

>>> from cloak import Cloaker
>>> result = Cloaker(mode="mid").protect("me.jpg")
>>> result.image.save("me_cloaked.png")
>>> result.report.protected
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloak.errors import (
    AlreadyCloakedError,
    BarredError,
    CloakError,
    DeviceError,
    LostDeviceError,
    NoFaceError,
    PhotoError,
    SaveError,
    UsageError,
    WeightsError,
)
from cloak.types import (
    CloakResult,
    ComparedFace,
    Comparison,
    Face,
    FaceReport,
    Match,
    PhotoPlan,
    PhotoReport,
    Progress,
    Visibility,
)

if TYPE_CHECKING:
    from cloak.examine import compare, detect_faces
    from cloak.photo import Limits
    from cloak.protect import Cloaker

__version__ = "0.1.0"

LATER = {
    "cloak.examine": ("compare", "detect_faces"),
    "cloak.photo": ("Limits",),
    "cloak.protect": ("Cloaker",),
}

__all__ = [
    "AlreadyCloakedError",
    "BarredError",
    "CloakError",
    "CloakResult",
    "Cloaker",
    "ComparedFace",
    "Comparison",
    "DeviceError",
    "Face",
    "FaceReport",
    "Limits",
    "LostDeviceError",
    "Match",
    "NoFaceError",
    "PhotoError",
    "PhotoPlan",
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
    for module, names in LATER.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
