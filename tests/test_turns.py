from collections import Counter

import pytest

from cloak.recognizers import SURROGATES
from cloak.recognizers.source import find_source
from cloak.turns import turn_order


def test_equals_take_turns() -> None:
    assert turn_order([3, 3, 3], 7) == [0, 1, 2, 0, 1, 2, 0]


def test_one_alone_has_every_turn() -> None:
    assert turn_order([2], 3) == [0, 0, 0]


@pytest.mark.parametrize("shares", [(4, 3, 4, 3, 2), (1, 5), (3, 1, 1, 1)])
def test_each_has_its_share_spread_evenly(shares: tuple[int, ...]) -> None:
    order = turn_order(shares, 3 * sum(shares))
    for length in range(1, len(order) + 1):
        had = Counter(order[:length])
        for index, share in enumerate(shares):
            assert abs(had[index] - share * length / sum(shares)) < 1


def test_the_cheap_networks_that_ship_look_most_often() -> None:
    shares = {name: find_source(name).spec.share for name in SURROGATES}
    assert shares == {"dlib-robust": 4, "sface": 3, "mobilefacenet": 4, "lightcnn": 3, "facenet-ms1m": 2}
