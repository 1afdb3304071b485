"""Manifest -> verified local file. Nothing here uses the network."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cloak.errors import WeightsError
from cloak.folders import own_weights, shipped_weights
from cloak.toml import tomllib


@cache
def read_manifest() -> Mapping[str, Mapping[str, Any]]:
    """``weights/manifest.toml``: recogniser -> its entry.

    Raises:
        WeightsError: the manifest is absent: the installation is broken.
    """
    path = shipped_weights() / "manifest.toml"
    try:
        manifest: Mapping[str, Mapping[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: expected the manifest of the weights, got {error.strerror}; reinstall cloak"
        ) from None
    return manifest


def find_weights(file: str) -> Path:
    """Where a file of the manifest is, or would be: with the shipped weights, else with the user's own."""
    shipped = shipped_weights() / file
    return shipped if shipped.is_file() else own_weights() / file


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_verified(path: Path, sha256: str, advice: str) -> bytes:
    """Read a file, if it is the very one that is expected.

    Args:
        path: the file.
        sha256: what its hash must be; empty where none is known.
        advice: what to do where it is absent or another.

    Raises:
        WeightsError: it is absent or differs.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: expected model weights, got {error.strerror}; {advice}") from None
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and digest != sha256:
        raise WeightsError(
            f"{path}: expected sha256 {sha256}, got {digest}; the file is damaged or was replaced, {advice}"
        )
    return data
