import torch
from torch import Tensor

from cloak.detour import DRAWN, choose_targets


def directions(count: int, seed: int, dimension: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dimension, generator=generator), dim=1)


def test_the_least_alike_of_few_is_the_target_for_all_surrogates_alike() -> None:
    strangers, faces = (directions(DRAWN, 1), directions(DRAWN, 3, 4)), (directions(3, 2), directions(3, 4, 4))
    first, second = choose_targets(strangers, faces, [5, 6, 7])
    alike = [own @ known.T for known, own in zip(strangers, faces, strict=True)]
    chosen = ((alike[0] + alike[1]) / 2).argmin(dim=1)
    assert chosen.tolist() != alike[0].argmin(dim=1).tolist()  # both have their say
    assert torch.equal(first, strangers[0][chosen])
    assert torch.equal(second, strangers[1][chosen])


def test_photos_of_one_person_have_different_targets_and_each_always_the_same() -> None:
    strangers, face = directions(64, 1), directions(1, 2)
    seeds = list(range(20))
    (targets,) = choose_targets([strangers], [face.expand(20, -1)], seeds)
    assert len({tuple(row) for row in targets.tolist()}) > 5
    (alone,) = choose_targets([strangers], [face], seeds[3:4])
    assert torch.equal(alone[0], targets[3])
    assert (targets @ face[0]).mean() < (strangers @ face[0]).mean() - 0.2  # unlike the face


def test_a_surrogate_without_strangers_has_no_targets() -> None:
    none, faces = torch.zeros(0, 0), directions(2, 3)
    known, unknown = choose_targets([directions(9, 1), none], [faces, faces], [1, 2])
    assert (known.shape, unknown.shape) == ((2, 6), (2, 0))
    assert [rows.shape for rows in choose_targets([none], [faces], [1, 2])] == [(2, 0)]
