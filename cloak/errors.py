"""Everything that cloak raises on purpose.

CloakError
├── PhotoError                a photo cannot be read, or is of a kind that cannot be written back
│   ├── NoFaceError           it was read, but no face was found in it
│   ├── BarredError           rights, the limits or memory bar the way to it
│   └── AlreadyCloakedError   it was cloaked before
├── SaveError                 the protected photo cannot be written
├── DeviceError               a GPU failed, or its memory did not suffice
│   └── LostDeviceError       it failed, and this process can use it no more
├── WeightsError              a model file is absent, or not the one that the manifest names
└── UsageError                an unknown mode, device or name, or paths that exclude each other

Each message is one sentence or two: what was expected, what came, what to do.
"""

from pathlib import Path

from cloak.names import shown


class CloakError(Exception):
    """Base of all errors that cloak raises on purpose."""


class PhotoError(CloakError):
    """A photo cannot be read, or is of a kind that cannot be written back."""


class NoFaceError(PhotoError):
    """A photo was read, but no face was found in it."""


class BarredError(PhotoError):
    """A photo cannot be read for what lies outside of it: rights, the limits, memory; it may be another time."""


class AlreadyCloakedError(PhotoError):
    """A photo carries the note that an earlier cloak left in it."""


class SaveError(CloakError):
    """A protected photo cannot be written."""


class DeviceError(CloakError):
    """A GPU failed, or its memory did not suffice; it may do another time."""


class LostDeviceError(DeviceError):
    """A GPU failed in a way after which a process can use it no more; another process perhaps can."""


class WeightsError(CloakError):
    """A model file is absent, or not the one that the manifest names."""


class UsageError(CloakError):
    """An unknown mode, device or name, or paths that exclude each other."""


PHOTO_ERRORS = (CloakError, OSError, RuntimeError, MemoryError)
"""What stops work on a photo, and not on the others."""


def sentence_on(error: BaseException, source: Path) -> str:
    """What went wrong with a photo, in one sentence that names it."""
    if isinstance(error, DeviceError):
        return f"{shown(source)}: {error}"
    if isinstance(error, CloakError):
        return str(error)
    return f"{shown(source)}: {type(error).__name__}: {in_a_line(error)}"


def is_passing(error: BaseException) -> bool:
    """Whether the cause lies outside of the photo, so that it may fare better another time."""
    return not isinstance(error, PhotoError) or isinstance(error, BarredError)


def in_a_line(error: BaseException) -> str:
    """What a library's error says, in one line; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
