"""What the converters share: the published file, checked, comes in; the file that ships goes out."""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def read_published(description: str | None, name: str, sha256: str) -> bytes:
    """The file that a converter's only argument names, checked; another one ends the program.

    Args:
        description: the converter's docstring.
        name: as the file is published.
        sha256: the published file's.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help=name)
    return checked(parser.parse_args().model.read_bytes(), sha256)


def checked(data: bytes, sha256: str, prefix: str = "") -> bytes:
    """The data, if they have this hash; else the program ends with a sentence that begins with the prefix."""
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise SystemExit(f"{prefix}expected sha256 {sha256}, got {digest}")
    return data


def write_weights(state: Mapping[str, Tensor], output: Path) -> None:
    """Write the file that ships, and print what the manifest has to say of it."""
    save_file(dict(state), output)
    print(f"{output}: {output.stat().st_size} bytes, sha256 {hashlib.sha256(output.read_bytes()).hexdigest()}")
