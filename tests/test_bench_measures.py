import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cloak.bench.measures import (
    STRANGER,
    Faces,
    Observations,
    adaptive_probe_hits,
    attack,
    estimate,
    genuine_scores,
    histogram,
    identification_ranks,
    impostor_scores,
    linear_probe_hits,
    roc,
    threshold_at_far,
    unit,
    within_person_whitening,
)


def faces(rows: list[list[float]], people: list[int]) -> Faces:
    return Faces(np.array([unit(np.array(row, dtype=np.float32)) for row in rows]), np.array(people))


def crowd(people: int, photos: int, noise: float, seed: int = 0, dimension: int = 16) -> Faces:
    """Photos scattered around a random direction for each person."""
    drawn = np.random.default_rng(seed)
    centres = drawn.normal(size=(people, dimension)).repeat(photos, axis=0)
    rows = centres + noise * drawn.normal(size=centres.shape)
    return Faces(np.stack([unit(row.astype(np.float32)) for row in rows]), np.arange(people).repeat(photos))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 0.1, 1e-2, 1e-3]), st.booleans())
def test_thresholds_and_rates_agree_with_scikit_learns_roc_curve(seed: int, far: float, ties: bool) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    drawn = np.random.default_rng(seed)
    genuine, impostors = drawn.normal(0.4, 0.3, 50), drawn.normal(0.0, 0.3, 400)
    if ties:
        genuine, impostors = genuine.round(1), impostors.round(1)
    labels = np.concatenate([np.ones(50), np.zeros(400)])
    false, true, _ = metrics.roc_curve(labels, np.concatenate([genuine, impostors]), drop_intermediate=False)
    threshold = threshold_at_far(impostors, far)
    assert (impostors >= threshold).mean() <= far
    assert (genuine >= threshold).mean() == pytest.approx(true[false <= far].max())
    assert roc(genuine, np.sort(impostors), [far]) == [pytest.approx(true[false <= far].max())]


def test_impostors_are_all_pairs_of_different_people_once_and_strangers_are_all_different() -> None:
    given_faces = faces([[1, 0], [1, 0], [0, 1], [1, 1], [-1, 0]], [0, 0, 1, STRANGER, STRANGER])
    scores = impostor_scores(given_faces)
    assert len(scores) == 10 - 1  # of ten pairs, one is of the same person
    assert np.allclose(np.sort(scores)[[0, -1]], [-1.0, 2**-0.5])


def test_genuine_pairs_are_of_one_person_across_the_two_sides() -> None:
    probes, gallery = faces([[1, 0], [0, 1]], [0, 1]), faces([[1, 0], [0, 1], [1, 1]], [0, 0, 1])
    pairs = genuine_scores(probes, gallery)
    assert np.allclose(pairs.values, [1.0, 0.0, 2**-0.5])
    assert pairs.people.tolist() == [0, 0, 1]


def test_a_face_that_was_not_found_takes_no_part_but_in_the_detection_rate() -> None:
    found = faces([[1, 0], [0, 1]], [0, 1])
    lost = Faces(np.array([[np.nan, np.nan]], dtype=np.float32), np.array([0]))
    probes = found.joined(lost)
    assert len(genuine_scores(probes, found).values) == 2
    assert len(identification_ranks(probes, found).values) == 2
    assert len(impostor_scores(probes)) == 1
    assert probes.detections().values.tolist() == [1.0, 1.0, 0.0]


def test_a_face_that_was_not_found_is_not_matched() -> None:
    gallery = faces([[1, 0], [0, 1]], [0, 1])
    lost = Faces(np.array([[np.nan, np.nan]], dtype=np.float32), np.array([0]))
    probes = faces([[1, 0], [1, 0.2]], [0, 1]).joined(lost)
    nobody = Faces(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    found = attack(probes, gallery, nobody, {"0.1": 0.9})
    assert found["psr@0.1"].values.tolist() == [0.0, 1.0]
    assert found["unmatched@0.1"].values.tolist() == [0.0, 1.0, 1.0]


def test_ranks_count_the_people_who_score_above_the_own_person() -> None:
    gallery = faces([[1, 0.1], [1, 0.2], [1, 1], [0, 1]], [0, 0, 1, 2])
    ranks = identification_ranks(faces([[1, 0], [1, 0], [0, 1]], [0, 1, 0]), gallery)
    assert ranks.values.tolist() == [0.0, 1.0, 2.0]
    with_strangers = gallery.joined(faces([[1, 0.01], [1, 0.02]], [STRANGER, STRANGER]))
    assert identification_ranks(faces([[1, 0]], [0]), with_strangers).values.tolist() == [2.0]


def test_equal_scores_count_against_the_tracker_and_unknown_people_are_left_out() -> None:
    gallery = faces([[1, 0], [1, 0]], [0, 1])
    assert identification_ranks(faces([[1, 0]], [0]), gallery).values.tolist() == [1.0]
    assert len(identification_ranks(faces([[1, 0]], [7]), gallery).values) == 0
    nobody = Faces(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    assert len(identification_ranks(faces([[1, 0]], [0]), nobody).values) == 0


def test_the_linear_probe_learns_people_from_the_gallery() -> None:
    everyone = crowd(6, 6, noise=0.3)
    first = np.arange(36) % 6 < 3
    gallery, probes = (Faces(everyone.embeddings[part], everyone.people[part]) for part in (first, ~first))
    assert linear_probe_hits(probes, gallery).values.mean() == 1.0
    shuffled = Faces(probes.embeddings, (probes.people + 1) % 6)
    assert linear_probe_hits(shuffled, gallery).values.mean() == 0.0


def test_a_tracker_that_knows_cloaks_of_other_people_sees_through_a_common_change() -> None:
    """All cloaks move within the same four directions: learned from others, the tracker looks past them."""
    clean = crowd(30, 6, noise=0.6, dimension=24)
    change = np.zeros((180, 24), dtype=np.float32)
    change[:, :4] = 5.0 * np.random.default_rng(0).normal(size=(180, 4))
    cloaked = Faces(np.stack([unit(row) for row in clean.embeddings + change]), clean.people)
    first = np.arange(180) % 6 < 3
    gallery = Faces(cloaked.embeddings[first], cloaked.people[first])
    probes = Faces(clean.embeddings[~first], clean.people[~first])
    plain = linear_probe_hits(probes, gallery).values.mean()
    adaptive = adaptive_probe_hits(probes, gallery, gallery.joined(probes))
    assert sorted(adaptive.people) == sorted(probes.people)
    assert adaptive.values.mean() > plain + 0.05


def test_nobody_is_tested_by_what_was_learned_from_their_own_cloaks(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[set[int]] = []

    def note(faces: Faces) -> NDArray[np.float32]:
        learned.append(set(faces.people.tolist()))
        return np.eye(16, dtype=np.float32)

    monkeypatch.setattr("cloak.bench.measures.within_person_whitening", note)
    everyone = crowd(6, 4, noise=0.1)
    plain = linear_probe_hits(everyone, everyone)
    adaptive = adaptive_probe_hits(everyone, everyone, everyone)
    assert learned == [{1, 3, 5}, {0, 2, 4}]
    assert adaptive.values.mean() == plain.values.mean()  # without a map it is the linear probe


def test_whitening_makes_photos_of_one_person_differ_alike_in_all_directions() -> None:
    drawn = np.random.default_rng(1)
    scales = np.array([3.0, 1.0, 0.3])
    people = np.arange(100).repeat(20)
    rows = drawn.normal(size=(100, 3))[people] + scales * drawn.normal(size=(2000, 3))
    whitened = rows @ within_person_whitening(Faces(rows.astype(np.float32), people)).T
    residuals = whitened - np.stack([whitened[people == person].mean(axis=0) for person in range(100)])[people]
    np.testing.assert_allclose(np.cov(residuals.T), np.eye(3), atol=0.1)  # shrunk a little
    alone = Faces(rows[:5].astype(np.float32), np.arange(5))
    assert np.array_equal(within_person_whitening(alone), np.eye(3))


def test_sanity_identical_photos_are_always_matched_and_strangers_hardly_ever() -> None:
    people = crowd(60, 5, noise=0.4, dimension=64)
    thresholds = {"0.01": threshold_at_far(impostor_scores(people), 0.01)}
    alone = Faces(people.embeddings, np.arange(len(people.people)))
    none = Faces(np.zeros((0, 64), np.float32), np.zeros(0, np.int64))
    same = attack(alone, alone, none, thresholds)
    assert same["psr@0.01"].values.max() == 0.0
    assert same["tar@0.01"].values.min() == 1.0
    assert same["rank1"].values.min() == 1.0
    moved = Faces(people.embeddings, (people.people + 1) % 60)
    strangers = attack(moved, people, none, thresholds)
    assert strangers["psr@0.01"].values.mean() == pytest.approx(0.99, abs=0.01)
    assert strangers["rank1"].values.mean() < 0.05


def test_the_interval_covers_the_mean_and_comes_from_people_not_from_pairs() -> None:
    people = np.arange(50).repeat(20)
    values: NDArray[np.float64] = (np.arange(50) % 2).repeat(20).astype(np.float64)  # photos of one person agree
    result = estimate(Observations(values, people))
    assert result.value == 0.5
    assert result.count == 1000
    assert result.low < 0.4 < 0.6 < result.high  # 50 independent coins, not 1000
    assert estimate(Observations(values, people)) == result
    certain = estimate(Observations(np.ones(10), np.arange(10)))
    assert (certain.low, certain.high) == (1.0, 1.0)


def test_nothing_to_average_gives_nan_and_not_a_number_that_looks_measured() -> None:
    result = estimate(Observations(np.zeros(0), np.zeros(0, np.int64)))
    assert np.isnan(result.value)
    assert result.count == 0


def test_histograms_hold_every_score_once() -> None:
    assert roc(np.zeros(0), np.zeros(3), [0.1]) == []
    shares = histogram(np.array([-1.0, 0.0, 1.0, 1.0000001]), bins=4)
    assert shares == [0.25, 0.0, 0.25, 0.5]
