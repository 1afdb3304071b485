from pathlib import Path

import pytest
import torch

from cloak import WeightsError
from cloak.recognizers import EMBEDDED, SURROGATES, load_recognizer, targets
from cloak.recognizers.targets import targets_of
from weights.make_targets import COMPANY, means_of_the_alike


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_that_ships_knows_the_same_strangers(name: str) -> None:
    recognizer = load_recognizer(name)
    assert recognizer.targets.shape[0] == len(targets_of(SURROGATES[0])) >= 16
    torch.testing.assert_close(recognizer.targets.norm(dim=1), torch.ones(len(recognizer.targets)), atol=1e-3, rtol=0)
    alike = (recognizer.targets @ recognizer.targets.T).fill_diagonal_(0.0)
    assert alike.max() < 0.9  # they are different people


def test_the_strangers_have_the_same_order_for_all() -> None:
    likeness = [(rows @ rows.T).flatten() for rows in map(targets_of, SURROGATES)]
    together = torch.corrcoef(torch.stack([one[one < 0.99] for one in likeness]))
    assert together.min() > 0.4


def test_a_namesake_knows_none(tmp_path: Path) -> None:
    path = tmp_path / "sface.toml"
    path.write_text('entry = "tests.helpers:tiny_factory"\n[input]\nsize = [48, 48]')
    namesake = load_recognizer(str(path))
    assert namesake.spec.name == "sface"
    assert len(namesake.targets) == 0


def test_others_know_none() -> None:
    assert targets_of("mine").shape == (0, 0)
    (judge,) = set(EMBEDDED) - set(SURROGATES)
    assert len(load_recognizer(judge).targets) == 0


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / targets.FILE).write_bytes(b"damaged")
    monkeypatch.setattr(targets, "shipped_weights", lambda: tmp_path)
    targets._shipped.cache_clear()
    with pytest.raises(WeightsError, match=r"expected sha256 .*, got .*; the file is damaged or was replaced"):
        targets_of("sface")
    targets._shipped.cache_clear()


def test_a_target_is_the_mean_of_faces_that_all_surrogates_find_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(3, 8, generator=generator), dim=1)
    rows = centres.repeat_interleave(COMPANY, dim=0) + 0.01 * torch.randn(3 * COMPANY, 8, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=1)
    made = means_of_the_alike({"a": rows, "b": rows.flip(1)}, 5)
    assert made["a"].shape == (5, 8)
    assert ((made["a"] @ centres.T).amax(dim=1) > 0.999).all()
    torch.testing.assert_close(made["b"], made["a"].flip(1))
