from collections import Counter

import pytest

from cloak.recognizers import EMBEDDED
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


def test_the_slow_networks_that_ship_look_least_often() -> None:
    shares = {name: find_source(name).spec.share for name in EMBEDDED}
    assert shares == {"dlib-robust": 2, "dlib": 2, "sface": 2, "mobilefacenet": 4, "lightcnn": 1, "facenet-ms1m": 1}


def test_whoever_looks_less_often_counts_more_each_time_so_that_all_count_by_their_weights() -> None:
    shares, weights = (2, 2, 2, 4, 1, 1), (0.5, 0.5, 1, 1, 1, 1)
    of_a_look = turn_weights(shares, weights)
    counted = [share * weight for share, weight in zip(shares, of_a_look, strict=True)]
    assert counted == pytest.approx([2 * weight * counted[0] for weight in weights])
    assert sum(counted) == pytest.approx(sum(shares))  # 1 on average over the turns
    assert turn_weights([4], [0.5]) == [1.0]


def test_dlibs_network_and_its_twin_count_as_one() -> None:
    weights = {name: find_source(name).spec.weight for name in EMBEDDED}
    assert weights == {name: 0.5 if name.startswith("dlib") else 1.0 for name in EMBEDDED}
