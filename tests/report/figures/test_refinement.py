import json
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_json
from glacierseg.refine.files import tune_record
from glacierseg.refine.search import tune_refinement
from glacierseg.refine.steps import refine_stepwise
from glacierseg.report.figures import refinement
from glacierseg.report.figures.refinement import (
    ADDED,
    KEPT,
    REMOVED,
    UNKNOWN,
    _shown_part,
    busiest_box,
    change_classes,
    figure_refinement_steps,
    figure_tuning_surface,
    steps_pictures,
    surface_picture,
)
from glacierseg.report.views import view_region
from glacierseg.runs.results import read_results
from glacierseg.settings.refine import TuneSettings
from tests.helpers import present

BEST = ("unetplusplus", "all", "refined")
FOLDER = "unetplusplus/all"


def test_changes_are_told_apart() -> None:
    before = np.array([[0, 0, 1, 1, 255]], np.uint8)
    after = np.array([[0, 1, 0, 1, 255]], np.uint8)
    assert change_classes(before, after).tolist() == [[0, ADDED, REMOVED, KEPT, UNKNOWN]]


def test_the_busiest_box_holds_the_most_changes() -> None:
    changed = np.zeros((50, 70), bool)
    changed[40:44, 60:66] = True
    changed[3, 3] = True
    box = busiest_box(changed, 20)
    assert changed[box].shape == (20, 20)
    assert changed[box].sum() == 24
    assert busiest_box(np.zeros((50, 70), bool), 20) == (slice(15, 35), slice(25, 45))
    assert changed[busiest_box(changed, 100)].shape == (50, 70)


def test_of_a_large_region_the_part_that_changed_most_is_shown(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = read_results(run_dir)
    view = present(view_region(results, results.regions[0]))
    assert _shown_part(view, BEST) == Window(0, 0, view.grid.width, view.grid.height)
    (picture,) = steps_pictures(results, [view], BEST)
    assert "the whole region" in picture.caption
    monkeypatch.setattr(refinement, "_LARGEST_PX", 32)
    part = _shown_part(view, BEST)
    changed = view.predictions["unetplusplus", "all", "raw"] != view.predictions[BEST]
    assert (part.height, part.width) == (32, 32)
    assert changed[part.toslices()].sum() == max(
        changed[top : top + 32, left : left + 32].sum()
        for top in range(changed.shape[0] - 31)
        for left in range(changed.shape[1] - 31)
    )
    (picture,) = steps_pictures(results, [view], BEST)
    assert "the 32 × 32 pixels of the region that changed most" in picture.caption


def test_every_step_has_its_row_and_says_what_changed() -> None:
    random = np.random.default_rng(1)
    truth = np.kron(random.random((12, 9)) < 0.5, np.ones((9, 9))).astype(np.uint8)
    mask = np.where(random.random(truth.shape) < 0.05, 1 - truth, truth).astype(np.uint8)
    steps = list(refine_stepwise(mask, (10, 12)))
    figure = figure_refinement_steps(mask, steps, (10, 12), close_up_px=30)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split(":")[0] for title in titles[::3]] == ["merge", "smooth", "fill", "remove"]
    added = (steps[1][1] > steps[0][1]).sum() * 120 / 1e6
    assert f"+{added:.2f}" in titles[3] or f"+{added:.4f}" in titles[3]
    assert "no change" in titles[6] or "+" in titles[6]


def test_the_surface_shows_every_combination_and_frames_the_best() -> None:
    random = np.random.default_rng(2)
    truth = np.kron(random.random((8, 8)) < 0.5, np.ones((8, 8))).astype(np.uint8)
    mask = np.where(random.random(truth.shape) < 0.1, 1 - truth, truth).astype(np.uint8)
    for objective in ("iou", "area"):
        result = tune_refinement(
            mask, truth, 10, TuneSettings(iterations=(0, 2), max_holes_km2=(0, None), objective=objective)
        )
        figure = figure_tuning_surface(result)
        maps = figure.axes[:4]
        assert sum(len(axes.texts) for axes in maps) == 5 * 4 * 2 * 2
        framed = [axes for axes in maps if axes.patches]
        assert len(framed) == 1
        assert "up to" not in maps[2].get_ylabel()


@pytest.fixture
def tuned(run_dir: Path) -> Path:
    """A run whose UNet++ was refined with a recorded search."""
    mask = read_mask(run_dir / FOLDER / "khumbu_mask.tif")
    truth = read_mask(run_dir / "regions/khumbu_truth.tif")
    found = tune_refinement(
        mask, truth, (30, 30), TuneSettings(merge_distances_m=(0, 30), min_areas_km2=(0, 0.03))
    )
    record = tune_record(found) | {"tuned_on": ["khumbu"], "table": found.table}
    write_json(run_dir / FOLDER / "refinement.json", record)
    return run_dir


def test_the_search_is_drawn_where_it_was_recorded(tuned: Path) -> None:
    results = read_results(tuned)
    picture = present(surface_picture(results, BEST))
    assert "every combination that was tried" in picture.caption
    refinement = present(results.model(*BEST[:2])).refinement
    assert f"best {refinement['best_iou']:.3f}" in picture.figure.get_suptitle()
    assert surface_picture(results, None) is None
    assert surface_picture(results, ("glavitu", "all", "refined")) is None  # its table is empty


def test_a_search_of_an_earlier_version_is_left_out(tuned: Path) -> None:
    path = tuned / FOLDER / "refinement.json"
    record = json.loads(path.read_text())
    for row in record["table"]:
        del row["f1"]
    path.write_text(json.dumps(record))
    assert surface_picture(read_results(tuned), BEST) is None


def test_steps_that_changed_nothing_are_only_named(tuned: Path) -> None:
    results = read_results(tuned)
    path = tuned / FOLDER / "refinement.json"
    record = json.loads(path.read_text())
    record["best"] |= {"merge_distance_m": 0.0, "iterations": 0, "min_area_km2": 0.03, "max_hole_km2": 0.0}
    path.write_text(json.dumps(record))
    results = read_results(tuned)
    views = [present(view_region(results, results.regions[0]))]
    (picture,) = steps_pictures(results, views, BEST)
    shown = [title for axes in picture.figure.axes if ":" in (title := axes.get_title(loc="left"))]
    assert [title.split(":")[0] for title in shown] == ["remove"]
    assert picture.caption.endswith("Steps without any change: merge, smooth, fill.")
    record["best"]["min_area_km2"] = 0.0
    path.write_text(json.dumps(record))
    assert steps_pictures(read_results(tuned), views, BEST) == []
    record["best"]["max_hole_slope_deg"] = 20.0  # needs an elevation model, which the run does not keep
    path.write_text(json.dumps(record))
    assert steps_pictures(read_results(tuned), views, BEST) == []
    assert steps_pictures(results, views, None) == []
