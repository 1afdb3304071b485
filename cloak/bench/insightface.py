"""Model packs of InsightFace (buffalo_l, buffalo_m, buffalo_s, antelopev2) as evaluators.

A pack is a folder of ONNX files: a detector, SCRFD (Guo et al., "Sample and Computation
Redistribution for Efficient Face Detection", 2021), a recogniser trained with ArcFace (Deng et
al., 2019), and models of age and dense landmarks that are not read here. InsightFace publishes
the packs for research that is not commercial; cloak ships none. The thresholds, the grid and the
preprocessing are those of the package insightface (app/face_analysis.py, model_zoo/scrfd.py,
model_zoo/arcface_onnx.py).

Where this differs from that package:

* The detector sees the photo at 640 pixels only, as up to version 0.7; since version 2 the package
  sees it at 128 pixels as well, by default, and merges what it finds.
* The detector's input is resized by PyTorch, bilinearly and without antialiasing as OpenCV does
  it, and rounded to 8 bits; OpenCV's fixed point arithmetic may differ by a grey level.
* The overlap of two boxes is that of their areas; the package counts one pixel more per side.
* Boxes are clipped to the photo. Of several faces the one nearest the middle counts; with more
  than one face the package leaves the choice to its caller.
* The recogniser's crop is antialiased and repeats the photo's edge outside; the package samples
  the photo bilinearly and pads with black.
* Old recognisers that normalise their input inside the graph (MXNet exports) are not recognised.

As in the package, a coordinate of the detector's input is divided by the scale of the resizing and
taken for a place in the photo where pixel centres lie at whole numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cloak.bench.evaluators import Evaluator, central_face, embed_by, fingerprint
from cloak.errors import UsageError
from cloak.recognizers import InputSpec, Recognizer, RecognizerSpec
from cloak.recognizers.onnx_file import OnnxRuntime, onnx_session
from cloak.recognizers.source import model_sha256
from cloak.types import Face, Pixels

DETECTORS = ("det_", "scrfd_")
RECOGNIZERS = ("w600k_", "glintr")

SIDE = 640
"""Width and height of the detector's input, pixels."""

STRIDES = (8, 16, 32)
ANCHORS_PER_CELL = 2

MIN_SCORE = 0.5
MAX_OVERLAP = 0.4

METHOD = f"SCRFD at {SIDE}, min score {MIN_SCORE}, NMS {MAX_OVERLAP}, bilinear; central face; antialiased crop"


@dataclass(frozen=True)
class Detections:
    """Faces in the detector's input.

    Attributes:
        boxes: (k, 4) left, top, right, bottom.
        landmarks: (k, 5, 2) x, y.
        scores: (k,) in 0..1.
    """

    boxes: Tensor
    landmarks: Tensor
    scores: Tensor

    def __getitem__(self, index: Tensor) -> "Detections":
        return Detections(self.boxes[index], self.landmarks[index], self.scores[index])


def insightface_pack(folder: Path) -> Evaluator:
    """The detector and the recogniser of one pack.

    Args:
        folder: with one ``det_*.onnx`` or ``scrfd_*.onnx`` and one ``w600k_*.onnx`` or
            ``glintr*.onnx``; its name is the evaluator's.

    Raises:
        UsageError: no such folder, none or several of either file, onnxruntime is absent, a file
            is not an ONNX model, the detector does not have nine outputs.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: expected a folder with a model pack of InsightFace, got none; unpack for example "
            "buffalo_l.zip of https://github.com/deepinsight/insightface/releases there"
        )
    detector = _only_file(folder, "detector", DETECTORS)
    recognizer = _only_file(folder, "recogniser", RECOGNIZERS)
    spec = RecognizerSpec(name=folder.resolve().name)
    return Evaluator(
        name=spec.name,
        fingerprint=fingerprint(model_sha256(detector), model_sha256(recognizer), InputSpec(), METHOD),
        locate=_locate_by(detector),
        embed=embed_by(Recognizer(spec, OnnxRuntime(recognizer, spec))),
    )


def _only_file(folder: Path, role: str, prefixes: tuple[str, ...]) -> Path:
    """The one ONNX file of a pack whose name begins with one of the prefixes."""
    files = sorted(folder.glob("*.onnx"))
    found = [path for path in files if path.name.startswith(prefixes)]
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(f"{prefix}*.onnx" for prefix in prefixes)
    if found:
        raise UsageError(
            f"{folder}: expected one {role} ({wanted}), got {', '.join(path.name for path in found)}; "
            "keep one of them in the folder"
        )
    present = ", ".join(path.name for path in files) or "no .onnx file"
    raise UsageError(f"{folder}: expected a {role} ({wanted}), got {present}; name the folder that has the files")


def _locate_by(path: Path) -> Callable[[Pixels], Face | None]:
    """The central face by the SCRFD detector in a file."""
    session = onnx_session(path)
    name = session.get_inputs()[0].name
    count = len(session.get_outputs())
    if count != 3 * len(STRIDES):
        raise UsageError(
            f"{path}: expected an SCRFD detector with 9 outputs (scores, boxes and landmarks at 3 strides), "
            f"got {count}; take a pack whose detector gives landmarks"
        )

    def locate(pixels: Pixels) -> Face | None:
        image, scale = letterbox(pixels)
        outputs = [torch.from_numpy(np.asarray(output)) for output in session.run(None, {name: image.numpy()})]
        return central_face(to_faces(select(decode(outputs)), scale, pixels), pixels)

    return locate


def letterbox(pixels: Pixels) -> tuple[Tensor, float]:
    """A photo -> the detector's input: as large as fits at the top left, black elsewhere.

    Args:
        pixels: (h, w, 3) uint8, RGB.

    Returns:
        (1, 3, SIDE, SIDE) RGB, (x - 127.5) / 128, and the scale from photo to input.
    """
    ratio = pixels.shape[0] / pixels.shape[1]
    size = (max(1, int(SIDE * min(1.0, ratio))), max(1, int(SIDE / max(1.0, ratio))))
    photo = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()  # (1, 3, h, w)
    resized = F.interpolate(photo, size, mode="bilinear", align_corners=False).round()
    padded = F.pad(resized, (0, SIDE - size[1], 0, SIDE - size[0]))
    return (padded - 127.5) / 128.0, size[0] / pixels.shape[0]


def anchor_centres(stride: int) -> Tensor:
    """Where the anchors of one stride lie in the input: row by row, ANCHORS_PER_CELL at each place.

    Returns:
        (n, 2) x, y; the first at (0, 0).
    """
    along = torch.arange(SIDE // stride) * float(stride)
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).repeat_interleave(ANCHORS_PER_CELL, dim=0)


def decode(outputs: Sequence[Tensor]) -> Detections:
    """The network's nine outputs -> all anchors with their boxes, landmarks and scores.

    Args:
        outputs: per stride the scores (n, 1), then per stride the boxes (n, 4) as distances from
            the anchor's centre to the left, top, right and bottom, then per stride the landmarks
            (n, 10) as x, y from the centre, both in strides. Each may come as (1, n, c).
    """
    levels = len(STRIDES)
    boxes, landmarks = [], []
    for level, stride in enumerate(STRIDES):
        centres = anchor_centres(stride)  # (n, 2)
        distances = stride * outputs[levels + level].reshape(-1, 2, 2)  # (n, 2, 2)
        boxes.append(torch.cat([centres - distances[:, 0], centres + distances[:, 1]], dim=1))  # (n, 4)
        landmarks.append(centres[:, None] + stride * outputs[2 * levels + level].reshape(-1, 5, 2))  # (n, 5, 2)
    scores = torch.cat([output.reshape(-1) for output in outputs[:levels]])
    return Detections(torch.cat(boxes), torch.cat(landmarks), scores)


def select(anchors: Detections) -> Detections:
    """Those of MIN_SCORE or more, without those that overlap a better one; the best first."""
    from torchvision.ops import nms  # 2 s

    likely = anchors[anchors.scores >= MIN_SCORE]
    return likely[nms(likely.boxes, likely.scores, MAX_OVERLAP)]


def to_faces(found: Detections, scale: float, pixels: Pixels) -> list[Face]:
    """Detections in the input -> faces in the photo, their boxes clipped to it.

    Args:
        found: in the detector's input.
        scale: from photo to input, as ``letterbox`` gives it.
        pixels: the photo.
    """
    limit = torch.tensor([pixels.shape[1] - 1.0, pixels.shape[0] - 1.0]).repeat(2)  # (4,)
    boxes: list[Any] = (found.boxes / scale).clamp(min=torch.zeros(4), max=limit).tolist()
    landmarks: list[Any] = (found.landmarks / scale).tolist()
    return [
        Face(box=tuple(box), landmarks=tuple((x, y) for x, y in points), score=score)
        for box, points, score in zip(boxes, landmarks, found.scores.tolist(), strict=True)
    ]
