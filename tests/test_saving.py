import errno
import os
import threading
from pathlib import Path

import pytest

from cloak import SaveError
from cloak.photo import save_bytes


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "a.png"
    save_bytes(b"first", path)
    with pytest.raises(SaveError, match="exists already; pass --overwrite"):
        save_bytes(b"second", path)
    assert path.read_bytes() == b"first"

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaveError, match="cannot be written: No space left on device"):
        save_bytes(b"second", path, overwrite=True)
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """For real: the process may write no file of more than 1,000 bytes."""
    import resource
    import signal

    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(SaveError, match="cannot be written: File too large"):
            save_bytes(bytes(5000), tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_target(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # root may write anywhere but here
        folder = Path("/proc/cloak")
    with pytest.raises(SaveError, match="cannot be written: "):
        save_bytes(b"data", folder / "a.png")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="cannot be written: File name too long"):
        save_bytes(b"data", tmp_path / ("a" * 300))
    longest = tmp_path / ("a" * 255)  # though the temporary file has a name, too
    save_bytes(b"data", longest)
    assert longest.read_bytes() == b"data"


def test_two_runs_at_once_never_mix_and_the_first_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = [bytes([number]) * 200_000 for number in range(12)]
    refused = []

    def save(content: bytes) -> None:
        try:
            save_bytes(content, path)
        except SaveError:
            refused.append(content)

    threads = [threading.Thread(target=save, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == len(contents) - 1
    assert path.read_bytes() in set(contents) - set(refused)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES, errno.EXDEV])
def test_a_file_system_without_links(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.link", no_links)
    path = tmp_path / "a.png"
    save_bytes(b"first", path)
    with pytest.raises(SaveError, match="exists already"):
        save_bytes(b"second", path)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_that_somebody_holds_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError("a scanner looks at it")

    monkeypatch.setattr(Path, "unlink", held)
    save_bytes(b"data", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"data"


def test_a_link_in_the_target_s_place_is_replaced_not_followed(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(b"mine")
    path = tmp_path / "a.png"
    path.symlink_to(original)
    with pytest.raises(SaveError, match="exists already"):
        save_bytes(b"new", path)
    save_bytes(b"new", path, overwrite=True)
    assert original.read_bytes() == b"mine"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "sub").touch()
    with pytest.raises(SaveError, match=f"expected a folder at {tmp_path / 'sub'}, got a file"):
        save_bytes(b"x", tmp_path / "sub" / "a.png", overwrite=True)
