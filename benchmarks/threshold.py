"""The similarity at which a recogniser takes two faces for one person: measured, for the manifest.

    python benchmarks/threshold.py [--recognizer dlib] [--data ../shared/data/lfw-dev]

Impostor pairs: all pairs of photos of different people, among four photos of each of the people
and one of each of the distractors. Genuine pairs: all pairs among each person's four photos.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cloak.bench.measures import threshold_at_far
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import load_recognizer

PHOTOS_EACH = 4
FALSE_ACCEPT_RATES = (1e-2, 1e-3)


def main() -> None:
    shared = Path(__file__).resolve().parents[2] / "shared"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizer", default="dlib")
    parser.add_argument("--data", type=Path, default=shared / "data/lfw-dev")
    arguments = parser.parse_args()

    recognizer, detector = load_recognizer(arguments.recognizer), FaceDetector()
    people = sorted((arguments.data / "people").iterdir())
    chosen = [(person.name, path) for person in people for path in sorted(person.glob("*.jpg"))[:PHOTOS_EACH]]
    chosen += [(str(path), path) for path in sorted((arguments.data / "distractors").rglob("*.jpg"))]
    names, embeddings = [], []
    for name, path in chosen:
        pixels = read_photo(path).pixels
        for face in detector.detect(pixels)[:1]:
            names.append(name)
            embeddings.append(recognizer.embed(pixels, face))
    stacked = torch.stack(embeddings)
    similarities = (stacked @ stacked.T).numpy()
    labels = np.unique(names, return_inverse=True)[1]
    same = labels[:, None] == labels
    pairs = np.triu(np.ones_like(same), 1)
    impostors, genuine = similarities[pairs & ~same], similarities[pairs & same]
    print(
        f"{arguments.recognizer}: {len(embeddings)} photos, {len(impostors)} impostor and {len(genuine)} genuine pairs"
    )
    for rate in FALSE_ACCEPT_RATES:
        threshold = threshold_at_far(impostors.astype(np.float64), rate)
        print(f"FAR {rate}: threshold {threshold:.3f}, TAR {(genuine >= threshold).mean():.3f}")


if __name__ == "__main__":
    main()
