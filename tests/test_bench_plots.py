"""The pictures of a benchmark's report: plots, contact sheet."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

pytest.importorskip("matplotlib")

from cloak import Face
from cloak.bench import plots
from cloak.bench.canvas import png
from cloak.bench.contact import ACROSS, GAP, SIDE, contact_sheet, row_height
from cloak.bench.lookup import shown_entries
from tests.bench_results import ODD, made_up_results
from tests.helpers import smooth_noise


@pytest.fixture
def results() -> dict[str, Any]:
    return made_up_results()


def lines_of(axes: Any) -> dict[str, Any]:
    return {str(line.get_label()): line for line in axes.get_lines()}


def test_psr_is_drawn_against_the_measured_dssim(results: dict[str, Any]) -> None:
    figure = plots.psr_against_dssim(results)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["dlib (surrogate)", "other"]
    for axes in figure.axes:
        lines = lines_of(axes)
        assert lines["cloak"].get_xydata().tolist() == [[0.0078, 0.789]]
        assert set(lines["no cloak"].get_ydata()) == {0.123}
        assert "pgd" not in lines  # nothing was measured
        assert {"cloak", "no cloak"} <= {text.get_text().strip() for text in axes.texts}


def test_histograms_and_roc_show_threshold_clean_and_cloaked(results: dict[str, Any]) -> None:
    shown = shown_entries(results)
    assert [entry["name"] for entry in shown] == [ODD]
    histograms, roc = plots.similarity_histograms(results, shown), plots.roc_curves(results, shown)
    assert len(histograms.axes) == len(roc.axes) == 2
    for axes in histograms.axes:
        assert len(axes.patches) == 3
        assert set(lines_of(axes)["threshold at FAR 0.001"].get_xdata()) == {0.456}
    for axes in roc.axes:
        assert axes.get_xscale() == "log"
        assert lines_of(axes)["clean"].get_ydata().tolist() == [0.9, 1.0]  # 1e-4 is less than one of 1394 pairs
        assert lines_of(axes)[ODD].get_ydata().tolist() == [0.5, 1.0]


def test_robustness_has_a_bar_for_each_condition_and_a_tick_for_clean(results: dict[str, Any]) -> None:
    figure = plots.robustness_bars(results)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["the saved file", "JPEG 75", "purifier: median 3 x 3"]
    for axes in figure.axes:
        assert [patch.get_width() for patch in axes.patches] == [0.789, 0.765, 0.765]  # type: ignore[attr-defined]
        assert set(lines_of(axes)["without a cloak"].get_xdata()) == {0.123}


def test_dollars_in_names_are_no_formulae() -> None:
    figure = Figure()
    figure.add_subplot().set_title(r"a$\nothing$")
    assert png(figure).startswith(b"\x89PNG")


def test_pngs_are_the_same_every_time(results: dict[str, Any]) -> None:
    first, second = (png(plots.roc_curves(results, shown_entries(results))) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")


def test_contact_sheet_has_a_row_for_each_photo_and_wraps() -> None:
    photo = smooth_noise(120, 100)
    changed = (255 - photo).astype(np.uint8)
    face = Face((30.0, 30.0, 70.0, 80.0), (), 1.0)
    few = contact_sheet([("a.jpg", photo, face, [("none", photo), ("cloak@0.009", changed)])])
    assert few.shape == (row_height() + GAP, 3 * (SIDE + GAP) + GAP, 3)
    tile = few[-SIDE // 2 :, SIDE + 2 * GAP + 1]
    assert (tile == 128).all(axis=1).any()  # no difference: grey below "none"
    many = contact_sheet([("a.jpg", photo, face, [("cloak@0.009", changed)] * ACROSS), ("b.jpg", photo, face, [])])
    assert many.shape == (3 * row_height() + GAP, ACROSS * (SIDE + GAP) + GAP, 3)
