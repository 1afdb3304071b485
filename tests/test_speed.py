"""What the speed benchmark tells apart."""

from benchmarks.speed import STAGES


def test_every_stage_is_a_function_where_it_is_looked_up() -> None:
    for name, (owner, attribute) in STAGES.items():
        assert callable(getattr(owner, attribute, None)), name
        assert attribute in vars(owner), name
