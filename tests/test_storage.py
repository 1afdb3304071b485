"""Folders at URLs: listing, fetching, sending, and the way of a photo from one to another."""

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloak import Cloaker, CloakError, PhotoReport, UsageError
from cloak.cli import main
from cloak.cli.engines import stage_of
from cloak.files import Job
from cloak.journal import Journal
from cloak.names import is_url
from cloak.storage import Folder, Stage, _leads_out, later_of, remove_leftovers
from tests.fuzz import quick_cloaker
from tests.helpers import smooth_noise

fsspec = pytest.importorskip("fsspec", reason="needs fsspec (pip install -e .[dev])")


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(smooth_noise(80, 80, seed)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for number, name in enumerate(["a.png", "b/c.png", "b/c_cloaked.png", "b/d.png", ".hidden.png"]):
        system.pipe_file(f"/photos/{name}", png(number))
    system.pipe_file("/photos/notes.txt", b"no photo")
    system.pipe_file("/photos/b/broken.png", b"no photo")
    yield system
    system.store.clear()


@pytest.fixture(scope="module")
def cloaker() -> Iterator[Cloaker]:
    with pytest.MonkeyPatch.context() as patch:
        yield quick_cloaker("default", patch.setattr)


class Remembered:
    """Notes of what was begun and finished."""

    def __init__(self, ours: Path | None = None) -> None:
        self.ours, self.begun, self.finished = ours, list[Path](), list[PhotoReport]()

    def owned(self, job: Job, *, anew: bool = False) -> Path | None:
        return self.ours

    def begin(self, job: Job, output: Path) -> None:
        self.begun.append(output)

    def finish(self, job: Job, report: PhotoReport, stamp: str) -> None:
        assert stamp == job.stamp
        self.finished.append(report)


STAGE = Stage(Folder("memory://photos"), Folder("memory://out/deep"))


def test_what_is_a_url() -> None:
    assert is_url("s3://bucket/photos")
    assert not is_url("/home/me/photos")
    assert is_url("simplecache::s3://bucket/photos")
    assert not is_url("C:\\photos")
    assert not is_url("C://photos")


def test_jobs_are_the_photos_by_their_places(memory: Any) -> None:
    jobs = STAGE.layout(recursive=True).jobs
    assert [job.place for job in jobs] == ["a.png", "b/broken.png", "b/c.png", "b/d.png"]
    assert [job.place for job in STAGE.layout(recursive=False).jobs] == ["a.png"]
    before = {job.place: job.stamp for job in jobs}
    memory.pipe_file("/photos/b/d.png", png(9) + b"more")
    after = {job.place: job.stamp for job in STAGE.layout(recursive=True).jobs}
    assert {place for place in before if before[place] != after[place]} == {"b/d.png"}


def test_photos_go_from_one_folder_to_the_other(memory: Any, cloaker: Cloaker) -> None:
    notes = Remembered()
    jobs = STAGE.layout(recursive=True).jobs
    reports = list(STAGE.work_through(cloaker, jobs, notes, overwrite=False))
    assert [str(report.output) for report in reports] == ["a.png", "None", "b/c.png", "b/d.png"]
    assert [str(report.source) for report in reports] == ["a.png", "b/broken.png", "b/c.png", "b/d.png"]
    assert reports[1].error.startswith("b/broken.png: ")
    assert "/tmp" not in reports[1].error
    assert not reports[1].passing
    assert notes.begun == [Path("a.png"), Path("b/c.png"), Path("b/d.png")]
    assert notes.finished == reports
    assert sorted(memory.find("/out")) == ["/out/deep/a.png", "/out/deep/b/c.png", "/out/deep/b/d.png"]
    with Image.open(io.BytesIO(memory.cat_file("/out/deep/a.png"))) as image:
        assert image.size == (80, 80)
    assert memory.cat_file("/photos/a.png") == png(0)


def test_results_that_exist_are_kept_unless_they_are_ours(memory: Any, cloaker: Cloaker) -> None:
    memory.pipe_file("/out/deep/a.png", b"somebody's")
    jobs = STAGE.layout(recursive=False).jobs
    (report,) = STAGE.work_through(cloaker, jobs, Remembered(), overwrite=False)
    assert "a.png: exists already in memory://out/deep; pass --overwrite" in report.error
    assert memory.cat_file("/out/deep/a.png") == b"somebody's"
    (report,) = STAGE.work_through(cloaker, jobs, Remembered(Path("b.png")), overwrite=False)
    assert "exists already" in report.error
    assert report.passing
    (report,) = STAGE.work_through(cloaker, jobs, Remembered(Path("a.png")), overwrite=False)
    assert report.error == ""
    assert memory.cat_file("/out/deep/a.png") != b"somebody's"


def test_storage_that_fails_is_an_error_that_may_pass(
    memory: Any, cloaker: Cloaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = STAGE.layout(recursive=False).jobs
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "send", lambda *arguments: (_ for _ in ()).throw(OSError("connection lost")))
        (report,) = STAGE.work_through(cloaker, jobs, Remembered(), overwrite=False)
    assert report.error == "a.png: connection lost"
    assert report.passing
    memory.rm_file("/photos/a.png")
    (report,) = STAGE.work_through(cloaker, jobs, Remembered(), overwrite=False)
    assert report.error.startswith("a.png: ")


def test_the_journal_is_kept_here_and_a_copy_beside_the_results(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path / "here"))
    with STAGE.journal_folder() as folder, Journal.open(folder, {"mode": "mid"}):
        pass
    (copy,) = memory.find("/out/deep")
    assert copy == "/out/deep/.cloak-journal.jsonl"
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path / "another machine"))
    with STAGE.journal_folder() as folder:
        assert (folder / ".cloak-journal.jsonl").read_bytes() == memory.cat_file(copy)


def test_machines_that_work_one_after_the_other_lose_nothing_of_the_journal(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = STAGE.layout(recursive=False).jobs[0]
    for number, machine in enumerate(("a", "b", "a", "b")):
        monkeypatch.setenv("CLOAK_CACHE", str(tmp_path / machine))
        with STAGE.journal_folder() as folder, Journal.open(folder, {"mode": "mid"}) as journal:
            assert set(journal.done) == {f"{earlier}.png" for earlier in range(number)}
            journal.finish(replace(job, target=Path(f"{number}.png")), PhotoReport(source=job.source), job.stamp)
    (folder / ".cloak-journal.jsonl").write_bytes(memory.cat_file(COPY) + b"unsent\n")
    with STAGE.journal_folder():
        pass
    assert memory.cat_file(COPY).splitlines()[-1] == b"unsent"


COPY = "/out/deep/.cloak-journal.jsonl"


def test_folders_of_this_machine_beside_urls_have_any_names(tmp_path: Path) -> None:
    options = argparse.Namespace(
        paths=[tmp_path / "my photos é"], out="memory://out", engine="ray", picture=None, recursive=True
    )
    options.paths[0].mkdir()
    (options.paths[0] / "a.png").write_bytes(png(0))
    stage = stage_of(options)
    assert stage is not None
    assert [job.place for job in stage.layout(recursive=True).jobs] == ["a.png"]


def test_what_cannot_be_a_stage(memory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="is where the photos are"):
        Stage(Folder("memory://photos"), Folder("memory://photos/")).layout(recursive=False)
    with pytest.raises(UsageError, match="memory://none: expected a folder with photos, got one with none"):
        Stage(Folder("memory://none"), Folder("memory://out")).layout(recursive=True)
    memory.store["/photos/../b.png"] = memory.store["/photos/a.png"]
    with pytest.raises(UsageError, match=r"memory://photos: \.\./b\.png would lead out of it"):
        STAGE.layout(recursive=True)
    with pytest.raises(UsageError, match="nonsense://a: cannot be opened: "):
        Stage(Folder("nonsense://a"), Folder("memory://out")).layout(recursive=True)
    assert main(["protect", "memory://photos", "-o", "out"]) == 2
    assert "URLs need --engine ray, one folder, and -o" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_said_before_the_work(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path))
    stage = Stage(Folder("memory://photos"), Folder("file:///proc/nothing"))
    with pytest.raises(UsageError, match="file:///proc/nothing: cannot be written to"), stage.journal_folder():
        pass
    monkeypatch.setattr(Folder, "remove", lambda *arguments: (_ for _ in ()).throw(PermissionError()))

    def cut_off() -> None:
        with STAGE.journal_folder() as folder:
            (folder / ".cloak-journal.jsonl").write_text("{}\n")
            monkeypatch.setattr(Folder, "send", lambda *arguments: (_ for _ in ()).throw(OSError("gone")))

    with pytest.raises(CloakError, match=r"the journal could not be copied there \(gone\); it is in "):
        cut_off()
    assert list(tmp_path.rglob(".cloak-journal.jsonl"))


def test_what_killed_processes_left_of_photos_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("cloak-dead-xy", "cloak-alive-xy"):
        (tmp_path / name / "in").mkdir(parents=True)
    remove_leftovers(["dead", "never"])
    assert [path.name for path in tmp_path.iterdir()] == ["cloak-alive-xy"]


def journal_of(run: str, began: float, *lines: str) -> bytes:
    settings = json.dumps({"settings": {}, "anew": True, "began": began, "id": run})
    return "".join(f"{line}\n" for line in (settings, *lines)).encode()


def test_of_two_journals_the_later_run_s_counts() -> None:
    old, new = journal_of("a", 1.0, "1", "2"), journal_of("b", 2.0, "3")
    assert later_of(old, new) == later_of(new, old) == new
    assert later_of(b"", new) == later_of(new, b"") == new
    assert later_of(b"", b"") == b""
    assert later_of(journal_of("a", 1.0, "1", "3"), old) == journal_of("a", 1.0, "1", "2", "3")


def test_a_run_that_was_wrong_usage_sends_no_journal(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path))
    with STAGE.journal_folder() as folder, Journal.open(folder, {"mode": "mid"}) as journal:
        journal.begin(Job(Path("a.png"), Path("a.png"), Path(), stamp="1"), Path("a.png"))
    before = memory.cat_file(COPY)

    def other() -> None:
        with STAGE.journal_folder() as folder, Journal.open(folder, {"mode": "high"}):
            pass

    with pytest.raises(UsageError, match="was begun with other settings"):
        other()
    assert memory.cat_file(COPY) == before
    with STAGE.journal_folder("2-of-3") as folder, Journal.open(folder, {"mode": "high"}, shard="2-of-3"):
        pass
    assert sorted(memory.find("/out/deep")) == ["/out/deep/.cloak-journal-2-of-3.jsonl", COPY]


def test_a_renamed_result_takes_no_other_s_name(memory: Any, cloaker: Cloaker) -> None:
    memory.pipe_file("/photos/a.bmp", png(5))
    jobs = [job for job in STAGE.layout(recursive=False).jobs if job.place == "a.bmp"]
    (report,) = STAGE.work_through(cloaker, jobs, Remembered(), overwrite=True, earlier=["a.png"])
    assert str(report.output) == "a_2.png"


def test_names_of_objects_that_are_no_paths_below_a_folder() -> None:
    assert not any(map(_leads_out, ("a.png", "a/b.png", "a b/ü.png", "..a.png")))
    assert all(map(_leads_out, ("../a.png", "a/../b.png", "/a.png", "a//b.png", "./a.png")))
