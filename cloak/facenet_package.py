"""The package facenet-pytorch, without PyTorch's compiler, which would be half of a command's start-up.

facenet-pytorch imports torchvision, and torchvision the compiler (``torch._dynamo``, 2 s), only to be
able to ask whether a device can compile. Nothing here asks; whoever does, gets the answer then.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"

ASKED = "is_compile_supported"
"""The function of ``torch._dynamo.utils`` that torchvision imports."""


def facenet_pytorch() -> Any:
    """The package; with the compiler after all, where torchvision wants more of it."""
    if COMPILER in sys.modules or "torchvision" in sys.modules:
        return import_module("facenet_pytorch")
    try:
        with _compiler_later():
            return import_module("facenet_pytorch")
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "facenet_pytorch")]:
            del sys.modules[name]
        return import_module("facenet_pytorch")


@contextmanager
def _compiler_later() -> Iterator[None]:
    """Within, importing the compiler imports nothing; a question to it is passed on when it is asked."""
    package, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    setattr(utils, ASKED, _ask)
    placeholders = {module.__name__: module for module in (package, utils)}
    sys.modules.update(placeholders)
    try:
        yield
    finally:
        for name in placeholders:
            del sys.modules[name]


def _ask(device: Any) -> Any:
    return getattr(import_module(f"{COMPILER}.utils"), ASKED)(device)
