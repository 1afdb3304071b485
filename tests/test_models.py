import json
import shutil
from pathlib import Path

import pytest

from cloak.cli import main
from cloak.folders import shipped_weights
from cloak.models import ABSENT, DAMAGED, SOUND, UNKNOWN, Model, find_model, known_models
from cloak.recognizers import ARCHITECTURES, EMBEDDED
from tests.helpers import SAMPLES


@pytest.mark.parametrize("model", known_models(), ids=lambda model: str(model.name))
def test_every_model_is_described(model: Model) -> None:
    assert model.architecture in (*ARCHITECTURES, "ONNX")
    assert model.dimension > 0
    assert (model.far is None) == (model.threshold is None)
    assert all(text.strip() for text in (model.title, model.training_data, model.loss, model.distance, model.licence))
    assert model.embedded == (model.name in EMBEDDED)
    assert model.state() == (SOUND if model.embedded else ABSENT)
    assert model.present == model.embedded
    assert "dict" in model.advice or model.name in model.advice or "zip" in model.advice or model.embedded


def test_what_ships_may_be_used_by_everybody_and_one_of_it_judges() -> None:
    for name in EMBEDDED:
        model = find_model(name)
        assert model.commercial
        assert model.path
        assert model.path.stat().st_size == model.bytes
    judge = find_model("dlib")
    assert judge.far
    assert 0.0 < judge.far < 1.0


def test_absent_damaged_and_unknown_files_are_told_apart(own_weights_folder: Path) -> None:
    own_weights_folder.mkdir(exist_ok=True)
    sface, casia = own_weights_folder / "face_recognition_sface_2021dec.onnx", find_model("facenet-casia").path
    assert casia
    try:
        assert find_model("sface-onnx").state() == ABSENT
        sface.write_bytes(b"something else")
        casia.write_bytes(b"something")
        assert find_model("sface-onnx").state() == DAMAGED
        assert find_model("facenet-casia").state() == UNKNOWN
    finally:
        shutil.rmtree(own_weights_folder)


def test_the_command_lists_verifies_and_locates(capsys: pytest.CaptureFixture[str], own_weights_folder: Path) -> None:
    assert main(["models", "list"]) == 0
    text = capsys.readouterr().out
    for words in ("dlib face recognition ResNet-29 (2017)", "CC0-1.0: commercial use allowed", "at FAR 0.01"):
        assert words in text
    assert main(["models", "list", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert listed["dlib"]["state"] == SOUND
    assert listed["sface-onnx"]["state"] == ABSENT
    assert main(["models", "path"]) == 0
    assert Path(capsys.readouterr().out.strip()) == own_weights_folder
    assert main(["models", "verify"]) == 0
    assert "sha256 as expected" in capsys.readouterr().out


def test_damaged_weights_make_verify_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("manifest.toml", "dlib_resnet29_v1.safetensors"):
        shutil.copy(shipped_weights() / name, tmp_path / name)
    (tmp_path / "dlib_resnet29_v1.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr("cloak.weights.shipped_weights", lambda: tmp_path)
    assert main(["models", "verify"]) == 1
    assert "dlib_resnet29_v1.safetensors: damaged; reinstall cloak" in capsys.readouterr().out


def test_a_named_model_must_be_there_to_be_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "sface-onnx"]) == 1
    assert "absent; run: cloak models fetch sface-onnx; or download https://" in capsys.readouterr().out
    assert main(["models", "verify", "arcface"]) == 2
    assert "expected a recogniser, one of dlib" in capsys.readouterr().err


def test_a_wrong_specification_among_the_user_s_own_is_told_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOAK_WEIGHTS", str(tmp_path))
    (tmp_path / "bad.toml").write_text('file = "a.onnx"\n[embedding]\nthreshold = 5\n')
    wrong: list[str] = []
    models = known_models(wrong.append)
    assert "dlib" in {model.name for model in models}
    assert "bad" not in {model.name for model in models}
    assert "bad.toml: expected threshold of embedding" in wrong[0]
    assert main(["models", "list"]) == 0
    assert "bad.toml: expected threshold" in capsys.readouterr().err
    assert main(["models", "verify"]) == 1
    assert main(["compare", *[str(SAMPLES / "grace_hopper.jpg")] * 2]) == 0
