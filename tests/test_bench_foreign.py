"""Cloaks that other software made, from their files to the tables."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloak.bench.foreign import cloaked_file, foreign_method
from cloak.bench.lookup import role
from cloak.bench.protocol import add_files, entries_of, read_protocol, select_methods
from cloak.bench.run import run_protocol
from cloak.cli import main
from cloak.errors import PhotoError, UsageError
from tests.helpers import SAMPLES, sample_faces

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
    for name, face in sample_faces().items():
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
    assert none["surrogates"] == []


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


def test_what_cannot_be_measured_is_listed_and_the_others_go_on(
    protocol: Path, tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = other_software(tree, tmp_path / "theirs", levels=8)
    (folder / "grace" / "first_cloaked.png").unlink()
    loaded = add_files(read_protocol(protocol), "theirs", folder)
    results, shown = run_protocol(loaded, tree, tmp_path / "out")
    raw = results["entries"][1]
    assert raw["files"] == 1
    assert raw["failed"] == ["expected one cloak of it in theirs/grace, named first or first_SOMETHING; got none"]
    assert "theirs: 1 of 2 photos cannot be measured" in caplog.text
    assert len(shown) == 1
    other_software(tree, folder, levels=8)  # what failed for its lack is measured when it is there
    results, _ = run_protocol(loaded, tree, tmp_path / "out", resume=True)
    assert [entry["failed"] for entry in results["entries"]] == [[]] * 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda image: image.resize((80, 90)), "expected 170 x 190 pixels, as the original has upright, got 80 x 90"),
        (lambda image: image.transpose(Image.Transpose.ROTATE_180), "is it another photo, or turned"),
    ],
)
def test_a_file_that_cannot_be_the_photos_cloak_is_refused(
    spoil: Callable[[Image.Image], Image.Image], message: str, protocol: Path, tree: Path, tmp_path: Path
) -> None:
    folder = other_software(tree, tmp_path / "theirs", levels=8)
    loaded = add_files(read_protocol(protocol), "theirs", folder)
    astro = folder / "astro" / "first_cloaked.png"
    spoil(Image.open(astro)).save(astro)
    raw = run_protocol(loaded, tree, tmp_path / "out")[0]["entries"][1]
    assert raw["files"] == 1
    assert message in raw["failed"][0]
    grace = folder / "grace" / "first_cloaked.png"
    spoil(Image.open(grace)).save(grace)
    with pytest.raises(UsageError, match="theirs: 2 of 2 photos cannot be measured; of the first: "):
        run_protocol(loaded, tree, tmp_path / "again")


def test_a_folder_with_no_cloak_at_all_is_refused_before_the_work(protocol: Path, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    loaded = add_files(read_protocol(protocol), "theirs", tmp_path / "theirs")
    message = r"theirs: none of 2 photos has a cloak in .*theirs; of the first, astro/first"
    with pytest.raises(UsageError, match=message):
        run_protocol(loaded, tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_grey_photo_keeps_to_the_budget(protocol: Path, tree: Path, tmp_path: Path) -> None:
    data, folder = tmp_path / "grey", tmp_path / "theirs"
    for photo in (tree / "people").glob("*/*"):
        target = data / photo.parent.name / f"{photo.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        grey = Image.open(photo).convert("L")
        grey.save(target)
        cloak = np.stack([np.asarray(grey)] * 3, axis=2).astype(int)
        cloak[..., 0] += np.random.default_rng(0).integers(-24, 25, cloak.shape[:2])
        (folder / photo.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(cloak.clip(0, 255).astype(np.uint8)).save(folder / photo.parent.name / target.name)
    entries = run_protocol(add_files(read_protocol(protocol), "theirs", folder), data, tmp_path / "out")[0]["entries"]
    assert 0.007 < entries[2]["visibility"]["face"]["dssim"]["mean"] <= 0.009


def test_photos_of_the_contact_sheet_take_no_places_of_the_datas(protocol: Path, tree: Path, tmp_path: Path) -> None:
    """Even with the same names."""
    shown = tmp_path / "shown" / "grace" / "first.jpg"
    shown.parent.mkdir(parents=True)
    Image.open(SAMPLES / "grace_hopper.jpg").save(shown)
    protocol.write_text(
        PROTOCOL.replace('"none"', '"noise"').replace("people = 2", f'people = 2\ncontact_sheet = ["{shown}"]')
    )
    results, sheet = run_protocol(read_protocol(protocol), tree, tmp_path / "out")
    assert [caption for caption, *_ in sheet] == ["first"]
    assert results["entries"][0]["files"] == 2
    kept = tmp_path / "out" / "cloaked" / "noise@0.009" / "grace" / "first.jpg"
    assert Image.open(kept).size == (170, 190)


def test_a_cloak_is_found_by_its_originals_name(tmp_path: Path) -> None:
    photo, home = tmp_path / "data" / "ada" / "ada_0001.jpg", tmp_path / "theirs" / "people" / "ada"
    for folder in (photo.parent, home):
        folder.mkdir(parents=True)
    photo.touch()
    with pytest.raises(PhotoError, match="in theirs/ada, named ada_0001 or ada_0001_SOMETHING; got none"):
        cloaked_file(photo, tmp_path / "theirs")
    for name in ("ada_0001_cloaked.PNG", "ada_00010_cloaked.png", "ada_0001_cloaked.txt", "ada_0002_cloaked.png"):
        (home / name).touch()
    (home / "ada_0001_folder.png").mkdir()
    assert cloaked_file(photo, tmp_path / "theirs") == home / "ada_0001_cloaked.PNG"
    (home / "ada_0001_attacked.png").touch()
    with pytest.raises(PhotoError, match=r"got ada_0001_attacked\.png, ada_0001_cloaked\.PNG"):
        cloaked_file(photo, tmp_path / "theirs")
    (home / "ada_0001.webp").write_bytes(b"cloaked")
    assert cloaked_file(photo, tmp_path / "theirs") == home / "ada_0001.webp"


def test_another_photos_cloak_is_not_taken(tmp_path: Path) -> None:
    data, home = tmp_path / "data" / "ada", tmp_path / "theirs" / "ada"
    for folder in (data, home):
        folder.mkdir(parents=True)
    for name in ("me.jpg", "me_2.jpg", "x.jpg", "x.png"):
        (data / name).touch()
    (home / "me_2_cloaked.png").touch()
    assert cloaked_file(data / "me_2.jpg", tmp_path / "theirs").name == "me_2_cloaked.png"
    with pytest.raises(PhotoError, match="named me or me_SOMETHING; got none"):
        cloaked_file(data / "me.jpg", tmp_path / "theirs")
    (home / "me_cloaked.png").touch()
    assert cloaked_file(data / "me.jpg", tmp_path / "theirs").name == "me_cloaked.png"
    (data / "me_cloaked.png").touch()  # a cloak beside its original is no original
    assert cloaked_file(data / "me.jpg", tmp_path / "theirs").name == "me_cloaked.png"
    (home / "x_cloaked.png").touch()  # of which?
    with pytest.raises(PhotoError, match="named x or x_SOMETHING"):
        cloaked_file(data / "x.jpg", tmp_path / "theirs")
    for name in ("x.jpg", "x.png"):
        (home / name).write_bytes(b"cloaked")
        assert cloaked_file(data / name, tmp_path / "theirs").name == name


def test_a_folder_with_originals_and_cloaks(tmp_path: Path) -> None:
    """As of software that writes beside what it reads."""
    photo, home = tmp_path / "data" / "ada" / "me.jpg", tmp_path / "theirs" / "ada"
    for place in (photo, home / "me.jpg"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"mine")
    assert cloaked_file(photo, tmp_path / "theirs").name == "me.jpg"  # which the tables expose
    (home / "me_cloaked.png").write_bytes(b"cloaked")
    assert cloaked_file(photo, tmp_path / "theirs").name == "me_cloaked.png"
    (home / "me.jpg").write_bytes(b"changed")
    assert cloaked_file(photo, tmp_path / "theirs").name == "me.jpg"


def test_what_others_worked_against_may_be_unknown_here(protocol: Path, tree: Path, tmp_path: Path) -> None:
    folder = other_software(tree, tmp_path / "theirs", levels=8)
    loaded = add_files(read_protocol(protocol), "theirs", folder)
    results, _ = run_protocol(loaded, tree, tmp_path / "out")
    assert role(results, "dlib") == "held out, as far as is known"
    stated = [replace(one, surrogates=("dlib", "their own")) if one.files else one for one in loaded.cloaks]
    results, _ = run_protocol(replace(loaded, cloaks=tuple(stated)), tree, tmp_path / "out", resume=True)
    assert [entry["surrogates"] for entry in results["entries"]] == [[], ["dlib", "their own"], ["dlib", "their own"]]
    assert role(results, "dlib") == "surrogate"
    assert str(tmp_path) not in json.dumps(results)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('files = "theirs"', "expected files with a label that is no method's name"),
        ('files = "theirs"\nlabel = "cloak"', "expected files with a label that is no method's name"),
        ('files = "theirs"\nlabel = "x"\nidentity = 1', "without identity and changes"),
        ('files = "theirs"\nlabel = "x"\nmethods = ["pgd"]', "expected either methods or files"),
        ('label = "x"', "expected either methods or files"),
        *[
            (f'files = "theirs"\nlabel = "{label}"', "expected a label of letters")
            for label in ("a/b", "..", "a$b", "_a")
        ],
        ('methods = "pgd"', r"expected methods as a list, got 'pgd'"),
        ('methods = ["pgd"]\ndssim = 0.009', r"expected dssim as a list, got 0\.009"),
        ('methods = ["pgd"]\nlabel = 3', "expected label as a text, got 3"),
        ('methods = ["pgd"]\nchanges = 3', "expected changes as a table, got 3"),
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
    assert "of other software, against what is not known" in tables
    capsys.readouterr()
    arguments = ["bench", str(protocol), "--data", str(tree), "--out", str(tmp_path / "two"), "--methods", "none"]
    both = [*arguments, "--cloaked", f"noisy={theirs}", "--cloaked", f"again={theirs}", "--quiet"]
    assert main(both) == 0
    entries = json.loads((tmp_path / "two" / "results.json").read_text())["entries"]
    assert [entry["name"] for entry in entries] == ["none", "noisy", "noisy@0.009", "again", "again@0.009"]
    assert main([*arguments, "--resume", "--cloaked", f"noisy={theirs}", f"noisy={exported}"]) == 2
    assert "two of the cloaks are called noisy; give each its own label" in capsys.readouterr().err
    asked = [*arguments[:5], str(tmp_path / "three"), "--dssim", "0.004", "--conditions", "jpeg75", "--quiet"]
    assert main([*asked, "--cloaked", f"noisy={theirs}"]) == 0
    *_, scaled = json.loads((tmp_path / "three" / "results.json").read_text())["entries"]
    assert scaled["name"] == "noisy@0.004"
    assert {record["condition"] for record in scaled["records"]} == {"saved", "jpeg75"}
    capsys.readouterr()
    for wrong in ("noisy", "noisy=nowhere", f"={theirs}", f"pgd={theirs}"):
        assert main(["bench", str(protocol), "--data", str(tree), "--cloaked", wrong]) == 2
        assert "expected" in capsys.readouterr().err
