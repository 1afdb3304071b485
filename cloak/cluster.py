"""A layout's photos on a Ray cluster: an actor for each share of a machine, each with its own models.

Ray finds the machines and places the actors; for one that is lost another is started, and its
photos are done again. Photos and results lie where all machines reach them by the same path, or on
object storage (``cloak.storage``). The journal is written by one actor alone, on the machine that
the command runs on.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from cloak.crew import Crew, first_answer, losses
from cloak.errors import CloakError, LostDeviceError, UsageError, in_a_line
from cloak.files import Job, Layout
from cloak.journal import Journal
from cloak.machine import MEMORY_A_WORKER, usable_cores
from cloak.notary import Notary, RemoteNotes
from cloak.protect import Cloaker
from cloak.runs import told, work_through
from cloak.storage import Stage, remove_leftovers
from cloak.types import PhotoReport, Progress
from cloak.workers import in_groups


@dataclass(frozen=True)
class Cluster:
    """Where the actors run.

    Attributes:
        address: of a running cluster; empty for processes of this machine, or for the cluster that
            RAY_ADDRESS names.
        actors: how many; 0 for one on each core of the cluster. Of a running cluster they may be more than
            find a place: the others begin when machines join.
        gpus: of each actor; may be a fraction.
    """

    address: str = ""
    actors: int = 0
    gpus: float = 0.0


class OnRay:
    """An ``Engine`` on a Ray cluster, until its ``with`` block ends.

    Args:
        make_cloaker: called in each actor.
        layout: that the photos belong to.
        cluster: where.
        overwrite: whether results that exist already are replaced.
        stage: where the photos lie, if that are no paths of these machines.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or it has not what actors need.
        CloakError: what ``make_cloaker`` raises.
    """

    def __init__(
        self,
        make_cloaker: Callable[[], Cloaker],
        layout: Layout,
        cluster: Cluster,
        *,
        overwrite: bool = False,
        stage: Stage | None = None,
    ) -> None:
        self._ray = _connect(cluster.address)
        count, places = self._count(cluster, len(layout.jobs))
        shared = self._ray.put((make_cloaker, layout, overwrite, stage))
        self._new_actor = partial(self._ray.remote(num_cpus=1, num_gpus=cluster.gpus)(Protector).remote, shared)
        self._actors = [self._new_actor() for _ in range(count)]
        try:
            self.settings, notes = first_answer(self._ray, self._actors)
        except self._ray.exceptions.RayTaskError as error:
            self._ray.shutdown()
            if isinstance(error.cause, CloakError):
                raise error.cause from None
            raise
        except losses(self._ray):
            self._ray.shutdown()
            raise CloakError("the processes died while they loaded, perhaps for want of memory") from None
        waiting = f"the cluster has room for {places} of {count} processes; the others begin when machines join"
        self.notes = (*notes, waiting) if count > places else notes

    def _count(self, cluster: Cluster, photos: int) -> tuple[int, int]:
        """How many actors there will be, and how many find a place now; a cluster of our own will not grow."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        places = sum(places_on(machine, cluster.gpus) for machine in machines)
        least = 1 if _is_running(cluster.address) else max(1, cluster.actors)
        if places >= least:
            room = sum(room_on(machine, cluster.gpus) for machine in machines)
            return cluster.actors or max(1, min(photos, room)), places
        self._ray.shutdown()
        cores, gpus = (sum(machine.get(kind, 0) for machine in machines) for kind in ("CPU", "GPU"))
        raise UsageError(
            f"expected a cluster with room for {least} actors of 1 core and {cluster.gpus:g} GPUs, "
            f"got room for {places} ({cores:g} cores and {gpus:g} GPUs); pass fewer --workers"
        )

    def protect(
        self,
        jobs: Sequence[Job],
        journal: Journal | None = None,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[PhotoReport]:
        assert journal is not None  # what is lost is done again, for which one must know what was begun
        notary = self._notary(journal)
        crew = Crew(self._ray, self._new_actor, lambda actor, group: actor.protect.remote(group, notary, self.settings))
        yield from told(crew.results(self._actors, in_groups(jobs), stopped), jobs, on_progress)
        self._ray.get(notary.sweep.remote())

    def _notary(self, journal: Journal) -> Any:
        """Placed where the journal is."""
        strategies = self._ray.util.scheduling_strategies
        here = strategies.NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        again = {"max_restarts": -1, "max_task_retries": -1}  # what it knows is in the journal
        notary = self._ray.remote(num_cpus=0, scheduling_strategy=here, **again)(Notary)
        return notary.remote(journal.path, journal.runs)

    def __enter__(self) -> "OnRay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()


def places_on(machine: Mapping[str, float], gpus: float) -> int:
    """How many actors of a core and so many GPUs find a place on a machine; a share of one lies on one GPU."""
    cores, there = int(machine.get("CPU", 0)), int(machine.get("GPU", 0))
    if not gpus:
        return cores
    return min(cores, there * int(1 / gpus + 1e-9) if gpus <= 1 else int(there // gpus))


def room_on(machine: Mapping[str, float], gpus: float) -> int:
    """How many of these have enough memory, too."""
    return min(places_on(machine, gpus), int(machine.get("memory", 2**60) // MEMORY_A_WORKER))


def _connect(address: str) -> Any:
    """Ray, connected."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    local = not _is_running(address)
    if not local and (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # by itself Ray shows no token to a cluster that runs already
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise UsageError("expected Ray for --engine ray, got none; install it with: pip install 'cloak[ray]'") from None
    options: dict[str, Any] = {"num_cpus": usable_cores(), "include_dashboard": False} if local else {}
    try:
        _probe(address)
        ray.init("local" if local else address or None, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        hint = "" if local else "; if it asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"
        raise UsageError(
            f"expected a Ray cluster at {address or 'RAY_ADDRESS'}, got: {in_a_line(error)}{hint}"
        ) from None
    return ray


def _is_running(address: str) -> bool:
    """Whether the cluster is somebody's, and not begun here."""
    return bool(address or os.environ.get("RAY_ADDRESS"))


def _probe(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class Protector:
    """The actor: one process with its models."""

    def __init__(self, shared: tuple[Callable[[], Cloaker], Layout, bool, Stage | None]) -> None:
        import torch

        torch.set_num_threads(1)
        self._make_cloaker, self._layout, self._overwrite, self._stage = shared
        self._cloaker: Cloaker | None = None
        self._notes: RemoteNotes | None = None

    def describe(self) -> tuple[Mapping[str, object], tuple[str, ...]]:
        cloaker = self._loaded()
        return cloaker.settings, cloaker.notes

    def protect(self, jobs: list[Job], notary: Any, settings: Mapping[str, object]) -> list[PhotoReport]:
        cloaker = self._loaded()
        if cloaker.settings != settings:
            raise UsageError(f"{socket.gethostname()}: has other models or another cloak than the first machine")
        if self._notes is None:
            self._notes = RemoteNotes(notary)
            self._layout.reserve(self._notes.folder, self._notes.earlier)
            remove_leftovers(self._notes.earlier_runs)
        try:
            return list(self._work_through(cloaker, jobs, self._notes))
        except LostDeviceError:  # a new process may use the GPU again; Ray begins one, and counts the photo's losses
            os._exit(1)

    def _work_through(self, cloaker: Cloaker, jobs: list[Job], notes: RemoteNotes) -> Iterator[PhotoReport]:
        if self._stage:
            return self._stage.work_through(cloaker, jobs, notes, overwrite=self._overwrite, earlier=notes.earlier)
        return work_through(cloaker, self._layout, jobs, journal=notes, overwrite=self._overwrite)

    def _loaded(self) -> Cloaker:
        self._cloaker = self._cloaker or self._make_cloaker()
        return self._cloaker
