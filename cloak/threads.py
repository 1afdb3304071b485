"""Work on a CPU, cut into pieces of one thread each.

What a piece computes then depends neither on the number of threads nor on its company, so a photo
gets the same bytes alone, in a folder, and shared among any number of processes. It is faster,
too: one small crop keeps one core busy, and two cores badly.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = threading.Lock()
_inside = 0
_threads = 1
_here = threading.local()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within, PyTorch computes on one thread, and ``each`` on as many as PyTorch had before."""
    global _inside, _threads
    with _lock:
        if not _inside:
            _threads = torch.get_num_threads()
            torch.set_num_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.set_num_threads(_threads)


def each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results for several items, in their order; within such a function, one after the other."""
    items = list(items)
    if not _inside or _threads == 1 or len(items) == 1 or hasattr(_here, "piece"):
        return [function(item) for item in items]
    return list(_pool(_threads).map(function, items))


def on_device(device: torch.device, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``each`` on a CPU; on a GPU one after the other: for what this thread goes on to do there in the same sizes,
    since the GPU's libraries plan such work anew in every thread."""
    return each(function, items) if device.type == "cpu" else [function(item) for item in items]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "cloak", initializer=_begin)


def _begin() -> None:
    torch.set_num_threads(1)
    _here.piece = True


def _after_fork() -> None:
    """A forked process has none of its parent's threads, and nobody is at work in it."""
    global _lock, _inside
    _pool.cache_clear()
    _lock, _inside = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
