import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloak.bench.datasets import Person, read_dataset
from cloak.bench.scenarios import SCENARIOS, TITLES
from cloak.errors import UsageError
from cloak.photo import Photo, read_photo


def photo(path: Path) -> Path:
    """Another one for each place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(f"{path.parent.name}/{path.name}".encode())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return path


def tree(root: Path, people: dict[str, int], distractors: int = 0) -> Path:
    for name, count in people.items():
        for number in range(count):
            photo(root / name / f"{name}_{number:04d}.png")
    for number in range(distractors):
        photo(root.parent / "distractors" / f"stranger{number}" / "a.png")
    return root


def test_a_folder_per_person_is_split_into_photos_to_cloak_and_clean_ones(tmp_path: Path) -> None:
    tree(tmp_path / "people", {"b": 8, "a": 5, "c": 1}, distractors=3)
    dataset = read_dataset(tmp_path, people=10, cloaked=4, distractors=2)
    assert [(p.name, len(p.cloaked), len(p.clean)) for p in dataset.people] == [("a", 2, 3), ("b", 4, 4)]
    assert not set(dataset.people[1].cloaked) & set(dataset.people[1].clean)
    assert len(dataset.distractors) == 2


def test_the_last_photos_are_kept_for_the_identity_and_take_part_in_nothing_else(tmp_path: Path) -> None:
    tree(tmp_path / "people", {"a": 9, "b": 4, "c": 3})
    people = read_dataset(tmp_path, people=10, cloaked=2, distractors=0, identity=4).people
    assert [(len(p.cloaked), len(p.clean), len(p.identity)) for p in people] == [(2, 3, 4), (1, 1, 2), (1, 1, 1)]
    for person in people:
        assert not set(person.identity) & {*person.cloaked, *person.clean}
        assert sorted((*person.cloaked, *person.clean, *person.identity)) == [
            *person.cloaked,
            *person.clean,
            *person.identity,
        ]


@pytest.mark.parametrize("nest", ["", "people", "lfw_home/lfw_funneled", "lfw_funneled", "lfw-py/lfw-deepfunneled"])
def test_lfw_is_found_where_scikit_learn_and_torchvision_put_it(tmp_path: Path, nest: str) -> None:
    tree(tmp_path / nest, {"a": 2, "b": 3})
    assert [person.name for person in read_dataset(tmp_path, people=9, cloaked=1, distractors=9).people] == ["a", "b"]


def test_distractors_may_lie_beside_the_people_and_are_no_person(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 2, "b": 2})
    photo(tmp_path / "distractors" / "x.png")
    photo(tmp_path / "distractors" / "y.png")
    dataset = read_dataset(tmp_path, people=9, cloaked=1, distractors=9)
    assert [person.name for person in dataset.people] == ["a", "b"]
    assert [path.name for path in dataset.distractors] == ["x.png", "y.png"]


def test_people_with_enough_photos_come_first_and_the_choice_is_seeded(tmp_path: Path) -> None:
    tree(tmp_path, {f"p{number:02d}": 8 if number % 2 else 3 for number in range(20)})
    chosen = read_dataset(tmp_path, people=6, cloaked=4, distractors=0, seed=1)
    assert all(len(person.cloaked) == 4 for person in chosen.people)
    assert read_dataset(tmp_path, people=6, cloaked=4, distractors=0, seed=1) == chosen
    assert read_dataset(tmp_path, people=6, cloaked=4, distractors=0, seed=2).people != chosen.people


def test_unreadable_photos_are_listed_and_left_out(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 3, "b": 2, "c": 2})
    (tmp_path / "a" / "a_0001.png").write_bytes(b"not a photo")
    (tmp_path / "b" / "b_0000.png").write_bytes(b"")
    dataset = read_dataset(tmp_path, people=9, cloaked=1, distractors=0)
    assert [(person.name, len(person.clean)) for person in dataset.people] == [("a", 1), ("c", 1)]
    assert sorted(path.name for path, _ in dataset.unreadable) == ["a_0001.png", "b_0000.png"]
    assert all(reason for _, reason in dataset.unreadable)


def test_a_tree_that_cannot_serve_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a folder with a folder of photos for each person, got none"):
        read_dataset(tmp_path / "absent", people=2, cloaked=1, distractors=0)
    tree(tmp_path, {"a": 2, "b": 1})
    with pytest.raises(UsageError, match=r"expected at least two people with 2 readable photos each, got 0 among 0"):
        read_dataset(tmp_path, people=2, cloaked=1, distractors=0)


PERSON = Person("a", tuple(Path(f"c{n}") for n in range(4)), tuple(Path(f"r{n}") for n in range(5)))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_scenario_compares_a_photo_with_itself_and_each_has_a_title(scenario: str) -> None:
    sides = SCENARIOS[scenario](PERSON, PERSON.cloaked)
    assert sides.probes
    assert sides.gallery
    assert not {item.path for item in sides.probes} & {item.path for item in sides.gallery}
    assert scenario in TITLES


def test_scenarios_put_the_cloaks_where_they_say() -> None:
    published = {
        name: [[item.published for item in side] for side in (sides.probes, sides.gallery)]
        for name, scenario in SCENARIOS.items()
        for sides in [scenario(PERSON, PERSON.cloaked)]
    }
    assert published == {
        "evasion": [[True] * 4, [False] * 5],
        "poisoning": [[False] * 3, [True] * 4],
        "leak20": [[False] * 3, [True] * 4 + [False]],
        "leak50": [[False] * 3, [True] * 2 + [False] * 2],
        "both": [[True] * 2, [True] * 2],
    }


def test_a_scenario_that_one_cloaked_photo_cannot_serve_is_empty() -> None:
    for name in ("both", "leak20"):
        sides = SCENARIOS[name](PERSON, PERSON.cloaked[:1])
        assert not (sides.probes and sides.gallery)


def test_what_is_no_clean_photo_of_its_own_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> Photo:
        found = read_photo(path)
        return replace(found, earlier="0.1.0 mid") if path.stem == "made_by_us" else found

    monkeypatch.setattr("cloak.bench.datasets.read_photo", read)
    people = tree(tmp_path / "people", {"a": 3, "b": 3}, distractors=1)
    shutil.copy(people / "a" / "a_0000.png", people / "a" / "again.png")
    shutil.copy(people / "a" / "a_0001.png", people / "b" / "of_a.png")
    photo(people / "b" / "b_0000_cloaked.png")
    photo(people / "b" / "lonely_cloaked.png")  # of which there is no original: it may be called so
    photo(people / "b" / "made_by_us.png")
    dataset = read_dataset(tmp_path, people=2, cloaked=1, distractors=1)
    names = [[path.name for path in (*person.cloaked, *person.clean)] for person in dataset.people]
    assert names == [
        ["a_0000.png", "a_0001.png", "a_0002.png"],
        ["b_0000.png", "b_0001.png", "b_0002.png", "lonely_cloaked.png"],
    ]
    reasons = sorted(reason.partition(": ")[2] for _, reason in dataset.unreadable)
    assert reasons == [
        "is named as a cloak of b_0000",
        "is the same file as a/a_0000.png",
        "is the same file as a/a_0001.png",
        "was cloaked before (0.1.0 mid)",
    ]
