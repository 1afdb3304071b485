import os
from pathlib import Path

import pytest

from cloak import UsageError
from cloak.files import Job, Layout, free_name, plan_jobs
from cloak.walk import passed_over
from tests.helpers import ANY_BYTES


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def targets(jobs: list[Job], root: Path) -> dict[str, str]:
    return {str(job.source.relative_to(root)): str(job.target.relative_to(root)) for job in jobs}


def test_beside_the_photo_by_default(tmp_path: Path) -> None:
    touch(tmp_path / "me.JPG", tmp_path / "me.png", tmp_path / "notes.txt", tmp_path / ".hidden.png")
    assert targets(plan_jobs([tmp_path]), tmp_path) == {"me.JPG": "me_cloaked.JPG", "me.png": "me_cloaked.png"}


def test_own_results_in_a_folder_are_not_cloaked_again(tmp_path: Path) -> None:
    touch(tmp_path / "me.jpg", tmp_path / "me_cloaked.jpg", tmp_path / "other_cloaked.jpg")
    assert set(targets(plan_jobs([tmp_path]), tmp_path)) == {"me.jpg", "other_cloaked.jpg"}


def test_the_structure_of_folders_is_kept_below_out(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg", tmp_path / "in/deep/er/b.png")
    out = tmp_path / "out"
    assert targets(plan_jobs([tmp_path / "in"], out), tmp_path) == {"in/a.jpg": "out/a.jpg"}
    assert targets(plan_jobs([tmp_path / "in"], out, recursive=True), tmp_path) == {
        "in/a.jpg": "out/a.jpg",
        "in/deep/er/b.png": "out/deep/er/b.png",
    }


def test_colliding_names_get_numbers(tmp_path: Path) -> None:
    touch(tmp_path / "x/a.jpg", tmp_path / "y/a.jpg", tmp_path / "z/A.JPG")
    jobs = plan_jobs([tmp_path / "x", tmp_path / "y", tmp_path / "z/A.JPG"], tmp_path / "out")
    assert [job.target.name for job in jobs] == ["a.jpg", "a_2.jpg", "A_3.JPG"]


def test_a_photo_named_twice_is_done_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    assert len(plan_jobs([tmp_path / "a.jpg", tmp_path], tmp_path / "out")) == 1


def test_an_output_folder_inside_the_input_is_not_searched(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "out/a.jpg")
    assert set(targets(plan_jobs([tmp_path], tmp_path / "out", recursive=True), tmp_path)) == {"a.jpg"}


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(plan_jobs([tmp_path], tmp_path / "../elsewhere", recursive=True)) == 1


def test_folders_that_cannot_be_worked_on_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare").mkdir()
    (job,) = plan_jobs([tmp_path / "bare"])
    assert "expected a folder with photos, got one with none; pass --recursive to look deeper" in job.error
    (job,) = plan_jobs([tmp_path / "bare"], recursive=True)
    assert job.error.endswith("got one with none")

    touch(tmp_path / "in/a.jpg", tmp_path / "in/closed/b.jpg")
    scan = os.scandir

    def closed(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", closed)
    jobs = plan_jobs([tmp_path / "in"], recursive=True)
    assert [job.error for job in jobs] == ["", f"{tmp_path}/in/closed: cannot be read: Permission denied"]


def test_a_result_never_takes_the_originals_place(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    (tmp_path / "other").symlink_to(tmp_path / "in")
    for out in (tmp_path / "in", tmp_path / "other", tmp_path / "in" / ".." / "in"):
        (job,) = plan_jobs([tmp_path / "in"], out)
        assert job.target == out / "a_cloaked.jpg"
    touch(tmp_path / "in/a_cloaked.jpg")
    assert len(plan_jobs([tmp_path / "in"], tmp_path / "in")) == 1


@ANY_BYTES
def test_loops_of_links_and_names_of_any_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    touch(folder / "a.jpg")
    (folder / "again").symlink_to(folder)
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    strange = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n.jpg"))
    touch(strange)
    sources = [job.source for job in plan_jobs([folder], tmp_path / "out", recursive=True)]
    assert sorted(sources) == sorted([folder / "a.jpg", folder / "loop.jpg", strange])


def layout(paths: list[Path], out: Path | None = None) -> Layout:
    return Layout.of(plan_jobs(paths, out))


def test_the_suffix_of_another_format_and_names_that_then_collide(tmp_path: Path) -> None:
    touch(tmp_path / "a.gif", tmp_path / "a.png", tmp_path / "b")
    made = layout([tmp_path / "a.gif", tmp_path / "a.png", tmp_path / "b"], tmp_path / "out")
    places = [made.place(job, suffix).name for job, suffix in zip(made.jobs, (".png", ".png", ".jpg"), strict=True)]
    assert places == ["a_2.png", "a.png", "b.jpg"]


def test_what_is_passed_over_in_folders_is_told(tmp_path: Path) -> None:
    touch(*(tmp_path / "in" / name for name in ("a.jpg", "a_cloaked.jpg", "a_cloaked_2.png", "b_cloaked.jpg")))
    touch(*(tmp_path / "in" / f"{number}.NEF" for number in range(5)), tmp_path / "in/deep/c.dng")
    touch(tmp_path / "in/movie.mp4", tmp_path / "in/.hidden_cloaked.jpg", tmp_path / "out/x.cr2")
    (tmp_path / "in/linked").symlink_to(tmp_path / "out")
    here = [tmp_path / "in", tmp_path / "in/a.jpg"]
    assert passed_over(here) == (
        "2 photos left out, named like results (a_cloaked.jpg, a_cloaked_2.png)",
        "5 raw files left out: develop them first (0.NEF, 1.NEF, 2.NEF, and 2 more)",
    )
    assert passed_over(here, recursive=True)[1:] == (
        "6 raw files left out: develop them first (0.NEF, 1.NEF, 2.NEF, and 3 more)",
        "1 link to folders not followed: name the folders themselves (linked)",
    )
    assert passed_over([tmp_path / "out"]) == ("1 raw file left out: develop them first (x.cr2)",)
    assert passed_over([tmp_path], tmp_path / "out", recursive=True) == passed_over(here, recursive=True)
    assert passed_over([tmp_path / "gone", tmp_path / "in/a.jpg"]) == ()


def test_no_result_over_an_original_under_any_name(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg", tmp_path / "in/b.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jpg").symlink_to(tmp_path / "in/b.jpg")
    (tmp_path / "out/b.jpg").hardlink_to(tmp_path / "in/a.jpg")
    made = layout([tmp_path / "in"], tmp_path / "out")
    for job in made.jobs:
        with pytest.raises(
            UsageError, match="is itself a photo to protect, or of --identity or --apart-from, and would be overwritten"
        ):
            made.place(job, ".jpg")


def test_no_result_outside_of_its_folder(tmp_path: Path) -> None:
    touch(tmp_path / "in/deep/a.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/deep").symlink_to(tmp_path / "elsewhere")
    jobs = plan_jobs([tmp_path / "in"], tmp_path / "out", recursive=True)
    with pytest.raises(UsageError, match=r"deep/a.jpg: a link leads out of .*out, where results go; remove the link"):
        Layout.of(jobs).place(jobs[0], ".jpg")
    (tmp_path / "link").symlink_to(tmp_path / "out")  # the user's own choice
    (job,) = plan_jobs([tmp_path / "in/deep"], tmp_path / "link")
    assert Layout.of([job]).place(job, ".jpg") == tmp_path / "link/a.jpg"


def test_paths_with_dots_stay_within_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "deep/b.jpg")
    monkeypatch.chdir(tmp_path / "deep")
    jobs = plan_jobs([Path("../a.jpg"), Path(".."), tmp_path / "a.jpg"], Path("out"))
    assert [str(job.target) for job in jobs] == ["out/a.jpg"]


def test_out_must_not_be_a_file(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "file")
    with pytest.raises(UsageError, match="expected a folder for the results, got a file"):
        plan_jobs([tmp_path / "a.jpg"], tmp_path / "file")


def test_results_with_a_number_are_known_too(tmp_path: Path) -> None:
    for name in ("a.png", "a_cloaked_2.png", "a_cloaked.png", "a_cloaked_b.png", "b_cloaked_2.png"):
        (tmp_path / name).touch()
    found = [job.source.name for job in plan_jobs([tmp_path])]
    assert found == ["a.png", "a_cloaked_b.png", "b_cloaked_2.png"]


def test_files_without_numbers_are_told_apart_by_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some drives of Windows, where all had been one, and every folder the output folder."""
    stat = Path.stat

    def unnumbered(path: Path, **options: bool) -> os.stat_result:
        found = list(stat(path, **options))
        found[1] = 0
        return os.stat_result(found)

    touch(tmp_path / "in" / "sub" / "b.jpg")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "stat", unnumbered)
    (job,) = plan_jobs([tmp_path / "in"], tmp_path / "out", recursive=True)
    assert job.target == tmp_path / "out" / "sub" / "b.jpg"


def test_accents_composed_or_not_are_one_name() -> None:
    taken: set[str] = set()
    composed, apart = "\u00e9.jpg", "e\u0301.jpg"
    assert free_name(Path(composed), taken).name == composed
    assert free_name(Path(apart), taken).name == "e\u0301_2.jpg"
