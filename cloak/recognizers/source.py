"""A recogniser before it is loaded: where its network is, and what it wants to be shown.

A reference names one, the same in a protocol, on the command line and in Python:

=====================  =====================================================================
``NAME``               of the manifest, or of a specification NAME.toml among the user's weights,
                       which has this name then
``PATH.toml``          a specification, see below
``PATH.onnx``, ...     a model file that the manifest knows by its name
``module:factory``     what ``factory()`` gives, or ``factory`` itself where it needs an
                       argument: (n, 3, 112, 112) RGB in 0..1, aligned to ArcFace's template
                       -> (n, d)
=====================  =====================================================================

A specification in TOML has ``file`` (ONNX, TorchScript, or with ``architecture`` the state dict of
one of ``cloak.recognizers.ARCHITECTURES``; relative to the specification) or ``entry``
("module:factory"), ``name``, ``share`` (of the turns, where surrogates take turns; 3 is usual), a table
``input`` as ``InputSpec.from_toml`` reads it, and a table ``embedding`` with ``threshold``, ``far``
and ``measured_on``, where these are known.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cloak.errors import UsageError
from cloak.fetch import pinned_sha256
from cloak.folders import own_weights
from cloak.imports import look_in
from cloak.recognizers.base import InputSpec, RecognizerSpec
from cloak.toml import read_toml
from cloak.turns import USUAL_SHARE
from cloak.weights import file_sha256, find_weights, read_manifest

KEYS: Mapping[str, type] = {
    **dict.fromkeys(("name", "title", "file", "entry", "architecture", "sha256", "licence"), str),
    **dict.fromkeys(("input", "embedding"), dict),
    "commercial": bool,
    "share": int,
}
"""What a specification may hold, of which kind."""

EMBEDDING_KEYS = frozenset({"dimension", "distance", "threshold", "far", "true_accept_rate", "measured_on"})
"""What its table ``embedding`` may hold."""

COSINE = "cosine"
"""How embeddings are compared."""

KINDS = {str: "a string", dict: "a table", bool: "true or false", int: "a whole number"}
"""These kinds in words."""

MODEL_SUFFIXES = (".onnx", ".pt", ".pth", ".ts", ".torchscript", ".safetensors")

UNIT_RANGE = InputSpec(mean=(0.0, 0.0, 0.0), scale=255.0)
"""ArcFace's crop in 0..1: what a Python function gets that says nothing about its input."""

ELSEWHERE = {
    "dlib_face_recognition_resnet_model_v1.dat": "it is embedded in cloak: name it dlib",
    ".h5": "Keras weights (as DeepFace keeps them) do not hold their network: build the model with DeepFace, "
    "convert it to ONNX with tf2onnx (--inputs-as-nchw), and name a specification in TOML",
    ".tflite": "convert it to ONNX with tf2onnx (--inputs-as-nchw), and name a specification in TOML",
}
"""Models that people have in forms that cannot be read, by the end of the name, and what to do."""


@dataclass(frozen=True)
class Source:
    """A recogniser that is not loaded yet.

    Attributes:
        spec: its name, input and embedding.
        file: of its weights; None for Python.
        entry: "module:factory"; empty for a file.
        architecture: of ``cloak.recognizers.ARCHITECTURES``; empty where the file holds its network.
        sha256: what the file's hash must be; empty where none is known.
        licence: its identifier; empty where unknown.
        commercial: whether the licence allows commercial use.
        advice: how to get the file.
    """

    spec: RecognizerSpec
    file: Path | None = None
    entry: str = ""
    architecture: str = ""
    sha256: str = ""
    licence: str = ""
    commercial: bool = True
    advice: str = "check the path"

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Packages of the extra ``models`` that loading it takes, with gradients."""
        if self.architecture:
            return ("timm",) if self.architecture.startswith("edgeface") else ()
        return ("onnx", "onnx2torch", "onnxruntime") if self.file and self.file.suffix == ".onnx" else ()

    def fingerprint(self) -> str:
        """A hash of all that decides its embeddings: the model and its preprocessing.

        Raises:
            UsageError: the file cannot be read.
        """
        model = _code_of(self.entry) if self.file is None else self.sha256 or model_sha256(self.file)
        beside = [model_sha256(path) for path in external_files(self.file)] if self.file else []
        shown = asdict(replace(self.spec, name="", threshold=None))
        del shown["share"]
        values = [model, *beside, self.architecture, shown]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def find_source(reference: str, folder: Path | None = None) -> Source:
    """What a reference stands for.

    Args:
        reference: see the top of this module.
        folder: what a relative path starts from; else the current folder.

    Raises:
        UsageError: nothing of that name is known, or the specification is wrong.
    """
    if reference in read_manifest():
        return from_manifest(reference)
    own = own_weights() / f"{reference}.toml"
    if own.is_file():
        source = read_specification(own)
        return replace(source, spec=replace(source.spec, name=reference))  # one name in options and in results
    if reference.endswith(".toml"):
        return read_specification(resolve(reference, folder))
    for ending, advice in ELSEWHERE.items():
        if reference.endswith(ending):
            raise UsageError(f"{reference}: {advice}")
    if reference.endswith(MODEL_SUFFIXES):
        return _by_file_name(resolve(reference, folder))
    if ":" in reference:
        return Source(RecognizerSpec(name=reference.replace(":", "."), **asdict(UNIT_RANGE)), entry=reference)
    raise UsageError(
        f"expected a recogniser, one of {', '.join(known_names())}, a specification FILE.toml, a model file "
        f"that is known by its name, or module:factory; got {reference!r}"
    )


def known_names() -> tuple[str, ...]:
    """The manifest's recognisers, then the user's own."""
    own = own_weights()
    specifications = sorted(own.glob("*.toml")) if own.is_dir() else []
    return (*read_manifest(), *(path.stem for path in specifications if path.stem not in read_manifest()))


def twins() -> dict[str, str]:
    """Robust twin -> the recogniser that it stands in for."""
    return {name: entry["twin_of"] for name, entry in read_manifest().items() if "twin_of" in entry}


def copies() -> frozenset[str]:
    """Recognisers whose weights ship under another name, and do the same."""
    return frozenset(name for name, entry in read_manifest().items() if "copy_of" in entry)


def from_manifest(name: str) -> Source:
    """The source of a recogniser of the manifest."""
    entry = read_manifest()[name]
    path = find_weights(entry["file"])
    addresses = entry.get("addresses", ())
    if addresses:
        advice = f"run: cloak models fetch {name}; or download {addresses[0]} and put it there"
    else:
        advice = f"put it there, {entry['obtain']}" if "obtain" in entry else "reinstall cloak"
    return replace(
        _from_entry(name, entry, path),
        sha256=entry.get("sha256", "").lower() or pinned_sha256(own_weights(), entry["file"]),
        advice=advice,
    )


def read_specification(path: Path) -> Source:
    """Read a specification in TOML.

    Raises:
        UsageError: no such file, not TOML, or something in it that is unknown or wrong.
    """
    given = read_toml(path, "the specification of a recogniser")
    unknown = set(given) - set(KEYS)
    if unknown or ("file" in given) == ("entry" in given):
        raise UsageError(
            f"{path}: expected name, input, embedding, and either file or entry; "
            f"got {', '.join(sorted(given)) or 'nothing'}"
        )
    if "entry" in given and "architecture" in given:
        raise UsageError(f"{path}: expected an architecture only beside file, got one beside entry; leave one out")
    for key, value in given.items():
        if not isinstance(value, KEYS[key]) or (isinstance(value, str) and "\0" in value):
            raise UsageError(f"{path}: expected {key} to be {KINDS[KEYS[key]]}, got {value!r}")
    file = resolve(given["file"], path.parent) if "file" in given else None
    if file is None:
        look_in(path.parent)
    try:
        _check_embedding(given.get("embedding", {}))
        return _from_entry(str(given.get("name", path.stem)), given, file)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _by_file_name(path: Path) -> Source:
    """A model file that the manifest knows by its name, wherever it lies."""
    for name, entry in read_manifest().items():
        if entry["file"] == path.name:
            return _from_entry(name, entry, path)
    raise UsageError(
        f"{path}: expected a model file that is known by its name, got another; say what it wants to be shown in "
        f'{path.stem}.toml: file = "{path.name}", and [input] with size, channels, mean and scale; '
        "then: cloak models check"
    )


def _from_entry(name: str, entry: Mapping[str, Any], file: Path | None) -> Source:
    threshold = _number(entry, "threshold", -1.0, 1.0, "a cosine similarity")
    _number(entry, "far", 0.0, 1.0, "a share of pairs")
    share = entry.get("share", USUAL_SHARE)
    if isinstance(share, bool) or share < 1:
        raise UsageError(f"expected a share of the turns of 1 or more, got {share}")
    return Source(
        spec=RecognizerSpec(
            name=name,
            threshold=threshold,
            share=share,
            **asdict(InputSpec.from_toml(entry.get("input", {}))),
        ),
        file=file,
        entry=entry.get("entry", ""),
        architecture=entry.get("architecture", ""),
        sha256=entry.get("sha256", "").lower(),
        licence=entry.get("licence", ""),
        commercial=entry.get("commercial", True),
    )


def _number(entry: Mapping[str, Any], key: str, least: float, most: float, what: str) -> float | None:
    """What the table embedding says, between two numbers; None where it says nothing."""
    value = entry.get("embedding", {}).get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least < value < most:
        raise UsageError(f"expected {key} of embedding as {what}, between {least:g} and {most:g}; got {value!r}")
    return float(value)


def _check_embedding(embedding: Mapping[str, Any]) -> None:
    """Refuse what a user's table ``embedding`` says that nobody reads."""
    unknown = set(embedding) - EMBEDDING_KEYS
    if unknown:
        raise UsageError(f"expected of embedding {', '.join(sorted(EMBEDDING_KEYS))}; got {', '.join(sorted(unknown))}")
    if embedding.get("distance", COSINE) != COSINE:
        raise UsageError(
            f'expected distance of embedding as "{COSINE}", got {embedding["distance"]!r}; for embeddings of '
            "length 1 a Euclidean distance d is a cosine of 1 - d * d / 2"
        )


def resolve(path: str, folder: Path | None) -> Path:
    """A path with ``~`` and variables filled in, relative to ``folder``."""
    return (folder or Path()) / Path(os.path.expandvars(path)).expanduser()


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that hold its weights, as PyTorch exports them; none for others.

    Each is named in a pair of strings, "location" and the name, of ONNX's protocol buffer.
    """
    if path.suffix != ".onnx" or not path.is_file():
        return []
    data = path.read_bytes()
    pairs = re.finditer(rb"\x0a\x08location\x12([\x01-\x7f])", data)  # the last is the length of the name
    names = dict.fromkeys(data[pair.end() : pair.end() + pair[1][0]] for pair in pairs)
    beside = [path.parent / os.fsdecode(name) for name in names if b"\0" not in name]
    return [one for one in beside if one.is_file()]


def model_sha256(path: Path) -> str:
    """sha256 of a model file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsageError(f"{path}: expected a model file, got {error.strerror}") from None


def _code_of(entry: str) -> str:
    """An entry, and the hash of its module's file, so that changed code is noticed."""
    try:
        found = find_spec(entry.partition(":")[0])
    except (ImportError, ValueError):  # what is wrong with it will be told when it is loaded
        return entry
    return f"{entry} {model_sha256(Path(found.origin))}" if found and found.origin and found.has_location else entry
