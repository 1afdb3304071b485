"""What a reference to a recogniser stands for, and what is said of one that stands for nothing."""

import hashlib
import sys
from pathlib import Path

import pytest

from cloak import UsageError, WeightsError
from cloak.folders import shipped_weights
from cloak.recognizers import ARCFACE, InputSpec, find_source, load_recognizer
from cloak.recognizers.source import known_names
from cloak.weights import read_manifest

MINE = 'name = "my recogniser"\nfile = "net.onnx"\n[embedding]\nthreshold = 0.25'


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# What there is


def test_a_name_of_the_manifest_is_shipped_or_among_the_users_weights(weights: Path) -> None:
    dlib, sface, r50 = (find_source(name) for name in ("dlib", "sface-onnx", "insightface-r50"))
    assert dlib.file == shipped_weights() / "dlib_resnet29_v1.safetensors"
    assert dlib.architecture == "dlib_resnet29"
    assert sface.file == weights / "face_recognition_sface_2021dec.onnx"
    assert sface.sha256 == read_manifest()["sface-onnx"]["sha256"]
    assert sface.spec.scale == 1.0
    assert sface.needs == ("onnx", "onnx2torch", "onnxruntime")
    assert (r50.commercial, dlib.commercial) == (False, True)


def test_a_specification_among_the_users_weights_goes_by_the_name_of_its_file(weights: Path) -> None:
    write(weights / "mine.toml", MINE)
    write(weights / "dlib.toml", MINE)  # the manifest's comes first
    source = find_source("mine")
    assert (source.name, source.file, source.spec.threshold) == ("mine", weights / "net.onnx", 0.25)
    assert find_source("dlib").architecture == "dlib_resnet29"
    assert known_names() == (*read_manifest(), "mine")


def test_a_specification_is_found_from_a_folder_and_its_file_from_the_specification(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "own.toml", 'file = "../net.onnx"\nlicence = "MIT"\ncommercial = false')
    source = find_source("deep/own.toml", tmp_path)
    assert source.file
    assert source.file.resolve() == tmp_path / "net.onnx"
    assert (source.name, source.licence, source.commercial, source.sha256) == ("own", "MIT", False, "")
    write(tmp_path / "deep" / "own.toml", MINE)
    assert find_source("deep/own.toml", tmp_path).name == "my recogniser"


def test_a_path_is_found_from_the_current_folder_home_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own.toml", 'file = "$OWN_MODELS/net.onnx"')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OWN_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    for reference in ("own.toml", "~/own.toml", "$HOME/own.toml", str(tmp_path / "own.toml")):
        assert find_source(reference).file == tmp_path / "models/net.onnx"
    (source,) = {find_source(path).file for path in ("~/w600k_r50.onnx", "${HOME}/w600k_r50.onnx")}
    assert source == tmp_path / "w600k_r50.onnx"


def test_a_model_file_is_known_by_its_name_wherever_it_lies(tmp_path: Path) -> None:
    source = find_source("packs/w600k_r50.onnx", tmp_path)
    entry = read_manifest()["insightface-r50"]
    assert (source.name, source.file) == ("insightface-r50", tmp_path / "packs/w600k_r50.onnx")
    assert (source.sha256, source.commercial, source.licence) == (entry["sha256"], False, entry["licence"])
    (tmp_path / "w600k_r50.onnx").write_bytes(b"another")
    with pytest.raises(WeightsError, match=r"w600k_r50\.onnx: expected sha256 4c06.*; the file is damaged or was repl"):
        load_recognizer("w600k_r50.onnx", folder=tmp_path)


def test_what_has_a_colon_is_python() -> None:
    source = find_source("package.module:factory")
    assert (source.name, source.entry, source.file) == ("package.module.factory", "package.module:factory", None)
    assert (source.spec.size, source.spec.mean, source.spec.scale) == ((112, 112), (0.0, 0.0, 0.0), 255.0)
    assert source.needs == ()


# What there is not


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "arcface",
            r"expected a recogniser, one of dlib, .*insightface-r100, mine, a specification FILE\.toml, .*'arcface'",
        ),
        ("", "expected a recogniser, one of dlib, .*; got ''"),
        ("absent.toml", r"absent\.toml: expected the specification of a recogniser, got No such file or directory"),
        (
            "other.onnx",
            r"other\.onnx: expected a model file that is known by its name, got another; .* in other\.toml: "
            r'file = "other\.onnx", and \[input\] with size, channels, mean and scale; then: cloak models check',
        ),
        ("facenet512_weights.h5", "Keras weights .* do not hold their network: .* tf2onnx"),
        ("net.tflite", r"net\.tflite: convert it to ONNX with tf2onnx"),
        ("a/dlib_face_recognition_resnet_model_v1.dat", "it is embedded in cloak: name it dlib"),
    ],
)
def test_what_stands_for_nothing_gets_advice(weights: Path, reference: str, message: str) -> None:
    write(weights / "mine.toml", MINE)
    with pytest.raises(UsageError, match=message):
        find_source(reference, weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "expected TOML, got"),
        ("", "expected name, input, embedding, and either file or entry; got nothing"),
        ('name = "x"', "either file or entry; got name"),
        ('file = "a.onnx"\nentry = "a:b"', "either file or entry; got entry, file"),
        ('file = "a.onnx"\nsize = [1, 1]', "either file or entry; got file, size"),
        (
            'entry = "a:b"\narchitecture = "edgeface_s"',
            "expected an architecture only beside file, got one beside entry",
        ),
        ("file = 3", "expected file to be a string, got 3"),
        ('file = "a.onnx"\ncommercial = "no"', "expected commercial to be true or false, got 'no'"),
        ('file = "a.onnx"\ninput = "RGB"', "expected input to be a table, got 'RGB'"),
        ('file = "a.onnx"\nembedding = 0.3', r"expected embedding to be a table, got 0\.3"),
        ('file = "a.onnx"\nshare = 0', "expected a share of the turns of 1 or more, got 0"),
        ('file = "a.onnx"\nshare = true', "expected a share of the turns of 1 or more, got True"),
        ('file = "a.onnx"\nshare = 0.5', "expected share to be a whole number, got 0.5"),
        ('file = "a.onnx"\n[embedding]\nthreshold = "0.3"', r"threshold of embedding as a cosine .*; got '0\.3'"),
        ('file = "a.onnx"\n[embedding]\nthreshold = 5', "a cosine similarity, between -1 and 1; got 5"),
        ('file = "a.onnx"\n[embedding]\nthreshold = nan', "a cosine similarity, between -1 and 1; got nan"),
        ('file = "a.onnx"\n[embedding]\ntreshold = 0.3', "expected of embedding .*threshold.*; got treshold"),
        ('file = "a.onnx"\n[embedding]\ndistance = "euclidean"', 'distance of embedding as "cosine", got .euclidean.'),
        ('file = "a.onnx"\n[embedding]\nfar = "one in 1000"', "far of embedding as a share of pairs"),
        ('file = "a\\u0000b"', "expected file to be a string, got"),
        ('file = "a.onnx"\n[input]\nscale = inf', "a positive one or three"),
        (
            'file = "a.onnx"\n[input]\ntemplate = [[1, 1], [1, 1], [1, 1], [1, 1], [1, 1]]',
            "the places of five landmarks",
        ),
        ('file = "a.onnx"\n[input]\ntemplate = [[1, 1], [2, 1], [1, 2], [1, nan], [1, 1]]', "the places of five"),
        ('file = "a.onnx"\n[input]\nsides = [1, 1]', "expected size, template, channels, mean and scale of an input"),
        ('file = "a.onnx"\n[input]\nsize = 112', "expected size, template, channels, mean and scale of an input"),
        ('file = "a.onnx"\n[input]\nsize = [112, 96]', r"size \(112, 96\) without a template: five points"),
        ('file = "a.onnx"\n[input]\nmean = ["a", "b", "c"]', "three numbers, and a positive one or three"),
        ('file = "a.onnx"\n[input]\nsize = [112, 0]', r"size \(112, 0\): two whole numbers, height and width"),
        ('file = "a.onnx"\n[input]\nchannels = "rgb"', "channels 'rgb': RGB or BGR"),
        ('file = "a.onnx"\n[input]\nmean = [1.0]', r"mean \(1\.0,\) and scale 127\.5: three numbers"),
        ('file = "a.onnx"\n[input]\nscale = [1.0, 0.0, 1.0]', "a positive one or three"),
    ],
)
def test_what_is_wrong_with_a_specification_is_said_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"own\.toml: .*{message}"):
        find_source(write(tmp_path / "own.toml", text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    own = write(tmp_path / "own.toml", 'file = "net.onnx"')
    for act in (load_recognizer, lambda reference: find_source(reference).fingerprint()):
        with pytest.raises((WeightsError, UsageError), match=r"net\.onnx: expected .*, got No such file or directory"):
            act(own)


# Fingerprints


def fingerprint(folder: Path, text: str = "", *, head: str = "", content: bytes = b"network") -> str:
    (folder / "net.onnx").write_bytes(content)
    return find_source(write(folder / "own.toml", f'file = "net.onnx"\n{head}\n[input]\n{text}')).fingerprint()


def test_the_fingerprint_changes_with_the_model_and_its_preprocessing_alone(tmp_path: Path) -> None:
    plain = fingerprint(tmp_path)
    changed = [
        *(fingerprint(tmp_path, text) for text in ('channels = "BGR"', "scale = 128.0", "mean = [0.0, 0.0, 0.0]")),
        *(
            fingerprint(tmp_path, text)
            for text in (
                "size = [112, 96]\ntemplate = [[1,1],[2,2],[3,3],[4,4],[5,5]]",
                "template = [[1,1],[2,2],[3,3],[4,4],[5,5]]",
            )
        ),
        fingerprint(tmp_path, content=b"another"),
        fingerprint(tmp_path, head='architecture = "edgeface_s"'),
    ]
    assert len({plain, *changed}) == 1 + len(changed)
    same = [
        fingerprint(tmp_path, head='name = "other"\ntitle = "Other"\nlicence = "MIT"\nshare = 5'),
        fingerprint(tmp_path, 'channels = "RGB"\n[embedding]\nthreshold = 0.5'),
    ]
    assert set(same) == {plain}


def test_a_stated_hash_is_the_files_own_in_either_case(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"network").hexdigest()
    marks = {fingerprint(tmp_path, head=f'sha256 = "{text}"') for text in (digest, digest.upper())}
    assert marks == {fingerprint(tmp_path)}
    with pytest.raises(UsageError, match="expected an ONNX model"):  # past the check of the hash
        load_recognizer(write(tmp_path / "own.toml", f'file = "net.onnx"\nsha256 = "{digest.upper()}"'))


def test_a_known_file_has_the_fingerprint_of_its_name(weights: Path) -> None:
    assert find_source("/anywhere/w600k_r50.onnx").fingerprint() == find_source("insightface-r50").fingerprint()
    assert find_source("a:b").fingerprint() != find_source("a:c").fingerprint()


def test_a_square_crop_without_a_template_has_arcfaces_scaled() -> None:
    spec = InputSpec.from_toml({"size": [224, 224]})
    assert spec.template[0] == pytest.approx((2 * 38.2946 + 0.5, 2 * 51.6963 + 0.5))
    assert InputSpec.from_toml({"size": [112, 112]}).template == ARCFACE


def test_the_fingerprint_of_python_knows_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "changing_recogniser.py"
    marks = []
    for code in ("def embed(crops): return 1", "def embed(crops): return 2", "def embed(crops): return 1"):
        module.write_text(code)
        marks.append(find_source("changing_recogniser:embed").fingerprint())
    assert marks[0] == marks[2] != marks[1]
    assert find_source("os:absent").fingerprint() != find_source("os:path").fingerprint()


NUMBER = "from pathlib import Path\nnumber = Path(__file__).with_name('number').read_text()\n"
FUNCTION = "def network(crops):\n    return crops.mean(dim=(2, 3)) ** float(number)\n"
MODULE = """
import torch

class Net(torch.nn.Linear):
    def forward(self, crops):
        return super().forward(crops.mean(dim=(2, 3)))

def network():
    torch.manual_seed(int(number))
    return Net(3, 4)
"""


@pytest.mark.parametrize("code", [FUNCTION, MODULE], ids=["by what it does", "by its weights"])
def test_a_python_network_is_known_by_more_than_its_code(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "changing.py").write_text(NUMBER + code)
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for number in ("1", "2", "1"):
        (tmp_path / "number").write_text(number)
        sys.modules.pop("changing", None)
        prints.append(load_recognizer("changing:network", gradients=False).fingerprint)
    assert prints[0] == prints[2]
    assert prints[0] != prints[1]


def test_an_entry_that_cannot_be_found_is_no_traceback() -> None:
    assert find_source("no_such_package.module:network").fingerprint()
    with pytest.raises(UsageError, match="no_such_package"):
        load_recognizer("no_such_package.module:network")
