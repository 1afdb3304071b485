"""How patches are put together for the loop, and what becomes of a batch that does not fit."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cloak.batches import BYTES_A_CROP, FACES_ON_GPU, SHARE_OF_MEMORY, Room, perturb
from cloak.errors import DeviceError
from cloak.memory import ACCELERATOR_ERRORS, device_is_lost, unless_short
from cloak.methods import MODES
from cloak.patches import FacePatch, PatchBatch, cut_patch
from cloak.recognizers import Recognizer, load_recognizer
from tests.helpers import made_up_face, smooth_noise

METHOD = MODES["mid"]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def patches_of(*widths: int) -> list[FacePatch]:
    return [cut_patch(smooth_noise(160, 160, seed), made_up_face(30, 20, width)) for seed, width in enumerate(widths)]


class Loop:
    """Gives back the patches; refuses batches that are larger than its memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, memory: int = 1000) -> None:
        self.memory, self.sizes, self.sides = memory, list[int](), list[int]()
        monkeypatch.setattr("cloak.batches.cloak_patches", self)

    def __call__(
        self, batch: PatchBatch, recognizers: Sequence[Recognizer], method: object, on_share: Callable[[float], None]
    ) -> Tensor:
        if len(batch.seeds) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(batch.seeds))
        self.sides.append(batch.pixels.shape[2])
        on_share(0.5)
        on_share(1.0)
        return batch.pixels


def test_patches_of_like_size_go_together_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, patches, told = Loop(monkeypatch), patches_of(50, 70, 50, 70, 50), list[float]()
    found = perturb(patches, (), METHOD, CPU, told.append, room=Room(2))
    assert all(torch.equal(delta, patch.pixels) for delta, patch in zip(found, patches, strict=True))
    assert loop.sizes == [2, 2, 1]
    assert loop.sides == [patches[0].side, patches[1].side, patches[1].side]
    assert told == pytest.approx([1 / 5, 2 / 5, 3 / 5, 4 / 5, 4.5 / 5, 5 / 5])


def test_a_batch_that_does_not_fit_is_halved_and_no_face_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, patches, room = Loop(monkeypatch, memory=2), patches_of(*[50] * 7), Room(8)
    found = perturb(patches, (), METHOD, CPU, room=room)
    assert all(torch.equal(delta, patch.pixels) for delta, patch in zip(found, patches, strict=True))
    assert loop.sizes == [2, 2, 2, 1]
    assert room.faces == 2  # the next photos do not try again


def test_a_single_face_that_does_not_fit_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    Loop(monkeypatch, memory=0)
    with pytest.raises(DeviceError, match=r"memory of the GPU does not suffice for one face.* --device cpu"):
        perturb(patches_of(50, 50), (), METHOD, CPU, room=Room(2))


def test_it_is_what_was_tried_that_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, room = Loop(monkeypatch, memory=2), Room(64)
    perturb(patches_of(50, 50, 50), (), METHOD, CPU, room=room)
    assert loop.sizes == [2, 1]
    assert room.faces == 2
    with pytest.raises(DeviceError):
        Room(64).halve(1)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"), False),
        (RuntimeError("expected a tensor of 3 channels"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_short_memory_in_the_words_of_cudas_libraries(error: Exception, short: bool) -> None:
    def fail() -> None:
        raise error

    assert device_is_lost(error) is False
    with nullcontext() if short else pytest.raises(type(error)):
        assert unless_short(fail) is None
    assert unless_short(lambda: 3) == 3


def test_a_gpus_own_errors_but_short_memory_leave_it_lost() -> None:
    kinds: tuple[type[Exception], ...] = (RuntimeError, *ACCELERATOR_ERRORS)  # the first before PyTorch 2.8
    for kind in kinds:
        assert device_is_lost(kind("CUDA error: an illegal memory access was encountered"))
        assert not device_is_lost(kind("CUDA error: out of memory"))


def test_batches_on_a_gpu_have_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, patches = Loop(monkeypatch), patches_of(*[50] * 5)
    found = perturb(patches, (), METHOD, CPU, room=Room(64))
    assert all(torch.equal(delta, patch.pixels) for delta, patch in zip(found, patches, strict=True))
    assert loop.sizes == [8]
    assert [Room(64).filling(faces) for faces in (1, 2, 3, 4, 5, 33, 64)] == [0, 0, 1, 0, 3, 31, 0]
    assert Room(6).filling(5) == 1


def test_on_a_cpu_each_face_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, patches, told = Loop(monkeypatch), patches_of(50, 70, 50), list[float]()
    assert Room.of(CPU, 1) is None
    found = perturb(patches, (), METHOD, CPU, told.append)
    assert all(torch.equal(delta, patch.pixels) for delta, patch in zip(found, patches, strict=True))
    assert loop.sizes == [1, 1, 1]
    assert sorted(told) == told == pytest.approx([share / 6 for share in range(1, 7)])


def test_faces_side_by_side_are_what_each_is_alone() -> None:
    patches = patches_of(50, 70, 50)
    recognizers, method = [load_recognizer("dlib-robust")], replace(METHOD, steps=2, turns=1)
    alone = [perturb([patch], recognizers, method, CPU)[0] for patch in patches]
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = perturb(patches, recognizers, method, CPU)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))
    assert not torch.equal(alone[0], alone[2])


@pytest.mark.parametrize(("faces", "expected"), [(0.5, 1), (5.5, 5), (1e6, FACES_ON_GPU)])
def test_a_gpus_free_memory_is_the_room(faces: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    free = faces * BYTES_A_CROP * 2 / SHARE_OF_MEMORY
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (int(free), 10**12))
    room = Room.of(GPU, 2)
    assert room is not None
    assert room.faces == expected
