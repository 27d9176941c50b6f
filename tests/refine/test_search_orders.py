from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.choices import STEP_NAMES
from glacierseg.errors import RequestError
from glacierseg.refine.search import tune_refinement
from glacierseg.refine.steps import refine_mask
from glacierseg.settings import RefineSettings
from glacierseg.settings.refine import TuneSettings
from tests.refine.masks import SIZES, masks

GRID = TuneSettings(
    merge_distances_m=(0, 40),
    min_areas_km2=(0, 0.0005),
    iterations=(0, 2),
    max_holes_km2=(None, 0),
)
ORDERS = [("remove", "fill", "smooth", "merge"), ("fill",), ("smooth", "remove")]


def counted(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> tuple[np.int64, np.int64, np.int64]:
    known = (mask != 255) & (truth != 255)
    found, true = (mask == 1) & known, (truth == 1) & known
    return (found & true).sum(), (found & ~true).sum(), (true & ~found).sum()


@settings(max_examples=25, deadline=None)
@given(
    masks(), masks(), SIZES, st.sampled_from(ORDERS), st.sampled_from([4, 8]), st.booleans(), st.booleans()
)
def test_every_row_is_what_refining_and_counting_gives(
    mask: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    size_m: tuple[float, float],
    order: tuple[str, ...],
    connectivity: int,
    steep: bool,
    cut: bool,
) -> None:
    truth = np.resize(truth, mask.shape)
    slope = np.random.default_rng(3).uniform(0, 60, mask.shape)
    result = tune_refinement(
        mask,
        truth,
        size_m,
        GRID.replaced(
            smoothing=("dilation", "majority"),
            steps=order,
            connectivity=connectivity,
            keep_cut_fragments=cut,
            max_hole_slope_deg=30 if steep else None,
        ),
        slope_deg=slope if steep else None,
    )
    # Three ways of smoothing: none, and twice by each method.
    assert len(result.table) == 2 * 3 * 2 * 2
    names = result.best.model_dump()
    for row in result.table:
        parameters = RefineSettings(**{name: row[name] for name in names})
        refined = refine_mask(mask, size_m, parameters, slope_deg=slope)
        assert (row["tp"], row["fp"], row["fn"]) == counted(refined, truth)
    assert result.raw_iou == result.table[0]["iou"]


def test_the_slope_of_holes_must_be_given() -> None:
    with pytest.raises(RequestError, match="give an elevation model"):
        tune_refinement(
            np.ones((3, 3), np.uint8), np.ones((3, 3), np.uint8), 10, TuneSettings(max_hole_slope_deg=40)
        )
    with pytest.raises(RequestError, match="1 masks, 2 slopes"):
        tune_refinement(
            np.ones((3, 3), np.uint8), np.ones((3, 3), np.uint8), 10, slope_deg=[np.ones((3, 3))] * 2
        )


def test_orders_of_the_steps_make_different_masks() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:15, 5:15] = mask[5:15, 17:27] = 1  # two of 0.01 km2, 20 m apart
    base = RefineSettings(min_area_km2=0.015, merge_distance_m=20, iterations=0, max_hole_km2=0)
    refined = {
        order: refine_mask(mask, 10, base.replaced(steps=order)).sum()
        for order in (STEP_NAMES, ("remove", "merge"), ("remove",), ("merge",))
    }
    assert list(refined.values()) == [220, 0, 0, 220]


def test_fragments_that_touch_at_a_corner_are_two_on_request() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[2:12, 2:12] = mask[12:22, 12:22] = 1
    given_parameters = RefineSettings(min_area_km2=0.015, steps=("remove",))
    assert refine_mask(mask, 10, given_parameters).sum() == 200
    assert refine_mask(mask, 10, given_parameters.replaced(connectivity=4)).sum() == 0


@pytest.mark.parametrize("objective", ["iou", "f1", "area"])
def test_what_is_sought_is_found(objective: Literal["iou", "f1", "area"]) -> None:
    random = np.random.default_rng(7)
    truth = np.kron(random.random((10, 10)) < 0.5, np.ones((6, 6))).astype(np.uint8)
    mask = np.where(random.random(truth.shape) < 0.15, 1 - truth, truth).astype(np.uint8)
    result = tune_refinement(mask, truth, 10, TuneSettings(objective=objective))
    scores = [-abs(row["area_error"]) if objective == "area" else row[objective] for row in result.table]
    refined = refine_mask(mask, 10, result.best)
    true, found = truth.sum(), (refined == 1).sum()
    assert max(scores) == pytest.approx(
        -abs(found - true) / true if objective == "area" else
        2 * (refined & truth).sum() / (true + found) if objective == "f1" else result.best_iou
    )  # fmt: skip
    ranked = result.ranked()
    assert {name: ranked[0][name] for name in result.best.model_dump()} == result.best.model_dump()
    assert len(ranked) == len(result.table)
    if objective == "f1":
        assert result.best == tune_refinement(mask, truth, 10).best


def test_pixels_of_regions_weigh_by_their_area_when_the_area_is_sought() -> None:
    truth, raw = np.zeros((2, 20, 20), np.uint8), np.zeros((2, 20, 20), np.uint8)
    truth[:, :10] = 1
    raw[0, :12] = 1  # 40 px too many of 100 m2
    raw[1, :9] = 1  # 20 px too few of 400 m2
    table = tune_refinement(list(raw), list(truth), [10, 20], TuneSettings(objective="area")).table
    assert table[0]["area_error"] == pytest.approx((40 * 100 - 20 * 400) / (200 * 100 + 200 * 400))


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(RequestError, match="did you mean 'iou'"):
        tune_refinement(np.ones((3, 3)), np.ones((3, 3)), 10, TuneSettings(objective="iuo"))  # type: ignore[arg-type]


def test_a_preset_rules_out_leaving_masks_as_they_came() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[5, 5] = truth[20:35, 20:35] = 1
    free = tune_refinement(
        truth, truth, 10, TuneSettings(min_areas_km2=(0.01,), iterations=(0,), merge_distances_m=(0,))
    )
    assert free.best.min_area_km2 == 0
    held = tune_refinement(
        truth, truth, 10, TuneSettings(preset="rgi", iterations=(0,), merge_distances_m=(0,))
    )
    assert held.best.min_area_km2 == 0.01
    assert held.best_iou == 225 / 226


def test_a_million_fragments() -> None:
    mask = np.zeros((2000, 2000), np.uint8)
    mask[::2, ::2] = 1
    assert refine_mask(mask, 10, RefineSettings(min_area_km2=0.0001, steps=("remove",))).sum() == 10**6
    assert refine_mask(mask, 10, RefineSettings(steps=("remove",))).sum() == 0
    joined = refine_mask(mask, 10, RefineSettings(merge_distance_m=10, steps=("merge",)))
    assert (joined[:-1, :-1] == 1).all()
