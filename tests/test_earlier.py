"""Cloaks of one person that do not match each other."""

import json
import re
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cloak import Cloaker, SaveError
from cloak.cli import main
from cloak.detect import FaceDetector
from cloak.earlier import Earlier, keep_apart, published_among
from cloak.eye import Eye
from cloak.methods import APART, MODES
from cloak.objectives import likeness_to
from cloak.opening import DONE_BEFORE
from cloak.optimize import cloak_patches
from cloak.patches import stack_patches
from cloak.photo import read_photo, save_bytes
from cloak.recognizers import Recognizer
from cloak.views import NO_JITTER
from tests.helpers import SAMPLES, prepared, quick

pytestmark = pytest.mark.usefixtures("one_thread")

TAKES = ("grace_mirrored", "grace_soft")


@pytest.fixture
def earlier(moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer) -> Earlier:
    """Photos that were published as they were."""
    found = Earlier(detector, [dlib], [dlib])
    found.recall((moments[name], moments[name]) for name in (*TAKES, "eileen_soft"))
    return found


def test_the_likeness_is_that_to_the_most_similar_and_never_below_zero() -> None:
    embeddings = F.normalize(torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    rows = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    opposite = -F.normalize(embeddings[1].sum(dim=0), dim=0)[None]
    found = likeness_to([rows, opposite, None], embeddings)
    assert torch.allclose(found[0], (embeddings[0] @ rows.T).mean(dim=0).max())
    assert found[0] > 0.0
    assert found[1:].tolist() == [0.0, 0.0]


def test_a_face_is_kept_from_what_was_made_of_the_same_person(
    earlier: Earlier, moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    (grace,) = keep_apart(prepared(moments["grace"], detector), earlier).patches
    (eileen,) = keep_apart(prepared(moments["eileen"], detector), earlier).patches
    assert (grace.kept_from, eileen.kept_from) == (2, 1)
    published = prepared(moments["eileen_soft"], detector)
    assert torch.allclose(eileen.earlier["dlib"][0], published.own(dlib, published.faces[0]), atol=1e-5)


def test_a_copy_of_a_photo_is_kept_from_it(earlier: Earlier, moments: dict[str, Path], detector: FaceDetector) -> None:
    (patch,) = keep_apart(prepared(moments["eileen_soft"], detector), earlier).patches
    assert patch.kept_from == 1


def test_nothing_is_known_at_first_and_the_oldest_is_forgotten(
    moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    photo = prepared(moments["grace"], detector)
    assert keep_apart(photo, None) is photo
    empty = Earlier(detector, [dlib], [dlib])
    assert keep_apart(photo, empty).patches[0].kept_from == 0
    small = Earlier(detector, [dlib], [dlib], photos=deque(maxlen=1))
    small.recall((moments[name], moments[name]) for name in (*TAKES, "eileen_soft"))
    assert keep_apart(photo, small).patches[0].kept_from == 0


def test_what_cannot_be_read_any_more_is_left_out(
    moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no photo")
    found = Earlier(detector, [dlib], [dlib])
    grace, other = moments["grace_soft"], moments["eileen"]  # of another size
    found.recall([(grace, tmp_path / "gone.png"), (grace, tmp_path / "broken.png"), (grace, grace)])
    assert [len(photo) for photo in found.photos] == [1]
    found.recall([(tmp_path / "gone.png", grace), (grace, other)])
    assert [photo[0].judged is None for photo in found.photos] == [False, True, True]


def test_the_loop_leads_away_from_earlier_cloaks_and_leaves_the_others_as_they_were(
    earlier: Earlier, moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    (alone,) = prepared(moments["grace"], detector).patches
    rows = earlier.of(prepared(moments["grace"], detector).own, prepared(moments["grace"], detector).faces[0])
    method = replace(MODES["mid"], steps=10, turns=1, apart=1.0)
    near = replace(alone, earlier={"dlib": F.normalize(rows["dlib"].mean(0) + rows["dlib"].roll(1, 1)[0], dim=0)[None]})

    def similarity(weight: float) -> float:
        batch = stack_patches([near])
        cloaked = batch.pixels + cloak_patches(batch, [dlib], replace(method, apart=weight))
        jitters = torch.tensor(NO_JITTER).view(1, 1, -1)
        seen = Eye.of(batch, dlib, method).embed(cloaked, jitters)[0]
        return float((seen @ near.earlier["dlib"].T).mean())

    assert similarity(1.0) < similarity(0.0) - 0.05
    by_itself = cloak_patches(stack_patches([alone]), [dlib], method)
    assert torch.equal(by_itself, cloak_patches(stack_patches([alone]), [dlib], replace(method, apart=0.0)))


def test_a_run_that_was_cut_ends_with_the_files_of_one_that_was_not(
    moments: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people, published photos that lie in one folder with the results, and a limit that results exceed."""
    originals, posted = tmp_path / "originals", tmp_path / "posted"
    originals.mkdir()
    posted.mkdir()
    for number, name in enumerate(("grace", "eileen", "grace_mirrored", "grace_soft")):
        (originals / f"{number}.png").write_bytes(moments[name].read_bytes())
    (posted / "old_cloaked.png").write_bytes(moments["eileen_soft"].read_bytes())
    largest = max(path.stat().st_size for path in originals.iterdir())
    command = ["protect", str(originals), "--apart-from", str(posted), "--mode", "low", "--steps", "20", "--quiet"]
    command += ["--surrogates", "dlib-robust", "--max-megabytes", str((largest + 1) / 1e6)]
    assert main([*command, "-o", str(posted / "once")]) in (0, 1)

    (posted / "once").rename(tmp_path / "once")
    saved: list[Path] = []
    save = save_bytes

    def save_two(data: bytes, path: Path, **options: bool) -> None:
        if path.suffix == ".png" and len(saved) == 2:
            raise SystemExit("killed")
        save(data, path, **options)
        saved.append(path)

    monkeypatch.setattr("cloak.protect.save_bytes", save_two)
    with pytest.raises(SystemExit):
        main([*command, "-o", str(posted / "twice")])
    monkeypatch.undo()
    assert main([*command, "-o", str(posted / "twice")]) in (0, 1)
    for number in range(4):
        once, twice = (folder / f"{number}.png" for folder in (tmp_path / "once", posted / "twice"))
        assert once.read_bytes() == twice.read_bytes()


def test_a_photo_that_was_changed_is_not_kept_from_its_own_old_result(moments: dict[str, Path], tmp_path: Path) -> None:
    folder, out, report = tmp_path / "in", tmp_path / "out", tmp_path / "report.jsonl"
    folder.mkdir()
    command = ["protect", str(folder), "-o", str(out), "--apart", "--mode", "low", "--steps", "20", "--quiet"]
    command += ["--surrogates", "dlib-robust"]
    for changed in ("grace_soft", "grace_mirrored"):
        (folder / "a.png").write_bytes(moments["grace"].read_bytes())
        (folder / "b.png").write_bytes(moments[changed].read_bytes())
        main([*command, "--report", str(report), "--overwrite"] if changed == "grace_soft" else command)
    main([*command, "--report", str(tmp_path / "again.jsonl")])
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert [face["apart"] for photo in again for face in photo["faces"]] == [0, 1]


def test_a_single_photo_is_kept_from_what_the_journal_of_its_folder_knows(
    moments: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(moments["grace"].read_bytes())
    options = ["-o", str(tmp_path / "out"), "--apart", "--mode", "low", "--steps", "20", "--quiet"]
    options += ["--surrogates", "dlib-robust"]
    main(["protect", str(tmp_path / "in"), *options])
    report = tmp_path / "report.jsonl"
    main(["protect", str(moments["grace_soft"]), *options, "--report", str(report)])
    assert json.loads(report.read_text())["faces"][0]["apart"] == 1


def test_results_beside_their_photos_are_known_when_a_run_goes_on(moments: dict[str, Path], tmp_path: Path) -> None:
    options = ["--apart", "--mode", "low", "--steps", "20", "--quiet", "--surrogates", "dlib-robust"]
    for folder, first in (("once", 2), ("twice", 1)):
        (tmp_path / folder).mkdir()
        for name, moment in (("a", "grace"), ("b", "grace_soft")):
            (tmp_path / folder / f"{name}.png").write_bytes(moments[moment].read_bytes())
        photos = sorted(map(str, (tmp_path / folder).iterdir()))
        assert main(["protect", *photos[:first], *options]) in (0, 1)
    assert not (tmp_path / "twice" / "b_cloaked.png").exists()
    report = tmp_path / "report.jsonl"
    assert main(["protect", str(tmp_path / "twice"), *options, "--report", str(report)]) in (0, 1)
    before, done = (json.loads(line) for line in report.read_text().splitlines())
    assert before["notes"] == [DONE_BEFORE]
    assert done["faces"][0]["apart"] == 1
    for name in ("a", "b"):
        once, twice = (tmp_path / folder / f"{name}_cloaked.png" for folder in ("once", "twice"))
        assert once.read_bytes() == twice.read_bytes()


def test_looking_at_earlier_results_is_told_and_can_be_stopped(earlier: Earlier, moments: dict[str, Path]) -> None:
    told: list[Path] = []
    earlier.photos.clear()
    pairs = [(moments[name], moments["grace_soft"]) for name in ("grace", "grace_mirrored", "eileen")]

    def going_on(original: Path) -> bool:
        told.append(original)
        return len(told) < 3

    earlier.recall(pairs, going_on)
    assert told == [original for original, _ in pairs]
    assert len(earlier.photos) == 2


def test_what_could_not_be_saved_is_not_remembered(
    moments: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloaker = quick(apart=True)

    def full(*_: object, **__: object) -> None:
        raise SaveError("no space left")

    monkeypatch.setattr("cloak.protect.save_bytes", full)
    (failed,) = cloaker.protect_files([moments["grace"]], tmp_path / "out")
    monkeypatch.undo()
    (saved,) = cloaker.protect_files([moments["grace_soft"]], tmp_path / "out")
    assert (failed.error, saved.faces[0].apart) == ("no space left", 0)
    assert cloaker.earlier is not None
    assert len(cloaker.earlier.photos) == 1


def test_two_cloaks_match_each_other_less(moments: dict[str, Path], tmp_path: Path) -> None:
    def likeness(apart: bool) -> float:
        cloaker = quick(steps=20, apart=apart)
        reports = list(cloaker.protect_files([moments["grace"], moments["grace_soft"]], tmp_path / str(apart)))
        assert [report.faces[0].apart for report in reports] == [0, int(apart)]
        assert all((report.faces[0].expected is None) == apart for report in reports)
        first, second = (read_photo(Path(report.output or "")).pixels for report in reports)
        return sum(
            float(one.embed(first, reports[0].faces[0].face) @ one.embed(second, reports[1].faces[0].face))
            for one in cloaker._recognizers
        ) / len(cloaker._recognizers)

    assert likeness(apart=True) < likeness(apart=False) - 0.05


def test_settings_tell_whether_cloaks_are_kept_apart() -> None:
    assert Cloaker(apart=True).settings["apart"] == APART
    assert "apart" not in Cloaker().settings


@pytest.mark.parametrize("more", [["--workers", "2"], ["--shard", "1/2"], ["--engine", "ray"]])
def test_what_divides_the_work_is_refused(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert main(["protect", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--apart", *more]) == 2
    assert re.search("--apart does one photo after the other: leave out", capsys.readouterr().err)


def test_published_photos_count_by_how_like_they_are(
    moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    found = Earlier(detector, [dlib], [dlib])
    found.add_published([moments["eileen_soft"], moments["grace_soft"]])
    photo = prepared(moments["grace"], detector)
    (patch,) = keep_apart(photo, found).patches
    own = photo.own(dlib, photo.faces[0])
    assert patch.kept_from == 2
    assert (patch.earlier["dlib"] @ own).tolist() == sorted((patch.earlier["dlib"] @ own).tolist(), reverse=True)
    assert found.note == "apart: each photo is kept from the results before it and from 2 faces published before"


def test_of_a_folder_those_are_published_that_cloak_has_made(moments: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "a_cloaked.png", "deep/b.png", ".c_cloaked.png"):
        (folder / name).write_bytes(moments["grace_soft"].read_bytes())
    (folder / "note_cloaked.txt").write_text("no photo")
    (folder / "broken.jpg").write_bytes(b"no photo")
    list(quick().protect_files([moments["eileen"]], folder / "deep"))
    made = {folder / "a_cloaked.png", folder / "deep" / "eileen.png"}
    assert set(published_among([folder])) == made
    assert published_among([folder / "deep" / "b.png"]) == [folder / "deep" / "b.png"]
    later = Cloaker(apart=[folder])
    assert later.notes[1] == "apart: each photo is kept from the results before it and from 2 faces published before"
    assert published_among([folder], [folder / "deep" / "eileen.jpg"]) == [folder / "a_cloaked.png"]
    assert published_among([folder / "deep"], [folder / "deep" / "eileen.png"]) == []
    assert len(published_among([folder, folder / "a_cloaked.png"])) == 2
    (folder / "broken_cloaked.jpg").write_bytes(b"no photo")
    Image.new("RGB", (64, 64)).save(folder / "blank_cloaked.png")
    assert re.search("from 2 faces published before; 2 photos left out, the first: ", Cloaker(apart=[folder]).notes[1])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "expected cloaked photos or a folder of such, got nothing there"),
        (
            "empty",
            "expected photos that cloak has made, got none that say so by their note or name; name the files them",
        ),
        ("blank.png", "expected published photos that show faces, got none: "),
        ("https://example.com/x.jpg", "expected a path of this machine for --apart-from, got a URL; fetch the photos"),
    ],
)
def test_where_nothing_was_published_is_told(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "blank.png")
    photo = tmp_path / "a.png"
    photo.write_bytes((SAMPLES / "astronaut.png").read_bytes())
    place = name if "://" in name else str(tmp_path / name)
    assert main(["protect", str(photo), "--apart-from", place]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert place in told
    assert not (tmp_path / "a_cloaked.png").exists()


def test_a_published_photo_is_never_replaced(moments: dict[str, Path], tmp_path: Path) -> None:
    posted = tmp_path / "posted"
    posted.mkdir()
    (posted / "grace.png").write_bytes(moments["grace_soft"].read_bytes())
    command = ["protect", str(moments["grace"]), "-o", str(posted), "--overwrite", "--quiet"]
    assert main([*command, "--apart-from", str(posted / "grace.png")]) == 1
    assert (posted / "grace.png").read_bytes() == moments["grace_soft"].read_bytes()
