"""Processes that have their loop run by another."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloak.errors import DeviceError, LostDeviceError
from cloak.loop_server import LoopServer, RemoteLoop
from cloak.patches import FacePatch, cut_patch
from tests.helpers import made_up_face, smooth_noise


def patch_of(seed: int) -> FacePatch:
    return cut_patch(smooth_noise(160, 160, seed), made_up_face(30, 20, 50))


def doubled(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
    return [2 * patch.pixels for patch in patches]


def ask(loop: RemoteLoop, seeds: Sequence[int]) -> bool:
    """Whether the answer is right."""
    patches = [patch_of(seed) for seed in seeds]
    return all(map(torch.equal, loop(patches), doubled(patches)))


def asked_by_five(server: LoopServer, pool: ThreadPoolExecutor, free: threading.Event) -> list[Future[bool]]:
    """What five ask for; the loop, which waits for ``free``, goes on when four wait behind the first."""
    loops = [RemoteLoop(server.loop.address, server.loop.key) for _ in range(5)]
    answers = [pool.submit(ask, loops[0], [0])]
    wait_until(lambda: server.batches == [1])
    answers += [pool.submit(ask, loop, [seed]) for seed, loop in enumerate(loops[1:], 1)]
    wait_until(lambda: server._waiting.qsize() == 4)
    free.set()
    return answers


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_other_processes_get_their_own_answers() -> None:
    with LoopServer(doubled) as server, get_context("spawn").Pool(2) as pool:
        asked = [(server.loop, [seed, seed + 1]) for seed in range(6)]
        assert pool.starmap(ask, asked) == [True] * 6
    assert sum(server.batches) == 12


def test_what_comes_in_meanwhile_goes_in_one_batch() -> None:
    free = threading.Event()

    def slow(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
        free.wait(20)
        return doubled(patches)

    with LoopServer(slow) as server, ThreadPoolExecutor(5) as pool:
        answers = asked_by_five(server, pool, free)
        assert all(answer.result() for answer in answers)
    assert server.batches == [1, 4]


def test_an_error_is_told_to_all_who_wait_and_the_next_are_served() -> None:
    failing = [True]

    def loop(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
        if failing.pop():
            raise RuntimeError("the GPU fell off the bus\nCompile with TORCH_USE_CUDA_DSA")
        return doubled(patches)

    with LoopServer(loop) as server:
        with pytest.raises(DeviceError, match=r"^the GPU fell off the bus$"):
            ask(server.loop, [1])
        failing.append(False)
        assert ask(server.loop, [1])


def test_one_that_fails_does_not_take_the_others_with_it() -> None:
    free = threading.Event()

    def loop(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
        free.wait(20)
        if any(patch.seed == patch_of(2).seed for patch in patches):
            raise RuntimeError("the second does not fit")
        return doubled(patches)

    with LoopServer(loop) as server, ThreadPoolExecutor(5) as pool:
        answers = asked_by_five(server, pool, free)
        errors = [answer.exception() for answer in answers]
    assert [bool(error) for error in errors] == [False, False, True, False, False]
    assert "the second does not fit" in str(errors[2])


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this PyTorch does not tell a GPU's own errors")
def test_a_gpu_that_fails_is_told_to_all_at_once() -> None:
    free, calls = threading.Event(), list[int]()

    def loop(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
        free.wait(20)
        calls.append(len(patches))
        if len(calls) > 1:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure")
        return doubled(patches)

    with LoopServer(loop) as server, ThreadPoolExecutor(5) as pool:
        answers = asked_by_five(server, pool, free)
        errors = [answer.exception() for answer in answers]
    assert calls == [1, 4]  # not tried again one by one
    assert sum(isinstance(error, LostDeviceError) for error in errors) == 4


def test_a_run_that_ends_tries_nothing_again() -> None:
    free, ended = threading.Event(), threading.Event()

    def loop(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
        free.wait(20)
        if len(patches) > 1:
            ended.wait(20)
        on_share(0.5)
        return doubled(patches)

    with LoopServer(loop) as server, ThreadPoolExecutor(5) as pool:
        answers = asked_by_five(server, pool, free)
        assert answers[0].result()
        server._ending.set()
        ended.set()
        assert all(isinstance(answer.exception(), DeviceError) for answer in answers[1:])
    assert server.batches == [1, 4]


def test_a_run_that_ends_stops_the_loop_and_tells_who_waits() -> None:
    begun = threading.Event()

    def endless(patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None) -> list[Tensor]:
        while True:
            begun.set()
            on_share(0.5)
            time.sleep(0.01)

    with ThreadPoolExecutor(1) as pool:
        with LoopServer(endless) as server:
            answer = pool.submit(ask, server.loop, [1])
            assert begun.wait(20)
        with pytest.raises(DeviceError, match="the run has ended"):
            answer.result(20)
    assert not server._threads[1].is_alive()


def test_a_temporary_folder_with_a_long_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: str(long))
    with LoopServer(doubled) as server:
        assert isinstance(server.loop.address, tuple)
        assert ask(server.loop, [1])


def test_who_does_not_have_the_key_is_refused() -> None:
    from multiprocessing import AuthenticationError

    with LoopServer(doubled) as server:
        with pytest.raises((AuthenticationError, OSError, EOFError)):
            ask(RemoteLoop(server.loop.address, b"another"), [1])
        assert ask(server.loop, [1])
