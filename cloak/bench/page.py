"""Results -> one HTML page that needs nothing else: no scripts, no network, light and dark."""

import base64
from collections.abc import Mapping
from html import escape

from cloak.bench.lookup import Results
from cloak.bench.tables import FIGURES, heading, provenance, sections
from cloak.bench.text import WORDS, Cell, Section, Table
from cloak.report import GAIN

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #5b6570; --paper: #fff; --line: #d9dee3;
  --band: #f4f6f8; --warn: #a33a00; --warn-band: #fff1e6; --link: #0067a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b1; --paper: #14181c; --line: #343c44;
  --band: #1d2329; --warn: #ffb27a; --warn-band: #3a2413; --link: #6cbcf0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 4rem; max-width: 88rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .4rem 0; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3, summary { font-size: 1rem; font-weight: 600; margin: 1.6rem 0 .3rem; }
summary { cursor: pointer; margin: .5rem 0; }
p, dl { max-width: 50rem; }
a { color: var(--link); }
nav a { margin-right: 1rem; white-space: nowrap; }
.soft { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; white-space: nowrap; border-bottom-width: 2px; }
tbody th { font-weight: 600; white-space: nowrap; position: sticky; left: 0; background: var(--paper); }
tbody tr:hover td, tbody tr:hover th { background: var(--band); }
td { white-space: nowrap; }
td.words { white-space: normal; min-width: 11rem; }
td small { color: var(--soft); }
td.warn { color: var(--warn); background: var(--warn-band); font-weight: 600; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0; }
figure { margin: 1rem 0; overflow-x: auto; }
figure img { max-width: 100%; min-width: 42rem; height: auto; background: #fff; border-radius: 6px; }
figure.wide img { max-width: none; }
figcaption { color: var(--soft); font-size: .875rem; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>How well cloaked photos escape face recognisers, and how visible the cloaks are. Beside every number stands
what the same comparisons give without a cloak.</p>
<p class="soft">{provenance}</p>
<nav>{links}</nav>
{body}
</body>
</html>
"""

WORDS_TITLE, CONTACT_TITLE = "Words", "Faces"


def html(results: Results, figures: Mapping[str, bytes], contact: bytes | None = None) -> str:
    """The page.

    Args:
        results: those of ``run_protocol``.
        figures: name -> PNG, see ``tables.FIGURES``; those that are missing are left out.
        contact: a picture of faces, PNG or JPEG.
    """
    parts = [section_html(section, figures) for section in sections(results)]
    titles = [section.title for section in sections(results)]
    if contact is not None:
        parts.insert(1, _heading(CONTACT_TITLE) + _contact(contact))
        titles.insert(1, CONTACT_TITLE)
    parts.append(_heading(WORDS_TITLE) + words_html())
    titles.append(WORDS_TITLE)
    links = "\n".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title in titles)
    title, made = escape(heading(results)), escape(provenance(results))
    return PAGE.format(title=title, style=STYLE, provenance=made, links=links, body="\n".join(parts))


def section_html(section: Section, figures: Mapping[str, bytes]) -> str:
    """A section: paragraphs, plots, tables."""
    captions = dict(FIGURES)
    parts = [_heading(section.title), *(f"<p>{escape(text)}</p>" for text in section.text)]
    for name in section.figures:
        if name in figures:
            caption = escape(captions[name])
            image = f'<img src="{data_uri(figures[name])}" alt="{caption}">'
            parts.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return "\n".join([*parts, *(table_html(table) for table in section.tables)])


def table_html(table: Table) -> str:
    """A table with title and note; one that is folded opens on a click."""
    title, note = escape(table.title), f'<p class="soft">{escape(table.note)}</p>' if table.note else ""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(cells[0].text)}</th>{"".join(cell_html(cell) for cell in cells[1:])}</tr>'
        for cells in table.rows
    )
    grid = f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>'
    if table.folded:
        return f"<details><summary>{title}</summary>{note}{grid}</details>"
    return f"<h3>{title}</h3>{note}{grid}"


def cell_html(cell: Cell) -> str:
    """A cell: the number, its interval, and below them what it is without a cloak."""
    kinds = [kind for kind, true in (("warn", cell.warning), ("words", len(cell.text) > LONG)) if true]
    attribute = f' class="{" ".join(kinds)}"' if kinds else ""
    interval = f" <small>({escape(cell.interval)})</small>" if cell.interval else ""
    clean = f"<br><small>clean {escape(cell.clean)}</small>" if cell.clean else ""
    return f"<td{attribute}>{escape(cell.text)}{interval}{clean}</td>"


LONG = 24
"""Cells of more characters may take several lines."""


def words_html() -> str:
    """What the words mean."""
    items = "\n".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in WORDS)
    return f"<dl>{items}</dl>"


def data_uri(picture: bytes) -> str:
    """A PNG or JPEG file as an address that holds all of it."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _contact(picture: bytes) -> str:
    words = (
        "The face of each original, and of the same photo as each method saved it; below, the difference "
        f"{GAIN} times as large around a middle grey."
    )
    return f'<p>{words}</p><figure class="wide"><img src="{data_uri(picture)}" alt="{words}"></figure>'


def _heading(title: str) -> str:
    return f'<h2 id="{_anchor(title)}">{escape(title)}</h2>'


def _anchor(title: str) -> str:
    return "-".join(title.lower().split())
