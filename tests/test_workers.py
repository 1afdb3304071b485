"""Photos shared among processes."""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from cloak import Cloaker, CloakError, LostDeviceError, PhotoReport, Progress
from cloak.batches import Perturb
from cloak.cli import main
from cloak.cli.engines import engine_for
from cloak.files import Layout, lay_out
from cloak.journal import Journal
from cloak.loop_server import LoopServer
from cloak.patches import FacePatch
from cloak.workers import Workers
from tests.fuzz import quick_cloaker, quick_results
from tests.helpers import ROOT, contents, smooth_noise

SETTINGS = {"mode": "mid"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos, of which two would take one name."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(7):
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(folder / f"{number}.png")
    Image.fromarray(smooth_noise(80, 80, seed=7)).save(folder / "0.gif")
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return quick_results(photos, tmp_path_factory.mktemp("reference"))


def share(layout: Layout, out: Path, make: Callable[[], Cloaker], **options: Any) -> list[PhotoReport]:
    with Journal.open(out, SETTINGS) as journal, Workers(make, layout, 2) as workers:
        left = [job for job in layout.jobs if not journal.has(job)]
        return list(workers.protect(left, journal, **options))


QUICK = partial(quick_cloaker, "default")


def test_two_processes_make_what_one_makes(photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    layout = lay_out([photos], tmp_path)
    seen: list[Progress] = []
    reports = share(layout, tmp_path, QUICK, on_progress=seen.append)
    assert [report.source for report in reports] == [job.source for job in layout.jobs]
    assert contents(tmp_path) == undisturbed
    assert len(undisturbed) == 8
    assert [(standing.photo, standing.done) for standing in seen] == [(0, 0.0), *((photo, 1.0) for photo in range(8))]
    assert share(layout, tmp_path, QUICK) == []


def test_told_to_stop_they_finish_what_they_have(photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    layout = lay_out([photos], tmp_path)
    done: list[Progress] = []
    reports = share(layout, tmp_path, QUICK, on_progress=done.append, stopped=lambda: len(done) > 1)
    assert 0 < len(reports) < 8
    share(layout, tmp_path, QUICK)
    assert contents(tmp_path) == undisturbed


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see masks of signals")
def test_ctrl_c_does_not_reach_processes_that_begin(photos: Path, tmp_path: Path) -> None:
    with Workers(QUICK, lay_out([photos], tmp_path), 2):
        for child in multiprocessing.active_children():
            status = Path(f"/proc/{child.pid}/status").read_text()
            blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
            assert blocked & 1 << (signal.SIGINT - 1)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_interrupt_does_not_wait_for_the_photos_in_hand(photos: Path, tmp_path: Path) -> None:
    asked = iter(range(100))

    def stopped() -> bool:
        if next(asked) == 2:
            raise KeyboardInterrupt
        return False

    layout = lay_out([photos], tmp_path)
    with pytest.raises(KeyboardInterrupt), Workers(slow_cloaker, layout, 2) as workers:  # ten minutes each
        list(workers.protect(layout.jobs, stopped=stopped))
    assert not multiprocessing.active_children()


class Dying:
    """Makes Cloakers whose third photo kills the process."""

    def __call__(self) -> Cloaker:
        cloaker = quick_cloaker("default")
        protect, count = cloaker._protect_file, iter(range(100))

        def dying(*arguments: object) -> PhotoReport:
            if next(count) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return protect(*arguments)  # type: ignore[arg-type]

        cloaker._protect_file = dying  # type: ignore[method-assign,assignment]
        return cloaker


def test_a_number_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("0", "-1", "two"):
        with pytest.raises(SystemExit):
            main(["protect", "a.jpg", "--workers", wrong])
        assert "expected a whole number, 1 or more" in capsys.readouterr().err


def on_gpu(options: argparse.Namespace, loop: Perturb | None = None) -> Cloaker:
    """Stands for a Cloaker on a GPU; or, with a loop, for one that leaves the loop to that."""
    cloaker = quick_cloaker("default")
    if loop:
        assert loop is not cloaker.perturb
        cloaker._loop = loop
    else:
        cloaker.perturb = lambda patches, on_share=None: [0 * patch.pixels + 0.02 for patch in patches]  # type: ignore[method-assign]
    return cloaker


def test_with_a_gpu_processes_leave_the_loop_to_the_first(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_cloaker("default", monkeypatch.setattr)  # what ``on_gpu`` sets in this process ends with the test
    monkeypatch.setattr("cloak.examine.find_device", lambda device: torch.device("cuda"))
    layout = lay_out([photos], tmp_path)
    options = argparse.Namespace(engine="local", workers=2, device="cuda", overwrite=False, apart=False)
    asked: list[int] = []
    answer = LoopServer._answer

    def counted(self: LoopServer, requests: Any) -> None:
        asked.append(len(requests))
        answer(self, requests)

    monkeypatch.setattr(LoopServer, "_answer", counted)
    with engine_for(options, layout, on_gpu) as engine, Journal.open(tmp_path, engine.settings) as journal:
        reports = list(engine.protect(layout.jobs, journal))
    assert [report.error for report in reports] == [""] * 8
    assert contents(tmp_path) == undisturbed
    assert sum(asked) == 8


def test_with_a_gpu_processes_look_on_the_cpu_give_way_and_are_two_a_core(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloak.examine.find_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr("cloak.cli.engines.usable_cores", lambda: 2)
    begun: list[argparse.Namespace] = []
    asked: list[tuple[object, object]] = []

    @contextmanager
    def workers(
        make: Callable[[], Cloaker], layout: Layout, count: int, *, niceness: int, **options: object
    ) -> Iterator[None]:
        make()
        asked.append((count, niceness))
        yield

    def make(options: argparse.Namespace, loop: Perturb | None = None) -> Cloaker:
        begun.append(options)
        return quick_cloaker("default", monkeypatch.setattr)

    monkeypatch.setattr("cloak.workers.Workers", workers)
    options = argparse.Namespace(engine="local", workers=None, device="auto", overwrite=False, apart=False)
    layout = lay_out([photos], tmp_path / "out")
    assert len(layout.jobs) == 8
    with engine_for(options, layout, make):
        pass
    assert [one.device for one in begun] == ["auto", "cpu"]
    assert asked == [(4, 5)]


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system knows no niceness")
def test_processes_give_way(photos: Path, tmp_path: Path) -> None:
    with Workers(QUICK, lay_out([photos], tmp_path), 1, niceness=3):
        (child,) = multiprocessing.active_children()
        assert os.getpriority(os.PRIO_PROCESS, child.pid or 0) == os.getpriority(os.PRIO_PROCESS, 0) + 3


class Failing:
    """Makes Cloakers whose GPU fails at the third photo."""

    def __call__(self) -> Cloaker:
        cloaker, count = quick_cloaker("default"), iter(range(100))
        perturb = cloaker._loop

        def failing(patches: Sequence[FacePatch], on_share: Callable[[float], None] = print) -> list[Tensor]:
            if next(count) == 2:
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nfor debugging")
            return perturb(patches, on_share)

        cloaker._loop = failing
        return cloaker


TELLS = pytest.mark.skipif(
    not hasattr(torch, "AcceleratorError"), reason="this PyTorch does not tell a GPU's own errors"
)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (Dying(), CloakError, r"one of the 2 processes died.* run the same command again"),
        pytest.param(
            Failing(), LostDeviceError, r"^the GPU failed \(CUDA error: an illegal .*\): begin again", marks=TELLS
        ),
    ],
    ids=["a process dies", "a GPU fails"],
)
def test_what_ends_a_run_loses_nothing(
    make: Callable[[], Cloaker],
    error: type[CloakError],
    message: str,
    photos: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
) -> None:
    layout = lay_out([photos], tmp_path)
    with pytest.raises(error, match=message):
        share(layout, tmp_path, make)
    assert 0 < len(list(tmp_path.rglob("*.png"))) < 8
    share(layout, tmp_path, QUICK)
    assert contents(tmp_path) == undisturbed


def test_a_process_that_cannot_begin_is_a_sentence() -> None:
    workers, future = Workers.__new__(Workers), Future[int]()
    workers.count = 2
    future.set_exception(torch.OutOfMemoryError("CUDA out of memory.\nOf the allocated memory"))
    with pytest.raises(CloakError, match=r"^one of the 2 processes could not begin: CUDA out of memory\.$"):
        workers._first(future)


ENDLESS = """
import sys, time
from pathlib import Path
from tests.test_workers import slow_cloaker
from cloak.files import lay_out
from cloak.workers import Workers
if __name__ == "__main__":
    layout = lay_out([Path(sys.argv[1])], Path(sys.argv[2]))
    with Workers(slow_cloaker, layout, 2) as workers:
        print("ready", flush=True)
        list(workers.protect(layout.jobs))
"""


def slow_cloaker() -> Cloaker:
    cloaker = quick_cloaker("default")
    cloaker._loop = lambda patches, on_share=None: time.sleep(600) or []  # type: ignore[func-returns-value]
    return cloaker


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see processes")
def test_the_processes_end_when_the_first_is_killed(photos: Path, tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script), str(photos), str(tmp_path / "out")], stdout=subprocess.PIPE, env=environment
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        assert len(children) >= 2
        run.kill()
    deadline = time.monotonic() + 20
    while any(Path("/proc", child).exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path("/proc", child).exists() for child in children)
