import json
from dataclasses import replace
from pathlib import Path

import pytest

from cloak.cli import main
from cloak.models import ABSENT, DAMAGED, SOUND, Model, known_models
from cloak.recognizers import ARCHITECTURES, EMBEDDED, load_recognizer


@pytest.mark.parametrize("model", known_models(), ids=lambda model: str(model.name))
def test_every_model_is_described_and_sound(model: Model) -> None:
    assert model.architecture in ARCHITECTURES
    assert model.state() == SOUND
    assert model.path.stat().st_size == model.bytes
    assert 0.0 < model.far < 1.0
    assert all(text.strip() for text in (model.title, model.training_data, model.loss, model.distance, model.licence))
    recognizer = load_recognizer(model.name)
    assert (recognizer.spec.size, recognizer.spec.dimension) == (model.size, model.dimension)
    assert recognizer.spec.threshold == model.threshold


def test_what_ships_may_be_used_by_everybody() -> None:
    shipped = {model.name: model for model in known_models()}
    assert all(shipped[name].commercial for name in EMBEDDED)


def test_absent_and_damaged_files_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = (model for model in known_models() if model.name == "dlib")
    monkeypatch.setattr("cloak.models.weights_folder", lambda: tmp_path)
    assert model.state() == ABSENT
    model.path.write_bytes(b"something else")
    assert model.state() == DAMAGED
    assert replace(model, file="../absent").state() == ABSENT


def test_the_command_lists_verifies_and_locates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    text = capsys.readouterr().out
    for words in ("dlib face recognition ResNet-29 (2017)", "CC0-1.0: commercial use allowed", "at FAR 0.01"):
        assert words in text
    assert main(["models", "list", "--json"]) == 0
    (listed,) = (item for item in json.loads(capsys.readouterr().out) if item["name"] == "dlib")
    assert listed["state"] == SOUND
    assert main(["models", "path"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "manifest.toml").is_file()
    assert main(["models", "verify"]) == 0
    assert "sha256 as in the manifest" in capsys.readouterr().out


def test_damaged_weights_make_verify_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cloak.models.weights_folder", lambda: tmp_path)
    assert main(["models", "verify"]) == 1
    assert ABSENT in capsys.readouterr().out
