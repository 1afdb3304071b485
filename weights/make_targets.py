"""Make ``targets_v1.safetensors``: strangers that cloaks lead towards at first, nobody's own faces.

    python weights/make_targets.py FACES [--strangers 600] [--targets 64]

FACES is a tree of photos, one of each of many people. Each target is the mean of COMPANY faces that are
alike: a face drawn by a seed, and those nearest to it by the mean similarity over all surrogates that ship.
The file holds the targets as each of these sees them: surrogate -> (targets, d), of length 1, in half precision.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import SURROGATES, Recognizer, find_source
from cloak.recognizers.networks import load_network
from weights.conversion import write_weights

COMPANY = 12
"""Faces that a target is the mean of."""

OUTPUT = Path(__file__).with_name("targets_v1.safetensors")


def embed_strangers(photos: Sequence[Path], recognizers: Sequence[Recognizer]) -> dict[str, Tensor]:
    """The largest face of each photo: surrogate -> (n, d)."""
    detector = FaceDetector()
    rows: dict[str, list[Tensor]] = {recognizer.spec.name: [] for recognizer in recognizers}
    for path in photos:
        pixels = read_photo(path).pixels
        for face in detector.detect(pixels)[:1]:
            for recognizer in recognizers:
                rows[recognizer.spec.name].append(recognizer.embed(pixels, face))
    return {name: torch.stack(found) for name, found in rows.items()}


def means_of_the_alike(embeddings: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Surrogate -> (count, d): each row the mean of COMPANY faces that the surrogates together find alike."""
    alike = torch.stack([rows @ rows.T for rows in embeddings.values()]).mean(dim=0)  # (n, n)
    drawn = torch.randperm(len(alike), generator=torch.Generator().manual_seed(0))[:count]
    company = alike[drawn].topk(COMPANY, dim=1).indices  # (count, COMPANY)
    return {name: F.normalize(rows[company].mean(dim=1), dim=1) for name, rows in embeddings.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="photos of many people")
    parser.add_argument("--strangers", type=int, default=600, help="so many of the photos (600)")
    parser.add_argument("--targets", type=int, default=64, help="how many to make (64)")
    arguments = parser.parse_args()

    photos = sorted(arguments.faces.rglob("*.jpg"))[: arguments.strangers]
    sources = [find_source(name) for name in SURROGATES]
    recognizers = [
        Recognizer(source.spec, *load_network(source, gradients=False)) for source in sources
    ]  # which know no targets yet
    embeddings = embed_strangers(photos, recognizers)
    print(f"{len(next(iter(embeddings.values())))} faces of {len(photos)} photos below {arguments.faces}")
    targets = means_of_the_alike(embeddings, arguments.targets)
    write_weights({name: rows.half().contiguous() for name, rows in targets.items()}, OUTPUT)


if __name__ == "__main__":
    main()
