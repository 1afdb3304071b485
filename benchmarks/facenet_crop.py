"""How cloak's crop for FaceNet relates to facenet-pytorch's own: measured, for ``cloak/recognizers/facenet.py``.

    python benchmarks/facenet_crop.py [--data ../shared/data/lfw-dev]

facenet-pytorch cuts out MTCNN's box with a margin of 14 px and squeezes it to 160 x 160; cloak
aligns the landmarks to the template and squeezes that. Each photo counts twice, as it is and
mirrored, so that the mean tilt of the photos' heads cancels out; a shift of MTCNN's box against
the landmarks stays. The template printed is the mean of the landmarks in facenet-pytorch's crops.
All lengths are in pixels of 160.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import extract_face
from numpy.typing import NDArray
from PIL import Image

from cloak.align import apply, crop_face, fit_similarity, scale_of
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers.facenet import FACENET_SIDE, FACENET_SIZE, FACENET_TEMPLATE, squeeze
from cloak.types import Face, Pixels
from cloak.visibility import dssim_map

MARGIN = 14
"""Of facenet-pytorch's example that evaluates on LFW, pixels of 160."""

Points = NDArray[np.float64]
"""(5, 2) or (n, 5, 2)."""


@dataclass(frozen=True)
class Compared:
    """One face in both crops.

    Attributes:
        theirs: (5, 2) landmarks in facenet-pytorch's crop.
        ours: (5, 2) landmarks in ours, squeezed.
        aspect: height over width of their box.
        scale: width of the face in our crop over that in theirs.
        ssim: mean SSIM of our crop against theirs.
        grey: mean absolute difference of the two, levels of 255.
    """

    theirs: Points
    ours: Points
    aspect: float
    scale: float
    ssim: float
    grey: float


def cut_box(face: Face, pixels: Pixels) -> tuple[Points, Points]:
    """(left, top) and (width, height) of what ``extract_face`` cuts out, whole pixels of the photo."""
    corners = np.array(face.box).reshape(2, 2)
    margin = MARGIN * (corners[1] - corners[0]) / (FACENET_SIDE - MARGIN)
    start = np.floor(np.maximum(corners[0] - margin / 2, 0))
    end = np.floor(np.minimum(corners[1] + margin / 2, (pixels.shape[1], pixels.shape[0])))
    return start, end - start


def squeeze_points(points: Points) -> Points:
    """(5, 2) in the aligned crop -> in the squeezed one."""
    return (points + 0.5) * FACENET_SIDE / (FACENET_SIZE[1], FACENET_SIZE[0]) - 0.5


def compare(pixels: Pixels, face: Face) -> Compared:
    start, extent = cut_box(face, pixels)
    matrix = fit_similarity(face.landmarks, FACENET_TEMPLATE)
    their_crop = extract_face(Image.fromarray(pixels), face.box, FACENET_SIDE, MARGIN)[None] / 255.0
    our_crop = squeeze(crop_face(pixels, face.landmarks, FACENET_TEMPLATE, FACENET_SIZE))
    return Compared(
        theirs=(np.array(face.landmarks) - start + 0.5) * FACENET_SIDE / extent - 0.5,
        ours=squeeze_points(apply(matrix, face.landmarks)),
        aspect=float(extent[1] / extent[0]),
        scale=float(scale_of(matrix) * extent[0] / FACENET_SIDE),
        ssim=1.0 - 2.0 * float(dssim_map(their_crop, our_crop).mean()),
        grey=255.0 * float((our_crop - their_crop).abs().mean()),
    )


def spread(points: Points) -> float:
    """Root mean square distance of (n, 5, 2) landmarks from their mean."""
    return float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=2).mean()))


def show(points: Points) -> str:
    return ", ".join(f"({x:.2f}, {y:.2f})" for x, y in points)


def report(compared: list[Compared]) -> None:
    theirs = np.stack([each.theirs for each in compared])  # (n, 5, 2)
    ours = np.stack([each.ours for each in compared])  # (n, 5, 2)
    aspects = np.array([each.aspect for each in compared])
    height = round(FACENET_SIDE * aspects.mean())
    mean = theirs.mean(axis=0)
    template = (mean + 0.5) * (1.0, height / FACENET_SIDE) - 0.5
    distance = np.linalg.norm(ours - theirs, axis=2)  # (n, 5)
    print(f"box: height over width {aspects.mean():.3f} (standard deviation {aspects.std():.3f})")
    print(f"landmarks in facenet-pytorch's crop, mean: {show(mean)}")
    print(f"so the size is ({height}, {FACENET_SIDE}) and the template {show(template)}")
    print(f"landmarks in our crop, squeezed, mean: {show(ours.mean(axis=0))}")
    print(
        f"landmarks, ours against theirs: {distance.mean():.1f} px, 95th percentile {np.percentile(distance, 95):.1f}"
    )
    print(f"spread of the landmarks around their mean: theirs {spread(theirs):.1f} px, ours {spread(ours):.1f} px")
    for name in ("scale", "ssim", "grey"):
        values = [getattr(each, name) for each in compared]
        print(f"{name}, ours against theirs: mean {np.mean(values):.3f}, median {np.median(values):.3f}")


@torch.no_grad()
def main() -> None:
    shared = Path(__file__).resolve().parents[2] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev")
    arguments = parser.parse_args()

    detector = FaceDetector()
    photos = sorted((arguments.data / "people").rglob("*.jpg"))
    compared = []
    for path in photos:
        upright = read_photo(path).pixels
        for pixels in (upright, np.ascontiguousarray(upright[:, ::-1])):
            compared += [compare(pixels, face) for face in detector.detect(pixels)[:1]]
    print(f"{len(photos)} photos, as they are and mirrored: {len(compared)} faces")
    report(compared)


if __name__ == "__main__":
    main()
