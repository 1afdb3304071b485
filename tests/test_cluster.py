"""Photos on a Ray cluster of this machine's processes."""

import argparse
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloak import Cloaker, CloakError, PhotoReport, Progress, UsageError
from cloak.cli import main
from cloak.cli.engines import make_absolute
from cloak.files import Job, Layout, lay_out
from cloak.journal import Journal
from tests.fuzz import quick_cloaker, quick_results
from tests.helpers import contents, smooth_noise

pytest.importorskip("ray", reason="needs Ray (pip install -e .[dev])")

from cloak.cluster import Cluster, OnRay, places_on, room_on
from cloak.crew import TRIES
from cloak.notary import Notary
from cloak.storage import Folder, Stage

SETTINGS = {"mode": "mid"}
QUICK = partial(quick_cloaker, "default")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(folder / f"{number}.png")
    Image.fromarray(smooth_noise(80, 80, seed=8)).save(folder / "0.gif")
    return folder


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """Ray's processes do not have pytest's path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        yield


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return quick_results(photos, tmp_path_factory.mktemp("reference"))


def run(
    layout: Layout, out: Path, make: Callable[[], Cloaker], *, actors: int = 2, **options: Any
) -> list[PhotoReport]:
    with Journal.open(out, SETTINGS) as journal, OnRay(make, layout, Cluster(actors=actors)) as engine:
        left = [job for job in layout.jobs if not journal.has(job)]
        return list(engine.protect(left, journal, **options))


def test_a_cluster_makes_what_one_process_makes(photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    layout = lay_out([photos], tmp_path)
    seen: list[Progress] = []
    reports = run(layout, tmp_path, QUICK, on_progress=seen.append)
    assert {report.source for report in reports} == {job.source for job in layout.jobs}
    assert all(report.error == "" for report in reports)
    assert contents(tmp_path) == undisturbed
    assert len(undisturbed) == 9
    assert [(standing.photo, standing.done) for standing in seen] == [(0, 0.0), *((photo, 1.0) for photo in range(9))]
    assert run(layout, tmp_path, QUICK) == []


class Dying:
    """Makes Cloakers that kill their process over a photo, before or after its result is written."""

    def __init__(self, marks: Path, *, after: bool, always: bool = False) -> None:
        self.marks, self.after, self.always = marks, after, always

    def __call__(self) -> Cloaker:
        cloaker = quick_cloaker("default")
        protect = cloaker.protect_job

        def dying(job: Job, layout: Layout, **options: Any) -> PhotoReport:
            mark = self.marks / job.source.name
            dies = job.source.name in ("3.png", "5.png") and (self.always or not mark.exists())
            mark.touch()
            report = protect(job, layout, **options) if self.after or not dies else None
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            assert report is not None
            return report

        cloaker.protect_job = dying  # type: ignore[method-assign]
        return cloaker


@pytest.mark.parametrize("after", [False, True])
def test_a_process_that_is_killed_loses_nothing(
    after: bool, photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out, marks = tmp_path / "out", tmp_path / "marks"
    marks.mkdir()
    layout = lay_out([photos], out)
    reports = run(layout, out, Dying(marks, after=after))
    assert [report.error for report in reports] == [""] * 9
    assert contents(out) == undisturbed  # and nothing half-written lies about
    with Journal.open(out, SETTINGS) as journal:
        assert all(journal.has(job) for job in layout.jobs)


def test_a_photo_that_kills_every_process_is_given_up(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out, marks = tmp_path / "out", tmp_path / "marks"
    marks.mkdir()
    reports = run(lay_out([photos], out), out, Dying(marks, after=False, always=True))
    errors = {report.source.name: report.error for report in reports if report.error and report.source}
    assert set(errors) == {"3.png", "5.png"}
    assert f"{TRIES} processes were lost over it" in errors["3.png"]
    assert len(contents(out)) == 7
    run(lay_out([photos], out), out, QUICK)
    assert contents(out) == undisturbed


def test_a_machine_that_leaves_takes_nothing_with_it(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """There is no place for another process in its stead: the others do its photos."""
    from ray.cluster_utils import Cluster as Machines

    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = machines.add_node(num_cpus=1)
        out, marks, layout = tmp_path / "out", tmp_path / "marks", lay_out([photos], tmp_path / "out")
        marks.mkdir()

        def leave(progress: Progress) -> None:
            if progress.done and not progress.photo:
                machines.remove_node(second, allow_graceful=False)

        whole = Cluster(address=machines.address, actors=3)
        with Journal.open(out, SETTINGS) as journal, OnRay(Slow(marks), layout, whole) as engine:
            assert engine.notes[-1].startswith(
                "the cluster has room for 2 of 3 processes; the others begin when machines join"
            )
            reports = list(engine.protect(layout.jobs, journal, on_progress=leave))
        assert len({mark.read_text() for mark in marks.iterdir()}) == 2  # both machines were at work
        assert [report.error for report in reports] == [""] * 9
        assert contents(out) == undisturbed
    finally:
        machines.shutdown()  # type: ignore[no-untyped-call]


class Slow:
    """Makes Cloakers that take a second for a photo, and note who does it."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self) -> Cloaker:
        cloaker = quick_cloaker("default")
        protect = cloaker.protect_job

        def slow(job: Job, layout: Layout, **options: Any) -> PhotoReport:
            mark = self.marks / job.source.name
            if not mark.exists():
                mark.write_text(str(os.getpid()))
            time.sleep(1.0)
            return protect(job, layout, **options)

        cloaker.protect_job = slow  # type: ignore[method-assign]
        return cloaker


class Once(Dying):
    """Can be loaded once; processes that come later die over it."""

    def __call__(self) -> Cloaker:
        if (self.marks / "loaded").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        (self.marks / "loaded").touch()
        return super().__call__()


def test_processes_that_all_die_while_they_load_are_told(photos: Path, tmp_path: Path) -> None:
    out, marks = tmp_path / "out", tmp_path / "marks"
    marks.mkdir()
    with pytest.raises(CloakError, match="every process died while it loaded, perhaps for want of memory"):
        run(lay_out([photos / "3.png"], out), out, Once(marks, after=False), actors=1)
    assert contents(out) == {}


def test_who_keeps_the_journal_may_be_lost(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    kept: list[Any] = []
    notary = OnRay._notary

    def remembered(engine: OnRay, journal: Journal) -> Any:
        kept.append(notary(engine, journal))
        return kept[0]

    monkeypatch.setattr(OnRay, "_notary", remembered)

    def kill(progress: Progress) -> None:
        if progress.photo == 1:
            ray.kill(kept[0], no_restart=False)

    layout = lay_out([photos], tmp_path)
    reports = run(layout, tmp_path, QUICK, on_progress=kill)
    assert [report.error for report in reports] == [""] * 9
    assert contents(tmp_path) == undisturbed
    with Journal.open(tmp_path, SETTINGS) as journal:
        assert all(journal.has(job) for job in layout.jobs)


class Differing(Slow):
    """As if every machine had other models; slow, so that the second is there before the first has done all."""

    def __call__(self) -> Cloaker:
        cloaker = super().__call__()
        cloaker.seed = os.getpid()
        return cloaker


def test_machines_must_not_differ(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CloakError, match="has other models or another cloak than the first machine"):
        run(lay_out([photos], out), out, Differing(tmp_path))


def test_a_notary_that_begins_again_knows_who_is_at_work(tmp_path: Path) -> None:
    with Journal.open(tmp_path, SETTINGS) as journal:
        journal.note_run("earlier")
    with Journal.open(tmp_path, SETTINGS) as journal:
        first = Notary(journal.path, journal.runs)
        assert "earlier" in first.joined("actor")[2]
        again = Notary(journal.path, journal.runs)
        assert "actor" not in again.joined("another")[2]
        (tmp_path / ".cloak-actor-12.part").touch()
        again.begin(Job(tmp_path / "x.png", tmp_path / "x.png", tmp_path), tmp_path / "x.png")
        again.sweep()
        assert not list(tmp_path.glob("*.part"))


def test_actors_have_room_on_their_machines() -> None:
    machines = [{"CPU": 16.0, "memory": 8e9}, {"CPU": 2.0, "memory": 64e9}, {"CPU": 4.0}]
    assert [room_on(machine, 0) for machine in machines] == [5, 2, 4]


def test_paths_are_absolute_for_processes_in_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").touch()
    options = argparse.Namespace(paths=[Path("in"), "s3://a"], out=Path("out"), surrogates=["dlib", "mine.toml"])
    make_absolute(options)
    assert options.paths == [tmp_path / "in", "s3://a"]
    assert options.out == tmp_path / "out"
    assert options.surrogates == ["dlib", str(tmp_path / "mine.toml")]
    seen: list[argparse.Namespace] = []

    def stop(options: argparse.Namespace, make: object) -> None:
        seen.append(options)
        raise UsageError("enough")

    monkeypatch.setattr("cloak.cli.protect.work", stop)
    main(["protect", "in", "-o", "out", "--engine", "ray"])
    assert (seen[0].paths, seen[0].out) == ([tmp_path / "in"], tmp_path / "out")


def test_photos_at_urls(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path / "cache"))
    stage = Stage(Folder(photos.as_uri()), Folder((tmp_path / "out").as_uri()))
    layout = stage.layout(recursive=False)
    with stage.journal_folder() as folder, Journal.open(folder, SETTINGS) as journal:
        with OnRay(QUICK, layout, Cluster(actors=2), stage=stage) as engine:
            reports = list(engine.protect(layout.jobs, journal))
        assert sorted(str(report.output) for report in reports) == sorted(undisturbed)
    assert contents(tmp_path / "out") == undisturbed
    with stage.journal_folder() as folder, Journal.open(folder, SETTINGS) as journal:
        there = stage.out.files(recursive=True)
        assert all(journal.has(job, there.__contains__) for job in layout.jobs)
        assert not journal.has(layout.jobs[0], {}.__contains__)


def test_what_cannot_be_had_is_said(photos: Path, tmp_path: Path) -> None:
    layout = lay_out([photos], tmp_path)
    with pytest.raises(UsageError, match="room for 5000 actors of 1 core and 0 GPUs"):
        OnRay(QUICK, layout, Cluster(actors=5000))
    with pytest.raises(
        UsageError, match=r"at 127\.0\.0\.1:1, got: .*; if it asks for a token, set RAY_AUTH_MODE=token"
    ):
        OnRay(QUICK, layout, Cluster("127.0.0.1:1"))
    with pytest.raises(UsageError, match="expected a mode"):
        OnRay(partial(Cloaker, "max"), layout, Cluster(actors=1))


@pytest.mark.parametrize(
    ("machine", "gpus", "places"),
    [
        ({"CPU": 16.0}, 0, 16),
        ({"CPU": 16.0, "GPU": 1.0}, 0.25, 4),
        ({"CPU": 16.0, "GPU": 2.0}, 0.6, 2),  # a share lies on one GPU
        ({"CPU": 16.0, "GPU": 2.0}, 0.1, 16),
        ({"CPU": 16.0, "GPU": 8.0}, 2, 4),
        ({"CPU": 16.0}, 1, 0),
        ({"GPU": 1.0}, 1, 0),
    ],
)
def test_the_places_that_ray_finds_for_actors(machine: dict[str, float], gpus: float, places: int) -> None:
    assert places_on(machine, gpus) == places


def test_a_gpu_on_a_cluster_must_be_shared_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["protect", str(photos), "-o", str(tmp_path / "out"), "--engine", "ray", "--device", "cuda"]
    assert main(words) == 2
    assert "--device cuda on a cluster needs --gpus" in capsys.readouterr().err


def test_the_command_needs_a_folder_for_the_results(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protect", str(photos), "--engine", "ray"]) == 2
    assert "--engine ray needs -o" in capsys.readouterr().err
    for words, expected in (
        (["--engine", "ray", "-o", "out", "--dry-run"], "--dry-run looks at photos here"),
        (["--engine", "ray", "-o", "out", "--gpus", "-1"], "a share of a GPU is 0 or more"),
        (["--address", "a:1"], "--address and --gpus are for --engine ray"),
    ):
        assert main(["protect", str(photos), *words]) == 2
        assert expected in capsys.readouterr().err
