"""``cloak models fetch`` and what comes after it, against a web server on this machine."""

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from cloak import WeightsError
from cloak.cli import main
from cloak.folders import shipped_weights
from cloak.models import find_model
from cloak.recognizers import EMBEDDED, SURROGATES, load_recognizer
from cloak.recognizers.dlib_resnet import DlibResNet29
from cloak.recognizers.onnx_file import smooth_crops
from cloak.surrogates import load_surrogates
from cloak.weights import read_manifest
from tests.helpers import SAMPLES
from tests.test_bench_evaluators import colour_model
from tests.test_fetch import Page, Web

DONE, NOT_DONE, USAGE = 0, 1, 2

Capture = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> str:
    """No test leaves this machine: other hosts are asked through a proxy where nothing listens."""
    for name in ("NO_PROXY", "CLOAK_MIRROR", "HF_ENDPOINT", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, refused)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return refused


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_weights_folder: Path) -> Path:
    """The folder that weights are fetched into; not made yet."""
    folder = tmp_path / "cache" / "weights"
    monkeypatch.setenv("CLOAK_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def colours(tmp_path: Path) -> bytes:
    """A recogniser in ONNX: the mean colour."""
    return colour_model(tmp_path).read_bytes()


@pytest.fixture
def manifest(tmp_path: Path, web: Web, weights: Path, colours: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """cloak as installed, with further entries in its manifest, whose files the server has."""
    web.pages = {"/colours.onnx": Page(colours), "/free.onnx": Page(colours), "/gone.onnx": Page(status=404)}
    digest = hashlib.sha256(colours).hexdigest()
    entries = {
        "colours": f'file = "colours.onnx"\nsha256 = "{digest}"\nbytes = {len(colours)}\nlicence = "MIT"',
        "free": 'file = "free.onnx"\nlicence = "CC-BY-NC-4.0"\ncommercial = false',
        "gone": f'file = "gone.onnx"\nsha256 = "{digest}"\nlicence = "MIT"',
    }
    installed = tmp_path / "site-packages/cloak/_weights"
    installed.mkdir(parents=True)
    text = (shipped_weights() / "manifest.toml").read_text()
    for name, entry in entries.items():
        text += f'\n[{name}]\n{entry}\naddresses = ["{web.at(f"/{name}.onnx")}"]\n'
    (installed / "manifest.toml").write_text(text)
    for name in EMBEDDED:
        shutil.copy(shipped_weights() / read_manifest()[name]["file"], installed)
    monkeypatch.setattr("cloak.folders.PACKAGE", installed.parent)
    read_manifest.cache_clear()
    yield web
    read_manifest.cache_clear()


def fetch(*arguments: str) -> int:
    return main(["models", "fetch", *arguments])


# Fetching


def test_a_recogniser_is_fetched_verified_and_used(
    manifest: Web, weights: Path, colours: bytes, capsys: Capture
) -> None:
    pytest.importorskip("onnx2torch", reason="needs onnx2torch (pip install -e .[dev])")
    assert [recognizer.spec.name for recognizer in load_surrogates()[0]] == [*SURROGATES]
    assert fetch("colours") == DONE
    output = capsys.readouterr()
    path, digest = weights / "colours.onnx", hashlib.sha256(colours).hexdigest()
    assert output.out == f"colours: licence MIT\ncolours: {path}, sha256 {digest}, as expected\n"
    assert output.err == ""
    assert path.read_bytes() == colours
    assert main(["models", "verify", "colours"]) == DONE
    assert capsys.readouterr().out == f"colours: {path}: sha256 as expected\n"
    assert fetch("colours") == DONE
    assert f"colours: {path} (there already), sha256" in capsys.readouterr().out
    assert manifest.paths() == ["/colours.onnx"]
    assert [recognizer.spec.name for recognizer in load_surrogates()[0]] == [*SURROGATES, "colours"]
    crops = smooth_crops(2, (112, 112)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(load_recognizer("colours")(crops)[:, 0].sum(), crops)
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_a_fetched_recogniser_compares(manifest: Web, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("onnx2torch", reason="needs onnx2torch (pip install -e .[dev])")
    photo = tmp_path / "me.png"
    Image.open(SAMPLES / "astronaut.png").crop((130, 10, 330, 230)).save(photo)
    assert main(["compare", str(photo), str(photo), "--recognizers", "colours", "--json"]) == NOT_DONE
    assert "run: cloak models fetch colours" in capsys.readouterr().err
    assert fetch("colours", "--quiet") == DONE
    assert capsys.readouterr() == ("", "")
    both = ["--recognizers", "colours", "--recognizers", "dlib"]
    assert main(["compare", str(photo), str(photo), *both, "--json"]) == DONE
    similarities = json.loads(capsys.readouterr().out)["faces"][0]["similarities"]
    assert similarities == {"colours": pytest.approx(1.0, abs=1e-5), "dlib": pytest.approx(1.0, abs=1e-5)}


def test_a_state_dict_is_fetched_and_used(manifest: Web, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DlibResNet29().eval()
    torch.save(network.state_dict(), tmp_path / "other.pt")
    manifest.pages["/other.pt"] = Page((tmp_path / "other.pt").read_bytes())
    with (tmp_path / "site-packages/cloak/_weights/manifest.toml").open("a") as file:
        file.write(
            f'[other]\nfile = "other.pt"\narchitecture = "dlib_resnet29"\naddresses = ["{manifest.at("/other.pt")}"]'
        )
        file.write("\n[other.input]\nsize = [150, 150]\n")
    read_manifest.cache_clear()
    assert fetch("other") == DONE
    crops = smooth_crops(1, (150, 150))
    torch.testing.assert_close(load_recognizer("other").raw(crops), network(2.0 * crops - 1.0), atol=1e-5, rtol=0)


def test_a_licence_that_is_not_commercial_is_said_before_the_download(manifest: Web, capsys: Capture) -> None:
    assert fetch("free") == DONE
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "free: licence CC-BY-NC-4.0, which does not allow commercial use"


def test_what_needs_no_download_and_what_cannot_be_fetched(manifest: Web, weights: Path, capsys: Capture) -> None:
    assert fetch("dlib") == DONE
    assert capsys.readouterr().out == "dlib: ships with cloak\n"
    assert fetch("insightface-r50") == NOT_DONE
    assert capsys.readouterr().err == (
        "cloak: insightface-r50: is not fetched by cloak; put it there, from buffalo_l.zip of "
        f"https://github.com/deepinsight/insightface/releases: {weights / 'w600k_r50.onnx'}\n"
    )
    assert not manifest.requests
    assert not weights.exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected names of recognisers or --recommended, got none; cloak models list has the names"),
        (["colours", "arcface"], "expected a recogniser, one of dlib, "),
    ],
)
def test_nothing_and_unknown_names_are_wrong_usage(
    manifest: Web, names: list[str], message: str, capsys: Capture
) -> None:
    assert fetch(*names) == USAGE
    assert message in capsys.readouterr().err
    assert not manifest.requests


def test_one_that_fails_does_not_keep_the_others(manifest: Web, weights: Path, capsys: Capture) -> None:
    assert fetch("gone", "colours", "colours") == NOT_DONE
    output = capsys.readouterr()
    assert output.err == (
        f"cloak: gone.onnx could not be downloaded: {manifest.at('/gone.onnx')}: status 404 Not Found; "
        f"download {manifest.at('/gone.onnx')} in a browser and put it at {weights / 'gone.onnx'}\n"
    )
    assert (weights / "colours.onnx").exists()
    assert manifest.paths() == ["/gone.onnx", "/colours.onnx"]
    assert output.out.count("colours: licence MIT") == 1


def test_without_a_network_recommended_says_what_to_do_by_hand(weights: Path, capsys: Capture) -> None:
    recommended = {name: entry for name, entry in read_manifest().items() if entry.get("recommended")}
    assert "facenet-vggface2" in recommended
    assert fetch("--recommended", "--quiet") == NOT_DONE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(recommended)
    for line, entry in zip(lines, recommended.values(), strict=True):
        address, path = entry["addresses"][0], weights / entry["file"]
        assert f"{address}: no connection: " in line
        assert line.endswith(f"; download {address} in a browser and put it at {path}")


# Files that are not the right ones


def test_a_file_that_was_damaged_is_refused_until_it_is_fetched_anew(
    manifest: Web, weights: Path, colours: bytes, capsys: Capture
) -> None:
    assert fetch("colours", "--quiet") == DONE
    (weights / "colours.onnx").write_bytes(colours[:-1])
    address = manifest.at("/colours.onnx")
    advice = f"run: cloak models fetch colours; or download {address} and put it there"
    with pytest.raises(WeightsError, match=rf"colours\.onnx: expected sha256 .*; the file is damaged or .*, {advice}"):
        load_recognizer("colours")
    assert main(["models", "verify", "colours"]) == NOT_DONE
    assert f"colours.onnx: damaged; {advice}" in capsys.readouterr().out
    assert fetch("colours") == DONE
    assert (weights / "colours.onnx").read_bytes() == colours
    assert load_recognizer("colours", gradients=False).spec.name == "colours"


def test_what_was_fetched_without_a_known_hash_is_held_to_that_of_its_first_download(
    manifest: Web, weights: Path, colours: bytes, capsys: Capture
) -> None:
    assert fetch("free") == DONE
    digest = hashlib.sha256(colours).hexdigest()
    assert f"sha256 {digest}, nobody published its hash: pinned as it is now" in capsys.readouterr().out
    assert find_model("free").sha256 == digest
    assert fetch("free") == DONE
    assert f"(there already), sha256 {digest}, as expected" in capsys.readouterr().out
    (weights / "free.onnx").write_bytes(b"replaced")
    with pytest.raises(WeightsError, match=rf"free\.onnx: expected sha256 {digest}, got"):
        load_recognizer("free")
    assert fetch("free") == NOT_DONE
    assert "free.onnx: expected the file of the first download" in capsys.readouterr().err
    assert (weights / "free.onnx").read_bytes() == b"replaced"
    (weights / "free.onnx").unlink()
    manifest.pages["/free.onnx"].body = b"another file by now"
    assert fetch("free") == NOT_DONE
    error = capsys.readouterr().err
    assert "this is not the file of the first download; to accept it, delete the entry of free.onnx in" in error
    assert not (weights / "free.onnx").exists()


# All of it without a network


def test_without_network_and_weights_the_embedded_one_works_and_the_others_say_how_to_come(weights: Path) -> None:
    assert load_recognizer("dlib")(smooth_crops(1, (150, 150))).shape == (1, 128)
    entry = read_manifest()["sface-onnx"]
    with pytest.raises(WeightsError) as error:
        load_recognizer("sface-onnx")
    assert str(error.value) == (
        f"{weights / entry['file']}: expected model weights, got No such file or directory; "
        f"run: cloak models fetch sface-onnx; or download {entry['addresses'][0]} and put it there"
    )
