import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from cloak import WeightsError
from cloak.folders import shipped_weights
from cloak.recognizers.networks import tensors_of
from cloak.weights import read_manifest, read_verified

FIELDS = {"title", "year", "training_data", "loss", "file", "licence", "commercial", "paper", "embedding"}


def test_every_entry_is_described_and_what_ships_is_there_with_its_hash_and_size() -> None:
    for name, entry in read_manifest().items():
        assert entry.keys() >= FIELDS, name
        assert ("source" in entry) + ("addresses" in entry) + ("obtain" in entry) == 1, name
        assert all(address.startswith("https://") for address in entry.get("addresses", ()))
        if "source" in entry:
            data = (shipped_weights() / entry["file"]).read_bytes()
            assert len(data) == entry["bytes"]
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]


def shipped() -> tuple[Path, Any]:
    entry = read_manifest()["dlib"]
    return shipped_weights() / entry["file"], entry["sha256"]


def test_a_tampered_file_is_refused_before_use(tmp_path: Path) -> None:
    source, sha256 = shipped()
    path = tmp_path / source.name
    shutil.copy(source, path)
    tensors_of(read_verified(path, sha256, "do this"), path)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with pytest.raises(WeightsError, match=r"expected sha256 .*, got .*; the file is damaged or was replaced, do this"):
        read_verified(path, sha256, "do this")


def test_an_absent_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.pt: expected model weights, got No such file or directory; do this"):
        read_verified(tmp_path / "a.pt", "", "do this")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"weight": torch.zeros(1), "run": print}, path)
    with pytest.raises(WeightsError, match=r"evil\.pt: expected tensors .*, got"):
        tensors_of(path.read_bytes(), path)


@pytest.mark.parametrize("name", ["noise.pt", "noise.safetensors", "empty.pt", "empty.safetensors"])
def test_what_holds_no_tensors_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if "empty" in name else bytes(range(256)))
    with pytest.raises(WeightsError, match="expected tensors"):
        tensors_of(path.read_bytes(), path)


def test_a_list_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "list.pt"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(WeightsError, match="expected a state dict, got list"):
        tensors_of(path.read_bytes(), path)


def test_a_broken_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloak.folders.PACKAGE", tmp_path / "cloak")
    read_manifest.cache_clear()
    with pytest.raises(WeightsError, match=r"expected the manifest of the weights, got No such file.*reinstall cloak"):
        read_manifest()
    monkeypatch.undo()
    read_manifest.cache_clear()
    assert "dlib" in read_manifest()
