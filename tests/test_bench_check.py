"""The check of a recogniser's preprocessing, with analytic recognisers and, where it is there, a real one.

Each person of the synthetic tree has one face in all photos, but for the blue channel, which
differs from photo to photo: who looks at the red channel knows everybody, who looks at the blue one nobody.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from cloak.bench.check import FARS, SCALINGS, Check, Fit, alternatives, check_recognizer, separation
from cloak.bench.datasets import read_dataset
from cloak.cli import main
from cloak.errors import UsageError
from cloak.recognizers import InputSpec, find_source
from cloak.toml import tomllib
from tests.helpers import ROOT, SAMPLES, smooth_noise

RIGHT, WRONG, USAGE = 0, 1, 2
PEOPLE = {"Eileen": ("astronaut.png", (130, 0, 330, 230)), "Grace": ("grace_hopper.jpg", (90, 20, 440, 420))}


pytestmark = pytest.mark.usefixtures("one_thread")


def red(crops: Tensor) -> Tensor:
    """Looks at the network's first channel, whatever its scale and shift."""
    cells = nn.functional.adaptive_avg_pool2d(crops[:, 0], 8).flatten(1)
    return cells - cells.mean(dim=1, keepdim=True)


def red_in_range(crops: Tensor) -> Tensor:
    """The same, and breaks where numbers are larger than those of its training."""
    return red(crops) / (crops.abs().amax(dim=(1, 2, 3)) < 2.0)[:, None]


def red_in_numpy(crops: Tensor) -> object:
    """The same without gradients."""
    return red(crops).numpy()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for seed, (name, (file, box)) in enumerate(PEOPLE.items()):
        (root / name).mkdir()
        with Image.open(SAMPLES / file) as image:
            pixels = np.array(image.convert("RGB").crop(box).resize((200, 230)))
        for number in range(3):
            noise = smooth_noise(230, 200, 10 * seed + number, grey=True)[..., 2].astype(np.float64)
            pixels[..., 2] = np.clip(0.6 * pixels[..., 0] + 1.2 * (noise - 128), 0, 255)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def specification(folder: Path, text: str, entry: str = "red") -> str:
    path = folder / "own.toml"
    path.write_text(f'entry = "tests.test_bench_check:{entry}"\n{text}')
    return str(path)


def check(tree: Path, reference: str) -> Check:
    return check_recognizer(find_source(reference), read_dataset(tree, people=2, cloaked=1, distractors=0), photos=3)


def test_the_right_preprocessing_is_found_to_fit(tree: Path, tmp_path: Path) -> None:
    found = check(tree, specification(tmp_path, "[input]\nscale = 255.0\nmean = [0.0, 0.0, 0.0]"))
    assert (found.name, found.surrogate, found.faces, found.people, found.impostors) == ("own", "", 6, 2, 9)
    assert found.best is found.stated is found.fits[0]
    assert found.stated.tar == (1.0, 1.0)
    fits = {fit.label: fit.separation for fit in found.fits}
    assert max(fits[label] for label in fits if "BGR" in label) < 0.5 * found.stated.separation
    assert set(fits) == set(alternatives(found.stated.input))


def test_the_wrong_channel_order_is_found(tree: Path, tmp_path: Path) -> None:
    found = check(tree, specification(tmp_path, '[input]\nchannels = "BGR"'))
    assert found.best.label == "RGB, -1..1"
    assert found.best.tar == (1.0, 1.0)
    assert found.stated.genuine < 0.8 < 0.9 < found.best.genuine


def test_embeddings_that_are_no_numbers_match_nobody(tree: Path, tmp_path: Path) -> None:
    fits = {fit.label: fit for fit in check(tree, specification(tmp_path, "", entry="red_in_range")).fits}
    assert fits["as stated"].tar == fits["RGB, 0..1"].tar == (1.0, 1.0)
    assert fits["RGB, 0..255"].tar == (0.0, 0.0)
    assert fits["RGB, 0..255"].separation == 0.0


def test_a_recogniser_without_gradients_is_checked_as_an_evaluator(tree: Path, tmp_path: Path) -> None:
    found = check(tree, specification(tmp_path, "", entry="red_in_numpy"))
    assert "Can't call numpy() on Tensor that requires grad" in found.surrogate
    assert found.best is found.stated


@pytest.mark.parametrize("photos", [1, 0])
def test_too_few_faces_are_said(tree: Path, tmp_path: Path, photos: int) -> None:
    shutil.copytree(tree, tmp_path / "tree")
    for index, name in enumerate(PEOPLE):
        for number in range(photos, 3):  # those that stay show a face
            Image.fromarray(smooth_noise(120, 120, number + 3 * index)).save(tmp_path / "tree" / name / f"{number}.png")
    with pytest.raises(UsageError, match="expected faces of at least two people, and several of one, got fewer; pass"):
        check(tmp_path / "tree", specification(tmp_path, ""))


@pytest.mark.parametrize("scale", [127.5, 128.0])
def test_alternatives_leave_out_what_is_as_good_as_stated(scale: float) -> None:
    found = alternatives(InputSpec(scale=scale))
    assert found["as stated"].scale == scale
    assert set(found) == {"as stated", "BGR, -1..1"} | {
        f"{channels}, {scaling}" for channels in ("RGB", "BGR") for scaling in SCALINGS if scaling != "-1..1"
    }
    assert {given.size for given in alternatives(InputSpec(size=(8, 9))).values()} == {(8, 9)}


def test_alternatives_have_all_usual_ones_beside_an_unusual_one() -> None:
    found = alternatives(InputSpec(mean=(91.5, 103.9, 131.1), scale=1.0))
    assert len(found) == 1 + 2 * len(SCALINGS)
    for spec in found.values():
        assert sum(spec == other for other in found.values()) == 1


@pytest.mark.parametrize(("apart", "best"), [(4.0, "as stated"), (5.1, "as stated"), (5.2, "BGR")])
def test_the_stated_one_is_kept_unless_another_is_clearly_better(apart: float, best: str) -> None:
    stated = Fit("as stated", InputSpec(), (1.0, 1.0), (0.3, 0.4), 0.5, 5.0)
    other = Fit("BGR", InputSpec(channels="BGR"), (1.0, 1.0), (0.3, 0.4), 0.5, apart)
    assert Check("own", "", 9, 3, 9, (stated, other)).best.label == best


@pytest.mark.parametrize(
    ("separations", "best"),
    [((2.0, 2.0, 2.0), 0), ((1.95, 2.0, 2.0), 0), ((1.0, 1.99, 2.0), 1), ((1.0, 1.5, 2.0), 2), ((-3.0, -2.0, -1.0), 2)],
)
def test_the_first_that_is_as_good_as_the_best_fits(separations: tuple[float, ...], best: int) -> None:
    fits = tuple(Fit(str(value), InputSpec(), (), (), 0.0, value) for value in separations)
    assert Check("own", "", 6, 2, 9, fits).best is fits[best]


def test_separation_is_counted_in_standard_deviations() -> None:
    random = np.random.default_rng(0)
    genuine, impostors = random.normal(0.6, 0.1, 100_000), random.normal(0.1, 0.1, 100_000)
    assert separation(genuine, impostors) == pytest.approx(5.0, rel=0.01)
    assert separation(3 * genuine - 1, 3 * impostors - 1) == pytest.approx(5.0, rel=0.01)
    assert separation(np.ones(3), np.ones(4)) == 0.0


# The command


def run(reference: str, tree: Path, *options: str) -> int:
    return main(["models", "check", reference, "--data", str(tree), "--people", "2", "--photos", "3", *options])


def test_the_command_prints_what_mends_a_specification(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(specification(tmp_path, '[input]\nchannels = "BGR"'), tree) == WRONG
    output = capsys.readouterr()
    assert 'WRONG PREPROCESSING: "RGB, -1..1" fits better than the stated one; put into the spec' in output.out
    assert "so few impostor pairs" in output.out
    assert output.err == ""
    printed = output.out[output.out.index("[input]") :]
    assert tomllib.loads(printed)["input"] == {"channels": "RGB", "mean": [127.5] * 3, "scale": 127.5}
    assert run(specification(tmp_path, printed), tree) == RIGHT
    mended = capsys.readouterr().out
    assert "own: can be surrogate and evaluator; measured on 6 faces of 2 people, 9 impostor pairs" in mended
    assert "the stated preprocessing fits best; to have verdicts, put into the specification:" in mended
    embedding = tomllib.loads(mended[mended.index("[embedding]") :])["embedding"]
    assert embedding == tomllib.loads(printed)["embedding"]
    assert embedding["far"] == FARS[0]
    assert find_source(str(tmp_path / "own.toml")).spec.threshold == embedding["threshold"]


@pytest.mark.parametrize(("channels", "code"), [("RGB", RIGHT), ("BGR", WRONG)])
def test_the_command_prints_json(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], channels: str, code: int
) -> None:
    assert run(specification(tmp_path, f'[input]\nchannels = "{channels}"'), tree, "--json", "--quiet") == code
    record = json.loads(capsys.readouterr().out)
    assert record["best"] == ("as stated" if channels == "RGB" else "RGB, -1..1")
    assert record["fits"][0]["label"] == "as stated"
    assert record["fits"][0]["input"]["channels"] == channels
    assert len(record["fits"]) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--people", "1"], "expected at least 2 people, got 1"),
        (["--photos", "1"], "expected at least 2 photos, got 1"),
        (["--data", "absent"], "absent: expected a folder with a folder of photos for each person, got none"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_loaded(
    tree: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dlib", tree, *options) == USAGE
    assert message in capsys.readouterr().err


def test_an_unknown_recogniser_is_wrong_usage(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("arcface", tree) == USAGE
    assert "expected a recogniser, one of dlib" in capsys.readouterr().err
    assert run("sface-onnx", tree) == WRONG
    assert "run: cloak models fetch sface-onnx" in capsys.readouterr().err


# A real recogniser


@pytest.mark.parametrize(("channels", "code"), [("RGB", RIGHT), ("BGR", WRONG)])
def test_a_real_recogniser_is_found_to_want_rgb(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], channels: str, code: int
) -> None:
    pytest.importorskip("onnx2torch", reason="needs onnx2torch (pip install -e .[dev])")
    text = (ROOT / "benchmarks/evaluators/mfn_casia.toml").read_text()
    own = tmp_path / "own.toml"
    own.write_text(text.replace("../../../shared", str(shared.resolve())).replace('"RGB"', f'"{channels}"'))
    data = str(shared / "data/lfw-dev")
    assert main(["models", "check", str(own), "--data", data, "--people", "12", "--photos", "3", "--json"]) == code
    record = json.loads(capsys.readouterr().out)
    assert record["best"] == ("as stated" if channels == "RGB" else "RGB, -1..1")
