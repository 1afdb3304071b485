import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloak.cli import main
from cloak.detect import MIN_FACE
from tests.helpers import SAMPLES, smooth_noise

SUCCESS, FAILURE, USAGE = 0, 1, 2


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "me.png"
    Image.open(SAMPLES / "astronaut.png").crop((130, 10, 330, 230)).save(path)
    return path


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    path = tmp_path / "clouds.png"
    Image.fromarray(smooth_noise(100, 120)).save(path)
    return path


def test_a_table_names_box_width_score_and_look(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(photo)]) == SUCCESS
    output = capsys.readouterr()
    heading, row = (line.split() for line in output.out.splitlines())
    assert heading[:2] == ["photo", "face"]
    assert row[-1] == "first"
    assert float(row[-2]) > 0.99
    assert MIN_FACE < int(row[-3]) < 200
    assert output.err == ""


def test_json_is_a_line_a_photo_and_photos_without_a_face_make_it_1(
    photo: Path, faceless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(photo).rotate(180).save(tmp_path / "over.png")
    Image.open(photo).resize((80, 88)).save(tmp_path / "small.png")
    assert main(["detect", str(tmp_path), "--json"]) == FAILURE
    output = capsys.readouterr()
    records = {Path(record["source"]).stem: record for record in map(json.loads, output.out.splitlines())}
    assert list(records) == ["clouds", "me", "over", "small"]
    assert records["clouds"]["faces"] == []
    assert records["clouds"]["size"] == [120, 100]
    assert records["me"]["faces"][0]["look"] == "first"
    assert records["over"]["faces"][0]["landmarks"][0][0] > records["over"]["faces"][0]["landmarks"][1][0]
    assert records["small"]["faces"][0]["left_alone"] is True
    assert output.err.splitlines() == [
        f"cloak: {faceless}: no face was found in it",
        f"cloak: {tmp_path / 'small.png'}: only faces narrower than {MIN_FACE} px were found in it",
    ]


def test_a_photo_that_cannot_be_read_is_said_and_the_others_go_on(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, gone, empty = tmp_path / "bad.jpg", tmp_path / "gone.jpg", tmp_path / "empty"
    bad.write_text("no photo")
    empty.mkdir()
    assert main(["detect", str(bad), str(gone), str(empty), str(photo)]) == FAILURE
    output = capsys.readouterr()
    assert output.err.count("\n") == 3
    assert f"cloak: {bad}: expected a photo (JPEG" in output.err
    assert f"cloak: {gone}: " in output.err
    assert "expected a folder with photos, got one with none" in output.err
    assert output.out.count("not read") == 3
    assert "first" in output.out


def test_the_drawing_marks_the_face_and_nothing_else(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = tmp_path / "drawing.png"
    assert main(["detect", str(photo), "--draw", str(drawing)]) == SUCCESS
    assert f"picture: {drawing}" in capsys.readouterr().out
    before, after = (np.asarray(Image.open(path)).astype(int) for path in (photo, drawing))
    rows, columns = np.nonzero(np.abs(after - before).sum(axis=2))
    main(["detect", str(photo), "--json"])
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    box = (columns.min(), rows.min(), columns.max(), rows.max())
    np.testing.assert_allclose(box, face["box"], atol=1.5)


def test_a_drawing_takes_one_photo_and_overwrites_nothing(
    photo: Path, faceless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = photo.read_bytes()
    assert main(["detect", str(photo), str(faceless), "--draw", str(tmp_path / "d.png")]) == USAGE
    assert "--draw takes one photo, got 2" in capsys.readouterr().err
    assert main(["detect", str(photo), "--draw", str(photo), "--overwrite"]) == USAGE
    assert "is the photo itself; pass another file to --draw" in capsys.readouterr().err
    assert main(["detect", str(photo), "--draw", str(faceless)]) == USAGE
    assert "exists already; pass --overwrite to replace it" in capsys.readouterr().err
    assert photo.read_bytes() == content
    assert main(["detect", str(photo), "--draw", str(faceless), "--overwrite"]) == SUCCESS
    with Image.open(faceless) as drawing:
        assert drawing.size == (200, 220)


def test_a_folder_for_the_drawing_that_cannot_be_made_is_one_sentence(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["detect", str(photo), "--draw", str(tmp_path / "file" / "out" / "d.png")]) == FAILURE
    assert "cannot be written: Not a directory" in capsys.readouterr().err
