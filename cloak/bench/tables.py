"""Results -> the report in plain words and tables: what was measured, with what, and can it be trusted."""

from typing import Any

from cloak.bench.difference_tables import difference_tables
from cloak.bench.evaluator_tables import evaluator_table, sanity_table
from cloak.bench.lookup import (
    Entry,
    Results,
    evaluator_title,
    evaluators,
    measured,
    most_photos,
    ordered_entries,
    other_software,
    rates,
    record,
    visibility,
)
from cloak.bench.protocol import USUAL_DSSIM
from cloak.bench.scenario_tables import detection_table, robustness_tables, scenario_tables
from cloak.bench.text import (
    DASH,
    WORDS,
    Cell,
    Section,
    Table,
    compared,
    number,
    plain,
    row,
    section_markdown,
)
from cloak.words import amount

FIGURES: tuple[tuple[str, str], ...] = (
    ("psr_against_dssim", "Protection against visibility"),
    ("similarity", "Similarities of genuine and impostor pairs, with and without the cloak"),
    ("roc", "True-accept rate against false-accept rate, with and without the cloak"),
    ("robustness", "Protection after what happens to a photo on its way"),
)
"""Name of a plot (a file ``plots/NAME.png``) -> what it shows."""

FAILURES_SHOWN = 10
"""Of each entry; the JSON holds all."""


def markdown(results: Results) -> str:
    """The whole report in Markdown; its plots are files in ``plots/``."""
    captions = dict(FIGURES)
    parts = [f"# {plain(heading(results))}", "", plain(provenance(results)), ""]
    for section in sections(results):
        parts.append(section_markdown(section, [(name, captions[name]) for name in section.figures]))
    parts += ["## Words", "", *(f"- **{plain(word)}**: {plain(meaning)}" for word, meaning in WORDS)]
    return "\n".join(parts) + "\n"


def heading(results: Results) -> str:
    """The title of the report."""
    return f"Face cloaks, protocol {results['protocol']['name']}"


def sections(results: Results) -> tuple[Section, ...]:
    """Everything but title, provenance and words, in the order of reading."""
    robustness = (*robustness_tables(results), detection_table(results))
    failures = failure_table(results)
    far = rates(results)[0]
    return (
        Section(
            "Protection and visibility",
            (f"All methods, cloaked photo against clean gallery (evasion), the file as it was saved, at FAR {far}.",),
            ("psr_against_dssim",),
            (main_table(results), *difference_tables(results), *failures),
        ),
        Section("Evaluators", (), ("similarity", "roc"), (evaluator_table(results), sanity_table(results))),
        Section(
            "What happens on the way",
            ("Platforms recompress and shrink photos; a tracker may try to wash a cloak off (purifiers).",),
            ("robustness",) if len(robustness) > 1 else (),
            robustness,
        ),
        Section("Who holds what", (), (), scenario_tables(results)),
        Section("Visibility in full", (), (), (visibility_table(results),)),
        Section("Protocol", (), (), (protocol_table(results),)),
    )


def provenance(results: Results) -> str:
    """With what the results were made, in one line."""
    made, protocol, data = results["provenance"], results["protocol"], results["dataset"]
    commit = (made["commit"][:12] or "unknown") + (" with uncommitted changes" if made["changed"] else "")
    versions = ", ".join(f"{name} {version or DASH}" for name, version in made["versions"].items())
    unreadable = len(data["unreadable"])
    part = " for the last part of the run" if made.get("resumed") else ""
    return (
        f"Commit {commit}; {versions}; {made['device']}; seed {protocol['seed']}; {made['date']}, "
        f"{made['seconds'] / 60:.0f} min{part}; data {protocol['data']}: {len(data['people'])} people x "
        f"{amount(most_photos(results), 'cloaked photo')}, {data['photos']:,} photos of them in all, "
        f"{amount(data['distractors'], 'distractor')}"
        + (f"; {amount(unreadable, 'photo')} left out as unreadable" if unreadable else "")
        + "."
    )


def main_table(results: Results) -> Table:
    """One row for each method and budget."""
    far, names = rates(results)[0], evaluators(results)
    rows = []
    for entry in ordered_entries(results):
        cells = [
            compared(
                measured(found := record(entry, name), f"psr@{far}"),
                measured(found, f"psr@{far}", clean=True),
                interval=True,
            )
            for name in names
        ]
        face = [
            number(visibility(entry, "face", measure), digits)
            for measure, digits in (("dssim", 4), ("peak_dssim", 4), ("psnr", 1), ("linf", 0), ("chroma", 2))
        ]
        rows.append(row(entry["name"], remarks(results, entry), *cells, *face, number(entry["seconds_per_face"], 2)))
    return Table(
        "Methods and budgets",
        f"PSR@{far}, evasion, saved file: with the cloak (95 % interval), and clean, the same comparisons without "
        "it; higher protects better. Visibility is the mean over the faces, measured on the saved files; a name "
        "ends in the budget of the face DSSIM. PSNR of 100 stands for an identical face." + _failures_note(results),
        (
            "method@budget",
            "files",
            *(evaluator_title(results, name) for name in names),
            *("face DSSIM", "peak", "PSNR, dB", "L-inf", "colour", "s per face"),
        ),
        tuple(rows),
    )


def _failures_note(results: Results) -> str:
    """A warning where methods are compared on different photos."""
    if not any(entry["failed"] for entry in results["entries"]):
        return ""
    return (
        " Where photos failed, a method is measured on the others only: its clean rate tells how much easier or "
        "harder these are."
    )


def remarks(results: Results, entry: Entry) -> Cell:
    """What a reader must know of an entry's files: how many, against what, unchanged ones, failed ones."""
    parts, cloaks = [f"{entry['files']:,}"], entry["method"] != "none"
    if entry["photos"] < most_photos(results):
        parts.append(f"{entry['photos']} of {amount(most_photos(results), 'photo')} of each person")
    if other_software(entry):
        parts.append(f"of other software, against {', '.join(entry['surrogates']) or 'what is not known'}")
    elif entry["surrogates"] and any(_differ(entry, other) for other in results["entries"]):
        parts.append(f"against {', '.join(entry['surrogates'])}")
    if entry["unchanged"]:
        parts.append(f"identical to the original: {entry['unchanged']} of {entry['files']}")
    if entry["failed"]:
        parts.append(f"{amount(len(entry['failed']), 'photo')} failed")
    return Cell("; ".join(parts), warning=bool(entry["failed"] or (cloaks and entry["unchanged"])))


def _differ(entry: Entry, other: Entry) -> bool:
    return bool(other["surrogates"]) and other["surrogates"] != entry["surrogates"]


def failure_table(results: Results) -> tuple[Table, ...]:
    """Why photos were not cloaked; none where all were."""
    rows = []
    for entry in ordered_entries(results):
        rows += [row(entry["name"], reason) for reason in entry["failed"][:FAILURES_SHOWN]]
        if len(entry["failed"]) > FAILURES_SHOWN:
            rows.append(row(entry["name"], f"and {len(entry['failed']) - FAILURES_SHOWN} more, see results.json"))
    note = "They take no part in any number of their method."
    return (Table("Photos that were left out", note, ("method@budget", "reason"), tuple(rows)),) if rows else ()


def visibility_table(results: Results) -> Table:
    """The change of face and whole photo: mean and largest; LPIPS where it was measured."""
    everywhere = (
        ("dssim", "DSSIM", 4),
        ("peak_dssim", "peak", 4),
        ("psnr", "PSNR, dB", 1),
        ("linf", "L-inf", 0),
        ("chroma", "colour", 2),
    )
    measures = [
        *((where, measure, f"{where}: {title}", n) for where in ("face", "photo") for measure, title, n in everywhere),
        ("face", "fading", "eyes", 3),
    ]
    lpips = any(entry["visibility"].get("lpips") is not None for entry in results["entries"])
    rows = []
    for entry in ordered_entries(results):
        cells = [_mean_and_most(entry, where, measure, digits) for where, measure, _, digits in measures]
        rows.append(row(entry["name"], *cells, *((number(entry["visibility"].get("lpips"), 4),) if lpips else ())))
    return Table(
        "The change of the face, and of the whole photo",
        "Mean over the files, and in brackets the largest; of PSNR the mean. Whole photo: the same measures over "
        "all of it, the peak over windows a quarter of it wide. Eyes: the share of its contrast that the eye which "
        "fades more has lost." + (" LPIPS: whole photo, AlexNet." if lpips else ""),
        ("method@budget", *(title for _, _, title, _ in measures), *(("photo: LPIPS",) if lpips else ())),
        tuple(rows),
    )


def _mean_and_most(entry: Entry, where: str, measure: str, digits: int) -> Cell:
    mean, most = (visibility(entry, where, measure, kind) for kind in ("mean", "max"))
    # the largest PSNR would be the least visible change
    shown = most is not None and measure != "psnr"
    return Cell(number(mean, digits), number(most, digits) if shown else "")


def protocol_table(results: Results) -> Table:
    """Everything that decides the results, but the code."""
    protocol: dict[str, Any] = results["protocol"]
    rows = [
        row("data", protocol["data"]),
        row("people, photos of each that are cloaked", f"{protocol['people']}, {protocol['cloaked']}"),
        row("distractors asked for", str(protocol["distractors"])),
        row("evaluators", ", ".join(protocol["evaluators"])),
        row("surrogates", ", ".join(protocol["surrogates"])),
        row("false-accept rates", ", ".join(rates(results))),
        row("bootstrap", f"{protocol['resamples']} resamples of people, seed {protocol['seed']}"),
    ]
    for cloaks in protocol["cloaks"]:
        photos = amount(cloaks["photos"], "photo") + " each" if cloaks["photos"] else "all photos"
        files = cloaks.get("files")
        given = [number(dssim, 4).rstrip("0") for dssim in cloaks["dssim"] or (() if files else (USUAL_DSSIM,))]
        words = ["as they are"] if files else []
        words += [f"at face DSSIM {', '.join(given)}"] if given else []
        words += [photos, ", ".join(cloaks["conditions"])]
        words += [f"against {', '.join(against)}"] if (against := cloaks.get("surrogates")) else []
        words += [f"{key} = {value}" for key, value in cloaks.get("changes", {}).items()]
        named = f"files in {files}" if files else ", ".join(cloaks["methods"])
        rows.append(row(f"{named} ({label})" if (label := cloaks.get("label")) else named, "; ".join(words)))
    return Table("Protocol", "", ("setting", "value"), tuple(rows))
