"""Who does what when actors come and go, with a stand-in for Ray: what is slow is lost when nothing else is left."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloak.crew import PATIENCE, TRIES, Crew, first_answer
from cloak.errors import CloakError
from cloak.files import Job
from cloak.types import PhotoReport


class LostError(Exception):
    """An actor is gone."""


class TaskError(Exception):
    """An actor's work failed."""

    cause = CloakError("no weights")


@dataclass(eq=False)
class Task:
    """What an actor is asked for; slow: it is never done, but lost with its actor."""

    actor: "Actor"
    result: Any
    slow: bool = False

    @property
    def done(self) -> bool:
        return self.actor.place and not self.slow


@dataclass(eq=False)
class Actor:
    """Answers when it is there; the groups that it is slow with are lost."""

    place: bool = True
    slow: Callable[[list[Job]], bool] = lambda group: False
    lost: bool = False
    broken: bool = False
    did: list[str] = field(default_factory=list)

    @property
    def describe(self) -> Any:
        return SimpleNamespace(remote=lambda: Task(self, None))

    def protect(self, group: list[Job]) -> Task:
        self.did.append(group[0].source.name)
        return Task(self, [PhotoReport(source=job.source) for job in group], slow=self.slow(group))


class StandIn:
    """As much of Ray as a crew needs: who is there says so first, then work is done in its order."""

    exceptions = SimpleNamespace(RayActorError=LostError, OutOfMemoryError=LostError, RayTaskError=TaskError)

    def wait(self, tasks: list[Task], *, num_returns: int, timeout: float) -> tuple[list[Task], list[Task]]:
        ready = sorted((task for task in tasks if task.done), key=lambda task: task.result is not None)[:num_returns]
        if not ready:
            ready = [task for task in tasks if task.actor.place][:num_returns]
            for task in ready:
                task.actor.lost = True
        return ready, [task for task in tasks if task not in ready]

    def kill(self, actor: Actor) -> None:
        actor.lost = True

    def get(self, task: Task) -> Any:
        if task.actor.lost:
            raise LostError
        if task.actor.broken:
            raise TaskError
        return task.result


def groups(count: int) -> list[list[Job]]:
    return [[Job(Path(f"{number}.png"), Path("out"), Path())] for number in range(count)]


def run(
    actors: list[Actor], later: Callable[[], Actor], count: int, stopped: Callable[[], bool] = lambda: False
) -> Any:
    crew = Crew(StandIn(), later, lambda actor, group: actor.protect(group))
    return list(crew.results(actors, groups(count), stopped))


def names(reports: list[PhotoReport]) -> list[str]:
    return sorted(report.source.name for report in reports if report.source)


def test_what_a_lost_machine_had_is_done_by_those_that_are_idle() -> None:
    """Its loss is noticed when all else is done, and there is no place for another actor."""
    slow, quick = Actor(slow=lambda group: True), Actor()
    reports = run([slow, quick], lambda: Actor(place=False), 6)
    assert names(reports) == [f"{number}.png" for number in range(6)]
    assert not any(report.error for report in reports)
    assert slow.did == ["0.png", "1.png"]
    assert sorted(quick.did) == [f"{number}.png" for number in range(6)]


def test_work_is_shared_among_those_that_have_a_place() -> None:
    first, second, third = Actor(), Actor(), Actor(place=False)
    assert len(run([third, first, second], Actor, 8)) == 8
    assert third.did == []
    assert min(len(first.did), len(second.did)) >= 3


def test_who_finds_a_place_later_gets_work_then() -> None:
    late = Actor(place=False)

    def seen(report: PhotoReport) -> PhotoReport:
        late.place = True
        return report

    crew = Crew(StandIn(), Actor, lambda actor, group: actor.protect(group))
    reports = [seen(report) for report in crew.results([Actor(), late], groups(9), lambda: False)]
    assert len(reports) == 9
    assert late.did


def test_a_machine_that_is_lost_with_idle_actors_costs_no_photo() -> None:
    """They must answer before they get what it had."""
    idle = [Actor() for _ in range(4)]

    def slow(group: list[Job]) -> bool:
        for actor in idle:  # the machine goes, but for one whose work nobody does
            actor.lost = True
        return True

    alive = Actor()
    reports = run([Actor(slow=slow), *idle, alive], lambda: Actor(place=False), 1)
    assert [report.error for report in reports] == [""]
    assert alive.did == ["0.png"]


def test_few_photos_are_shared_among_all() -> None:
    actors = [Actor() for _ in range(3)]
    assert len(run(actors, Actor, 3)) == 3
    assert [len(actor.did) for actor in actors] == [1, 1, 1]


def test_who_cannot_begin_is_told_and_done_without(caplog: pytest.LogCaptureFixture) -> None:
    broken = Actor(broken=True)
    assert len(run([broken, Actor()], Actor, 4)) == 4
    assert "one of the processes could not begin: no weights" in caplog.text
    assert broken.lost
    with pytest.raises(CloakError, match="none of the processes could begin: no weights"):
        run([Actor(broken=True)], Actor, 4)


def test_waiting_for_a_place_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    late = Actor(place=False)
    stand_in, moments = StandIn(), iter(range(PATIENCE + 30))
    wait = stand_in.wait

    def patiently(tasks: list[Task], *, num_returns: int, timeout: float) -> tuple[list[Task], list[Task]]:
        late.place = next(moments) >= PATIENCE + 20
        return wait(tasks, num_returns=num_returns, timeout=timeout)

    stand_in.wait = patiently  # type: ignore[method-assign]
    assert first_answer(stand_in, [late]) is None
    assert caplog.text.count("no process has begun yet; waiting for room on the cluster") == 1


def test_the_first_that_is_there_answers_for_all() -> None:
    assert first_answer(StandIn(), [Actor(lost=True), Actor()]) is None
    with pytest.raises(LostError):
        first_answer(StandIn(), [Actor(lost=True), Actor(lost=True)])
    with pytest.raises(TaskError):
        first_answer(StandIn(), [Actor(broken=True), Actor(place=False)])


def test_a_photo_that_no_actor_survives_is_given_up_and_the_others_go_on() -> None:
    reports = run([Actor(slow=lambda group: group[0].source.name == "1.png")], lambda: Actor(slow=one), 4)
    assert names(reports) == [f"{number}.png" for number in range(4)]
    (failed,) = (report for report in reports if report.error)
    assert f"1.png: {TRIES} processes were lost over it" in failed.error
    assert failed.passing


def one(group: list[Job]) -> bool:
    return group[0].source.name == "1.png"


def test_when_all_die_while_they_load_the_run_ends() -> None:
    made: list[Actor] = []

    def dying() -> Actor:
        made.append(Actor(lost=True))
        return made[-1]

    with pytest.raises(CloakError, match="every process died while it loaded"):
        run([dying(), dying()], dying, 4)
    assert len(made) == 2 * TRIES


def test_a_run_that_is_stopped_finishes_what_is_in_hand() -> None:
    done: list[bool] = []
    actor = Actor()
    crew = Crew(StandIn(), Actor, lambda actor, group: actor.protect(group))
    for _ in crew.results([actor], groups(9), lambda: len(done) >= 3):
        done.append(True)
    assert len(done) == len(actor.did) == 4  # with the one that was handed out ahead
    assert run([Actor()], Actor, 9, stopped=lambda: True) == []
