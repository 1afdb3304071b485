"""Groups of photos among Ray actors that come and go: who has found a place gets work, what is lost is done again."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cloak.errors import CloakError, in_a_line
from cloak.files import Job
from cloak.names import shown
from cloak.types import PhotoReport
from cloak.workers import AHEAD

TRIES = 3
"""Photos over which so many actors were lost are given up; so are actors that die so often while they load."""

PATIENCE = 60
"""Seconds without any actor after which one is told."""


@dataclass(frozen=True)
class _Work:
    """What an actor is at, for the how manieth time."""

    group: list[Job]
    tries: int
    actor: Any


class Crew:
    """Actors at work.

    Args:
        ray: the library, connected.
        new_actor: a ``cluster.Protector`` that Ray will find a place for.
        work: gives an actor a group; the task.
    """

    def __init__(self, ray: Any, new_actor: Callable[[], Any], work: Callable[[Any, list[Job]], Any]) -> None:
        self._ray, self._new_actor, self._work = ray, new_actor, work
        self._losses = losses(ray)
        self._waiting: deque[tuple[list[Job], int]] = deque()
        self._running: dict[Any, _Work] = {}
        self._coming: dict[Any, tuple[Any, int]] = {}
        self._free: dict[Any, int] = {}
        self._reason = "every process died while it loaded, perhaps for want of memory; pass fewer --workers"

    def results(
        self, actors: Sequence[Any], groups: Sequence[list[Job]], stopped: Callable[[], bool]
    ) -> Iterator[PhotoReport]:
        """The groups' reports, as each is done.

        Raises:
            CloakError: an actor refuses to work, or all die while they load.
        """
        self._waiting.extend((group, 1) for group in groups)
        for actor in actors:
            self._expect(actor, 1)
        alone = 0
        while self._running or (self._waiting and not stopped()):
            if not (self._running or self._coming):
                raise CloakError(self._reason)
            ready, _ = self._ray.wait([*self._running, *self._coming], num_returns=1, timeout=1.0)
            alone = 0 if ready or self._running else alone + 1
            tell_of_patience(alone)
            for task in ready:
                yield from self._after(task)
            if not stopped():
                self._hand_out()

    def _expect(self, actor: Any, tries: int) -> None:
        """An actor gets work only when it is there: for one that finds no place, others do the work."""
        self._coming[actor.describe.remote()] = actor, tries

    def _after(self, task: Any) -> list[PhotoReport]:
        """The reports of a task that is done; its actor goes on, or another one comes for it."""
        if task in self._coming:
            self._welcome(task)
            return []
        try:
            reports: list[PhotoReport] = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:  # first: it may be of the other kind, too
            raise CloakError(f"one of the processes could not go on: {in_a_line(error.cause)}") from None
        except self._losses:
            self._expect(self._new_actor(), 1)
            return self._lose(self._running[task].actor)
        self._free[self._running.pop(task).actor] += 1
        return reports

    def _welcome(self, task: Any) -> None:
        """An actor that is there gets work; for one that died another comes, for one that cannot work none."""
        actor, tries = self._coming.pop(task)
        try:
            self._ray.get(task)
            self._free[actor] = AHEAD
        except self._ray.exceptions.RayTaskError as error:
            self._reason = f"none of the processes could begin: {in_a_line(error.cause)}"
            logging.getLogger(__name__).warning("one of the processes could not begin: %s", in_a_line(error.cause))
            self._ray.kill(actor)
        except self._losses:
            if tries < TRIES:
                self._expect(self._new_actor(), tries + 1)

    def _hand_out(self) -> None:
        """Groups to whoever has least to do; a second one only where enough are left for those still to come."""
        while self._waiting and self._free:
            actor = max(self._free, key=lambda one: self._free[one])
            if not self._free[actor] or (self._free[actor] < AHEAD and len(self._waiting) <= len(self._coming)):
                return
            group, tries = self._waiting.popleft()
            self._running[self._work(actor, group)] = _Work(group, tries, actor)
            self._free[actor] -= 1

    def _lose(self, actor: Any) -> list[PhotoReport]:
        """What a lost actor had is to be done again; the first of it, which it was at, not for ever.

        Its machine may be lost with all its actors: those that were idle must answer before they get work.
        """
        self._ray.kill(actor)  # it may be alive, out of reach
        del self._free[actor]
        for idle in [one for one, free in self._free.items() if free == AHEAD]:
            del self._free[idle]
            self._expect(idle, 1)
        had = {task: work for task, work in self._running.items() if work.actor is actor}
        for task in had:
            del self._running[task]
        first, *others = had.values()
        self._waiting.extendleft((work.group, work.tries) for work in reversed(others))
        if first.tries == TRIES:
            return [_given_up(job) for job in first.group]
        self._waiting.appendleft((first.group, first.tries + 1))
        return []


def losses(ray: Any) -> tuple[type[Exception], ...]:
    """What Ray raises where an actor is gone."""
    return ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError


def first_answer(ray: Any, actors: Sequence[Any]) -> Any:
    """What the first actor says of itself that is there.

    Raises:
        ray.exceptions.RayError: it cannot work; or all died.
    """
    tasks, moments, died = [actor.describe.remote() for actor in actors], 0, None
    while tasks:
        ready, tasks = ray.wait(tasks, num_returns=1, timeout=1.0)
        moments += not ready
        tell_of_patience(moments)
        try:
            for task in ready:
                return ray.get(task)
        except ray.exceptions.RayTaskError:
            raise
        except losses(ray) as error:
            died = error
    assert died is not None
    raise died


def tell_of_patience(moments: int) -> None:
    """After so many seconds with nobody at work."""
    if moments == PATIENCE:
        logging.getLogger(__name__).warning("no process has begun yet; waiting for room on the cluster")


def _given_up(job: Job) -> PhotoReport:
    reason = f"{shown(job.source)}: {TRIES} processes were lost over it, for want of memory perhaps, or a GPU failed"
    return PhotoReport(source=job.source, error=reason, passing=True)
