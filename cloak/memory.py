"""When the memory of a GPU does not suffice."""

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

SHORT = ("out of memory", "ALLOC_FAILED", "unable to find an engine", "valid cuDNN algorithm")
"""What CUDA's libraries say then where PyTorch does not say it for them."""


def unless_short(function: Callable[[], Result]) -> Result | None:
    """What the function gives; None where memory ran out, and by then what it held is free again.

    Raises:
        RuntimeError: as the function does, for any other reason.
    """
    try:
        return function()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and not any(word in str(error) for word in SHORT):
            raise
    torch.cuda.empty_cache()
    return None
