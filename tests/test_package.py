import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cloak
from tests.helpers import ROOT


def test_every_public_name_is_there_and_documented() -> None:
    assert cloak.__all__ == sorted(cloak.__all__)
    for name in cloak.__all__:
        value = getattr(cloak, name)
        if name != "__version__":
            assert value.__doc__, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cloak.nothing  # noqa: B018


def test_the_import_is_light_and_silent() -> None:
    code = "import sys, cloak; assert not {'torch', 'facenet_pytorch', 'kornia'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout + result.stderr == ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="needs hatchling (pip install -e .[dev])")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import cloak; from cloak.recognizers import load_recognizer; from cloak.folders import shipped_weights;"
        "load_recognizer('dlib'); print(cloak.__file__, shipped_weights())"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    file, folder = result.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert Path(folder).is_relative_to(tmp_path)


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}
        assert "cloak/py.typed" in archive.namelist()
    assert {root for root in roots if not root.endswith(".dist-info")} == {"cloak"}
    assert wheel.stat().st_size < 90e6
