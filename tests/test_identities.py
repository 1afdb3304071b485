"""Who people are, from further photos: mirrored, darker, softer copies of the samples stand for these."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from cloak import Cloaker, UsageError
from cloak.detect import FaceDetector
from cloak.eye import Eye
from cloak.identities import Identities, identity_photos, knowing
from cloak.methods import MODES
from cloak.optimize import cloak_patches
from cloak.patches import FacePatch, stack_patches
from cloak.recognizers import Recognizer
from cloak.views import NO_JITTER
from tests.helpers import CUTS, prepared, quick


@pytest.fixture
def everybody(moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer) -> Identities:
    return Identities.of(moments.values(), detector, [dlib], [dlib])


def test_a_person_is_known_by_the_other_photos_and_by_nobody_elses(
    everybody: Identities, moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    assert (set(everybody.sources), everybody.problems) == (set(moments.values()), ())
    for name in CUTS:
        (patch,) = knowing(prepared(moments[name], detector), everybody).patches
        assert patch.known == 2
        sources = [everybody.sources[photo] for photo in everybody.photo_of]
        found = {
            source
            for source, row in zip(sources, everybody.embeddings["dlib"], strict=True)
            if any(torch.equal(row, kin) for kin in patch.kin["dlib"])
        }
        assert found == {moments[f"{name}_mirrored"], moments[f"{name}_soft"]}


def test_nobody_is_known_without_photos(moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer) -> None:
    nobody = Identities.of([], detector, [dlib], [dlib])
    found = prepared(moments["grace"], detector)
    assert knowing(found, nobody) is found
    assert (nobody.note, nobody.digest, nobody.unknown_among([0])) == ("", "", ())


def test_the_identity_lies_half_way_between_the_own_face_and_its_kin(
    everybody: Identities, moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    alone = prepared(moments["eileen"], detector).patches
    known = knowing(prepared(moments["eileen"], detector), everybody).patches
    method = MODES["mid"]

    def identity(patches: tuple[FacePatch, ...]) -> torch.Tensor:
        batch = stack_patches(patches)
        return Eye.of(batch, dlib, method).identity(batch)[0]

    own, both = identity(alone), identity(known)
    kin = known[0].kin["dlib"].mean(dim=0)
    between = own + kin / kin.norm()
    assert torch.allclose(both, between / between.norm(), atol=1e-6)
    assert float(own @ both) < 0.99
    strangers = (replace(alone[0], kin={"another": known[0].kin["dlib"]}),)
    assert torch.equal(identity(strangers), own)


def test_the_loop_leads_away_from_what_it_knows_of_the_person(
    everybody: Identities, moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer
) -> None:
    """Eileen's rows stand for further photos of Grace, so that the two directions differ."""
    (alone,) = prepared(moments["grace"], detector).patches
    eileen = everybody.embeddings["dlib"][:3]
    known = replace(alone, kin={"dlib": eileen})
    method = replace(MODES["mid"], steps=10, turns=1)

    def similarity(patch: FacePatch) -> float:
        batch = stack_patches([patch])
        cloaked = batch.pixels + cloak_patches(batch, [dlib], method)
        jitters = torch.tensor(NO_JITTER).view(1, 1, -1)
        return float((Eye.of(batch, dlib, method).embed(cloaked, jitters)[0] @ eileen.T).mean())

    assert similarity(known) < similarity(alone) - 0.05


def test_the_result_depends_on_the_identity_and_on_no_company(moments: dict[str, Path], tmp_path: Path) -> None:
    others = [moments["grace_mirrored"], moments["grace_soft"], moments["eileen_soft"]]
    together = quick(identity=others)
    reports = list(together.protect_files([moments["eileen"], moments["grace"]], tmp_path / "together"))
    assert [report.faces[0].known for report in reports] == [1, 2]
    (alone,) = quick(identity=others[::-1]).protect_files([moments["grace"]], tmp_path / "alone")
    (without,) = quick().protect_files([moments["grace"]], tmp_path / "without")
    contents = [Path(report.output or "").read_bytes() for report in (reports[1], alone, without)]
    assert contents[0] == contents[1] != contents[2]
    assert together.settings["identity"] == quick(identity=others[::-1]).settings["identity"] != ""
    assert "identity" not in quick().settings


def test_what_shows_no_face_is_cloaked_or_cannot_be_read_is_left_out_and_counted(
    moments: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "blank.png")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    (tmp_path / "deep").mkdir()
    for name in ("grace.png", "copy.png"):
        Image.open(moments["grace_soft"]).save(tmp_path / "deep" / name)
    list(quick().protect_files([moments["grace"]], tmp_path / "earlier"))
    cloaker = quick(identity=str(tmp_path))
    assert cloaker.notes[-1].startswith("identity: 1 face in 1 photo; 3 left out, the first: ")
    assert sorted(Path(problem.split(": ")[0]).name for problem in cloaker._identities.problems) == [
        "blank.png",
        "broken.jpg",
        "grace.png",
    ]
    reports = list(cloaker.protect_files([moments["grace"], moments["eileen"]], tmp_path / "out"))
    assert [report.faces[0].known for report in reports] == [1, 0]
    assert reports[0].notes == ()
    assert reports[1].notes == ("of 1 face, 1 in no other photo of the identity",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("blank.png", "expected photos that show faces, to know people by, got none: {}: no face was found in it"),
        ("absent", "{}: expected a photo or a folder, got nothing there"),
        ("empty", "{}: expected a folder with photos, got one with none"),
        ("s3://bucket/me", "s3://bucket/me: expected a path of this machine for the identity, got a URL"),
    ],
)
def test_photos_without_faces_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "blank.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=re.escape(reason.format(tmp_path / name))):
        Cloaker(identity=name if "://" in name else tmp_path / name)


def test_a_face_is_no_kin_of_itself_and_of_each_photo_one_is(
    moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer, tmp_path: Path
) -> None:
    original = Image.open(moments["grace"])
    original.resize((original.width * 2, original.height * 2)).save(tmp_path / "larger.png")
    twice = Image.new("RGB", (2 * original.width, original.height))
    twice.paste(Image.open(moments["grace_soft"]), (0, 0))
    twice.paste(Image.open(moments["grace_mirrored"]), (original.width, 0))
    twice.save(tmp_path / "twice.png")
    found = Identities.of([moments["grace"], tmp_path / "larger.png", tmp_path / "twice.png"], detector, [dlib], [dlib])
    assert len(found.photo_of) == 4
    (patch,) = knowing(prepared(moments["grace"], detector), found).patches
    assert patch.known == 1


def test_a_photo_that_is_gone_is_left_out(moments: dict[str, Path], detector: FaceDetector, dlib: Recognizer) -> None:
    gone = moments["grace"].with_name("gone.png")
    found = Identities.of([moments["grace"], gone], detector, [dlib], [dlib])
    assert found.sources == (moments["grace"],)
    assert len(found.problems) == 1
    assert str(gone) in found.problems[0]


def test_a_photo_of_the_identity_is_never_replaced(moments: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    folder.mkdir()
    kept = folder / "grace.png"
    kept.write_bytes(moments["grace_soft"].read_bytes())
    options = {"out": folder, "overwrite": True}
    (report,) = quick(identity=folder).protect_files([moments["grace"]], **options)  # type: ignore[arg-type]
    assert "is itself a photo to protect, or of --identity or --apart-from, and would be overwritten" in report.error
    assert kept.read_bytes() == moments["grace_soft"].read_bytes()


def test_results_are_no_photos_of_the_identity(moments: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for path in (tmp_path / "me.png", tmp_path / "out" / "me.png"):
        path.write_bytes(moments["grace"].read_bytes())
    assert identity_photos([tmp_path], tmp_path / "out") == [tmp_path / "me.png"]
