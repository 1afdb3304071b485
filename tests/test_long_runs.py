"""Runs that are cut short go on; several share a folder."""

import errno
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.progress import Progress

import cloak.protect
from cloak import Cloaker, Limits, PhotoReport, SaveError, UsageError
from cloak.cli import _parser, main
from cloak.cli.engines import sensible_count
from cloak.cli.working import in_words, left_to_do, not_done, show_progress, words_on
from cloak.files import Job, Layout, Shard, lay_out
from cloak.journal import Journal
from cloak.opening import DONE_BEFORE
from cloak.report import CAPTION, TILE
from cloak.runs import Alone, told
from tests.fuzz import quick_cloaker
from tests.helpers import ROOT, contents, smooth_noise

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130
SETTINGS = {"mode": "mid"}


@pytest.fixture
def cloaker(monkeypatch: pytest.MonkeyPatch) -> Cloaker:
    return quick_cloaker("default", monkeypatch.setattr)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos in two folders, and a file that is none."""
    folder = tmp_path / "in"
    for number in range(6):
        path = folder / f"{'ab'[number % 2]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(path)
    (folder / "a" / "none.png").write_text("no photo")
    return folder


def go(cloaker: Cloaker, layout: Layout, folder: Path, most: int = 100) -> list[PhotoReport]:
    """At most so many photos of what is left."""
    with Journal.open(folder, SETTINGS) as journal:
        left = [job for job in layout.jobs if not journal.has(job)]
        return list(Alone(cloaker, layout).protect(left[:most], journal))


@pytest.fixture
def undisturbed(cloaker: Cloaker, photos: Path, tmp_path: Path) -> dict[str, bytes]:
    list(cloaker.protect_files([photos], tmp_path / "reference", recursive=True))
    return contents(tmp_path / "reference")


def test_a_run_goes_on_where_it_was(
    cloaker: Cloaker, photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)
    assert len(layout.jobs) == 7
    first, second, third = (go(cloaker, layout, out, most) for most in (3, 2, 100))
    assert [len(reports) for reports in (first, second, third)] == [3, 2, 2]
    assert len({report.source for report in (*first, *second, *third)}) == 7
    assert go(cloaker, layout, out) == []
    assert contents(out) == undisturbed
    assert len(undisturbed) == 6


def test_what_changed_is_done_anew_and_nothing_else(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)
    go(cloaker, layout, out)
    Image.fromarray(smooth_noise(80, 80, seed=99)).save(photos / "a" / "0.png")
    (out / "b" / "1.png").unlink()
    again = go(cloaker, layout, out)
    assert [report.source for report in again] == [photos / "a" / "0.png", photos / "b" / "1.png"]
    assert [report.error for report in again] == ["", ""]


def test_a_passing_error_is_tried_again(
    cloaker: Cloaker, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)

    def no_memory(*arguments: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("cloak.protect.prepare", no_memory)
        assert sum(report.passing for report in go(cloaker, layout, out)) == 6
    again = go(cloaker, layout, out)
    assert len(again) == 6  # the file that is no photo stays none
    assert not any(report.error for report in again)


def test_other_settings_are_noticed(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(cloaker, lay_out([photos], out, recursive=True), out)
    with pytest.raises(UsageError, match=r"was begun with other settings .*mode was mid, now high"):
        Journal.open(out, {"mode": "high"})
    with Journal.open(out, {"mode": "high"}, anew=True) as journal:
        assert journal.done == {}


def test_settings_with_which_nothing_was_written_are_forgotten(cloaker: Cloaker, tmp_path: Path) -> None:
    """A mode that was mistyped, and a photo without a face."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "none.png").write_text("no photo")
    out = tmp_path / "out"
    (report,) = go(cloaker, lay_out([tmp_path / "in"], out), out)
    assert report.error
    for _ in range(2):  # looking changes nothing
        assert Journal.look(out / ".cloak-journal.jsonl", {"mode": "high"}).done == {}
    with Journal.open(out, {"mode": "high"}) as journal:
        assert journal.done == {}
        journal.begin(lay_out([tmp_path / "in"], out).jobs[0], out / "none.png")
    with pytest.raises(UsageError, match="mode was high, now mid"):
        Journal.open(out, SETTINGS)


def test_photos_of_the_identity_may_be_added(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out, layout = tmp_path / "out", lay_out([photos], tmp_path / "out", recursive=True)
    with Journal.open(out, SETTINGS | {"identity": "a"}) as journal:
        list(Alone(cloaker, layout).protect(layout.jobs[:2], journal))
        assert not journal.others
    with Journal.open(out, SETTINGS | {"identity": "b"}) as journal:
        assert journal.others
        assert sum(map(journal.has, layout.jobs)) == 2
        assert "identity: other photos than before; what is done stays" in words_on(journal, layout.jobs, [])[0]
        assert words_on(journal, layout.jobs, layout.jobs) == ()
    for settings in (SETTINGS, SETTINGS | {"identity": "b", "seed": 1}):
        with pytest.raises(UsageError, match="was begun with other settings"):
            Journal.open(out, settings)


def test_changed_results_are_told_as_not_protected_and_stay(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out, layout = tmp_path / "out", lay_out([photos], tmp_path / "out", recursive=True)
    go(cloaker, layout, out)
    (out / "a" / "0.png").write_bytes((photos / "a" / "0.png").read_bytes())
    (out / "b" / "1.png").unlink()
    with Journal.open(out, SETTINGS) as journal:
        left, failed = not_done(layout.jobs, journal)
    assert [job.place for job in left] == ["b/1.png"]
    (told,) = (sentence for sentence in failed if "changed since" in sentence)
    assert told.startswith(f"{out / 'a' / '0.png'}: was changed since this folder's runs made it")


@pytest.mark.parametrize("size", ["another size", "the same size"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_result_that_somebody_changed_is_not_ours_to_replace(
    anew: bool, size: str, cloaker: Cloaker, photos: Path, tmp_path: Path
) -> None:
    out, layout = tmp_path / "out", lay_out([photos], tmp_path / "out", recursive=True)
    go(cloaker, layout, out)
    if size == "another size":
        Image.fromarray(smooth_noise(60, 60, seed=9)).save(out / "a" / "0.png")
    else:
        content = (out / "a" / "0.png").read_bytes()
        (out / "a" / "0.png").write_bytes(bytes(len(content)))
    mine = (out / "a" / "0.png").read_bytes()
    (photos / "a" / "0.png").touch()
    for _ in range(2):
        with Journal.open(out, SETTINGS, anew=anew) as journal:
            left = [job for job in layout.jobs if job.place == "a/0.png"]
            (report,) = Alone(cloaker, layout, overwrite=anew).protect(left, journal)
        assert "0.png: exists already, without the note that cloak made it" in report.error
        assert (out / "a" / "0.png").read_bytes() == mine


def test_another_folder_s_results_are_replaced_when_all_is_done_anew(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a note the journal tells that cloak made them; it tells a dry run and a single photo, too."""
    cloaker, out = quick_cloaker("strip", monkeypatch.setattr), tmp_path / "out"
    go(cloaker, lay_out([photos / "a"], out), out)
    before = contents(out)
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(smooth_noise(80, 80, seed=77)).save(other / "0.png")
    layout = lay_out([other], out)
    assert [bool(report.error) for report in go(cloaker, layout, out)] == [True]
    for most in (0, 1):  # once without a photo being done
        with Journal.open(out, SETTINGS, anew=True) as journal:
            assert [job.place for job in layout.jobs if journal.owned(job, anew=True)] == ["0.png"]
            reports = list(Alone(cloaker, layout, overwrite=True).protect(layout.jobs[:most], journal))
        assert not any(report.error for report in reports)
    options = _parser().parse_args(["protect", str(other / "0.png"), "-o", str(out), "--overwrite"])
    (job,) = left_to_do(options, SETTINGS).jobs
    assert job.ours == out / "0.png"
    (report,) = Alone(cloaker, layout, overwrite=True).protect([job])
    assert report.output == out / "0.png"
    assert contents(out).keys() == before.keys()


def test_what_was_found_there_does_not_become_ours(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    """A result that no journal knew is done before; when the photo changes, it is not replaced unasked."""
    out, layout = tmp_path / "out", lay_out([photos / "a"], tmp_path / "out")
    go(cloaker, layout, out)
    (out / ".cloak-journal.jsonl").unlink()
    before = contents(out)
    assert [report.notes for report in go(cloaker, layout, out) if report.output] == [(DONE_BEFORE,)] * 3
    assert go(cloaker, layout, out) == []
    Image.fromarray(smooth_noise(80, 80, seed=50)).save(photos / "a" / "0.png")
    (report,) = go(cloaker, layout, out)
    assert "0.png: exists already, of another photo" in report.error
    assert contents(out) == before


def test_a_photo_that_fails_when_all_is_done_anew_keeps_its_result(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloaker, out = quick_cloaker("strip", monkeypatch.setattr), tmp_path / "out"
    layout = lay_out([photos / "a"], out)
    go(cloaker, layout, out)
    content = (photos / "a" / "0.png").read_bytes()
    (photos / "a" / "0.png").write_text("no photo")
    for anew in (True, False):
        with Journal.open(out, SETTINGS, anew=anew) as journal:
            jobs = [job for job in layout.jobs if job.place == "0.png"]
            (report,) = Alone(cloaker, layout, overwrite=anew).protect(jobs, journal)
        assert bool(report.error) == anew
        (photos / "a" / "0.png").write_bytes(content)
    assert report.output == out / "0.png"


def test_results_without_a_note_are_known_as_ours_when_all_is_done_anew(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloaker, out = quick_cloaker("strip", monkeypatch.setattr), tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)
    go(cloaker, layout, out)
    (photos / "a" / "0.png").rename(photos / "a" / "00.png")
    (out / "a" / "0.png").rename(out / "a" / "00.png")  # of no photo now
    again = lay_out([photos], out, recursive=True)
    for _ in range(2):  # a run that is killed before the first photo, and the next one
        with Journal.open(out, SETTINGS | {"seed": 1}, anew=True) as journal:
            assert not any(map(journal.has, again.jobs))
    with Journal.open(out, SETTINGS | {"seed": 1}, anew=True) as journal:
        reports = list(Alone(cloaker, again, overwrite=True).protect(again.jobs, journal))
    assert ["may be a photo of yours" in report.error for report in reports if report.passing] == [True]
    assert sum(report.output is not None for report in reports) == 5


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        Journal.open(tmp_path, SETTINGS),
        Journal.open(tmp_path, SETTINGS, shard="2-of-3"),
        pytest.raises(UsageError, match="another run of cloak is at work in it"),
    ):
        Journal.open(tmp_path, SETTINGS)


def test_a_full_disk_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal.open(tmp_path, {}) as journal:
        journal._file = Full()
        with pytest.raises(UsageError, match=r"journal\.jsonl: cannot be written: No space left on .*; the run ends"):
            journal.end()


def test_journals_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/proc/nothing: cannot be written to"):
        Journal.open(Path("/proc/nothing"), SETTINGS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n")
    for name in (".cloak-journal.jsonl", ".cloak-journal.lock"):
        folder = tmp_path / name[7:]
        folder.mkdir()
        (folder / name).symlink_to(elsewhere)
        with pytest.raises(UsageError, match="is a link, which would be written through"):
            Journal.open(folder, SETTINGS)
    assert elsewhere.read_text() == "mine\n"


@pytest.mark.parametrize("line", ['{"settings": 5}', '{"report": {}}', '{"place": 1, "report": 2}', '{"begun": []}'])
def test_a_journal_with_other_things_in_it(tmp_path: Path, line: str) -> None:
    (tmp_path / ".cloak-journal.jsonl").write_text(line + "\n")
    with pytest.raises(UsageError, match="is no journal of cloak, or damaged"):
        Journal.open(tmp_path, SETTINGS)
    with Journal.open(tmp_path, SETTINGS, anew=True) as journal:
        assert journal.done == {}


def test_a_journal_with_garbage_in_it(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)
    go(cloaker, layout, out)
    with open(out / ".cloak-journal.jsonl", "ab") as journal:
        journal.write(b"\xff\xfe\x00garbage\n")
    assert go(cloaker, layout, out) == []


def test_a_killed_run_s_half_line_and_half_file(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)
    go(cloaker, layout, out, 2)
    path = out / ".cloak-journal.jsonl"
    run = next(record["run"] for record in map(json.loads, path.read_text().split("\n")[:-1]) if "run" in record)
    job = layout.jobs[2]
    output = job.target
    output.parent.mkdir(exist_ok=True, parents=True)
    (output.parent / f".cloak-{run}-0123.part").write_bytes(b"half")
    output.write_bytes(b"from the run that was killed before it could say so")
    with open(path, "a") as journal:
        begun = {"begun": job.place, "origin": job.origin, "stamp": "", "output": job.place}
        journal.write(json.dumps(begun) + '\n{"place": "a/')
    again = go(cloaker, layout, out)
    assert [report.source for report in again] == [job.source for job in layout.jobs[2:]]
    assert again[0].error == ""
    assert output.read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.part"))
    assert go(cloaker, layout, out) == []


def test_a_file_of_somebody_else_is_not_taken_for_ours(cloaker: Cloaker, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos], out, recursive=True)
    foreign = layout.jobs[0].target
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    for _ in range(2):
        report = go(cloaker, layout, out, 1)
        assert not report or "exists already" in report[0].error or report[0].source != layout.jobs[0].source
    assert foreign.read_bytes() == b"mine"


def test_another_folder_s_photo_of_the_same_name_replaces_nothing(cloaker: Cloaker, tmp_path: Path) -> None:
    """Cameras number their photos anew."""
    out, layouts = tmp_path / "out", []
    for number, name in enumerate("ab"):
        path = tmp_path / name / "IMG_1.png"
        path.parent.mkdir()
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(path)
        layouts.append(lay_out([path.parent], out))
    (first,) = go(cloaker, layouts[0], out)
    saved = contents(out)
    for _ in range(2):
        (second,) = go(cloaker, layouts[1], out)
        assert "IMG_1.png: exists already, of another photo" in second.error
        assert contents(out) == saved
    assert go(cloaker, layouts[0], out) == []
    assert first.error == ""


def test_results_that_are_renamed_for_their_format_keep_their_names(cloaker: Cloaker, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number, name in enumerate(("x.bmp", "x.jpg")):
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(source / name, "png")
    layout = lay_out([source], out)
    go(cloaker, layout, out, 1)  # a run that is killed before the second
    go(cloaker, lay_out([source], out), out)
    saved = contents(out)
    assert set(saved) == {"x.png", "x_2.png"}
    Image.fromarray(smooth_noise(80, 80, seed=9)).save(source / "x.jpg", "png")
    (again,) = go(cloaker, lay_out([source], out), out)
    assert again.output == out / "x_2.png"
    assert set(contents(out)) == set(saved)
    assert contents(out)["x.png"] == saved["x.png"]
    assert contents(out)["x_2.png"] != saved["x_2.png"]


def test_a_file_that_appears_meanwhile_is_not_taken_for_ours(
    cloaker: Cloaker, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos / "a"], out)
    target = layout.jobs[0].target
    for moment in ("cloak.protect.encode_protected", "cloak.protect.save_bytes"):
        with monkeypatch.context() as patched:
            work = getattr(cloak.protect, moment.rpartition(".")[2])

            def meanwhile(*given: Any, work: Any = work, **options: Any) -> Any:
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(b"mine")
                return work(*given, **options)

            patched.setattr(moment, meanwhile)
            (report,) = go(cloaker, layout, out, 1)
            assert "exists already" in report.error
        for _ in range(2):
            (report,) = go(cloaker, layout, out, 1)
            assert "exists already" in report.error
            assert target.read_bytes() == b"mine"
        target.unlink()


def test_a_photo_s_own_result_stays_its_own_where_it_cannot_be_written(
    cloaker: Cloaker, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos / "a"], out)
    job = layout.jobs[0]
    with Journal.open(out, SETTINGS) as journal:
        journal.begin(job, job.target)
        job.target.write_bytes(b"ours, by a run that was killed before it could say so")

    def full(*given: object, **options: object) -> None:
        raise SaveError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("cloak.protect.save_bytes", full)
        (report,) = go(cloaker, layout, out, 1)
        assert report.error == "the disk is full"
    (report,) = go(cloaker, layout, out, 1)
    assert (report.error, report.output) == ("", job.target)


def test_a_photo_s_own_result_stays_its_own_while_it_cannot_be_read(cloaker: Cloaker, tmp_path: Path) -> None:
    source, out = tmp_path / "in" / "x.png", tmp_path / "out"
    source.parent.mkdir()
    for number in range(3):
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(source)
        if number == 1:
            source.write_bytes(b"no photo")
        (report,) = go(cloaker, lay_out([source.parent], out), out)
        assert ("got a file that is none" in report.error) == (number == 1)
    assert report.error == ""


def test_what_a_photo_could_not_help_is_tried_again(
    cloaker: Cloaker, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    layout = lay_out([photos / "a"], out)
    in_the_way = layout.jobs[0].target
    in_the_way.parent.mkdir()
    in_the_way.write_bytes(b"mine")
    first = go(cloaker, layout, out)
    assert [report.passing for report in first] == [True, False, False, False]
    in_the_way.unlink()
    (again,) = go(cloaker, layout, out)
    assert again.error == ""
    for job in layout.jobs[:2]:
        job.source.touch()
    with monkeypatch.context() as patched:
        patched.setattr(cloaker, "limits", Limits(pixels=100))
        assert all("raise --max-megapixels" in report.error for report in go(cloaker, layout, out))
    assert [report.error for report in go(cloaker, layout, out)] == ["", ""]


def test_a_journal_holds_wherever_the_command_is_given(
    cloaker: Cloaker, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(go(cloaker, lay_out([Path("in")], Path("out"), recursive=True), Path("out"))) == 7
    monkeypatch.chdir("/")
    assert go(cloaker, lay_out([photos], tmp_path / "out", recursive=True), tmp_path / "out") == []


def test_a_run_that_replaces_everything_goes_on_after_it_was_cut_short(tmp_path: Path) -> None:
    def begin(*, anew: bool, done: str = "", ended: bool = False) -> set[str]:
        with Journal.open(tmp_path, SETTINGS, anew=anew) as journal:
            before = set(journal.done)
            if done:
                job = Job(tmp_path / done, tmp_path / done, tmp_path)
                journal.finish(job, PhotoReport(output=job.target), "1-1")
            if ended:
                journal.end()
            return before

    assert begin(anew=False, done="a.png", ended=True) == set()
    assert begin(anew=True, done="b.png") == set()
    assert begin(anew=True, done="c.png", ended=True) == {"b.png"}
    assert begin(anew=False) == {"b.png", "c.png"}
    assert begin(anew=True) == set()


# shards


def test_shards_share_the_work_wherever_the_folder_lies(photos: Path, tmp_path: Path) -> None:
    def parts(folder: Path, out: Path) -> list[list[str]]:
        jobs = lay_out([folder], out, recursive=True).jobs
        return [[job.place for job in jobs if Shard(number, 3).holds(job)] for number in (1, 2, 3)]

    before = parts(photos, tmp_path / "out")
    assert sorted(place for part in before for place in part) == sorted(
        job.place for job in lay_out([photos], tmp_path / "out", recursive=True).jobs
    )
    photos.rename(tmp_path / "moved")
    assert parts(tmp_path / "moved", tmp_path / "elsewhere") == before


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "-1/2", "1/2/3", "1.5/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="expected a shard such as 2/8"):
        Shard.parse(text)


# the command


@pytest.fixture
def command(cloaker: Cloaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloak.cli.protect._cloaker", lambda options: cloaker)
    monkeypatch.setattr("cloak.cli.engines.sensible_count", lambda photos: 1)  # others would not have this cloaker


@pytest.mark.usefixtures("command")
def test_the_command_goes_on_and_reports_all(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.jsonl"
    arguments = ["protect", str(photos), "-o", str(out), "--recursive", "--report", str(report)]
    assert main(arguments) == FAILURE  # one file is no photo, and the tiny recogniser is not fooled
    assert contents(out) == undisturbed
    first = report.read_text()
    assert len(first.splitlines()) == 7
    report.unlink()
    assert main(arguments) == FAILURE
    shown = capsys.readouterr()
    assert "done before: 7 photos, " in shown.out
    assert report.read_text() == first


@pytest.mark.usefixtures("command")
def test_what_was_not_protected_is_named_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["protect", str(photos), "-o", str(tmp_path / "out"), "--recursive", "--quiet"]
    assert main(arguments) == FAILURE
    first = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"cloak: {photos / 'a' / 'none.png'}: ") for line in first)
    assert all(line.startswith(f"cloak: {photos}/") for line in first)
    assert main(arguments) == FAILURE
    assert capsys.readouterr().err.splitlines() == first
    monkeypatch.setattr("cloak.cli.working.SHOWN", 1)
    assert main(arguments) == FAILURE
    assert capsys.readouterr().err.splitlines() == [first[0], f"cloak: and {len(first) - 1} others of earlier runs"]


@pytest.mark.usefixtures("command")
def test_a_dry_run_says_what_is_left(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["protect", str(photos), "-o", str(tmp_path / "out"), "--recursive"]
    assert main([*arguments, "--dry-run", "--quiet"]) == FAILURE  # one is no photo
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    main(arguments)
    saved = contents(tmp_path)
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == FAILURE  # as the run itself
    told = capsys.readouterr()
    assert "of 7 photos, 7 are done already\n" in told.out
    assert "none.png: expected a photo" in told.err
    (photos / "a" / "0.png").touch()
    main([*arguments, "--dry-run"])
    assert "of 7 photos, 6 are done already" in capsys.readouterr().out
    assert contents(tmp_path) == saved
    assert main([*arguments, "--dry-run", "--shard", "5/2"]) == USAGE
    assert "expected a shard such as 2/8" in capsys.readouterr().err


@pytest.mark.usefixtures("command")
def test_a_run_that_is_interrupted_leaves_nothing_that_stops_the_same_command(
    cloaker: Cloaker, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, picture = tmp_path / "report.jsonl", tmp_path / "picture.png"
    arguments = ["protect", str(photos), "-o", str(tmp_path / "out"), "--recursive", "--report", str(report)]
    arguments += ["--picture", str(picture), "--quiet"]
    protect_job = cloaker.protect_job

    def interrupted(*given: Any, **options: Any) -> PhotoReport:
        signal.raise_signal(signal.SIGINT)
        return protect_job(*given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(cloaker, "protect_job", interrupted)
        assert main(arguments) == INTERRUPTED
    assert not report.exists()
    assert not picture.exists()
    assert main(arguments) == FAILURE
    assert len(report.read_text().splitlines()) == 7
    moved = photos.rename(tmp_path / "moved")
    for place in (
        moved,
        moved,
        photos,
    ):  # of all photos, also those of the run before, and where nothing was left to do
        with Image.open(picture) as image:
            assert image.height == CAPTION + 6 * TILE
        picture.unlink()
        report.unlink()
        if place == photos:
            moved.rename(photos)
        assert main(["protect", str(place), *arguments[2:]]) == FAILURE


@pytest.mark.usefixtures("command")
def test_shards_of_the_command_make_what_one_run_makes(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for shard in ("1/3", "2/3", "3/3"):
        main(["protect", str(photos), "-o", str(out), "--recursive", "--shard", shard, "--quiet"])
    assert contents(out) == undisturbed
    assert main(["protect", str(photos), "--recursive", "--shard", "1/3"]) == USAGE
    assert "--shard needs -o" in capsys.readouterr().err


@pytest.mark.usefixtures("command")
def test_of_many_photos_numbers_are_told(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cloak.cli.working.SHOWN", 3)
    main(["protect", str(photos), "-o", str(tmp_path / "out"), "--recursive"])
    shown = capsys.readouterr()
    assert "not protected" in shown.out
    assert "similarity before" not in shown.out
    assert shown.err.count("cloak: ") == 7 - shown.out.count(" protected, ")


@pytest.mark.usefixtures("command")
def test_without_a_terminal_lines_tell_how_far_it_is(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cloak.cli.working.EVERY", 0.0)
    arguments = ["protect", str(photos), "-o", str(tmp_path / "out"), "--recursive"]
    main(arguments)
    lines = re.findall(
        r"^cloak: (\d) of 7 photos, ([\d.]+) a minute, less than a minute left$", capsys.readouterr().err, re.M
    )
    assert [int(done) for done, _ in lines] == sorted(int(done) for done, _ in lines)
    assert {int(done) for done, _ in lines} >= {1, 6}
    assert all(float(rate) > 0 for _, rate in lines)
    main([*arguments, "--overwrite", "--quiet"])
    assert "a minute" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0.4, "less than a minute"), (59.4, "59 min"), (59.9, "1 h 0 min"), (185.2, "3 h 5 min"), (3120, "2 d 4 h")],
)
def test_times_are_told_as_one_would_say_them(minutes: float, words: str) -> None:
    assert in_words(minutes) == words


def test_the_rate_counts_the_time_that_the_first_photos_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of four processes that finish their first photos together, a minute after the beginning."""
    clock = iter([0.0, 0.0, 60.0, 60.1, 60.2, 60.3])
    monkeypatch.setattr("cloak.cli.working.time.monotonic", lambda: next(clock))
    show = show_progress(Progress(disable=True), quiet=False)
    jobs = [Job(Path(f"{number}.png"), Path("x"), Path()) for number in range(40)]
    reports = [PhotoReport(source=job.source) for job in jobs[:4]]
    assert list(told(reports, jobs, show)) == reports
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["cloak: 1 of 40 photos, 1.0 a minute, 39 min left"]


@pytest.mark.parametrize(
    ("photos", "cores", "gigabytes", "expected"),
    [(1, 8, 16, 1), (3, 8, 16, 1), (4, 8, 16, 2), (1000, 8, 16, 5), (1000, 8, 64, 8), (1000, 2, 1, 1)],
)
def test_as_many_processes_as_photos_cores_and_memory_are_worth(
    photos: int, cores: int, gigabytes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloak.cli.engines.usable_cores", lambda: cores)
    monkeypatch.setattr("cloak.cli.engines.usable_memory", lambda: gigabytes * 10**9 // 2)
    assert sensible_count(photos) == expected


SLOWLY = """
import sys, time
from tests.fuzz import quick_cloaker
import cloak.protect, cloak.cli.protect, cloak.cli
cloaker = quick_cloaker("default")
encode = cloak.protect.encode_protected
def slowly(*arguments):
    time.sleep(0.15)
    return encode(*arguments)
cloak.protect.encode_protected = slowly
cloak.cli.protect._cloaker = lambda options: cloaker
print("ready", flush=True)
sys.exit(cloak.cli.main(sys.argv[1:]))
"""


def start(photos: Path, out: Path) -> "subprocess.Popen[str]":
    arguments = ["protect", str(photos), "-o", str(out), "--recursive", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def killed_and_resumed(photos: Path, out: Path, kills: int, longest: float) -> None:
    moments = random.Random(0)
    for _ in range(kills):
        process = start(photos, out)
        time.sleep(moments.uniform(0.0, longest))
        process.kill()
        process.communicate()
    process = start(photos, out)
    process.communicate(timeout=60)


def test_a_run_that_is_killed_ends_with_the_files_of_an_undisturbed_one(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    killed_and_resumed(photos, tmp_path / "out", kills=2, longest=0.8)
    assert contents(tmp_path / "out") == undisturbed


@pytest.mark.slow
def test_ten_kills_at_random_moments(cloaker: Cloaker, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(smooth_noise(80, 80, seed=number)).save(folder / f"{number}.jpg", quality=90)
    list(cloaker.protect_files([folder], tmp_path / "reference"))
    killed_and_resumed(folder, tmp_path / "out", kills=10, longest=1.2)
    assert contents(tmp_path / "out") == contents(tmp_path / "reference")


def test_ctrl_c_finishes_the_photo_in_hand_and_says_how_to_go_on(
    photos: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    process = start(photos, out)
    while not list(out.rglob("*.png")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert "finishing the photos in hand" in said
    assert "photos left; run the same command again to go on" in said
    done = contents(out)
    assert 0 < len(done) < 6
    assert all(undisturbed[name] == content for name, content in done.items())
    start(photos, out).communicate(timeout=60)
    assert contents(out) == undisturbed


@pytest.mark.slow
def test_a_photo_is_the_same_alone_in_a_folder_of_50_and_resumed(shared: Path, tmp_path: Path) -> None:
    """With the real networks; interrupted once, by the command's own choice of processes."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for person in sorted((shared / "data/lfw-dev/people").iterdir())[:50]:
        photo = sorted(person.iterdir())[0]
        (source / photo.name).write_bytes(photo.read_bytes())
    command = [sys.executable, "-m", "cloak", "protect", str(source), "-o", str(out), "--quiet"]
    with subprocess.Popen(command, cwd=ROOT) as run:
        while run.poll() is None and len(list(out.glob("*.jpg"))) < 12:
            time.sleep(0.2)
        run.kill()
    first = {path.name: path.read_bytes() for path in out.glob("*.jpg")}
    assert 12 <= len(first) < 50
    assert subprocess.run(command, cwd=ROOT).returncode in (0, FAILURE)  # not every face is protected
    assert len(list(out.glob("*.jpg"))) == 50
    assert all((out / name).read_bytes() == data for name, data in first.items())
    for name in (sorted(first)[0], *sorted(path.name for path in out.glob("*.jpg") if path.name not in first)[-2:]):
        alone = tmp_path / "alone"
        words = ["protect", str(source / name), "-o", str(alone), "--quiet"]
        assert subprocess.run([sys.executable, "-m", "cloak", *words], cwd=ROOT).returncode in (0, FAILURE)
        assert (alone / name).read_bytes() == (out / name).read_bytes()
