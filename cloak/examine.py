"""What is asked of photos without changing them: which faces, how similar."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cloak.detect import FaceDetector
from cloak.errors import NoFaceError, UsageError
from cloak.measure import compare_photos
from cloak.photo import LIMITS, Limits, Photo, photo_of, read_photo
from cloak.surrogates import AUTO, load_surrogates
from cloak.types import Comparison, Face, Pixels

NVIDIA = Path("/dev/nvidia0")
"""There where Linux has a driver for an NVIDIA GPU."""


def find_device(name: str) -> torch.device:
    """ "auto", "cpu" or "cuda" -> the device; "auto" is CUDA where PyTorch can compute there.

    Raises:
        UsageError: another name, or CUDA where it cannot.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"expected a device, one of auto, cpu, cuda; got {name!r}")
    usable = name != "cpu" and torch.cuda.is_available() and _computes("cuda")
    if name == "cuda" and not usable:
        raise UsageError("expected a CUDA device, got none that PyTorch can use; pass --device cpu")
    return torch.device("cuda" if usable else "cpu")


def unused_gpu(asked: str, device: torch.device) -> str:
    """A word where "auto" passes over an NVIDIA GPU that is there; empty where there is nothing to say."""
    if asked != "auto" or device.type != "cpu" or not NVIDIA.exists() or "CUDA_VISIBLE_DEVICES" in os.environ:
        return ""
    if not torch.version.cuda:
        why = "this PyTorch is built for CPUs alone"
    elif not torch.cuda.is_available():
        why = f"PyTorch finds none; is the driver older than CUDA {torch.version.cuda}?"
    else:
        why = "PyTorch cannot compute there: it is taken, full, or too old"
    return f"there is a GPU, but the CPU computes: {why}"


def _computes(device: str) -> bool:
    """Whether it does; a GPU may be too old for this PyTorch, taken by another process, or full."""
    try:
        return float(torch.ones(2, device=device).mul(2.0).sum()) == 4.0
    except RuntimeError:
        return False


def detect_faces(
    image: Path | str | Image.Image | Pixels, *, device: str = "auto", limits: Limits = LIMITS
) -> tuple[Face, ...]:
    """The faces of one photo, the largest first; empty when there is none.

    Args:
        image: a file, a Pillow image, or (h, w, 3) uint8 RGB.
        device: "auto", "cpu" or "cuda".
        limits: on what a file may ask of this machine.

    Raises:
        PhotoError: not a photo that can be read.
    """
    return FaceDetector(find_device(device)).detect(open_photo(image, limits).pixels)


def compare(
    first: Path | str | Image.Image | Pixels,
    second: Path | str | Image.Image | Pixels,
    *,
    device: str = "auto",
    recognizers: Sequence[str] = (AUTO,),
    limits: Limits = LIMITS,
) -> Comparison:
    """Compare the faces of two photos.

    Args:
        first: a photo.
        second: another, or the same one cloaked.
        device: "auto", "cpu" or "cuda".
        recognizers: see ``Cloaker``; gradients are not needed here.
        limits: on what a file may ask of this machine.

    Raises:
        PhotoError: not a photo that can be read.
        NoFaceError: no face was found in one of them.
        UsageError: a recogniser is unknown or cannot be loaded.
        WeightsError: weights are absent or damaged.
    """
    where = find_device(device)
    photos = (open_photo(first, limits), open_photo(second, limits))
    loaded, _ = load_surrogates(recognizers, where, gradients=False)
    comparison = compare_photos(photos[0].pixels, photos[1].pixels, loaded, FaceDetector(where))
    for name, count in ((first, len(comparison.faces)), (second, comparison.faces_in_second)):
        if not count:
            raise NoFaceError(f"{name if isinstance(name, (str, Path)) else 'the photo'}: no face was found in it")
    return comparison


def open_photo(image: Path | str | Image.Image | Pixels, limits: Limits = LIMITS) -> Photo:
    """A photo from a file, a Pillow image or pixels.

    Raises:
        PhotoError: not a photo that can be read.
        UsageError: an array of another shape or type, or something else.
    """
    if isinstance(image, (str, Path)):
        return read_photo(Path(image), limits)
    if isinstance(image, Image.Image):
        return photo_of(image)
    if not isinstance(image, np.ndarray):
        raise UsageError(f"expected a path, a Pillow image or an array of pixels, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UsageError(f"expected pixels of shape (h, w, 3) and type uint8, got {image.shape} and {image.dtype}")
    return Photo(pixels=image)
