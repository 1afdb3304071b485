"""The report of a benchmark: tables, page, files."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from cloak.bench import plots
from cloak.bench.canvas import png
from cloak.bench.evaluator_tables import sanity_table
from cloak.bench.lookup import rates
from cloak.bench.page import data_uri, html
from cloak.bench.report import write_report
from cloak.bench.tables import main_table, markdown, sections
from cloak.bench.text import Cell, Table, number, plain, table_markdown
from tests.bench_results import ODD, estimate, made_up_results, measures
from tests.helpers import smooth_noise


@pytest.fixture
def results() -> dict[str, Any]:
    return made_up_results()


def cells(table: Table, first: str) -> list[str]:
    """The row of this name as text."""
    return next([str(cell) for cell in cells] for cells in table.rows if cells[0].text == first)


def all_tables(results: dict[str, Any]) -> list[Table]:
    return [table for section in sections(results) for table in section.tables]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.7871, 3, ".787"),
        (1.0, 3, "1.000"),
        (-0.0421, 3, "-.042"),
        (-0.00001, 3, ".000"),
        (36.84, 1, "36.8"),
        (5.0, 0, "5"),
        (0, 0, "0"),
        (None, 3, "-"),
        (float("nan"), 3, "-"),
    ],
)
def test_numbers_have_no_leading_zero(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_tables_are_rectangular_and_lead_with_far_1e_3(results: dict[str, Any]) -> None:
    assert rates(results) == ("0.001", "0.01")
    for table in all_tables(results):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.headings)}, table.title


def test_every_main_number_stands_with_its_interval_and_clean_beside(results: dict[str, Any]) -> None:
    row = cells(main_table(results), ODD)
    assert row[2:4] == [".789 (.69-.89), clean .123"] * 2
    assert row[4:] == [".0078", ".0345", "37.8", "31", "1.57", "2.34"]
    assert cells(main_table(results), "none")[2] == ".123 (.02-.22), clean .123"
    assert "dlib (surrogate)" in main_table(results).headings


def test_a_cloak_that_changes_nothing_is_exposed(results: dict[str, Any]) -> None:
    remarks = {row[0].text: row[1] for row in main_table(results).rows}
    assert remarks["pgd@0.009"].text == "2; 1 of 2 photos of each person; identical to the original: 2 of 2"
    assert remarks["pgd@0.009"].warning
    assert remarks[ODD].text == "3; 1 photo failed"
    assert remarks[ODD].warning
    assert not remarks["none"].warning
    assert "**2; 1 of 2 photos of each person; identical to the original: 2 of 2**" in markdown(results)
    assert '<td class="warn words">' in html(results, {})


def test_what_could_not_be_measured_is_a_dash(results: dict[str, Any]) -> None:
    assert cells(main_table(results), "pgd@0.009")[2] == "-, clean .123"
    assert cells(main_table(results), "none")[4] == "-"  # none of its files has a visibility here
    assert "None" not in markdown(results)
    assert "nan" not in markdown(results)


def test_scenarios_show_every_measure_with_clean_beside(results: dict[str, Any]) -> None:
    table = next(table for table in all_tables(results) if table.title == f"{ODD}: all scenarios")
    scenarios = [str(row[1]) for row in table.rows]
    assert scenarios == ["evasion: cloaked photo, clean gallery", "poisoning: clean photo, cloaked gallery"] * 2
    shown = dict(zip(table.headings, cells(table, "dlib"), strict=True))
    assert shown["PSR@0.001"] == ".789 (.69-.89), clean .123"
    assert shown["PSR@0.01"] == ".789, clean .123"
    assert shown["similarity"] == "-.042, clean .654"
    assert shown["rank-1"] == ".876, clean .987"
    assert shown["adaptive linear probe"] == ".432, clean -"


def test_purifiers_have_a_table_of_their_own(results: dict[str, Any]) -> None:
    tables = {table.title: table for table in all_tables(results)}
    ways = {title: [str(row[1]) for row in table.rows] for title, table in tables.items() if title.startswith("After")}
    assert list(ways.values()) == [["the saved file", "JPEG 75"], ["the saved file", "purifier: median 3 x 3"]]
    first = tables["After recompression, resizing and the like"].rows[1]
    assert [str(cell) for cell in first[2:]] == ["8", *[".765 (.67-.86), clean .123"] * 2]
    assert ".876, clean .876" in cells(tables["Faces that are still found"], ODD)


def test_sanity_rows_say_what_is_expected_and_when_it_fails(results: dict[str, Any]) -> None:
    rows = [[str(cell) for cell in row] for row in sanity_table(results).rows[:3]]
    assert [row[3] for row in rows] == ["0", "about .999", "as clean, .123"]
    assert [row[-1] for row in rows] == ["yes"] * 3
    results["sanity"][0]["identical"] = measures(0.01)
    results["sanity"][0]["original"] = measures(None)
    assert sanity_table(results).rows[0][-1] == Cell("NO", warning=True)
    assert sanity_table(results).rows[2][-1] == Cell("-")


def test_markdown_says_with_what_it_was_made(results: dict[str, Any]) -> None:
    text = markdown(results)
    assert "Commit 0123456789ab with uncommitted changes; python 3.11, lost -; cpu, 2 threads; seed 7" in text
    assert "2 people x 2 cloaked photos" in text
    assert "19 distractors; 1 photo left out as unreadable" in text
    assert "With 1,394 impostor pairs the threshold at FAR 0.001 is a rough one." in text
    assert "| dlib | surrogate | .456 | .877 (.78-.98) | .321 | .912 (.81-1.00) | 56 | 1,394 | .998 |" in text


def test_numbers_come_from_the_results_alone(results: dict[str, Any]) -> None:
    """Of the shares and decibels in the tables there is none that the dictionary does not hold."""
    held = set()
    for value in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", json.dumps(results)):
        held |= {number(float(value), digits) for digits in range(5)}
    allowed = held | {".999"}  # 1 - FAR
    for table in all_tables(results):
        for row in table.rows:
            for cell in row:
                shown = [cell.clean, *cell.interval.replace(" to ", " ").split("-"), cell.text]
                numbers = [text for text in shown if re.fullmatch(r"-?\d*\.\d+", text)]
                assert set(numbers) <= allowed, (table.title, numbers)


def test_lpips_has_a_column_only_where_it_was_measured(results: dict[str, Any]) -> None:
    assert "LPIPS" not in markdown(results)
    results["entries"][0]["visibility"]["lpips"] = 0.0123
    assert "photo: LPIPS" in markdown(results)
    assert ".0123" in markdown(results)


def test_a_stated_threshold_stands_beside_those_that_were_found(results: dict[str, Any]) -> None:
    assert "stated" not in markdown(results)
    first = results["evaluators"][0]
    first["thresholds"]["stated"], first["false_accepts"] = 0.281, {"stated": 0.00012}
    first["clean_tar"]["stated"] = estimate(0.934)
    measures = results["entries"][-1]["records"][0]["measures"]
    measures["psr@stated"] = estimate(0.765)
    text = markdown(results)
    assert "| .281 | .00012 | .934" in text
    assert "| - | - | - |" in text  # the other evaluator
    assert "PSR at the stated threshold" in text
    assert ".765" in text


def test_markdown_escapes_names(results: dict[str, Any]) -> None:
    assert plain("a|b<c>\n*d*") == "a\\|b&lt;c&gt; \\*d\\*"
    text = table_markdown(main_table(results))
    assert ODD not in text
    assert plain(ODD) in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


class Checker(HTMLParser):
    """Fails at elements that are closed in the wrong order; gathers text and addresses."""

    VOID = ("meta", "img", "br", "link", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return checker


def test_the_page_is_well_formed_and_needs_nothing_else(results: dict[str, Any]) -> None:
    picture = png(plots.psr_against_dssim(results))
    page = html(results, {"psr_against_dssim": picture}, b"\xff\xd8 a JPEG")
    checker = checked(page)
    assert all(address.startswith(("#", "data:image/")) for address in checker.addresses)
    assert data_uri(picture) in checker.addresses
    assert data_uri(b"\xff\xd8 a JPEG") in checker.addresses
    anchors = [address[1:] for address in checker.addresses if address.startswith("#")]
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_shows_what_the_tables_say(results: dict[str, Any]) -> None:
    page = html(results, {})
    text = checked(page).text
    assert ODD in text  # as text, not as markup
    assert "a|b.jpg: no face <found>" in text
    assert "2; 1 of 2 photos of each person; identical to the original: 2 of 2" in text
    assert "<td>.789 <small>(.69-.89)</small><br><small>clean .123</small></td>" in page
    for word in ("PSR", "TAR@FAR", "Evasion", "Poisoning", "Face DSSIM", "Adaptive tracker"):
        assert f"<dt>{word}</dt>" in page


def test_the_surrogates_network_in_other_code_is_not_called_held_out(results: dict[str, Any]) -> None:
    for evaluator in results["evaluators"]:
        evaluator["name"] = evaluator["name"].replace("dlib", "dlib-cpp")
    assert "dlib-cpp (surrogate)" in main_table(results).headings


def test_the_report_is_written_over_an_older_one(results: dict[str, Any], tmp_path: Path) -> None:
    results["entries"][0]["curves"][0]["roc"][0] = float("nan")
    for _ in range(2):
        written = write_report(results, tmp_path, smooth_noise(40, 60))
    assert [str(path.relative_to(tmp_path)) for path in written] == [
        "results.json",
        "results.md",
        "index.html",
        *(f"plots/{name}.png" for name in ("psr_against_dssim", "similarity", "roc", "robustness")),
        "plots/faces.jpg",
    ]
    assert all(path.stat().st_size for path in written)
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert kept["entries"][0]["curves"][0]["roc"][0] is None
    checker = checked((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert sum(address.startswith("data:image/") for address in checker.addresses) == 5
    for path in re.findall(r"\]\((plots/\w+\.png)\)", (tmp_path / "results.md").read_text(encoding="utf-8")):
        assert (tmp_path / path) in written


def test_a_report_of_nothing_measured_is_still_written(results: dict[str, Any], tmp_path: Path) -> None:
    """Every photo failed, no condition was measured."""
    empty = {"files": 0, "failed": ["x"], "records": [], "curves": [], "visibility": {"lpips": None}}
    results["entries"] = [results["entries"][0] | empty | {"seconds_per_face": None}]
    written = write_report(results, tmp_path)
    assert "robustness" not in {path.stem for path in written}
    assert "robustness" not in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "0; 1 photo failed" in (tmp_path / "results.md").read_text(encoding="utf-8")
