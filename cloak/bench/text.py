"""Tables as data, numbers as text, and what the words mean; rendered to Markdown here, to HTML in ``page``."""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloak.bench.lookup import Estimate, is_number

DASH = "-"
"""What stands where nothing could be measured."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: a number or words.
        interval: of the number; empty: none is shown.
        clean: the same without a cloak; empty: none is shown.
        warning: whether readers must not miss it.
    """

    text: str
    interval: str = ""
    clean: str = ""
    warning: bool = False

    def __str__(self) -> str:
        interval = f" ({self.interval})" if self.interval else ""
        return f"{self.text}{interval}" + (f", clean {self.clean}" if self.clean else "")


@dataclass(frozen=True)
class Table:
    """A table; every row has as many cells as there are headings.

    Attributes:
        title: a line above it.
        note: how to read it; may be empty.
        headings: of the columns.
        rows: from top to bottom.
        folded: whether a page shows only the title until it is asked for the rest.
    """

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        text: paragraphs before everything else.
        figures: names of the plots that belong here, shown before the tables.
        tables: from top to bottom.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def row(*cells: str | Cell) -> tuple[Cell, ...]:
    """Cells, some of them plain text."""
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)


def number(value: object, digits: int = 3) -> str:
    """.787; 1.000; 36.8; a dash where there is no number."""
    if not isinstance(value, (int, float)) or not is_number(value):
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return re.sub(r"^(-?)0\.", r"\1.", text) if digits else text


def compared(cloaked: Estimate, clean: Estimate, *, interval: bool = False) -> Cell:
    """A measure with the cloak, and without it beside."""
    return Cell(number(cloaked.get("value")), between(cloaked) if interval else "", number(clean.get("value")))


def alone(estimate: Estimate, digits: int = 3) -> Cell:
    """A measure and its interval."""
    return Cell(number(estimate.get("value"), digits), between(estimate))


def signed(value: float, digits: int = 3) -> str:
    """+.024; -.021; .000."""
    text = number(value, digits)
    return text if text.startswith("-") or not float(text) else f"+{text}"


def between(estimate: Estimate, digits: int = 2) -> str:
    """An interval, .74-.84, or -.02 to .04; empty where there is none."""
    low, high = estimate.get("low"), estimate.get("high")
    if not (is_number(low) and is_number(high)):
        return ""
    ends = number(low, digits), number(high, digits)
    return (" to " if any(end.startswith("-") for end in ends) else "-").join(ends)


def span(counts: Iterable[int]) -> str:
    """How many; the least and the most, where they differ."""
    ordered = sorted(counts)
    return f"{ordered[0]:,}" if ordered[0] == ordered[-1] else f"{ordered[0]:,}-{ordered[-1]:,}"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    escaped = re.sub(r"([\\|*`\[\]])", r"\\\1", " ".join(text.split()))
    return html.escape(escaped, quote=False)


def table_markdown(table: Table) -> str:
    """A table in Markdown, with title and note."""
    lines = [f"### {plain(table.title)}", ""]
    lines += [plain(table.note), ""] if table.note else []
    return "\n".join([*lines, *_grid(table), ""])


def _grid(table: Table) -> list[str]:
    lines = ["| " + " | ".join(plain(heading) for heading in table.headings) + " |"]
    lines.append("|" + "---|" * len(table.headings))
    for cells in table.rows:
        shown = [f"**{plain(str(cell))}**" if cell.warning else plain(str(cell)) for cell in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return lines


def section_markdown(section: Section, titles: Sequence[tuple[str, str]] = ()) -> str:
    """A section in Markdown; ``titles``: name and caption of the plots, files in ``plots/``."""
    parts = [f"## {plain(section.title)}", ""]
    for paragraph in section.text:
        parts += [plain(paragraph), ""]
    for name, caption in titles:
        parts += [f"![{plain(caption)}](plots/{name}.png)", ""]
    return "\n".join([*parts, *(table_markdown(table) for table in section.tables)])


WORDS: tuple[tuple[str, str], ...] = (
    (
        "Evaluator",
        "A face recogniser that plays the tracker. A surrogate is one that the cloaks were made against, so its "
        "numbers flatter the cloak; a held-out one was never used to make a cloak, and is what counts.",
    ),
    (
        "Genuine and impostor pairs",
        "Two different photos of one person; photos of two different people.",
    ),
    (
        "TAR@FAR",
        "True-accept rate at a false-accept rate: the threshold of an evaluator is put where it takes this share of "
        "clean impostor pairs for one person (FAR); TAR is the share of genuine pairs that it then recognises.",
    ),
    (
        "PSR",
        "Protection success rate, 1 - TAR with the cloak: the share of genuine comparisons that fall below the "
        "threshold for this FAR. Higher protects better. Part of it is owed to the evaluator's own mistakes, which "
        "is why the rate of the same comparisons without a cloak (clean) stands beside every number.",
    ),
    (
        "Stated threshold",
        "The one that an evaluator's specification states: its makers', or one that was measured elsewhere. Which "
        "FAR it means on these photos stands among the evaluators.",
    ),
    ("Evasion", "The tracker meets a cloaked photo, and has clean photos with names. The usual case at first."),
    (
        "Poisoning",
        "The tracker meets a clean photo, and the photos with names are cloaked. With leaks, some of those are clean.",
    ),
    (
        "Rank-1, rank-5, 1-NN",
        "How often the right person comes first, or among the first five, when the tracker looks a face up among all "
        "people of the benchmark and many strangers; 1-NN: first, without the strangers. Lower protects better.",
    ),
    ("Linear probe", "A classifier that is trained on the photos with names. Lower protects better."),
    (
        "Adaptive tracker",
        "The linear probe of a tracker who has also collected cloaked photos of other people and learned from them. A "
        "tracker may use whichever of the two probes does better.",
    ),
    (
        "Face DSSIM",
        "How visible the change is: (1 - SSIM) / 2 over the face, 0 for none. Peak: the same over the worst window a "
        "quarter of the face wide. A cloak is only better than another at the same face DSSIM.",
    ),
    (
        "PSNR, L-inf, colour",
        "Other measures of the change: in dB (more is less visible); the largest change of any "
        "pixel in grey levels of 255; change of colour in CIELAB (2.3 is just noticeable side by side).",
    ),
    (
        "Interval",
        "In brackets: 95 % of bootstrap samples drawn over people lie between. Few people, or a share of 0 or 1, make "
        "it narrower than it should be.",
    ),
)
"""Word -> what it means here."""
