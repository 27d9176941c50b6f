from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from glacierseg.report.figures.errors import (
    FN,
    FP,
    NEITHER,
    TP,
    Place,
    error_classes,
    figure_errors,
    figure_zoom,
    paint,
    worst_places,
)

MASKS = arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 255]))


@settings(deadline=None)
@given(MASKS, MASKS)
def test_error_classes_count_like_a_confusion_matrix(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> None:
    classes = error_classes(predicted, truth)
    known = (predicted != 255) & (truth != 255)
    matrix = (
        confusion_matrix(truth[known], predicted[known], labels=[0, 1]) if known.any() else np.zeros((2, 2))
    )
    assert [(classes == kind).sum() for kind in (TP, FP, FN)] == [matrix[1, 1], matrix[0, 1], matrix[1, 0]]
    assert not classes[~known].any()


def test_paint_leaves_other_classes_clear() -> None:
    pixels = paint(np.array([[NEITHER, TP]], np.uint8), {TP: ("#102030", 0.5)})
    assert pixels.tolist() == [[[0, 0, 0, 0], [16, 32, 48, 128]]]


def test_worst_places_are_the_largest_and_skip_rims() -> None:
    classes = np.zeros((40, 60), np.uint8)
    classes[4:6, :] = FN  # a rim, longer than anything else
    classes[10:20, 5:25] = FP
    classes[30:36, 40:50] = FN
    classes[20, 15:45] = FN  # a thin line does not tie places together
    assert worst_places(classes) == (Place(FP, 10, 5, 10, 20, 200), Place(FN, 30, 40, 6, 10, 60))
    assert worst_places(classes, 1) == (Place(FP, 10, 5, 10, 20, 200),)
    assert worst_places(np.full((9, 9), TP, np.uint8)) == ()


def test_maps_have_one_panel_per_prediction(tmp_path: Path) -> None:
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
