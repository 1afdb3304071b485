from collections import Counter

import pytest

from cloak.recognizers import SURROGATES
from cloak.recognizers.source import find_source
from cloak.turns import turn_order, turn_weights


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
    assert shares == {"dlib-robust": 4, "sface": 2, "mobilefacenet": 4, "lightcnn": 1, "facenet-ms1m": 1}


def test_whoever_looks_less_often_counts_more_each_time_so_that_all_count_alike() -> None:
    shares = (4, 2, 4, 1, 1)
    weights = turn_weights(shares)
    counted = [share * weight for share, weight in zip(shares, weights, strict=True)]
    assert counted == pytest.approx([counted[0]] * 5)
    assert sum(counted) == pytest.approx(sum(shares))  # 1 on average over the turns
    assert turn_weights([4]) == [1.0]
