"""Train the robust twin of a recogniser: the same network, less easily fooled.

    python weights/train_robust.py dlib --out /tmp/robust [--data ../shared/data/lfw-dev/distractors]
    python weights/train_robust.py mobilefacenet --steps 2600 --out /tmp/robust_mobilefacenet

The student starts as a copy of the teacher's network and learns to give the teacher's embedding of a
clean face when it is shown that face with a small adversarial change (adversarial training, Madry
et al., 2018, with the teacher's embedding as the label). Slightly robust networks are better
surrogates: what fools them fools others (Springer, Mitchell, Kenyon: A Little Robustness Goes a
Long Way, NeurIPS 2021). The faces have no labels and are nobody's of the benchmark's people.

The run is seeded and goes on from its last checkpoint in ``--out``.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.align import crop_face, warp
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import Recognizer, RecognizerSpec, load_recognizer
from cloak.views import JITTER_NUMBERS, Degradation, ViewDistribution, degrade, jitter_matrices
from cloak.visibility import C2, local_statistics

MARGIN = 20
"""Pixels around the crop that are kept for jittered views."""

BATCH = 16

VIEWS = ViewDistribution(scale=0.08, rotation=8.0, shift=0.04)

RATE = 2e-4
"""Adam's first learning rate; it falls to a twentieth along half a cosine wave."""

DSSIM = 0.0003
"""About that of the adversarial change."""

CHECKPOINT_EVERY = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", nargs="?", default="dlib", help="a name or a specification (default: dlib)")
    parser.add_argument("--steps", type=int, default=3300, help="of the optimiser (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data/lfw-dev/distractors")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    teacher, student = load_recognizer(options.teacher), load_recognizer(options.teacher)
    faces = gather(options.data, teacher.spec, options.out / "faces.npy")
    train(student, teacher, faces, options.steps, options.out / "checkpoint.pt")
    state = {**student.network.state_dict(), "embedding_mean": student.embedding_mean}
    save_file({key: value.half().contiguous() for key, value in state.items()}, options.out / "robust.safetensors")


def gather(folder: Path, spec: RecognizerSpec, kept: Path) -> Tensor:
    """Aligned faces with a margin, (n, 3, h, w) uint8; kept in a file between runs."""
    if not kept.exists():
        detector = FaceDetector()
        template = np.array(spec.template) + MARGIN
        size = (spec.size[0] + 2 * MARGIN, spec.size[1] + 2 * MARGIN)
        found = []
        for path in sorted(folder.rglob("*.jpg")):
            pixels = read_photo(path).pixels
            for face in detector.detect(pixels)[:1]:
                crop = crop_face(pixels, face.landmarks, template, size)
                found.append((255 * crop).round().byte()[0].numpy())
        np.save(kept, np.stack(found))
    return torch.from_numpy(np.load(kept))


def draw(faces: Tensor, generator: torch.Generator, size: tuple[int, int]) -> Tensor:
    """A batch of random views of random faces, some of them mixtures of two; (BATCH, 3, *size) in 0..1."""
    index = torch.randint(len(faces), (BATCH,), generator=generator)
    matrices = jitter_matrices(torch.rand(BATCH, JITTER_NUMBERS, generator=generator), VIEWS, size)
    matrices[:, :, 2] += MARGIN
    crops = warp(faces[index].float() / 255, matrices, size)
    blur, reduction, mixing = torch.rand(3, generator=generator).tolist()
    crops = degrade(crops, [Degradation(blur=1.5 * blur**2, resize=1.0 - 0.5 * reduction**2)] * BATCH)
    tint = 1.0 + 0.2 * (torch.rand(BATCH, 3, 1, 1, generator=generator) - 0.5)
    gain = 0.7 + 0.6 * torch.rand(BATCH, 1, 1, 1, generator=generator)
    crops = (crops * tint * gain).clamp(0.0, 1.0)
    if mixing < 0.3:
        share = 0.5 * torch.rand(BATCH, 1, 1, 1, generator=generator)
        crops = (1.0 - share) * crops + share * crops.flip(0)
    return crops


def perturbed(student: Recognizer, crops: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Crops after one step, from a random start, that takes the student's embeddings away from the labels.

    The steps are as long as the DSSIM allows, in its own metric (see ``cloak.constraint``).
    """
    texture = 2.0 * local_statistics(crops)[1].mean(dim=1, keepdim=True).clamp_min(0.0) + C2

    def length(step: Tensor) -> Tensor:
        cost = (step**2 / (2.0 * texture)).mean(dim=(1, 2, 3), keepdim=True)
        return (DSSIM / cost.clamp_min(1e-30)).sqrt()

    noise = texture.sqrt() * torch.randn(crops.shape, generator=generator)
    delta = (0.5 * length(noise) * noise).requires_grad_(True)
    (gradient,) = torch.autograd.grad((student(crops + delta) * labels).sum(), delta)
    step = gradient * texture
    moved = delta.detach() - length(step) * step
    return (crops + length(moved).clamp_max(1.0) * moved).clamp(0.0, 1.0)


def train(student: Recognizer, teacher: Recognizer, faces: Tensor, steps: int, checkpoint: Path) -> None:
    """Train in place, from the last checkpoint if there is one."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(student.network.parameters(), lr=RATE)
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        generator.set_state(state["generator"])
        done = state["done"]
    began = time.monotonic()
    for number in range(done + 1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = RATE * max(0.05, 0.5 + 0.5 * math.cos(math.pi * (number - 1) / steps))
        loss = train_step(student, teacher, draw(faces, generator, teacher.spec.size), optimiser, generator)
        if number % CHECKPOINT_EVERY == 0:
            print(f"{time.monotonic() - began:.0f} s, step {number}: 1 - cosine {loss:.4f}", flush=True)
            kept = {"network": student.network.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**kept, "generator": generator.get_state(), "done": number}, checkpoint)


def train_step(
    student: Recognizer,
    teacher: Recognizer,
    crops: Tensor,
    optimiser: torch.optim.Adam,
    generator: torch.Generator,
) -> float:
    """One batch: perturb, embed, learn; the loss."""
    with torch.no_grad():
        labels = teacher(crops)
    student.requires_grad_(False)
    shown = perturbed(student, crops, labels, generator)
    student.network.requires_grad_(True)
    loss = 1.0 - F.cosine_similarity(student(shown), labels).mean()
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.item()


if __name__ == "__main__":
    main()
