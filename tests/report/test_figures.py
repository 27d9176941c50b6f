from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from glacierseg.report.bars import figure_band_importance, figure_scores
from glacierseg.report.curves import figure_training_curves
from glacierseg.report.maps import figure_errors, figure_zoom
from glacierseg.report.style import BLUE
from glacierseg.runs.read import read_results


@pytest.fixture(scope="module")
def results(whole_run):
    return read_results(whole_run)


def test_curves_mark_the_best_epoch(results):
    figure = figure_training_curves(results.networks)
    assert len(figure.axes) == 4
    scores = figure.axes[2]
    marks = [line for line in scores.lines if line.get_marker() == "o"]
    assert [(line.get_xdata().item(), line.get_ydata().item()) for line in marks] == [(2, 0.6), (2, 0.6)]
    assert len(figure.axes[0].lines) == 4  # two sets of bands, training and validation
    dotted = [list(line.get_ydata()) for line in scores.lines if line.get_linestyle() == ":"]
    assert dotted == [[0.4, 0.65, 0.7]] * 2


def test_curves_find_the_best_epoch_without_a_card(results):
    model = replace(results.networks[0], card={}, epochs={"epoch": [1.0, 2.0], "val_iou": [0.5, 0.4]})
    scores = figure_training_curves([model]).axes[1]
    assert [line.get_xdata().item() for line in scores.lines if line.get_marker() == "o"] == [1.0]


def test_scores_are_drawn_where_they_are(results):
    test = [score for score in results.scores if score.role == "test"]
    axes = figure_scores(test).axes[0]
    dots = {float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"}
    assert dots == {score.get("iou") for score in test if score.model != "threshold"}
    lines = {
        float(line.get_xdata()[0])
        for line in axes.lines
        if line.get_marker() == "None" and len(set(line.get_xdata())) == 1
    }
    assert lines >= {score.get("iou") for score in test if score.model == "threshold"}


def test_chosen_bands_stand_out():
    figure = figure_band_importance({"A": [("red", 3.0), ("nir", 2.0), ("slope", 1.0)]}, {"A": ["nir"]})
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [3.0, 2.0, 1.0]
    assert [bar.get_facecolor() == to_rgba(BLUE) for bar in axes.patches] == [False, True, False]


def test_maps_have_one_panel_per_prediction(tmp_path):
    truth = np.zeros((30, 40), np.uint8)
    truth[10:20, 10:30] = 1
    masks = {f"m{i}": np.roll(truth, i) for i in range(5)}
    figure = figure_errors(masks, truth, (30.0, 40.0), test=truth == 1)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.images] == list(masks)
    assert figure.axes[0].get_aspect() == pytest.approx(40 / 30)
    image = np.full((30, 40, 4), 200, np.uint8)
    zoom = figure_zoom(image, truth, masks["m3"], (30.0, 30.0))
    zoom.savefig(tmp_path / "zoom.png", dpi=40)
    assert len(zoom.axes) == 2
    assert (tmp_path / "zoom.png").stat().st_size > 1000
