"""Pieces of one thread each."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from cloak.threads import each, one_thread_each
from tests.helpers import ROOT


@pytest.fixture
def three() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_pieces_run_at_once_on_one_thread_each_and_come_back_in_order(three: object) -> None:
    together = threading.Barrier(3, timeout=20)

    def piece(number: int) -> tuple[int, int]:
        together.wait()
        return number, torch.get_num_threads()

    with one_thread_each():
        assert torch.get_num_threads() == 1
        assert each(piece, range(3)) == [(0, 1), (1, 1), (2, 1)]
    assert torch.get_num_threads() == 3


def test_outside_they_run_one_after_the_other(three: object) -> None:
    here = threading.current_thread()
    assert each(lambda _: threading.current_thread() is here, range(3)) == [True] * 3


def test_the_number_of_threads_comes_back_after_nesting_and_errors(three: object) -> None:
    def failing() -> None:
        with one_thread_each():
            with one_thread_each():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        failing()
    assert torch.get_num_threads() == 3


def test_an_error_in_a_piece_comes_out(three: object) -> None:
    with one_thread_each(), pytest.raises(ZeroDivisionError):
        each(lambda number: 1 // number, range(3))


def test_a_piece_works_through_pieces_of_its_own_one_after_the_other(three: object) -> None:
    def piece(number: int) -> bool:
        here = threading.current_thread()
        return all(each(lambda _: threading.current_thread() is here, range(number)))

    with one_thread_each():
        assert each(piece, range(2, 8)) == [True] * 6


FORKED = """
import os
import torch
from cloak.threads import each, one_thread_each

torch.set_num_threads(3)
for _ in range(2):
    with one_thread_each():
        assert each(abs, [1, -2, 3]) == [1, 2, 3]
        child = os.fork() if _ else 0
    if _ and not child:
        with one_thread_each():
            os._exit(0 if each(abs, [1, -2, 3]) == [1, 2, 3] else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, timeout=120).returncode == 0
