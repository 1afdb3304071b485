"""What a report says may be expected: what was measured, and nothing more."""

import json

import pytest

from cloak.expected import MEASURED, expect
from cloak.methods import MODES
from tests.helpers import ROOT


def test_the_table_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "benchmarks/results/face_sizes.json").read_text())["rows"]
    measured = {
        mode: tuple(
            (
                row["width"],
                min(psr["low"] for psr in row["psr"].values()),
                max(psr["value"] for psr in row["psr"].values()),
            )
            for row in rows
            if row["mode"] == mode
        )
        for mode in MODES
    }
    assert measured == MEASURED


@pytest.mark.parametrize("mode", MODES)
def test_between_the_measured_widths_it_lies_between_and_beyond_them_it_stays(mode: str) -> None:
    for width, least, greatest in MEASURED[mode]:
        expected = expect(mode, width)
        assert expected
        assert (expected.least, expected.greatest) == pytest.approx((least, greatest))
    (narrow, low, _), (wide, high, _) = MEASURED[mode][:2]
    between = expect(mode, (narrow * wide) ** 0.5)
    assert between
    assert between.least == pytest.approx((low + high) / 2)
    assert expect(mode, narrow / 2) == expect(mode, narrow)
    assert expect(mode, 4000.0) == expect(mode, MEASURED[mode][-1][0])


def test_a_method_that_was_not_measured_has_no_expectation() -> None:
    assert expect("pgd", 100.0) is None
