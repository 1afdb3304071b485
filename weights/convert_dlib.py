"""Convert dlib's face recognition network to ``dlib_resnet29_v1.safetensors``.

    pip install face-recognition-models
    python weights/convert_dlib.py [--model dlib_face_recognition_resnet_model_v1.dat] [--faces DIR]

Each convolution's affine layer is folded into it in float64. The file also carries
``embedding_mean``, the mean embedding of many people: dlib's embeddings lie in a narrow cone,
and a cosine says nothing before their mean is subtracted. With ``--faces DIR`` (a tree of
photos, one person each) it is measured anew, otherwise taken over from the present file.
"""

import argparse
import importlib.metadata
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cloak.align import crop_face
from cloak.detect import FaceDetector
from cloak.photo import read_photo
from cloak.recognizers import Recognizer
from cloak.recognizers.dlib_resnet import DlibResNet29
from cloak.recognizers.source import from_manifest
from weights.conversion import checked, write_weights

SOURCE = "dlib_face_recognition_resnet_model_v1.dat"
SOURCE_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
OUTPUT = Path(__file__).with_name("dlib_resnet29_v1.safetensors")


class DlibReader:
    """Reads dlib's serialisation: ints of 1 + n bytes, float32 tensors, little endian."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def seek_past(self, *tags: bytes) -> bytes:
        """Move behind the nearest of the layer names ``tags`` and return it; b"" at the end."""
        found = [(at, tag) for tag in tags if (at := self.data.find(tag, self.position)) >= 0]
        if not found:
            return b""
        at, tag = min(found)
        self.position = at + len(tag)
        return tag

    def read_int(self) -> int:
        head = self.data[self.position]
        length = head & 0x0F
        start = self.position + 1
        self.position = start + length
        value = int.from_bytes(self.data[start : self.position], "little")
        return -value if head & 0x80 else value

    def read_tensor(self) -> NDArray[np.float64]:
        version, *shape = (self.read_int() for _ in range(5))
        if version != 2:
            raise ValueError(f"expected a tensor of version 2 at byte {self.position}, got {version}")
        count = int(np.prod(shape))
        values = np.array(struct.unpack_from(f"<{count}f", self.data, self.position))
        self.position += 4 * count
        return values


def read_layers(data: bytes) -> Iterator[tuple[bytes, NDArray[np.float64]]]:
    """The layers that have parameters, from the input up: (name, flat parameters)."""
    reader = DlibReader(data)
    while tag := reader.seek_past(b"con_4", b"affine_", b"fc_2"):
        if tag == b"fc_2":
            reader.read_int(), reader.read_int()  # outputs, inputs: known from the network
        yield tag, reader.read_tensor()


def convert(data: bytes) -> dict[str, Tensor]:
    """dlib's file -> state dict of ``DlibResNet29``."""
    layers = read_layers(data)
    state = {}
    for name, module in DlibResNet29().named_modules():
        if isinstance(module, torch.nn.Conv2d):
            (tag, conv), (affine_tag, affine) = next(layers), next(layers)
            if (tag, affine_tag) != (b"con_4", b"affine_"):
                raise ValueError(f"expected con_4 and affine_ for {name}, got {tag!r} and {affine_tag!r}")
            outputs = module.out_channels
            gamma, beta = affine[:outputs], affine[outputs:]
            filters = conv[:-outputs].reshape(module.weight.shape)
            state[f"{name}.weight"] = filters * gamma[:, None, None, None]
            state[f"{name}.bias"] = conv[-outputs:] * gamma + beta
        elif isinstance(module, torch.nn.Linear):
            tag, matrix = next(layers)
            if tag != b"fc_2":
                raise ValueError(f"expected fc_2 for {name}, got {tag!r}")
            state[f"{name}.weight"] = matrix.reshape(module.in_features, module.out_features).T.copy()
    if next(layers, None) is not None:
        raise ValueError("the file holds more layers than the network")
    return {name: torch.from_numpy(values).float() for name, values in state.items()}


def measure_mean(network: DlibResNet29, folder: Path) -> Tensor:
    """Mean raw embedding over the largest face of every photo below ``folder``."""
    spec = from_manifest("dlib").spec
    recognizer = Recognizer(spec, network)
    detector = FaceDetector()
    embeddings = []
    for path in sorted(folder.rglob("*.jpg")):
        pixels = read_photo(path).pixels
        for face in detector.detect(pixels)[:1]:
            crop = crop_face(pixels, face.landmarks, spec.template, spec.size)
            embeddings.append(recognizer.raw(crop)[0].double())
    print(f"mean embedding of {len(embeddings)} faces below {folder}")
    return torch.stack(embeddings).mean(dim=0).float()


def find_source() -> Path:
    """The network's file inside the installed package face-recognition-models."""
    for file in importlib.metadata.files("face-recognition-models") or []:
        if file.name == SOURCE:
            return Path(str(file.locate()))
    raise SystemExit(f"{SOURCE} is not in the installed package; pass it with --model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help=f"path of {SOURCE}")
    parser.add_argument("--faces", type=Path, help="photos of many people, to measure the mean embedding")
    arguments = parser.parse_args()

    data = checked((arguments.model or find_source()).read_bytes(), SOURCE_SHA256, f"{SOURCE}: ")
    state = convert(data)
    network = DlibResNet29()
    network.load_state_dict(state)
    mean = measure_mean(network, arguments.faces) if arguments.faces else load_file(OUTPUT)["embedding_mean"]
    write_weights({**state, "embedding_mean": mean}, OUTPUT)


if __name__ == "__main__":
    main()
