"""Who does the work of ``cloak protect``: this process, several, or a cluster."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cloak import UsageError
from cloak.machine import MEMORY_A_WORKER, usable_cores, usable_memory

if TYPE_CHECKING:
    from cloak import Cloaker
    from cloak.cluster import OnRay
    from cloak.files import Layout
    from cloak.runs import Engine
    from cloak.storage import Stage

PHOTOS_A_WORKER = 2
"""So many make up for the seconds that a process takes to start."""

PROCESSES_BESIDE_A_GPU, NICENESS = 2, 5
"""Processes a core where a GPU cloaks, since they wait for it; and how they give way to the one that serves it."""


@contextmanager
def engine_for(
    options: argparse.Namespace,
    layout: "Layout",
    make_cloaker: "Callable[..., Cloaker]",
    stage: "Stage | None" = None,
) -> "Iterator[Engine]":
    """The engine that the options ask for.

    Args:
        options: of the command.
        layout: of the photos.
        make_cloaker: called with the options, and perhaps with ``loop``, see ``Cloaker``.
        stage: where the photos lie, if not on this machine.
    """
    if options.engine == "ray":
        with _on_ray(options, layout, make_cloaker, stage) as engine:
            yield engine
        return
    count = options.workers or (1 if options.apart else sensible_count(len(layout.jobs)))
    from cloak.runs import Alone  # with what follows imports PyTorch: 2 s

    if count == 1:
        yield Alone(make_cloaker(options), layout, options.overwrite)
        return
    from cloak.examine import find_device
    from cloak.workers import Workers

    if find_device(options.device).type == "cpu":
        with Workers(partial(make_cloaker, options), layout, count, overwrite=options.overwrite) as workers:
            yield workers
        return
    from cloak.loop_server import LoopServer

    count = options.workers or sensible_count(len(layout.jobs), PROCESSES_BESIDE_A_GPU * usable_cores())
    with LoopServer(make_cloaker(options).perturb) as server:
        make = partial(make_cloaker, _on("cpu", options), server.loop)
        with Workers(make, layout, count, overwrite=options.overwrite, niceness=NICENESS) as workers:
            yield workers


def _on_ray(
    options: argparse.Namespace, layout: "Layout", make_cloaker: "Callable[..., Cloaker]", stage: "Stage | None"
) -> "OnRay":
    from cloak.cluster import Cluster, OnRay

    gpus = 0.0 if options.device == "cpu" else options.gpus
    if options.device == "cuda" and not gpus:
        raise UsageError("--device cuda on a cluster needs --gpus: how much of a GPU each process has")
    cluster = Cluster(options.address, options.workers or 0, gpus)
    placed = _on(options.device if gpus else "cpu", options)
    return OnRay(partial(make_cloaker, placed), layout, cluster, overwrite=options.overwrite, stage=stage)


def make_absolute(options: argparse.Namespace) -> None:
    """Paths for processes that begin in other folders, on other machines."""

    def absolute(place: Path | str) -> Path | str:
        return place if isinstance(place, str) else place.absolute()

    options.paths, options.out = [absolute(path) for path in options.paths], absolute(options.out)
    files = {name: str(Path(name).absolute()) for name in options.surrogates if Path(name).is_file()}
    options.surrogates = [files.get(name, name) for name in options.surrogates]


def _on(device: str, options: argparse.Namespace) -> argparse.Namespace:
    """The options, for another device."""
    return argparse.Namespace(**vars(options) | {"device": device})


def stage_of(options: argparse.Namespace) -> "Stage | None":
    """Where the photos lie and results go, if one of it is a URL.

    Raises:
        UsageError: more than one folder, or the engine is not Ray.
    """
    if not any(isinstance(place, str) for place in (*options.paths, options.out)):
        return None
    if options.engine != "ray" or len(options.paths) != 1 or options.picture:
        raise UsageError("URLs need --engine ray, one folder, and -o; --picture cannot be drawn of them")
    from cloak.storage import Folder, Stage

    source, out = (
        place if isinstance(place, str) else f"file://{place.absolute()}" for place in (options.paths[0], options.out)
    )
    return Stage(Folder(source), Folder(out))


def sensible_count(photos: int, most: int = 0) -> int:
    """How many processes a number of photos is worth, on this machine; at most one a core, or as many as is said."""
    return max(1, min(most or usable_cores(), photos // PHOTOS_A_WORKER, usable_memory() // MEMORY_A_WORKER))
