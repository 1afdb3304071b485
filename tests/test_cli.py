import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from PIL import Image, ImageOps

from cloak import Cloaker, PhotoReport, __version__, methods
from cloak.cli import main
from cloak.cli.protect import HINT
from cloak.opening import DONE_BEFORE
from cloak.report import summary_table
from tests.helpers import ANY_BYTES, ROOT, SAMPLES, smooth_noise

SUCCESS, FAILURE, USAGE = 0, 1, 2


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough steps for the command's own test; protection itself is measured elsewhere."""
    quick = {name: replace(method, steps=16, turns=1) for name, method in methods.MODES.items()}
    monkeypatch.setattr(methods, "MODES", MappingProxyType(quick))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "me.png"
    Image.open(SAMPLES / "astronaut.png").crop((130, 10, 330, 230)).save(path)
    return path


def test_protect_writes_beside_the_photo_and_prints_a_table(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protect", str(photo), "--mode", "high"]) == SUCCESS
    assert photo.with_name("me_cloaked.png").exists()
    output = capsys.readouterr()
    assert "face DSSIM" in output.out
    assert "protected" in output.out
    assert output.err == ""


def test_an_identity_is_told_reported_and_part_of_the_settings(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ImageOps.mirror(Image.open(photo)).rotate(5).save(tmp_path / "other.png")
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "me.png")
    run = ["protect", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--mode", "high"]
    assert main([*run, "--identity", str(tmp_path / "other.png"), "--report", str(tmp_path / "r.jsonl")]) == SUCCESS
    output = capsys.readouterr().out
    assert "identity: 1 face in 1 photo\n" in output
    assert HINT not in output
    (record,) = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert record["faces"][0]["known"] == 1
    assert main(run) == USAGE
    assert "was begun with other settings (--identity was given); pass the same" in capsys.readouterr().err
    assert main([*run, "--overwrite"]) == SUCCESS
    assert HINT in capsys.readouterr().out


def test_report_picture_and_out_folder(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report, picture = tmp_path / "out", tmp_path / "r.jsonl", tmp_path / "p.png"
    options = ["-o", str(out), "--report", str(report), "--picture", str(picture), "--mode", "high", "--quiet"]
    assert main(["protect", str(photo), *options]) == SUCCESS
    assert (out / "me.png").exists()
    (record,) = [json.loads(line) for line in report.read_text().splitlines()]
    assert record["mode"] == "high"
    assert record["protected"] is True
    with Image.open(picture) as image:
        assert image.size == (960, 342)
    assert capsys.readouterr() == ("", "")


def make_bad(kind: str, folder: Path) -> Path:
    path = folder / "bad.jpg"
    if kind == "text":
        path.write_text("hello")
    elif kind == "truncated":
        path.write_bytes((SAMPLES / "grace_hopper.jpg").read_bytes()[:20000])
    elif kind == "tiny":
        Image.new("RGB", (1, 1)).save(path)
    elif kind == "faceless":
        Image.fromarray(smooth_noise(100, 100)).save(path)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "expected a photo or a folder, got a path that does not exist"),
        ("text", "got a file that is none, or damaged"),
        ("truncated", "the file is damaged"),
        ("tiny", "no face was found in it"),
        ("faceless", "no face was found in it"),
        ("folder", "expected a folder with photos, got one with none"),
    ],
)
def test_wrong_input_gets_one_line_and_leaves_nothing(
    kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bad(kind, tmp_path)
    before = set(tmp_path.rglob("*"))
    assert main(["protect", str(path), "--quiet"]) == FAILURE
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"cloak: {path}: " in error
    assert message in error
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write everywhere; see the next test")
def test_a_read_only_output_folder(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    assert main(["protect", str(photo), "-o", str(out), "--quiet"]) == FAILURE
    assert "cannot be written: Permission denied" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder where nobody may write")
@pytest.mark.parametrize("option", ["--report", "--picture"])
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    option: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["protect", str(photo), option, "/proc/file.png"]) == USAGE
    assert "cannot be written" in capsys.readouterr().err
    assert not photo.with_name("me_cloaked.png").exists()


def test_what_was_done_before_is_judged_again(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["protect", str(photo), "--mode", "low", "--steps", "20", "--surrogates", "dlib-robust"]
    codes = [main(command) for _ in range(2)]
    assert codes[0] == codes[1]
    output = capsys.readouterr()
    assert f"me.png: {DONE_BEFORE}" in output.out
    first, second = (line.split() for line in output.out.splitlines() if "/me.png " in line)
    assert first[:4] == second[:4]
    assert main([*command, "--dry-run"]) == SUCCESS
    assert "done before" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be_made(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["protect", str(photo), "-o", str(tmp_path / "file" / "out"), "--quiet"]) == FAILURE
    error = capsys.readouterr().err
    assert "expected a folder at " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required"),
        (["protect"], "the following arguments are required: PATH"),
        (["protect", "x.jpg", "--mode", "max"], "invalid choice: 'max'"),
        (["protect", "x.jpg", "--seed", "many"], "invalid int value"),
        (["protect", ""], "expected a path, got nothing"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_wrong_paths_for_results_are_wrong_usage(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["protect", str(photo), "-o", str(photo)]) == USAGE
    assert "expected a folder for the results, got a file" in capsys.readouterr().err
    assert main(["protect", str(photo), "--report", str(tmp_path / "no/r.jsonl")]) == USAGE
    assert "expected a file in a folder that exists" in capsys.readouterr().err
    same = str(tmp_path / "both.png")
    assert main(["protect", str(photo), "--report", same, "--picture", same]) == USAGE
    assert "expected two files for --report and --picture, got one" in capsys.readouterr().err
    assert main(["protect", str(photo), "--seed", str(2**70)]) == USAGE
    assert "expected a seed of 64 bits" in capsys.readouterr().err


def test_a_face_that_still_matches_is_not_called_protected(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = {name: replace(method, steps=1, turns=1, dssim=1e-5) for name, method in methods.MODES.items()}
    monkeypatch.setattr(methods, "MODES", MappingProxyType(weak))
    assert main(["protect", str(photo)]) == FAILURE
    output = capsys.readouterr()
    assert "NOT PROTECTED" in output.out
    assert f"cloak: {photo}: 1 of 1 face still matches the original; try a stronger --mode" in output.err
    assert main(["protect", str(photo), "--mode", "high", "--overwrite", "--quiet"]) == FAILURE
    assert (
        capsys.readouterr().err
        == f"cloak: {photo}: 1 of 1 face still matches the original; high is the strongest --mode\n"
    )


def test_an_interrupt_is_told_and_130(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object, **options: object) -> list[PhotoReport]:
        raise KeyboardInterrupt

    monkeypatch.setattr("cloak.Cloaker.protect_job", interrupt)
    assert main(["protect", str(photo), "--quiet"]) == 130
    assert "interrupted; finished photos are saved" in capsys.readouterr().err


def test_compare_prints_a_table_or_json(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(photo), str(photo)]) == SUCCESS
    table = capsys.readouterr().out
    assert "same person" in table
    assert "faces: 1 in" in table
    assert main(["compare", str(photo), str(photo), "--json"]) == SUCCESS
    record = json.loads(capsys.readouterr().out)
    assert record["faces"][0]["similarities"]["dlib"] == pytest.approx(1.0, abs=1e-5)


def test_what_did_not_change_is_no_infinity_in_json(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(photo), str(photo), "--json"]) == SUCCESS
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail)["faces"][0]["visibility"]["psnr"] is None


def test_compare_needs_faces(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_bad("faceless", tmp_path)
    assert main(["compare", str(photo), str(path)]) == FAILURE
    assert f"{path}: no face was found in it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["protect", "detect"])
def test_a_folder_by_a_dot_that_has_photos_below_alone(
    command: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    photo.rename(tmp_path / "below" / "me.png")
    monkeypatch.chdir(tmp_path)
    assert main([command, "."]) == FAILURE
    assert ".: expected a folder with photos, got one with none; pass --recursive" in capsys.readouterr().err
    assert main([command, ".", "."]) == FAILURE


@ANY_BYTES
def test_output_that_is_closed_or_lacks_letters_stops_nothing(photo: Path, tmp_path: Path) -> None:
    named = photo.rename(tmp_path / "фото\udcff.png")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    run = [sys.executable, "-m", "cloak", "compare", str(named), str(named)]
    found = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, check=True).stdout
    assert rb"\u0444\u043e\u0442\u043e\udcff.png" in found
    closed = 'import sys; sys.stdout = None; from cloak.cli import main; sys.exit(main(["detect", sys.argv[1]]))'
    assert subprocess.run([sys.executable, "-c", closed, named], cwd=ROOT).returncode == SUCCESS


def test_the_version_comes_without_pytorch() -> None:
    code = (
        "import sys; from cloak.cli import main\ntry: main(['--version'])\nfinally: assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == f"cloak {__version__}\n"


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m cloak models list --json | head -c 20"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(result.stdout) == 20
    assert result.stderr == ""


def test_the_table_shows_the_similarities_of_the_verdict(photo: Path) -> None:
    report = Cloaker(mode="high", device="cpu").protect(photo).report
    table = summary_table([report])
    matches = report.faces[0].matches
    assert {name for name, match in matches.items() if match.threshold is not None} == {"dlib"}
    shown = [next(iter(column.cells)) for column in table.columns]
    assert shown[2:4] == [f"{matches['dlib'].before:.2f}", f"{matches['dlib'].after:.2f}"]
