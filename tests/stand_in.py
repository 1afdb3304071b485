"""A second device for machines that have none: the CPU holds its tensors, which refuse the company of the CPU's own.

What PyTorch would refuse on a GPU, an operation on tensors of two places, is refused here; all else
is computed on the CPU. It is PyTorch's own place for devices of others ("PrivateUse1"), filled with Python.
"""

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map

POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
"""Whether this PyTorch lets Python stand for a device."""

CPU = torch.device("cpu")
MAY_MIX = ("aten::_to_copy", "aten::copy_", "aten::_copy_from", "aten::index", "aten::index_put_")
"""Copies from place to place; and indices may lie on the CPU, on a GPU, too."""

MADE_BY_HAND = ("lift_fresh", "lift", "_to_copy", "detach", "alias")
"""Operations that PyTorch calls in a way which the general rule does not catch."""

WAITS: list[str] = []
"""Operations after which a GPU's process would go on only when all that was asked before is done, as they come."""

LIBRARIES: list[Any] = []
"""What was registered; it lasts as long as this holds it."""


class StandIn(Tensor):
    """A tensor on the stand-in; ``held`` is the CPU's."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "StandIn":
        made: StandIn = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=stand_in()
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"StandIn({self.held})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(operation, *args, **(kwargs or {}))


def compute(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """The operation, on the CPU.

    Raises:
        RuntimeError: of its tensors some are on the stand-in and some, with a dimension, on the CPU.
    """
    name = operation.name().split(".")[0]
    given, _ = tree_flatten((args, kwargs))
    here = [one for one in given if isinstance(one, StandIn)]
    elsewhere = [one for one in given if isinstance(one, Tensor) and not isinstance(one, StandIn) and one.ndim]
    if here and elsewhere and name not in MAY_MIX:
        raise RuntimeError(f"{name}: tensors on {here[0].device} and, {tuple(elsewhere[0].shape)}, on the CPU")
    if _waits(name, args, kwargs):
        WAITS.append(name)
    asked = kwargs.get("device")
    stays = bool(here) if asked is None else torch.device(asked).type == stand_in().type
    plain_args, plain = tree_map(_on_cpu, (args, kwargs))
    result = operation(*plain_args, **plain)
    if name.endswith("_"):  # in place
        return args[0]
    return tree_map(lambda one: StandIn(one) if isinstance(one, Tensor) and stays else one, result)


def _waits(name: str, args: Any, kwargs: Any) -> bool:
    """A number that Python asks for; where something is; or a copy to the device or back that has to be complete."""
    if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"):
        return isinstance(args[0], StandIn)
    if name in ("aten::index", "aten::index_put_"):  # where a mask is true
        return any(one is not None and one.dtype is torch.bool for one in args[1])
    if name == "aten::copy_":
        places = [isinstance(one, StandIn) for one in args[:2]]
        return places[0] != places[1] and not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
    if name == "aten::_to_copy" and kwargs.get("device") is not None:
        leaves, arrives = isinstance(args[0], StandIn), torch.device(kwargs["device"]).type == stand_in().type
        return leaves != arrives and not kwargs.get("non_blocking")
    return False


def _on_cpu(given: Any) -> Any:
    if isinstance(given, StandIn):
        return given.held
    return CPU if isinstance(given, torch.device) and given.type == stand_in().type else given


@cache
def stand_in() -> torch.device:
    """The device; known to PyTorch from the first call on, in this process."""
    backend_registration._setup_privateuseone_for_python_backend("standin")
    everything: Any = torch.library.Library("_", "IMPL")  # type: ignore[no-untyped-call]
    everything.fallback(compute, "PrivateUse1")
    some: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    for name in MADE_BY_HAND:
        some.impl(name, partial(compute, getattr(torch.ops.aten, name).default), "PrivateUse1")
    LIBRARIES.extend((everything, some))
    return torch.device("standin", 0)
