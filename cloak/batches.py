"""Patches of any number of photos -> runs of the loop: on a CPU side by side, on a GPU in batches."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from cloak.memory import too_little, unless_short
from cloak.methods import Method
from cloak.optimize import cloak_patches
from cloak.patches import FacePatch, stack_patches
from cloak.recognizers import Recognizer
from cloak.threads import each, one_thread_each

FACES_ON_GPU = 64
"""At most; a guess, see ``benchmarks/gpu.py``."""

BYTES_A_CROP = 60_000_000
"""What a crop's pass keeps for its gradient: 33 MB for SFace, 3 MB for dlib's network (counted); as much to spare."""

SHARE_OF_MEMORY = 0.8
"""Of the GPU's free memory, what batches may use."""


class Perturb(Protocol):
    """What finds the perturbation of each patch, (3, side, side), on the CPU; in the patches' order."""

    def __call__(
        self, patches: Sequence[FacePatch], on_share: Callable[[float], None] = lambda share: None
    ) -> list[Tensor]: ...


@dataclass
class Room:
    """How many faces go in one run of the loop on a GPU.

    A face's numbers must not depend on its company. On a CPU, where each goes by itself, they do
    not; on a GPU sums are rounded by the shape of the batch, and by chance.
    """

    faces: int

    @classmethod
    def of(cls, device: torch.device, crops: int) -> "Room | None":
        """As many as fit in the free memory of a GPU, if so many crops of each are seen at once; None on a CPU."""
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # what PyTorch keeps for more
        fitting = int(SHARE_OF_MEMORY * free / (BYTES_A_CROP * crops))
        return cls(max(1, min(FACES_ON_GPU, fitting)))

    def filling(self, faces: int) -> int:
        """How many more make a batch of so many one of a usual size, a power of two.

        CUDA's libraries plan each convolution anew for each size that they have not seen; and a GPU with a small
        batch waits for the next launch anyway, so that more faces cost nothing.
        """
        return min(self.faces, 1 << (faces - 1).bit_length()) - faces

    def halve(self, tried: int) -> None:
        """Memory did not suffice for as many as were tried, nor perhaps for what filled them up.

        Raises:
            DeviceError: for a single face.
        """
        if tried == 1:
            raise too_little("one face")
        while self.faces >= tried:
            self.faces //= 2


@one_thread_each()
def perturb(
    patches: Sequence[FacePatch],
    recognizers: Sequence[Recognizer],
    method: Method,
    device: torch.device,
    on_share: Callable[[float], None] = lambda share: None,
    *,
    room: Room | None = None,
) -> list[Tensor]:
    """The perturbation of each patch, (3, side, side), on the CPU; in the patches' order.

    Args:
        patches: of any number of photos.
        recognizers: the surrogates, on the device.
        method: budget and recipe.
        device: where the loop runs.
        on_share: called with the share of the work that is done, by one thread at a time.
        room: for batches, of patches of like size; it shrinks when memory runs out. None: each face goes by
            itself, as many at once as there are threads.

    Raises:
        DeviceError: the GPU's memory does not suffice for a single face.
    """
    if device.type == "cuda":  # SSIM's window is a product of matrices, which takes all of its bits
        torch.set_float32_matmul_precision("highest")
    shares, lock = [0.0] * len(patches), threading.Lock()

    def run(indices: Sequence[int]) -> dict[int, Tensor]:
        def on_share_of_batch(share: float) -> None:
            with lock:
                shares[indices[0]] = share * len(indices)
                on_share(sum(shares) / len(patches))

        filled = [*indices, *[indices[-1]] * (0 if room is None else room.filling(len(indices)))]
        batch = stack_patches([patches[index] for index in filled], device)
        deltas = cloak_patches(batch, recognizers, method, on_share_of_batch).cpu()
        found = zip(indices, deltas, batch.sides, strict=False)  # without what only fills it
        return {index: delta[:, :side, :side].clone() for index, delta, side in found}

    alone = each(lambda index: run([index]), range(len(patches))) if room is None else _in_batches(patches, run, room)
    deltas = {index: delta for found in alone for index, delta in found.items()}
    return [deltas[index] for index in range(len(patches))]


def _in_batches(
    patches: Sequence[FacePatch], run: Callable[[Sequence[int]], dict[int, Tensor]], room: Room
) -> Iterator[dict[int, Tensor]]:
    """What ``run`` gives for patches, those of like size first, as many at once as there is room for."""
    waiting = sorted(range(len(patches)), key=lambda index: patches[index].side)
    while waiting:
        indices = waiting[: room.faces]
        found = unless_short(partial(run, indices))
        if found is None:
            room.halve(len(indices))
            continue
        yield found
        waiting = waiting[len(indices) :]
