from pathlib import Path

import numpy as np
import pytest

from cloak.bench.lpips import TRUNK, distance_of, find_lpips
from tests.helpers import smooth_noise


def test_without_weights_there_is_no_lpips_and_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *a, **k: pytest.fail("a download"))
    assert find_lpips() is None


def test_lpips_is_found_where_pytorch_keeps_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lpips = pytest.importorskip("lpips", reason="needs lpips (pip install -e .[dev])")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / TRUNK).touch()
    random = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    monkeypatch.setattr("lpips.LPIPS", lambda **options: random)
    distance = find_lpips()
    assert distance is not None
    assert distance(smooth_noise(64, 64, 1), smooth_noise(64, 64, 2)) > 0.0


def test_the_distance_is_zero_for_one_photo_and_grows_with_the_change() -> None:
    lpips = pytest.importorskip("lpips", reason="needs lpips (pip install -e .[dev])")
    distance = distance_of(lpips.LPIPS(net="alex", pnet_rand=True, verbose=False))
    photo = smooth_noise(64, 64, 1)
    noise = np.random.default_rng(0).normal(0, 1, photo.shape)
    changed = [(photo + levels * noise).round().clip(0, 255).astype(np.uint8) for levels in (0, 5, 20)]
    none, little, much = (distance(photo, one) for one in changed)
    assert none == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < little < much
