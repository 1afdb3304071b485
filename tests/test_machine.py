from pathlib import Path

import pytest

from cloak import machine
from cloak.machine import usable_cores, usable_memory


@pytest.fixture(autouse=True)
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group of no limits, and a machine of 64 cores and 256 GB."""
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr("os.sysconf", lambda name: 1000 if name == "SC_PAGE_SIZE" else 256_000_000)
    return tmp_path


def test_without_a_container_all_of_the_machine(group: Path) -> None:
    assert (usable_cores(), usable_memory()) == (64, 128_000_000_000)
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    assert (usable_cores(), usable_memory()) == (64, 128_000_000_000)


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2), ("150000", 2), ("20000", 1), ("99900000", 64)])
def test_a_container_has_its_share(group: Path, quota: str, cores: int) -> None:
    (group / "cpu.max").write_text(f"{quota} 100000\n")
    (group / "memory.max").write_text("4000000000\n")
    assert (usable_cores(), usable_memory()) == (cores, 2_000_000_000)


def test_control_groups_of_the_first_version(group: Path) -> None:
    for name, number in (("cpu/cpu.cfs_quota_us", 300000), ("cpu/cpu.cfs_period_us", 100000)):
        (group / name).parent.mkdir(exist_ok=True)
        (group / name).write_text(f"{number}\n")
    (group / "memory").mkdir()
    (group / "memory/memory.limit_in_bytes").write_text("8000000000\n")
    assert (usable_cores(), usable_memory()) == (3, 4_000_000_000)
    (group / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores() == 64
