import numpy as np

from glacierseg.refine.pipeline import refine_stepwise
from glacierseg.refine.search import tune_refinement
from glacierseg.report.steps_picture import (
    ADDED,
    KEPT,
    REMOVED,
    UNKNOWN,
    busiest_place,
    change_classes,
    figure_refinement_steps,
)
from glacierseg.report.tuning_surface import figure_tuning_surface


def test_changes_are_told_apart():
    before = np.array([[0, 0, 1, 1, 255]], np.uint8)
    after = np.array([[0, 1, 0, 1, 255]], np.uint8)
    assert change_classes(before, after).tolist() == [[0, ADDED, REMOVED, KEPT, UNKNOWN]]


def test_the_busiest_place_holds_the_most_changes():
    changed = np.zeros((50, 70), bool)
    changed[40:44, 60:66] = True
    changed[3, 3] = True
    place = busiest_place(changed, 20)
    assert place.shape == (20, 20)
    assert changed[place.box].sum() == 24
    assert busiest_place(np.zeros((50, 70), bool), 20).box == (slice(15, 35), slice(25, 45))
    assert busiest_place(changed, 100).shape == (50, 70)


def test_every_step_has_its_row_and_says_what_changed():
    random = np.random.default_rng(1)
    truth = np.kron(random.random((12, 9)) < 0.5, np.ones((9, 9))).astype(np.uint8)
    mask = np.where(random.random(truth.shape) < 0.05, 1 - truth, truth).astype(np.uint8)
    steps = list(refine_stepwise(mask, (10, 12)))
    figure = figure_refinement_steps(mask, steps, (10, 12), close_up_px=30)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split(":")[0] for title in titles[::3]] == ["merge", "smooth", "fill", "remove"]
    added = (steps[1][1] > steps[0][1]).sum() * 120 / 1e6
    assert f"+{added:.2f}" in titles[3] or f"+{added:.4f}" in titles[3]
    assert "changed nothing" in titles[6] or "+" in titles[6]


def test_the_surface_shows_every_combination_and_frames_the_best():
    random = np.random.default_rng(2)
    truth = np.kron(random.random((8, 8)) < 0.5, np.ones((8, 8))).astype(np.uint8)
    mask = np.where(random.random(truth.shape) < 0.1, 1 - truth, truth).astype(np.uint8)
    for objective in ("iou", "area"):
        result = tune_refinement(
            mask, truth, 10, iterations=(0, 2), max_holes_km2=(0, None), objective=objective
        )
        figure = figure_tuning_surface(result)
        maps = figure.axes[:4]
        assert sum(len(axes.texts) for axes in maps) == 5 * 4 * 2 * 2
        framed = [axes for axes in maps if axes.patches]
        assert len(framed) == 1
        assert "up to" not in maps[2].get_ylabel()
