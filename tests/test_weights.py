import hashlib
import shutil
from pathlib import Path

import pytest

from cloak import WeightsError
from cloak.weights import load_weights, read_manifest, weights_folder

FIELDS = {"title", "architecture", "file", "sha256", "bytes", "source", "licence", "paper", "input", "embedding"}


def test_every_file_of_the_manifest_is_there_with_its_hash_and_size() -> None:
    for entry in read_manifest().values():
        assert entry.keys() >= FIELDS
        data = (weights_folder() / entry["file"]).read_bytes()
        assert len(data) == entry["bytes"]
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]


def test_a_tampered_file_is_refused_before_use(tmp_path: Path) -> None:
    entry = read_manifest()["dlib"]
    path = tmp_path / entry["file"]
    shutil.copy(weights_folder() / entry["file"], path)
    load_weights(entry, tmp_path)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with pytest.raises(WeightsError, match=r"expected sha256 .*, got .*; the file is damaged or was replaced"):
        load_weights(entry, tmp_path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    entry = read_manifest()["dlib"]
    with pytest.raises(WeightsError, match=r"dlib_resnet29_v1\.safetensors: expected model weights, got No such file"):
        load_weights(entry, tmp_path)


def test_a_broken_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloak.weights.PACKAGE", tmp_path / "cloak")
    read_manifest.cache_clear()
    with pytest.raises(WeightsError, match=r"expected the manifest of the weights, got No such file.*reinstall cloak"):
        read_manifest()
    monkeypatch.undo()
    read_manifest.cache_clear()
    assert "dlib" in read_manifest()
