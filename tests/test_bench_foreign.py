"""Cloaks that other software made, from their files to the tables."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloak.bench.foreign import cloaked_file, foreign_method
from cloak.bench.protocol import add_files, entries_of, read_protocol, select_methods
from cloak.bench.run import run_protocol
from cloak.cli import main
from cloak.errors import PhotoError, UsageError
from tests.helpers import SAMPLES

pytest.importorskip("sklearn", reason="needs scikit-learn (pip install -e .[dev])")

PROTOCOL = """
people = 2
cloaked = 1
distractors = 0
evaluators = ["dlib"]
fars = [0.5]
resamples = 20

[[cloaks]]
methods = ["none"]
dssim = [0.009]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people with two photos each, as PNG and as JPEG."""
    root = tmp_path_factory.mktemp("tree")
    for name, box in (("grace_hopper.jpg", (120, 60, 410, 400)), ("astronaut.png", (130, 10, 330, 230))):
        face = Image.open(SAMPLES / name).convert("RGB").crop(box).resize((170, 190))
        person = root / "people" / name[:5]
        person.mkdir(parents=True)
        face.save(person / ("first.png" if name == "astronaut.png" else "first.jpg"), quality=98)
        face.resize((165, 185)).save(person / "second.png")
    return root


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.toml"
    path.write_text(PROTOCOL)
    return path


def other_software(tree: Path, folder: Path, levels: int) -> Path:
    """Noise of some grey levels on every photo, saved as other software names its files."""
    for photo in (tree / "people").glob("*/first.*"):
        pixels = np.asarray(Image.open(photo).convert("RGB")).astype(int)
        noisy = pixels + np.random.default_rng(0).integers(-levels, levels + 1, pixels.shape)
        target = folder / photo.parent.name / "first_cloaked.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(target)
    return folder


def test_files_are_measured_as_they_are_and_at_a_budget(protocol: Path, tree: Path, tmp_path: Path) -> None:
    folder = other_software(tree, tmp_path / "theirs", levels=24)
    loaded = add_files(read_protocol(protocol), "theirs", folder)
    results, shown = run_protocol(loaded, tree, tmp_path / "out")
    none, raw, scaled = results["entries"]
    assert [entry["name"] for entry in results["entries"]] == ["none", "theirs", "theirs@0.009"]
    assert (raw["files"], raw["failed"], raw["unchanged"], raw["dssim"]) == (2, [], 0, None)
    assert (raw["surrogates"], raw["seconds_per_face"], scaled["settings"]) == ([], None, {})
    copies = sorted(path for path in (tmp_path / "out" / "cloaked" / "theirs").rglob("*") if path.is_file())
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in sorted(folder.glob("*/*"))]
    assert {path.suffix for path in copies} == {".png"}
    assert raw["visibility"]["face"]["dssim"]["mean"] > 0.02
    assert (
        0.007 < scaled["visibility"]["face"]["dssim"]["mean"] <= scaled["visibility"]["face"]["dssim"]["max"] <= 0.009
    )
    at_budget = [path.suffix for path in sorted((tmp_path / "out" / "cloaked" / "theirs@0.009").glob("*/*"))]
    assert at_budget == [path.suffix for path in sorted((tree / "people").glob("*/first.*"))]
    assert [[name for name, _ in columns] for *_, columns in shown] == [["theirs", "theirs@0.009"]] * 2
    assert results["protocol"]["cloaks"][1]["files"] == "theirs"
    assert none["surrogates"]


def test_an_original_passed_off_as_a_cloak_is_exposed(protocol: Path, tree: Path, tmp_path: Path) -> None:
    results, _ = run_protocol(add_files(read_protocol(protocol), "theirs", tree / "people"), tree, tmp_path / "out")
    for entry in results["entries"][1:]:
        (record,) = (item for item in entry["records"] if item["scenario"] == "evasion")
        assert record["measures"]["rank1"] == record["clean"]["rank1"]
    assert results["entries"][1]["unchanged"] == 2


def test_a_file_that_changed_is_measured_anew(protocol: Path, tree: Path, tmp_path: Path) -> None:
    folder = other_software(tree, tmp_path / "theirs", levels=8)
    loaded = add_files(read_protocol(protocol), "theirs", folder)
    before, _ = run_protocol(loaded, tree, tmp_path / "out")
    other_software(tree, folder, levels=24)
    after, _ = run_protocol(loaded, tree, tmp_path / "out", resume=True)
    seen = [results["entries"][1]["visibility"]["face"]["dssim"]["mean"] for results in (before, after)]
    assert seen[1] > 2 * seen[0]


def test_what_cannot_be_measured_is_listed_and_the_others_go_on(protocol: Path, tree: Path, tmp_path: Path) -> None:
    folder = other_software(tree, tmp_path / "theirs", levels=8)
    (folder / "grace" / "first_cloaked.png").unlink()
    loaded = add_files(read_protocol(protocol), "theirs", folder)
    results, shown = run_protocol(loaded, tree, tmp_path / "out")
    raw = results["entries"][1]
    assert raw["files"] == 1
    assert raw["failed"] == [
        f"expected one cloak of it in {folder / 'grace'}, named first or first_SOMETHING; got none"
    ]
    assert len(shown) == 1
    small = Image.open(folder / "astro" / "first_cloaked.png").resize((80, 90))
    small.save(folder / "astro" / "first_cloaked.png")
    with pytest.raises(
        UsageError, match=r"theirs: none of its files can be measured; of the first: .*170 x 190 pixels"
    ):
        run_protocol(loaded, tree, tmp_path / "out", resume=True)


def test_a_cloak_is_found_by_its_originals_name(tmp_path: Path) -> None:
    photo, home = tmp_path / "data" / "ada" / "ada_0001.jpg", tmp_path / "theirs" / "ada"
    with pytest.raises(PhotoError, match="got none"):
        cloaked_file(photo, tmp_path / "theirs")
    home.mkdir(parents=True)
    for name in ("ada_0001_cloaked.png", "ada_00010_cloaked.png", "ada_0001_cloaked.txt", "ada_0002_cloaked.png"):
        (home / name).touch()
    assert cloaked_file(photo, tmp_path / "theirs") == home / "ada_0001_cloaked.png"
    (home / "ada_0001_attacked.png").touch()
    with pytest.raises(PhotoError, match=r"got ada_0001_attacked\.png, ada_0001_cloaked\.png"):
        cloaked_file(photo, tmp_path / "theirs")
    (home / "ada_0001.webp").touch()
    assert cloaked_file(photo, tmp_path / "theirs") == home / "ada_0001.webp"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('files = "theirs"', "expected files with a label that is no method's name"),
        ('files = "theirs"\nlabel = "cloak"', "expected files with a label that is no method's name"),
        ('files = "theirs"\nlabel = "x"\nidentity = 1', "without surrogates, identity and changes"),
        ('files = "theirs"\nlabel = "x"\nmethods = ["pgd"]', "expected either methods or files"),
        ('label = "x"', "expected either methods or files"),
        ('files = "theirs"\nlabel = "a/b"', "expected a label without slashes"),
        ('files = "theirs"\nlabel = "x"\ndssim = [0.9]', r"expected a face DSSIM between 0 and \.5, got 0\.9"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'identity = 1\nevaluators = ["dlib"]\n[[cloaks]]\n{table}\n')
    with pytest.raises(UsageError, match=message):
        read_protocol(path)


def test_a_protocol_may_name_files_itself(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'evaluators = ["dlib"]\n[[cloaks]]\nmethods = ["none", "pgd"]\n'
        '[[cloaks]]\nfiles = "theirs"\nlabel = "theirs"\ndssim = [0.004, 0.009]\n'
    )
    read = read_protocol(path)
    names = [entry.name for entry in entries_of(read)]
    assert names == ["none", "pgd@0.009", "theirs", "theirs@0.004", "theirs@0.009"]
    assert {entry.files for entry in entries_of(read)[2:]} == {tmp_path.resolve() / "theirs"}
    assert [entry.name for entry in entries_of(select_methods(read, ["pgd"]))] == ["pgd@0.009"]
    assert [entry.name for entry in entries_of(select_methods(read, ["theirs"]))] == names[2:]
    assert foreign_method("theirs", 0.004).title == "theirs@0.004"


def test_the_command_exports_photos_and_measures_what_comes_back(
    protocol: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, out = tmp_path / "originals", tmp_path / "out"
    assert main(["bench", str(protocol), "--data", str(tree), "--export", str(exported)]) == 0
    assert "2 photos of 2 people" in capsys.readouterr().out
    originals = {path.relative_to(exported): path.read_bytes() for path in exported.glob("*/*")}
    people = tree / "people"
    assert originals == {path.relative_to(people): path.read_bytes() for path in people.glob("*/first.*")}
    assert main(["bench", str(protocol), "--data", str(tree), "--export", str(exported)]) == 2
    assert "expected a folder that is empty" in capsys.readouterr().err
    theirs = other_software(tree, tmp_path / "theirs", levels=12)
    assert main(["bench", str(protocol), "--data", str(tree), "--out", str(out), "--cloaked", f"noisy={theirs}"]) == 0
    assert [entry["name"] for entry in json.loads((out / "results.json").read_text())["entries"]] == [
        "none", "noisy", "noisy@0.009",
    ]  # fmt: skip
    tables = (out / "results.md").read_text()
    assert "made by other software" in tables
    capsys.readouterr()
    for wrong in ("noisy", "noisy=nowhere", f"={theirs}", f"pgd={theirs}"):
        assert main(["bench", str(protocol), "--data", str(tree), "--cloaked", wrong]) == 2
        assert "expected" in capsys.readouterr().err
