"""When a GPU fails, or its memory does not suffice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from cloak.errors import DeviceError, LostDeviceError, in_a_line

Result = TypeVar("Result")

SHORT = (
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
    "valid cuDNN algorithm",
)
"""What CUDA's libraries say then where PyTorch does not say it for them."""


ACCELERATOR_ERRORS: tuple[type[Exception], ...] = tuple(filter(None, [getattr(torch, "AcceleratorError", None)]))
"""What PyTorch raises when a GPU itself failed (before 2.8 a RuntimeError): mostly all that a process asks of it then
fails."""


def device_is_lost(error: BaseException) -> bool:
    """Whether an error leaves a GPU that this process can use no more."""
    of_itself = isinstance(error, (LostDeviceError, *ACCELERATOR_ERRORS))
    before = type(error) is RuntimeError and str(error).startswith("CUDA error: ") and "CUBLAS" not in str(error)
    return (of_itself or before) and not is_short(error)


def is_short(error: BaseException) -> bool:
    """Whether an error is of memory that did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in SHORT)


def lost(error: BaseException) -> LostDeviceError:
    """That, for those who wait for the GPU's work."""
    if isinstance(error, LostDeviceError):
        return error
    return LostDeviceError(
        f"the GPU failed ({in_a_line(error)}): begin again; where there is a folder for the results (-o), what is done "
        "is not done twice"
    )


def too_little(what: str) -> DeviceError:
    """What is said of a GPU's memory that does not suffice for something."""
    return DeviceError(f"the memory of the GPU does not suffice for {what}: free some, or pass --device cpu")


@contextmanager
def told_if_short(what: str) -> Iterator[None]:
    """Within, a GPU's memory that does not suffice for something is told as such.

    Raises:
        DeviceError: then.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_short(error):
            raise
        raise too_little(what) from error


def unless_short(function: Callable[[], Result]) -> Result | None:
    """What the function gives; None where memory ran out, and by then what it held is free again.

    Raises:
        RuntimeError: as the function does, for any other reason.
    """
    try:
        return function()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not is_short(error):
            raise
    torch.cuda.empty_cache()
    return None
