"""Manifest -> verified local file -> tensors. Nothing here uses the network."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from cloak.errors import WeightsError
from cloak.toml import tomllib

PACKAGE = Path(__file__).parent


def weights_folder() -> Path:
    """Where the shipped weights lie: inside the installed package, or beside it in a checkout."""
    installed = PACKAGE / "_weights"
    return installed if installed.is_dir() else PACKAGE.parent / "weights"


@cache
def read_manifest() -> Mapping[str, Mapping[str, Any]]:
    """``weights/manifest.toml``: recogniser -> its entry.

    Raises:
        WeightsError: the manifest is absent: the installation is broken.
    """
    path = weights_folder() / "manifest.toml"
    try:
        manifest: Mapping[str, Mapping[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: expected the manifest of the weights, got {error.strerror}; reinstall cloak"
        ) from None
    return manifest


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(entry: Mapping[str, Any], folder: Path | None = None) -> dict[str, Tensor]:
    """Read the tensors of one manifest entry, if the file is the very one it names.

    Args:
        entry: with ``file`` and ``sha256``.
        folder: where the file lies, if not with the shipped weights.

    Raises:
        WeightsError: the file is absent or differs.
    """
    path = (folder or weights_folder()) / entry["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: expected model weights, got {error.strerror}; reinstall cloak") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"]:
        raise WeightsError(
            f"{path}: expected sha256 {entry['sha256']}, got {digest}; "
            "the file is damaged or was replaced, reinstall cloak"
        )
    return load(data)
