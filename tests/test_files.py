from pathlib import Path

import pytest

from cloak import UsageError
from cloak.files import Job, plan_jobs


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


def test_what_cannot_be_worked_on_says_why(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.jpg")
    (tmp_path / "bare").mkdir()
    jobs = plan_jobs([tmp_path / "none.jpg", tmp_path / "bare", tmp_path / "in"], tmp_path / "in")
    assert "does not exist" in jobs[0].error
    assert "expected a folder with photos, got one with none" in jobs[1].error
    assert "would be overwritten by its result" in jobs[2].error


def test_out_must_not_be_a_file(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "file")
    with pytest.raises(UsageError, match="expected a folder for the results, got a file"):
        plan_jobs([tmp_path / "a.jpg"], tmp_path / "file")
