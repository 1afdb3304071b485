"""The harness from a folder of photos to results, on the two samples as a tiny dataset."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cloak.bench import cloaking
from cloak.bench.cloaking import Workshop
from cloak.bench.evaluators import Evaluator, load_evaluator
from cloak.bench.protocol import Entry, Protocol, read_protocol
from cloak.bench.run import run_protocol
from cloak.bench.store import EmbeddingStore, Journal
from cloak.cli import main
from cloak.errors import CloakError, UsageError
from cloak.folders import cache_folder
from cloak.photo import save_bytes
from tests.helpers import sample_faces

pytest.importorskip("sklearn", reason="needs scikit-learn (pip install -e .[dev])")

PROTOCOL = """
people = 2
cloaked = 2
distractors = 3
evaluators = ["dlib"]
fars = [0.1]
resamples = 50

[[cloaks]]
methods = ["none", "noise"]
conditions = ["saved", "jpeg75"]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people with four photos each, made from the samples; two strangers and a broken file."""
    root = tmp_path_factory.mktemp("tree")
    for name, face in sample_faces().items():
        for number, brightness in enumerate((0.8, 0.9, 1.0, 1.1)):
            path = root / "people" / name[:5] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            ImageEnhance.Brightness(face).enhance(brightness).save(path)
            if not number:
                path = root / "distractors" / name
                path.parent.mkdir(exist_ok=True)
                face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    (root / "distractors" / "broken.jpg").write_bytes(b"no photo")
    return root


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Protocol:
    monkeypatch.setenv("CLOAK_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.toml"
    path.write_text(PROTOCOL)
    return read_protocol(path)


def comparable(results: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run: times and versions."""
    kept = copy.deepcopy(results)
    del kept["provenance"]
    for entry in kept["entries"]:
        del entry["seconds_per_face"]
    return kept


def record(results: dict[str, Any], entry: str, scenario: str, condition: str = "saved") -> dict[str, Any]:
    (found,) = (
        item
        for one in results["entries"]
        if one["name"] == entry
        for item in one["records"]
        if (item["scenario"], item["condition"]) == (scenario, condition)
    )
    return dict(found)


def test_results_hold_what_the_photos_say(
    protocol: Protocol, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stating(*arguments: Any, **options: Any) -> Evaluator:
        return replace(load_evaluator(*arguments, **options), threshold=1.0)

    monkeypatch.setattr("cloak.bench.run.load_evaluator", stating)
    results, shown = run_protocol(protocol, tree, tmp_path / "out")
    none, noise = results["entries"]
    assert (none["name"], none["files"], none["unchanged"], none["dssim"]) == ("none", 4, 4, None)
    assert (noise["name"], noise["files"], noise["unchanged"], noise["failed"]) == ("noise@0.009", 4, 0, [])
    assert 0.007 < noise["visibility"]["face"]["dssim"]["mean"] <= noise["visibility"]["face"]["dssim"]["max"] <= 0.009
    assert noise["visibility"]["photo"]["dssim"]["mean"] < noise["visibility"]["face"]["dssim"]["mean"]
    for scenario in ("evasion", "poisoning", "both", "leak50"):
        untouched = record(results, "none", scenario)
        assert untouched["measures"] == untouched["clean"]  # a cloak that is the original is exposed
        assert untouched["measures"]["rank1"]["value"] == 1.0
        changed = record(results, "noise@0.009", scenario)
        assert changed["clean"] == untouched["clean"]
        assert changed["measures"]["similarity"]["value"] != untouched["clean"]["similarity"]["value"]
        assert changed["measures"]["detected"]["value"] == 1.0
        assert {"tar@0.1", "psr@0.1", "rank5", "nearest", "linear", "adaptive"} < set(changed["measures"])
        assert changed["measures"]["psr@stated"]["value"] == 1.0  # nothing is as like as that
    after_jpeg = record(results, "noise@0.009", "evasion", "jpeg75")
    assert "adaptive" not in after_jpeg["measures"]
    assert after_jpeg["clean"] != record(results, "noise@0.009", "evasion")["clean"]
    assert results["dataset"]["unreadable"][0].startswith("distractors/broken.jpg: ")
    assert results["dataset"]["distractors"] == 2
    (described,) = results["evaluators"]
    assert (described["thresholds"]["stated"], described["false_accepts"]["stated"]) == (1.0, 0.0)
    (sanity,) = results["sanity"]
    assert sanity["identical"]["psr@0.1"]["value"] == 0.0
    assert sanity["identical"]["similarity"]["value"] == pytest.approx(1.0)
    assert sanity["strangers"]["rank1"]["value"] == 0.0
    assert sanity["original"] == {
        k: v for k, v in record(results, "none", "evasion")["clean"].items() if k not in ("detected", "adaptive")
    }
    assert results["differences"] == []  # there is no "cloak" to compare with
    (kept,) = noise["by_person"]
    assert (kept["evaluator"], kept["counts"]) == ("dlib", [[2, 2], [2, 2]])
    similarity = record(results, "noise@0.009", "evasion")["measures"]["similarity"]
    assert sum(map(sum, kept["sums"]["similarity"])) / 8 == pytest.approx(similarity["value"])
    assert [caption for caption, *_ in shown] == ["0", "0"]
    assert all([name for name, _ in columns] == ["noise@0.009"] for *_, columns in shown)


def test_a_run_that_was_killed_goes_on_with_nothing_made_twice(
    protocol: Protocol, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run_protocol(protocol, tree, tmp_path / "whole")
    monkeypatch.setattr(cloaking, "PHOTOS_AT_ONCE", 1)
    written: list[str] = []
    save: Callable[..., None] = save_bytes

    def save_three(data: bytes, path: Path, *, overwrite: bool) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        save(data, path, overwrite=overwrite)

    monkeypatch.setattr(cloaking, "save_bytes", save_three)
    with pytest.raises(KeyboardInterrupt):
        run_protocol(protocol, tree, tmp_path / "cut")
    made: list[Path] = []

    def save_and_count(data: bytes, path: Path, *, overwrite: bool) -> None:
        made.append(path)
        save(data, path, overwrite=overwrite)

    monkeypatch.setattr(cloaking, "save_bytes", save_and_count)
    with pytest.raises(UsageError, match="holds an earlier run; pass --resume to finish it, or another --out"):
        run_protocol(protocol, tree, tmp_path / "cut")
    resumed, _ = run_protocol(protocol, tree, tmp_path / "cut", resume=True)
    assert len(made) == 2 * 4 - 3
    assert comparable(resumed) == comparable(whole)
    made.clear()
    damaged = next((tmp_path / "cut" / "cloaked" / "noise@0.009").rglob("*.png"))
    damaged.write_bytes(damaged.read_bytes()[:-10])
    again, _ = run_protocol(protocol, tree, tmp_path / "cut", resume=True)
    assert made == [damaged]
    assert comparable(again) == comparable(whole)


def test_clean_embeddings_come_from_the_cache(
    protocol: Protocol, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_protocol(protocol, tree, tmp_path / "out")
    monkeypatch.setattr("cloak.bench.embedding.look", lambda pixels, evaluators: pytest.fail("embedded again"))
    run_protocol(protocol, tree, tmp_path / "out", resume=True)


def test_a_photo_that_cannot_be_cloaked_is_reported_and_left_out(tmp_path: Path, tree: Path) -> None:
    blank = tmp_path / "someone" / "blank.png"
    blank.parent.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(blank)
    import torch

    from cloak.methods import find_method

    workshop = Workshop(tmp_path / "out", torch.device("cpu"), 0)
    photos = [blank, tree / "people" / "grace" / "0.png"]
    journal = Journal(tmp_path / "out" / "j.sqlite")
    entry = Entry(find_method("jpeg", 0.009), 1, ("dlib",))
    failed, made = workshop.cloak(entry, photos, journal, lambda done: None)
    assert "no face was found in it" in failed["error"]
    assert made["error"] == ""
    assert (tmp_path / "out" / made["output"]).is_file()


def test_cloaks_know_people_by_the_photos_that_are_given(tmp_path: Path, tree: Path) -> None:
    import torch

    from cloak.methods import find_method

    workshop = Workshop(tmp_path / "out", torch.device("cpu"), 0)
    journal = Journal(tmp_path / "out" / "j.sqlite")
    method = replace(find_method("cloak", 0.009), steps=3, turns=1)
    photo, other = tree / "people" / "grace" / "0.png", tree / "distractors" / "grace_hopper.jpg"
    made = [
        workshop.cloak(Entry(method, 1, ("dlib",)), [photo], journal, lambda done: None, known)[0]["content"]
        for known in ({}, {"grace": (other,)}, {"grace": (other,)}, {"ada": (other,)})
    ]
    assert made[0] == made[3] != made[1] == made[2]


def test_cloaks_that_are_kept_apart_depend_on_those_before_them_cut_short_or_not(tmp_path: Path, tree: Path) -> None:
    import torch

    from cloak.methods import find_method

    workshop = Workshop(tmp_path / "out", torch.device("cpu"), 0)
    method = replace(find_method("cloak", 0.009), steps=3, turns=1)
    photos = [tree / "people" / "grace" / f"{number}.png" for number in range(2)]

    def made(apart: float, journal: str) -> list[str]:
        entry = Entry(replace(method, apart=apart), 2, ("dlib",))
        files = Journal(tmp_path / f"{journal}.sqlite")
        return [found["content"] for found in workshop.cloak(entry, photos, files, lambda done: None)]

    alone, apart = made(0.0, "alone"), made(1.0, "apart")
    assert apart[0] == alone[0]
    assert apart[1] != alone[1]
    (tmp_path / "out" / "cloaked" / method.title / "grace" / "1.png").unlink()
    assert made(1.0, "apart") == apart


def test_the_contact_sheet_shows_cloaks_of_the_same_identity(
    protocol: Protocol, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so replaces none of those that are measured: nothing is left to do for a second run."""
    cloaks = replace(protocol.cloaks[0], methods=("cloak",), identity=1, changes={"steps": 3, "turns": 1})
    known = replace(protocol, cloaked=1, identity=1, surrogates=("dlib",), cloaks=(cloaks,))
    document, _ = run_protocol(known, tree, tmp_path / "out")
    assert document["entries"][0]["identity"] == 1
    monkeypatch.setattr(Workshop, "_make", lambda *_: pytest.fail("a file was made again"))
    run_protocol(known, tree, tmp_path / "out", resume=True)


def test_evaluators_of_one_name_are_refused(protocol: Protocol, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected evaluators with different names, got dlib twice"):
        run_protocol(replace(protocol, evaluators=("dlib", "dlib")), tree, tmp_path / "out")


def test_the_store_keeps_embeddings_and_lost_faces(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "new" / "store.sqlite")
    assert store.get("photo", "saved", "model") == (False, None)
    store.put("photo", "saved", {"model": np.array([1.5, -2.0]), "other": None})
    found, kept = EmbeddingStore(tmp_path / "new" / "store.sqlite").get("photo", "saved", "model")
    assert found
    assert kept is not None
    assert kept.tolist() == [1.5, -2.0]
    assert store.get("photo", "saved", "other") == (True, None)
    assert store.get("photo", "blur", "model") == (False, None)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CloakError, match="expected a file to keep results in, got"):
        EmbeddingStore(tmp_path / "file" / "store.sqlite")


def test_the_cache_lies_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.delenv("CLOAK_CACHE", raising=False)
    assert cache_folder() == Path("/cache/cloak")
    monkeypatch.setenv("CLOAK_CACHE", "/own")
    assert cache_folder() == Path("/own")


def test_the_command_writes_a_report_and_goes_on_only_when_asked(
    protocol: Protocol, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (pip install -e .[dev])")
    command = ["bench", str(protocol.folder / "tiny.toml"), "--data", str(tree), "--out", str(tmp_path / "out")]
    command += ["--methods", "none", "jpeg", "--device", "cpu"]
    assert main(command) == 0
    written = capsys.readouterr().out.split()
    assert all(Path(path).is_file() for path in written)
    assert {Path(path).name for path in written} >= {"results.json", "results.md", "index.html"}
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["name"] for entry in kept["entries"]] == ["none", "jpeg"]
    assert kept["provenance"]["versions"]["torch"]
    assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text()
    assert main(command) == 2
    assert "pass --resume to finish it, or another --out" in capsys.readouterr().err
    assert main([*command, "--resume", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_what_the_command_cannot_run_is_said_in_one_line(
    protocol: Protocol, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = str(protocol.folder / "tiny.toml")
    for arguments, message in (
        ([str(tmp_path / "absent.toml")], "expected a protocol, got No such file or directory"),
        ([own], "names no data; pass --data with a folder of photos for each person"),
        ([own, "--data", str(tmp_path / "absent")], "expected a folder with a folder of photos for each person"),
        ([own, "--data", str(tree), "--methods", "fawks"], "expected a method, one of none, jpeg"),
        ([own, "--data", str(tree), "--evaluators", "arcface"], "expected a recogniser, one of dlib"),
        ([own, "--data", str(tree), "--evaluators", "absent.toml"], "expected the specification of a recogniser"),
        ([own, "--data", str(tree), "--evaluators", "insightface:absent"], "expected"),
    ):
        assert main(["bench", *arguments, "--out", str(tmp_path / "out"), "--quiet"]) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("cloak: ")
        assert message in error
        assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_an_interrupted_benchmark_says_how_to_go_on(
    protocol: Protocol, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cloak.bench.command.run_protocol", interrupt)
    assert main(["bench", str(protocol.folder / "tiny.toml"), "--data", str(tree)]) == 130
    assert "interrupted; what is finished is kept, go on with --resume" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cloak.cli.bench.find_spec", lambda name: None)
    assert main(["bench", str(protocol.folder / "tiny.toml")]) == 2
    assert "cloak bench needs matplotlib and sklearn; install them with: pip install" in capsys.readouterr().err


def test_surrogates_can_be_the_users_own_for_all_or_some_cloaks(protocol: Protocol, tree: Path, tmp_path: Path) -> None:
    path = protocol.folder / "own.toml"
    path.write_text(
        PROTOCOL.replace('["none", "noise"]', '["pgd"]').replace('conditions = ["saved", "jpeg75"]', "photos = 1")
        + '[[cloaks]]\nmethods = ["pgd"]\nphotos = 1\nlabel = "quick"\nsurrogates = ["tests.helpers:tiny_factory"]\n'
        "changes = { steps = 2 }\n"
    )
    arguments = ["bench", str(path), "--data", str(tree), "--out", str(tmp_path / "out"), "--quiet"]
    arguments += ["--conditions", "tests.test_bench_conditions:darker", "--reference", "pgd"]
    assert main([*arguments, "--surrogates", "dlib", "tests.helpers:tiny_factory"]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    both, own = results["entries"]
    assert both["surrogates"] == ["dlib", "tests.helpers.tiny_factory"]
    assert (own["name"], own["surrogates"]) == ("pgd quick@0.009", ["tests.helpers.tiny_factory"])
    assert both["unchanged"] == own["unchanged"] == 0
    assert [found["entry"] for found in results["differences"]] == ["pgd quick@0.009"]
    report = (tmp_path / "out/results.md").read_text()
    assert "against tests.helpers.tiny_factory" in report
    assert "dlib (surrogate of some)" in report
    assert "tests.test_bench_conditions:darker" in report
    assert "Compared with pgd, person by person: PSR@0.1" in report
    assert main([*arguments[:-1], "pdg", "--resume"]) == 2
