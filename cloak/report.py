"""Reports -> a table, and a picture of faces before, after and their difference."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from rich.table import Table
from rich.text import Text

from cloak.errors import CloakError
from cloak.models import ABSENT, DAMAGED, Model
from cloak.names import shown
from cloak.opening import DONE_BEFORE
from cloak.photo import FINE_JPEG, IN_MEMORY, TRUSTED, Photo, encode, read_photo, save_bytes
from cloak.types import Comparison, Face, PhotoPlan, PhotoReport, Pixels
from cloak.words import amount, some

if TYPE_CHECKING:
    from cloak.bench.check import Check
    from cloak.survey import Survey

TILE = 320
"""Side of a face in the picture, pixels."""

GAIN = 8
"""The picture shows differences so many times as large, around a middle grey."""

LARGE = 2.0
"""A file that has become so many times as large is told."""

CAPTION = 22
"""Height of the captions in the picture, pixels."""


def summary_table(reports: Sequence[PhotoReport]) -> Table:
    """One line a photo; of several faces, the one that is matched best and the one changed most.

    Similarities are those by which the verdict is given.
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("photo", "faces", "similarity before", "after", "face DSSIM", "seconds", "verdict", "expected"):
        table.add_column(heading, justify="left" if heading in ("photo", "verdict") else "right", overflow="fold")
    for report in reports:
        all_matches = [match for face in report.faces for match in face.matches.values()]
        matches = [match for match in all_matches if match.threshold is not None] or all_matches
        table.add_row(
            Text(shown(report.source or "")),
            _count(len(report.faces), report.small, len(report.missed)),
            f"{max(match.before for match in matches):.2f}" if matches else "-",
            f"{max(match.after for match in matches):.2f}" if matches else "-",
            f"{max(face.visibility.dssim for face in report.faces):.4f}" if report.faces else "-",
            f"{report.seconds:.1f}",
            "protected" if report.protected else "cloaked before" if report.skipped else "NOT PROTECTED",
            _expected(report),
        )
    return table


def plan_table(plans: Sequence[PhotoPlan]) -> Table:
    """One line a photo: what would be done with it."""
    table = Table(box=None, pad_edge=False)
    for heading in ("photo", "faces", "would become", "removed", "notes"):
        table.add_column(heading, justify="right" if heading == "faces" else "left", overflow="fold")
    for plan in plans:
        table.add_row(
            Text(shown(plan.source)),
            _count(len(plan.faces), plan.small),
            Text(shown(plan.target) if plan.target else _why_not(plan.skipped) if plan.skipped else "nothing"),
            ", ".join(plan.removed) or "-",
            Text("; ".join(plan.notes) or "-"),
        )
    return table


def words_on_files(reports: Sequence[PhotoReport]) -> list[str]:
    """What was removed from the photos, how often; and the notes on them."""
    removed = Counter(word for report in reports for word in report.removed)
    noted: dict[str, list[str]] = {}
    for report in reports:
        for note in report.notes:
            noted.setdefault(note, []).append(str(report.source or ""))
    lines = [f"{some(names)}: {note}" for note, names in noted.items()]
    if removed:
        counts = (f"{word} ({amount(count, 'photo')})" for word, count in removed.items())
        lines.append(f"removed from the files: {', '.join(counts)}")
    grown = [report.growth for report in reports if report.growth >= LARGE]
    if grown:
        lines.append(
            f"{amount(len(grown), 'photo')} became up to {max(grown):.1f} times as large, saved finer for the "
            "protection, or without loss"
        )
    return lines


def _why_not(skipped: str) -> str:
    """Why nothing would be done, in two words."""
    return "done before" if skipped == DONE_BEFORE else "cloaked before"


def _count(faces: int, small: int, missed: int = 0) -> str:
    """How many faces were cloaked, left alone, missed."""
    others = ((small, "too small"), (missed, "MISSED"))
    return ", ".join([str(faces), *(f"{count} {what}" for count, what in others if count)])


def _expected(report: PhotoReport) -> str:
    """Of 100 matches, so many: of the face that can expect least."""
    expected = [face.expected for face in report.faces if face.expected]
    if not expected:
        return "-"
    worst = min(expected, key=lambda one: (one.least, one.greatest))
    return f"{100 * worst.least:.0f} to {100 * worst.greatest:.0f}"


def faces_table(surveys: Sequence["Survey"]) -> Table:
    """One line a face."""
    from cloak.detect import MIN_FACE  # imports PyTorch
    from cloak.survey import left_alone

    table = Table(box=None, pad_edge=False)
    for heading in ("photo", "face", "left, top, right, bottom", "width", "score", "look", ""):
        table.add_column(heading, justify="left" if heading in ("photo", "look", "") else "right", overflow="fold")
    for survey in surveys:
        if not survey.faces:
            table.add_row(
                Text(shown(survey.source)), "-", "-", "-", "-", "-", "not read" if survey.error else "no face"
            )
        for number, face in enumerate(survey.faces, start=1):
            table.add_row(
                Text(shown(survey.source)),
                str(number),
                ", ".join(f"{value:.0f}" for value in face.box),
                f"{face.width:.0f}",
                f"{face.score:.3f}",
                face.look,
                f"left alone: narrower than {MIN_FACE} px" if left_alone(face) else "",
            )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """One line a face of the first photo and recogniser."""
    table = Table(box=None, pad_edge=False)
    for heading in ("face", "recogniser", "similarity", "threshold", "verdict", "face DSSIM", "PSNR dB"):
        table.add_column(heading, justify="left" if heading in ("recogniser", "verdict") else "right")
    for number, compared in enumerate(comparison.faces, start=1):
        seen = compared.visibility
        for name, similarity in compared.similarities.items():
            threshold = comparison.thresholds[name]
            table.add_row(
                str(number),
                name,
                f"{similarity:.3f}",
                "-" if threshold is None else f"{threshold:.3f}",
                "-" if threshold is None else "same person" if similarity >= threshold else "no match",
                f"{seen.dssim:.4f}" if seen else "-",
                f"{seen.psnr:.1f}" if seen else "-",
            )
    return table


def models_table(models: Sequence[Model]) -> Table:
    """A block of lines for each recogniser."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for model in models:
        for heading, value in zip((model.name, *[""] * 6), _lines_of(model), strict=False):
            table.add_row(heading, value)
    return table


def _lines_of(model: Model) -> tuple[str, ...]:
    year = f" ({model.year})" if model.year else ""
    missing = f" (as a surrogate it needs: pip install 'cloak[models]' for {', '.join(model.needs)})"
    dimension = f"{model.dimension} numbers, " if model.dimension else ""
    measured = f"threshold {model.threshold} at FAR {model.far:g}; measured on {model.measured_on}" if model.far else ""
    size = f"{model.bytes:,} bytes, " if model.bytes else ""
    digest = model.sha256 or "not published, pinned at the first download"
    state = model.state()
    return (
        f"{model.title}{year}: {state}; {'surrogate and evaluator' if model.surrogate else 'evaluator' + missing}",
        f"{model.architecture}, trained on {model.training_data}; {model.loss}",
        f"input {model.size[0]} x {model.size[1]} px, {dimension}{model.distance}",
        measured or f"threshold not measured here: cloak models check {model.name} --data DIR measures it",
        f"licence {model.licence}: {'commercial use allowed' if model.commercial else 'no commercial use'}",
        f"{model.path or 'Python'}, {size}sha256 {digest}"
        + (f"; {model.advice}" if state in (ABSENT, DAMAGED) else ""),
    )


def check_table(check: "Check") -> Table:
    """One line for each preprocessing."""
    table = Table(box=None, pad_edge=False)
    for heading in (
        "preprocessing",
        "channels",
        "TAR@FAR 1e-2",
        "TAR@FAR 1e-3",
        "separation d'",
        "threshold 1e-3",
    ):
        table.add_column(heading, justify="left" if heading in ("preprocessing", "channels") else "right")
    for fit in check.fits:
        numbers = (*fit.tar, fit.separation, fit.thresholds[-1])
        table.add_row(fit.label, fit.input.channels, *(f"{value:.3f}" for value in numbers))
    return table


def check_verdict(check: "Check") -> str:
    """What the table says, and what to write into the specification."""
    basis = f"{check.faces} faces of {check.people} people, {check.impostors:,} impostor pairs"
    lines = [f"{check.name}: {check.surrogate or 'can be surrogate and evaluator'}; measured on {basis}"]
    if check.impostors < ENOUGH_IMPOSTORS:
        lines.append(f"so few impostor pairs (fewer than {ENOUGH_IMPOSTORS:,}) make the lower FAR uncertain")
    best = check.best
    if best is check.stated:
        lines.append("the stated preprocessing fits best; to have verdicts, put into the specification:")
    else:
        scale = list(best.input.scale) if isinstance(best.input.scale, tuple) else best.input.scale
        lines += [
            f'WRONG PREPROCESSING: "{best.label}" fits better than the stated one; put into the specification:',
            "[input]",
            f'channels = "{best.input.channels}"',
            f"mean = {list(best.input.mean)}",
            f"scale = {scale}",
        ]
    lines += ["[embedding]", f"threshold = {best.thresholds[0]:.3f}", "far = 0.01", f'measured_on = "{basis}"']
    return "\n".join(lines)


ENOUGH_IMPOSTORS = 10_000
"""A false-accept rate of 1e-3 rests on ten of so many pairs."""


def write_picture(pictured: Sequence[tuple[Path, Path, Face]], path: Path) -> None:
    """Save a picture with a row for each original, result and face: before, after, difference.

    Raises:
        CloakError: nothing was protected, or the picture cannot be written.
    """
    rows = [row for row in (_row(*one) for one in pictured) if row]
    if not rows:
        raise CloakError(f"{path}: no picture was written, since no photo was cloaked")
    picture = Image.new("RGB", (3 * TILE, CAPTION + sum(row.height for row in rows)), "white")
    draw = ImageDraw.Draw(picture)
    for column, caption in enumerate(("before", "after", f"difference x {GAIN}")):
        draw.text((column * TILE + 6, 5), caption, fill="black")
    top = CAPTION
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height
    encodings = FINE_JPEG if path.suffix.lower() in (".jpg", ".jpeg") else IN_MEMORY
    save_bytes(encode(Photo(np.asarray(picture), encodings=encodings)), path, overwrite=True)


def _row(source: Path, output: Path, face: Face) -> Image.Image | None:
    """None where one of them is gone, or another photo now."""
    try:
        before, after = (around(read_photo(path, TRUSTED).pixels, face) for path in (source, output))
    except CloakError:
        return None
    if before.shape != after.shape or not before.size:
        return None
    row = Image.new("RGB", (3 * TILE, TILE), "white")
    for column, tile in enumerate((before, after, amplified_difference(before, after))):
        row.paste(fitted(tile, TILE), (column * TILE, 0))
    return row


def around(pixels: Pixels, face: Face) -> Pixels:
    """The face with half its size of surroundings."""
    margin = max(face.width, face.height) / 4
    left, top = (max(0, round(v - margin)) for v in face.box[:2])
    return pixels[top : round(face.box[3] + margin), left : round(face.box[2] + margin)]


def amplified_difference(before: Pixels, after: Pixels) -> Pixels:
    """GAIN times the change, around a middle grey; two pictures of one size."""
    difference = 128 + GAIN * (after.astype(np.int16) - before)
    return difference.clip(0, 255).astype(np.uint8)


def fitted(pixels: Pixels, side: int) -> Image.Image:
    """A picture whose longer side is ``side``."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    scale = side / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)))
