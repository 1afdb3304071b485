from dataclasses import replace
from pathlib import Path

import pytest

from cloak.bench.protocol import entries_of, read_protocol, select_methods
from cloak.errors import UsageError
from cloak.recognizers import SURROGATES
from tests.helpers import ROOT

MINIMAL = 'evaluators = ["dlib"]\n[[cloaks]]\nmethods = ["pgd"]\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["smoke", "dev", "full"])
def test_the_protocols_of_the_project_can_be_read(name: str) -> None:
    protocol = read_protocol(ROOT / "benchmarks" / "protocols" / f"{name}.toml")
    assert protocol.name == name
    entries = entries_of(protocol)
    assert len({entry.name for entry in entries}) == len(entries)
    methods = {entry.method.name for entry in entries}
    assert methods == {"none", "jpeg", "noise", "pgd", "mifgsm-di", "fawkes-style", "lowkey-style", "cloak"}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "protocols").glob("*.toml")), ids=lambda path: path.stem)
def test_every_protocol_has_entries(path: Path) -> None:
    assert entries_of(read_protocol(path))


def test_defaults_and_the_name_of_the_file(tmp_path: Path) -> None:
    protocol = read_protocol(write(tmp_path, MINIMAL))
    assert (protocol.name, protocol.folder, protocol.people) == ("own", tmp_path.resolve(), 50)
    (entry,) = entries_of(protocol)
    assert (entry.name, entry.photos, entry.conditions) == ("pgd@0.009", 4, {"saved": 4})


def test_an_entry_that_several_tables_ask_for_is_made_once_with_all_they_ask(tmp_path: Path) -> None:
    more = '[[cloaks]]\nmethods = ["pgd", "jpeg"]\nphotos = 1\ndssim = [0.009, 0.004]\nconditions = ["saved", "blur"]\n'
    entries = {entry.name: entry for entry in entries_of(read_protocol(write(tmp_path, MINIMAL + more)))}
    assert list(entries) == ["pgd@0.009", "pgd@0.004", "jpeg"]
    assert entries["pgd@0.009"].photos == 4
    assert entries["pgd@0.009"].conditions == {"saved": 4, "blur": 1}
    assert entries["jpeg"].photos == 1


def test_an_identity_needs_a_label_beside_none(tmp_path: Path) -> None:
    text = "identity = 4\n" + MINIMAL + '[[cloaks]]\nmethods = ["pgd"]\nidentity = 4\n'
    with pytest.raises(UsageError, match=r"expected a label for what differs from pgd@0\.009, got none"):
        entries_of(read_protocol(write(tmp_path, text)))
    text += 'label = "known"\n'
    assert [entry.identity for entry in entries_of(read_protocol(write(tmp_path, text)))] == [0, 4]


def test_methods_can_be_chosen_and_added(tmp_path: Path) -> None:
    protocol = select_methods(read_protocol(write(tmp_path, MINIMAL)), ["cloak"])
    assert [entry.name for entry in entries_of(protocol)] == ["cloak@0.009"]
    with pytest.raises(UsageError, match="expected a method, one of"):
        select_methods(protocol, ["cloack"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("people = 1 1", "expected TOML, got"),
        ("evaluators = ['dlib']", r"at least one \[\[cloaks\]\] table and one evaluator, got none"),
        (MINIMAL.replace("pgd", "pgt"), "expected a method, one of none, jpeg.*; got 'pgt'"),
        (MINIMAL + 'conditions = ["jpeg76"]', "expected a condition, one of saved, jpeg95.*; got 'jpeg76'"),
        (MINIMAL + "dssim = [3.0]", "expected a face DSSIM between 0 and .5, got 3.0"),
        ("persons = 3\n" + MINIMAL, "expected keys among name, folder, data, people.*; got persons"),
        ('people = "all"\n' + MINIMAL, "expected people as a whole number, got 'all'"),
        ("fars = [2.0]\n" + MINIMAL, "expected fars between 0 and 1"),
        ("fars = []\n" + MINIMAL, "expected fars between 0 and 1"),
        (MINIMAL + "photos = 1.5", "expected photos of cloaks as a whole number, got 1.5"),
        (MINIMAL + "photos = -1", "expected photos of cloaks as a whole number, got -1"),
        (MINIMAL.replace('"pgd"', ""), r"expected either methods or files in each \[\[cloaks\]\] table"),
        (MINIMAL + "identity = 2", "expected identity of cloaks from 0 to the protocol's, got 2"),
        ('[[cloaks]]\nmethods = ["pgd"]\n', "evaluators"),
    ],
)
def test_what_is_wrong_with_a_protocol_is_said_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"own\.toml: .*{message}"):
        read_protocol(write(tmp_path, text))


def test_a_missing_protocol_is_told_where_there_are_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a protocol, got No such file or directory; there are some in"):
        read_protocol(tmp_path / "absent.toml")


LABELLED = """
evaluators = ["dlib"]
[[cloaks]]
methods = ["cloak"]
[[cloaks]]
methods = ["cloak"]
label = "quick"
surrogates = ["dlib", "own.toml"]
changes = { steps = 7, chroma = 1, "views.resize" = [0.5, 1.0] }
"""


def test_a_label_sets_apart_what_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(LABELLED)
    plain, quick = entries_of(read_protocol(path))
    assert (plain.name, plain.surrogates) == ("cloak@0.009", SURROGATES)
    assert (quick.name, quick.surrogates) == ("cloak quick@0.009", ("dlib", "own.toml"))
    assert (quick.method.steps, quick.method.chroma, quick.method.views.resize) == (7, 1.0, (0.5, 1.0))
    assert replace(
        quick.method, name="cloak", steps=plain.method.steps, chroma=plain.method.chroma, views=plain.method.views
    ) == (plain.method)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('label = "quick"', "", "expected a label for what differs from cloak@0.009, got none"),
        ("steps = 7", "step = 7", "expected a field of a method or views.FIELD to change, got 'step'"),
        ("steps = 7", "views = 7", r"expected views like ViewDistribution\(.*\), got 7"),
        ("steps = 7", '"steps.x" = 7', "expected a field of a method or views.FIELD to change, got 'steps.x'"),
        ("steps = 7", 'steps = "many"', "expected steps like 60, got 'many'"),
        ("steps = 7", 'rule = "nope"', "expected rule, one of texture, sign, adadelta; got 'nope'"),
        ("steps = 7", '"views.blur" = [1.0]', r"expected views.blur like \(0.0, 2.0\), got \(1.0,\)"),
    ],
)
def test_a_wrong_change_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(LABELLED.replace(old, new))
    with pytest.raises(UsageError, match=rf"own\.toml: {message}"):
        read_protocol(path)


def test_the_reference_is_one_of_the_methods(tmp_path: Path) -> None:
    assert read_protocol(write(tmp_path, MINIMAL)).reference == "cloak"
    assert read_protocol(write(tmp_path, 'reference = "pgd"\n' + MINIMAL)).reference == "pgd"
    with pytest.raises(UsageError, match=r"own\.toml: expected as a reference one of pgd; got 'fawkes'"):
        read_protocol(write(tmp_path, 'reference = "fawkes"\n' + MINIMAL))
    with pytest.raises(UsageError, match=r"expected as a reference one of pgd; got 'none'"):
        read_protocol(write(tmp_path, 'reference = "none"\n' + MINIMAL + '[[cloaks]]\nmethods = ["none"]\n'))


def test_a_reference_that_is_not_among_the_chosen_methods_is_none(tmp_path: Path) -> None:
    protocol = read_protocol(write(tmp_path, 'reference = "pgd"\n' + MINIMAL))
    assert select_methods(protocol, ["pgd", "noise"]).reference == "pgd"
    assert select_methods(protocol, ["noise"]).reference == "cloak"
