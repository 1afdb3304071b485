"""Folders and files as people have them, through the whole job."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloak import Cloaker, Limits, PhotoReport
from cloak.cli import main
from cloak.metadata import note_of, read_metadata
from cloak.opening import DONE_BEFORE
from cloak.photo import read_photo
from cloak.report import words_on_files
from cloak.types import Progress
from tests.helpers import ANY_BYTES, SAMPLES, quick, sample_faces
from tests.photo_files import camera_exif, make

SUCCESS, FAILURE, USAGE = 0, 1, 2


@pytest.fixture(scope="module")
def cloaker() -> Cloaker:
    return quick(steps=1)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(SAMPLES / "astronaut.png").convert("RGB").crop((150, 20, 310, 210))


def note(path: Path) -> str:
    with Image.open(path) as image:
        return note_of(read_metadata(image, path.read_bytes()))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "heic", "avif", "tif"])
def test_nothing_of_a_telephones_file_betrays_the_person(
    cloaker: Cloaker, portrait: Image.Image, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"me.{suffix}"
    if suffix == "tif":  # Pillow cannot write a whole EXIF block into one
        portrait.save(path, tiffinfo={0x8298: "(c) Jane", 0x013B: "Jane Doe"})
    else:
        portrait.save(path, exif=camera_exif(), quality=95)
        assert b"SERIAL-4711" in path.read_bytes()
        assert (b"the uncloaked face" in path.read_bytes()) is (suffix != "avif")
    (report,) = cloaker.protect_files([path], tmp_path / "out")
    assert report.error == ""
    assert report.output is not None
    content = report.output.read_bytes()
    for secret in (b"SERIAL-4711", b"MAKERNOTE", b"Jane Doe", b"the uncloaked face"):
        assert secret not in content
    assert b"(c) Jane" in content
    assert note(report.output).startswith("cloak ")
    if suffix != "tif":
        expected = {"GPS position", "serial numbers", "maker notes", "names and captions"}
        if suffix != "avif":  # which Pillow writes without the thumbnail
            expected.add("embedded thumbnail")
        assert set(report.removed) >= expected
        with Image.open(report.output) as image:
            assert image.getexif().get_ifd(0x8825) == {}
            assert image.getexif().get_ifd(0x8769)[0x9003] == "2026:05:01 10:00:00"


@pytest.mark.parametrize(("policy", "stays"), [("keep", True), ("strip", False)])
def test_more_or_less_metadata_on_demand(portrait: Image.Image, tmp_path: Path, policy: str, stays: bool) -> None:
    path = tmp_path / "me.jpg"
    portrait.save(path, exif=camera_exif(), quality=95)
    (report,) = quick(steps=1, metadata=policy).protect_files([path], tmp_path / "out")  # type: ignore[arg-type]
    assert report.output is not None
    content = report.output.read_bytes()
    for field in (b"SERIAL-4711", b"Jane Doe", b"(c) Jane"):
        assert (field in content) is stays
    assert b"the uncloaked face" not in content
    assert bool(note(report.output)) is stays
    assert "embedded thumbnail" in report.removed
    assert ("GPS position" in report.removed) is not stays


def test_a_turned_photo_is_cloaked_and_saved_upright(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "me.jpg"
    portrait.transpose(Image.Transpose.ROTATE_90).save(path, exif=camera_exif(orientation=6), quality=95)
    (report,) = cloaker.protect_files([path], tmp_path / "out")
    assert report.output is not None
    with Image.open(report.output) as image:
        assert image.size == portrait.size
        assert image.getexif().get(0x0112, 1) == 1
        assert np.abs(np.asarray(image, dtype=int) - np.asarray(portrait)).mean() < 6


def test_what_was_cloaked_before_is_skipped(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "me.jpg", quality=95)
    (first,) = cloaker.protect_files([tmp_path / "me.jpg"], tmp_path / "once")
    (again,) = cloaker.protect_files([tmp_path / "once"], tmp_path / "twice")
    assert not first.skipped
    assert "was cloaked before (cloak " in again.skipped
    assert "to do it anew, cloak its original" in again.skipped
    assert not again.failed
    assert not again.protected
    assert again.reason == again.skipped
    assert not (tmp_path / "twice").exists()
    (planned,) = cloaker.plan_files([tmp_path / "once"], tmp_path / "twice")
    assert planned.skipped == again.skipped


def test_a_plan_finds_the_faces_and_writes_nothing(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    portrait.save(folder / "a.jpg", exif=camera_exif())
    (folder / "b.png").write_bytes(make("png"))
    (folder / "c.gif").write_text("no photo")
    before = sorted(tmp_path.rglob("*"))
    plans = list(cloaker.plan_files([folder], tmp_path / "out"))
    assert sorted(tmp_path.rglob("*")) == before
    assert [len(plan.faces) for plan in plans] == [1, 0, 0]
    assert plans[0].target == tmp_path / "out" / "a.jpg"
    assert "GPS position" in plans[0].removed
    assert "no face was found" in plans[1].error
    assert "a file that is none" in plans[2].error
    assert json.loads(plans[0].to_json())["target"] == str(plans[0].target)


def test_another_format_and_a_wrong_name_are_said(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "a.gif")
    portrait.save(tmp_path / "b.png", format="JPEG", quality=95)
    gif, wrong = cloaker.protect_files([tmp_path / "a.gif", tmp_path / "b.png"], tmp_path / "out")
    assert gif.output == tmp_path / "out" / "a.png"
    assert gif.notes == (
        "saved as PNG, since GIF holds too few colours for it",
        "named a.png, since it is a PNG",
    )
    assert wrong.output == tmp_path / "out" / "b.jpg"
    assert wrong.notes == ("named b.jpg, since it is a JPEG",)


def test_a_jpeg_keeps_its_tables_and_grows_by_half_at_most(
    portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloak.pipeline.ROOM", 0)  # as if the file were a large one
    for quality in (60, 90):
        path = tmp_path / f"{quality}.jpg"
        portrait.save(path, quality=quality)
        (report,) = quick(steps=6).protect_files([path], tmp_path / "out")
        assert report.output is not None
        assert report.output.stat().st_size <= 1.5 * path.stat().st_size
        before = np.array(read_photo(path).encoding.options["qtables"])
        after = np.array(read_photo(report.output).encoding.options["qtables"])
        assert (before % after == 0).all()


def test_a_folder_that_changes_while_it_is_worked_on(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        portrait.save(folder / name)

    def meddle(progress: Progress) -> None:
        if progress.source.name == "a.png" and progress.step == "cloaking":
            (folder / "b.png").unlink(missing_ok=True)
            portrait.save(folder / "d.png")

    reports = list(cloaker.protect_files([folder], tmp_path / "out", on_progress=meddle))
    assert [report.error for report in reports] == [
        "",
        f"{folder}/b.png: expected a photo or a folder, got a path that does not exist",
        "",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize("change", ["another photo", "another size", "a later photo"])
def test_what_is_there_and_not_this_photo_s_is_told(
    change: str, cloaker: Cloaker, portrait: Image.Image, tmp_path: Path
) -> None:
    photo = tmp_path / "a.png"
    portrait.save(photo)
    (first,) = cloaker.protect_files([photo])
    assert first.output is not None
    other = portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if change == "another photo" else portrait
    other.resize((other.width + 8 * (change == "another size"), other.height)).save(photo)
    shift = 10**9 if change == "a later photo" else -(10**9)
    made = first.output.stat().st_mtime_ns
    os.utime(photo, ns=(made + shift, made + shift))
    (report,) = cloaker.protect_files([photo])
    assert (
        "exists already, of another photo, of this one before it changed, or with other metadata; pass" in report.error
    )


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["a photo", "no photo", "a link to nothing"])
def test_a_file_that_cloak_did_not_make_is_never_replaced(
    content: str, overwrite: bool, cloaker: Cloaker, portrait: Image.Image, tmp_path: Path
) -> None:
    photo, mine = tmp_path / "a.png", tmp_path / "a_cloaked.png"
    portrait.save(photo)
    if content == "a link to nothing":
        mine.symlink_to(tmp_path / "gone")
    elif content == "no photo":
        mine.write_bytes(b"mine")
    else:
        portrait.save(mine)
    before = None if mine.is_symlink() else mine.read_bytes()
    (report,) = cloaker.protect_files([photo], overwrite=overwrite)
    assert "a_cloaked.png: exists already, without the note that cloak made it" in report.error
    assert (None if mine.is_symlink() else mine.read_bytes()) == before


def test_where_nothing_may_be_written_is_told_before_the_work(
    cloaker: Cloaker, portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    portrait.save(tmp_path / "in" / "a.png")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path / "in")
    monkeypatch.setattr("cloak.protect.prepare", None)
    (report,) = cloaker.protect_files([tmp_path / "in" / "a.png"])
    assert (
        f"a_cloaked.png: cannot be written, since {tmp_path}/in is not ours; pass another folder with -o"
        in report.error
    )
    (plan,) = cloaker.plan_files([tmp_path / "in"], tmp_path / "in" / "new" / "deep")
    assert "/in is not ours; pass another folder with -o" in plan.error


def test_metadata_that_should_go_now_make_a_result_another(portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "a.jpg", exif=camera_exif())
    (kept,) = quick(metadata="keep").protect_files([tmp_path / "a.jpg"])
    assert kept.output is not None
    (again,) = quick(metadata="keep").protect_files([tmp_path / "a.jpg"])
    assert again.notes == (DONE_BEFORE,)
    (report,) = quick(metadata="strip").protect_files([tmp_path / "a.jpg"])
    assert "or with other metadata; pass --overwrite" in report.error
    (stripped,) = quick(metadata="strip").protect_files([tmp_path / "a.jpg"], overwrite=True)
    assert stripped.output == kept.output
    (again,) = quick(metadata="strip").protect_files([tmp_path / "a.jpg"])
    assert "without the note that cloak made it" in again.error  # nobody knows


def test_a_result_of_another_photo_on_plain_ground_is_told(tmp_path: Path) -> None:
    """So little of the picture is a face that the whole says nothing."""
    for name, face in sample_faces().items():
        (tmp_path / name).mkdir()
        picture = Image.new("RGB", (1100, 1000), (128, 128, 128))
        picture.paste(face, (400, 400))
        picture.save(tmp_path / name / "x.png")
    first, second = (tmp_path / name / "x.png" for name in sample_faces())
    (report,) = quick().protect_files([first], tmp_path / "out")
    assert report.output is not None
    made = report.output.read_bytes()
    os.utime(report.output)
    (report,) = quick().protect_files([second], tmp_path / "out")
    assert "x.png: exists already, of another photo" in report.error
    assert (tmp_path / "out" / "x.png").read_bytes() == made


def test_a_file_that_appears_while_all_is_done_anew_stays(
    cloaker: Cloaker, portrait: Image.Image, tmp_path: Path
) -> None:
    portrait.save(tmp_path / "a.png")

    def meddle(progress: Progress) -> None:
        if progress.step == "saving":
            (tmp_path / "a_cloaked.png").write_bytes(b"mine")

    (report,) = cloaker.protect_files([tmp_path / "a.png"], overwrite=True, on_progress=meddle)
    assert "exists already" in report.error
    assert (tmp_path / "a_cloaked.png").read_bytes() == b"mine"


def test_a_small_coarse_file_grows_and_that_is_told(portrait: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    portrait.resize((250, 250 * portrait.height // portrait.width)).save(path, quality=60)
    (report,) = quick(steps=20).protect_files([path])
    assert report.output is not None
    assert report.growth == pytest.approx(report.output.stat().st_size / path.stat().st_size, abs=0.001)
    assert report.growth > 2
    assert report.faces[0].visibility.dssim <= 0.009
    lines = words_on_files([report, PhotoReport(), replace(report, growth=99.96)])
    assert lines[-1] == "2 photos became up to 100.0 times as large, saved finer for the protection, or without loss"


def test_two_runs_at_once_on_one_folder(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "a.png")
    theirs: list[bytes] = []

    def other_run(progress: Progress) -> None:
        if progress.step == "saving" and not theirs:
            theirs.append(b"")
            (report,) = cloaker.protect_files([tmp_path / "a.png"], tmp_path / "out")
            assert report.output is not None
            theirs[0] = report.output.read_bytes()

    (report,) = cloaker.protect_files([tmp_path / "a.png"], tmp_path / "out", on_progress=other_run)
    assert "exists already; pass --overwrite to replace it" in report.error
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == theirs


def test_a_full_disk_fails_each_photo_and_leaves_nothing(
    cloaker: Cloaker, portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        portrait.save(tmp_path / name)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    reports = list(cloaker.protect_files([tmp_path], tmp_path / "out"))
    assert [report.error for report in reports] == [
        f"{tmp_path}/out/{name}: cannot be written: No space left on device" for name in ("a.png", "b.png")
    ]
    assert list((tmp_path / "out").iterdir()) == []


def test_results_never_leave_their_folder(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    for folder in ("in/deep", "elsewhere", "out"):
        (tmp_path / folder).mkdir(parents=True)
    portrait.save(tmp_path / "in/deep/a.png")
    (tmp_path / "out/deep").symlink_to(tmp_path / "elsewhere")
    (report,) = cloaker.protect_files([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert "a link leads out of" in report.error
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_limits_of_a_cloaker(portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "a.png")
    (report,) = Cloaker(device="cpu", limits=Limits(pixels=1000)).protect_files([tmp_path / "a.png"], tmp_path / "out")
    assert "expected at most 0.001 megapixels" in report.error


# the command


def test_dry_run(
    portrait: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    portrait.save("a.jpg", exif=camera_exif())
    report = tmp_path / "plan.jsonl"
    assert main(["protect", "a.jpg", "--dry-run", "--report", str(report)]) == SUCCESS
    shown = capsys.readouterr().out
    assert "a_cloaked.jpg" in shown
    assert "No photo was written." in shown
    assert not (tmp_path / "a_cloaked.jpg").exists()
    assert json.loads(report.read_text())["removed"][0]
    assert main(["protect", str(tmp_path / "none.jpg"), "--dry-run", "--quiet"]) == FAILURE


@ANY_BYTES
def test_names_of_any_bytes_and_with_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = Path(os.fsdecode(b"\xff[red]\n.png"))
    odd.write_bytes(make("png"))
    report = tmp_path / "r.jsonl"
    assert main(["protect", str(odd), "-o", "out", "--report", str(report)]) == FAILURE
    output = capsys.readouterr()
    assert "\\udcff[red]\\n.png" in output.out.replace("\n", "")
    assert output.err.count("\n") == 1
    assert json.loads(report.read_text())["source"] == str(odd)


def test_limits_and_policies_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(make("png"))
    assert main(["protect", str(path), "--max-megapixels", "0.001", "--quiet"]) == FAILURE
    assert "expected at most 0.001 megapixels" in capsys.readouterr().err
    assert main(["protect", str(path), "--max-megabytes", "0.0001", "--quiet"]) == FAILURE
    assert "raise --max-megabytes" in capsys.readouterr().err
    for wrong in (["--max-megapixels", "-1"], ["--max-megabytes", "nan"], ["--keep-metadata", "--strip-metadata"]):
        with pytest.raises(SystemExit) as caught:
            main(["protect", str(path), *wrong])
        assert caught.value.code == USAGE


@pytest.mark.parametrize("option", ["--report", "--picture"])
def test_neither_report_nor_picture_overwrites_a_photo(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    content = make("png")
    path.write_bytes(content)
    assert main(["protect", str(tmp_path), option, str(path)]) == USAGE
    assert "is a photo to protect, and would be overwritten" in capsys.readouterr().err
    assert path.read_bytes() == content


@pytest.mark.parametrize("option", ["--report", "--picture"])
def test_neither_report_nor_picture_takes_the_place_of_another_file(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(make("png"))
    (tmp_path / "other.txt").write_text("mine")
    photo, out = str(tmp_path / "a.png"), tmp_path / "out"
    assert main(["protect", photo, option, str(tmp_path / "other.txt")]) == USAGE
    assert "exists already; pass --overwrite" in capsys.readouterr().err
    assert (tmp_path / "other.txt").read_text() == "mine"
    assert main(["protect", photo, "-o", str(out), option, str(out / "a.png"), "--overwrite"]) == USAGE
    assert "is where a result goes, and would be overwritten" in capsys.readouterr().err


def test_a_plan_draws_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protect", str(tmp_path), "--dry-run", "--picture", str(tmp_path / "p.png")]) == USAGE
    assert "leave it out with --dry-run" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["protect", "detect"])
def test_a_name_that_no_file_can_have(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path / (300 * "a"))]) == FAILURE
    assert "File name too long" in capsys.readouterr().err


def test_a_plan_goes_on_after_a_photo_that_fails(
    cloaker: Cloaker, portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        portrait.save(tmp_path / name)

    def no_memory(photo: object, name: str, *others: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cloak.protect.prepare", no_memory)
    plans = list(cloaker.plan_files([tmp_path], tmp_path / "out"))
    assert [plan.error for plan in plans] == [
        f"{tmp_path / name}: MemoryError: MemoryError" for name in ("a.png", "b.png")
    ]


def test_a_bmp_holds_no_note_and_says_so(cloaker: Cloaker, portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "a.bmp")
    (report,) = cloaker.protect_files([tmp_path / "a.bmp"], tmp_path / "out")
    assert report.removed == ()
    assert report.notes == ("a BMP holds no note, so this photo will not be known as cloaked",)


WITHOUT_NETWORK = """
import os, sys
def forbid(event, arguments):
    if event == "socket.__new__":
        raise PermissionError("no sockets")  # urllib3, which facenet-pytorch imports, asks whether there is IPv6
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")) and event != "socket.gethostname":
        os.write(2, f"{event}{arguments}".encode())
        os._exit(97)
sys.addaudithook(forbid)
from dataclasses import replace
from types import MappingProxyType
from cloak import cli, methods
quick = {name: replace(method, steps=1, turns=1) for name, method in methods.MODES.items()}
methods.MODES = MappingProxyType(quick)
if sys.argv[1] == "test":
    import socket
    socket.getaddrinfo("127.0.0.1", 9)
sys.exit(cli.main(sys.argv[1:]))
"""


def without_network(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT_NETWORK, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_check_for_the_network_works() -> None:
    assert without_network("test").returncode == 97


def test_nothing_leaves_the_machine(portrait: Image.Image, tmp_path: Path) -> None:
    portrait.save(tmp_path / "a.jpg", quality=95)
    picture, report = str(tmp_path / "p.png"), str(tmp_path / "r.jsonl")
    done = without_network(
        "protect", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), "--picture", picture, "--report", report
    )
    assert done.returncode in (SUCCESS, FAILURE), done.stderr  # one step may not protect
    assert (tmp_path / "out" / "a.jpg").exists()
    done = without_network("compare", str(tmp_path / "a.jpg"), str(tmp_path / "out" / "a.jpg"))
    assert done.returncode == SUCCESS, done.stderr
    assert without_network("models", "list").returncode == SUCCESS


def test_weights_that_were_tampered_with_are_refused_before_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in (Path(__file__).parents[1] / "weights").glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    tampered = folder / "dlib_robust_v1.safetensors"
    tampered.write_bytes(tampered.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr("cloak.weights.shipped_weights", lambda: folder)
    (tmp_path / "a.png").write_bytes(make("png"))
    assert main(["protect", str(tmp_path / "a.png"), "--quiet"]) == FAILURE
    assert "dlib_robust_v1.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "a_cloaked.png").exists()


def test_memory_is_an_error_of_the_photo_not_of_the_run(
    cloaker: Cloaker, portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    portrait.save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.Image.Image.convert", lambda self, mode: (_ for _ in ()).throw(MemoryError))
    (report,) = cloaker.protect_files([tmp_path / "a.png"], tmp_path / "out")
    assert "expected a photo that fits into memory" in report.error
