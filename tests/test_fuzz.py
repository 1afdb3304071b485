"""Damaged photos, few of them; ``make fuzz`` tries many."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloak import PhotoError
from cloak.metadata import Policy
from cloak.photo import decode, encode
from tests.fuzz import LIMITS, POLICIES, case, corpus, quick_cloaker, try_file
from tests.mutations import mutated

WHOLE = corpus(larger=False)


def check(data: bytes, policy: Policy) -> None:
    """Reading gives a photo that can be written, or one error of one line."""
    photo, refused = None, ""
    try:
        photo = decode(data, "the photo", LIMITS, policy)
    except PhotoError as error:
        refused = str(error)
    if photo is None:
        assert refused.startswith("the photo: ")
        assert "\n" not in refused
        return
    again = decode(encode(photo), "the result")
    assert again.pixels.shape == photo.pixels.shape
    assert (again.alpha is None) == (photo.alpha is None)
    if photo.encoding.lossless:
        np.testing.assert_array_equal(again.pixels, photo.pixels)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(seed=st.integers(0, 2**32), policy=st.sampled_from(POLICIES))
def test_a_damaged_photo_is_read_or_refused_in_a_line(seed: int, policy: Policy) -> None:
    check(case(WHOLE, seed)[1], policy)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(start=st.sampled_from(sorted({file[:12] for files in WHOLE.values() for file in files})), rest=st.binary())
def test_any_bytes_after_a_format_s_first_ones(start: bytes, rest: bytes) -> None:
    check(start + rest, "keep")


def test_through_the_whole_way_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloaker = quick_cloaker("default", monkeypatch.setattr)
    for files in WHOLE.values():
        assert try_file(cloaker, files[0], tmp_path) == "cloaked"  # so the damage is what is tried
    outcomes = [try_file(cloaker, case(WHOLE, seed)[1], tmp_path) for seed in range(60)]
    assert set(outcomes) >= {"cloaked", "refused"}


def test_mutations_depend_on_the_seed_alone() -> None:
    whole = WHOLE["PNG"][0]
    assert mutated(whole, whole, 5) == mutated(whole, whole, 5)
    assert len({mutated(whole, whole, seed) for seed in range(50)}) > 45
