"""Which recognisers a run is made against, and what the user is told of them."""

import sys
from pathlib import Path

import pytest

from cloak import Cloaker, UsageError, WeightsError
from cloak.methods import find_mode
from cloak.recognizers import SURROGATES
from cloak.surrogates import AUTO, load_surrogates, measured_mode
from tests.test_bench_evaluators import colour_model

MOBILENET = "mobilenetv2.onnx"


def names(*references: str) -> list[str]:
    return [recognizer.spec.name for recognizer in load_surrogates(references)[0]]


def own_model(weights: Path, text: str = "") -> None:
    pytest.importorskip("onnx2torch", reason="needs onnx2torch (pip install -e .[dev])")
    colour_model(weights)
    (weights / "mine.toml").write_text(f'{text}\nfile = "colours.onnx"')


def test_auto_with_nothing_fetched_is_the_embedded_ones(weights: Path) -> None:
    recognizers, notes = load_surrogates()
    assert [recognizer.spec.name for recognizer in recognizers] == [*SURROGATES]
    assert notes == ("surrogates: dlib-robust, sface, mobilefacenet, lightcnn, facenet-ms1m",)


def test_auto_takes_what_the_user_has(weights: Path) -> None:
    own_model(weights, 'name = "My own recogniser"')
    recognizers, notes = load_surrogates()
    assert [recognizer.spec.name for recognizer in recognizers] == [*SURROGATES, "mine"]
    assert notes == ("surrogates: dlib-robust, sface, mobilefacenet, lightcnn, facenet-ms1m, mine",)
    (weights / "colours.onnx").unlink()
    assert names(AUTO) == [*SURROGATES]


def test_auto_leaves_out_what_cannot_be_loaded_and_says_why(weights: Path) -> None:
    (weights / "20180402-114759-vggface2.pt").write_bytes(b"damaged")
    (weights / "mine.toml").write_text("[project]")
    recognizers, notes = load_surrogates()
    assert [recognizer.spec.name for recognizer in recognizers] == [*SURROGATES]
    assert notes[1].startswith("facenet-vggface2 is on disk but left out: ")
    assert "expected sha256 281cebca" in notes[1]
    assert notes[2].startswith(f"mine is on disk but left out: {weights / 'mine.toml'}: expected name, input")
    with pytest.raises(WeightsError, match="expected sha256 281cebca"):
        load_surrogates(["facenet-vggface2"])


def test_a_journal_can_tell_a_surrogate_from_another_of_its_name(weights: Path) -> None:
    own_model(weights)
    first = Cloaker(surrogates=["mine"]).settings
    assert Cloaker(surrogates=["mine"]).settings == first
    (weights / "mine.toml").write_text('share = 1\nfile = "colours.onnx"')
    slower = Cloaker(surrogates=["mine"]).settings
    (weights / "mine.toml").write_text('file = "colours.onnx"\n[input]\nchannels = "BGR"')
    other = Cloaker(surrogates=["mine"]).settings
    assert len({str(settings["surrogates"]) for settings in (first, slower, other)}) == 3


def test_named_ones_come_in_their_order_and_beside_auto(weights: Path, tmp_path: Path) -> None:
    own_model(weights)
    other = tmp_path / "other.toml"
    other.write_text(f'file = "{weights / "colours.onnx"}"')
    assert names("mine", "dlib") == ["mine", "dlib"]
    assert names(str(other), AUTO) == [*SURROGATES, "mine", "other"]
    assert load_surrogates(["dlib"])[1] == ("surrogates: dlib",)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        (["dlib", "dlib"], "expected surrogates, each once; got dlib twice"),
        (["mine", AUTO, "dlib-robust"], "expected surrogates, each once; got dlib-robust, mine twice"),
        ([], "expected surrogates, each once; got none"),
        ([AUTO, "arcface"], "expected a recogniser, one of dlib, .*mine, .*; got 'arcface'"),
    ],
)
def test_nothing_something_twice_and_unknown_ones_are_refused(
    weights: Path, references: list[str], message: str
) -> None:
    own_model(weights)
    with pytest.raises(UsageError, match=rf"{message}$"):
        load_surrogates(references)


@pytest.mark.parametrize("reference", ["mine", AUTO])
def test_a_licence_that_is_not_commercial_is_said(weights: Path, reference: str) -> None:
    own_model(weights, 'licence = "CC-BY-NC-4.0"\ncommercial = false')
    notes = load_surrogates([reference])[1]
    assert notes[1:] == ("mine: its licence (CC-BY-NC-4.0) does not allow commercial use",)


def test_what_lacks_a_package_is_left_out_with_a_word(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights / MOBILENET).write_bytes(b"network")
    (weights / "edgeface_s_gamma_05.pt").write_bytes(b"network")
    for package in ("onnx2torch", "timm"):
        monkeypatch.setitem(sys.modules, package, None)  # as import sees a package that is not there
    recognizers, notes = load_surrogates()
    assert [recognizer.spec.name for recognizer in recognizers] == [*SURROGATES]
    assert notes[1:] == (
        "mobilenetv2-ms1mv2 is on disk but left out: it needs onnx2torch (pip install 'cloak[models]')",
        "edgeface-s is on disk but left out: it needs timm (pip install 'cloak[models]')",
    )


def test_comparing_takes_no_gradients(weights: Path) -> None:
    module = weights / "rounded_colours.py"
    module.write_text("def embed(crops):\n    return crops.detach().mean(dim=(2, 3)).round(decimals=3)\n")
    sys.path.insert(0, str(weights))
    try:
        assert load_surrogates(["rounded_colours:embed"], gradients=False)[0][0].spec.name == "rounded_colours.embed"
        with pytest.raises(UsageError, match="expected a network with gradients"):
            load_surrogates(["rounded_colours:embed"])
    finally:
        sys.path.remove(str(weights))


def test_of_a_recogniser_and_its_robust_twin_one_is_fooled_and_the_other_judges(weights: Path) -> None:
    assert names(AUTO) == [*SURROGATES]
    assert [recognizer.spec.name for recognizer in load_surrogates(gradients=False)[0]] == [
        "dlib",
        "sface",
        "mobilefacenet",
        "lightcnn",
        "facenet-ms1m",
    ]
    assert names("dlib", "dlib-robust") == ["dlib", "dlib-robust"]


def test_a_copy_of_what_ships_counts_once(weights: Path) -> None:
    (weights / "face_recognition_sface_2021dec.onnx").write_bytes(b"would be loaded, and found damaged")
    assert names(AUTO) == [*SURROGATES]
    assert len(load_surrogates()[1]) == 1


def test_a_shipped_file_that_is_gone_is_no_reason_to_go_on_without_it(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloak.weights.shipped_weights", lambda: tmp_path / "gone")
    with pytest.raises(WeightsError, match=r"dlib_robust_v1\.safetensors: expected model weights, .*; reinstall cloak"):
        load_surrogates()


def test_what_to_expect_was_measured_for_cloaks_made_as_usual_or_with_more() -> None:
    surrogates, _ = load_surrogates(["auto"])
    assert measured_mode(find_mode("low"), surrogates) == "low"
    assert measured_mode(find_mode("low", steps=200), surrogates) == "low"
    for other in (find_mode("low", steps=40), find_mode("low", apart=True)):
        assert measured_mode(other, surrogates) == ""
    assert measured_mode(find_mode("low"), surrogates[1:]) == ""
