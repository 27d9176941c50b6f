from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glacierseg.report.figures.curves import figure_training_curves
from glacierseg.runs.results import RunResults, read_results


@pytest.fixture(scope="module")
def results(whole_run: Path) -> RunResults:
    return read_results(whole_run)


def test_curves_mark_the_best_epoch(results: RunResults) -> None:
    figure = figure_training_curves(results.networks)
    assert len(figure.axes) == 4
    scores = figure.axes[2]
    marks = [line for line in scores.lines if line.get_marker() == "o"]
    assert [(np.asarray(line.get_xdata()).item(), np.asarray(line.get_ydata()).item()) for line in marks] == [
        (2, 0.6),
        (2, 0.6),
    ]
    assert len(figure.axes[0].lines) == 4  # two sets of bands, training and validation
    dotted = [list(np.asarray(line.get_ydata())) for line in scores.lines if line.get_linestyle() == ":"]
    assert dotted == [[0.4, 0.65, 0.7]] * 2


def test_curves_find_the_best_epoch_without_a_card(results: RunResults) -> None:
    model = replace(results.networks[0], card={}, epochs={"epoch": [1.0, 2.0], "val_iou": [0.5, 0.4]})
    scores = figure_training_curves([model]).axes[1]
    assert [np.asarray(line.get_xdata()).item() for line in scores.lines if line.get_marker() == "o"] == [1.0]
