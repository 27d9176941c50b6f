import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score

from glacierseg.errors import GridMismatchError, RequestError, TruthError
from glacierseg.refine.search import (
    UNCHANGED,
    PooledScores,
    RegionGain,
    region_gain,
    require_comparable,
    tune_refinement,
    verdict,
)
from glacierseg.refine.steps import refine_with_report
from glacierseg.settings import RefineSettings
from glacierseg.settings.refine import TuneSettings
from tests.refine.masks import SIZES, masks

GRID = TuneSettings(
    merge_distances_m=(0, 10, 40),
    min_areas_km2=(0, 0.0005, 0.002),
    iterations=(0, 2),
    max_holes_km2=(None, 0),
)


def parameters_of(row: dict[str, Any]) -> RefineSettings:
    return RefineSettings(**{name: row[name] for name in UNCHANGED.model_dump()})


def iou_by_sklearn(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    known = (mask != 255) & (truth != 255)
    return jaccard_score(truth[known], mask[known], zero_division=0) if known.any() else 0.0


@settings(max_examples=40, deadline=None)
@given(masks(), masks(), SIZES)
def test_every_row_is_what_refining_and_scoring_gives(
    mask: NDArray[np.uint8], truth: NDArray[np.uint8], size_m: tuple[float, float]
) -> None:
    truth = np.resize(truth, mask.shape)
    result = tune_refinement(mask, truth, size_m, GRID)
    assert len(result.table) == 3 * 3 * 2 * 2
    for row in result.table:
        refined, _ = refine_with_report(mask, size_m, parameters_of(row))
        assert row["iou"] == pytest.approx(iou_by_sklearn(refined, truth))
    assert parameters_of(result.table[0]) == UNCHANGED
    assert result.raw_iou == result.table[0]["iou"]
    assert result.best_iou == max(row["iou"] for row in result.table) >= result.raw_iou
    assert result.best == next(parameters_of(row) for row in result.table if row["iou"] == result.best_iou)


def test_the_search_finds_what_was_broken() -> None:
    rows, columns = np.indices((200, 200))
    truth = (np.hypot(rows - 100, columns - 100) < 80).astype(np.uint8)
    mask = truth.copy()
    mask[100:102] = 0  # a gap of 20 m
    mask[60:64, 60:64] = 0  # a hole of 0.0016 km2
    mask[3:15, 3:15] = 1  # a false fragment of 0.0144 km2
    result = tune_refinement(mask, truth, 10)
    assert result.best.merge_distance_m == 20
    assert result.best.max_hole_km2 == 0.03
    assert result.best.min_area_km2 == 0.03
    assert result.best_iou > 0.999 > result.raw_iou


def test_when_nothing_helps_the_best_is_to_change_nothing() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[::4, ::4] = 1
    result = tune_refinement(truth, truth, 10)
    assert result.best == UNCHANGED
    assert result.best_iou == result.raw_iou == 1


def test_doing_nothing_is_tried_even_when_not_asked_for() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[5, 5] = 1
    result = tune_refinement(
        truth,
        truth,
        10,
        TuneSettings(merge_distances_m=(40,), min_areas_km2=(0.1,), iterations=(3,), max_holes_km2=(None,)),
    )
    assert result.best == UNCHANGED
    assert [row["iou"] for row in result.table] == [1, 0]


def test_of_equal_results_the_gentlest_wins_whatever_the_order_of_the_values() -> None:
    truth = np.zeros((60, 60), np.uint8)
    truth[10:50, 10:50] = 1
    mask = truth.copy()
    mask[30:32] = 0
    results = [
        tune_refinement(
            mask,
            truth,
            10,
            TuneSettings(merge_distances_m=tuple(order), iterations=(0,), max_holes_km2=(None, 0)),
        )
        for order in ([40, 30, 20, 10, 0], [0, 20, 40])
    ]
    for result in results:
        assert result.best == RefineSettings(
            min_area_km2=0, merge_distance_m=20, iterations=0, max_hole_km2=0
        )


def test_masks_of_several_regions_are_pooled() -> None:
    random = np.random.default_rng(3)
    truths = [(random.random(shape) < 0.5).astype(np.uint8) for shape in ((30, 40), (25, 20))]
    guesses = [np.where(random.random(truth.shape) < 0.2, 1 - truth, truth) for truth in truths]
    sizes: list[float | tuple[float, float]] = [10, (20, 5)]
    alone = [tune_refinement(*case, settings=GRID).table for case in zip(guesses, truths, sizes, strict=True)]
    together = tune_refinement(guesses, truths, sizes, GRID)
    for first, second, both in zip(*alone, together.table, strict=True):
        assert all(both[name] == first[name] + second[name] for name in ("tp", "fp", "fn"))
        assert parameters_of(both) == parameters_of(first)
        assert both["iou"] == both["tp"] / (both["tp"] + both["fp"] + both["fn"])
    one_size = tune_refinement(tuple(guesses), tuple(truths), (10, 10), GRID)
    assert one_size == tune_refinement(guesses, truths, [10, 10.0], GRID)


@pytest.mark.parametrize(
    ("numbers", "sizes"), [((0, 0), [10]), ((2, 1), 10), ((2, 2), [10]), ((1, 2), [10, 10])]
)
def test_masks_truths_and_sizes_must_be_as_many(
    numbers: tuple[int, int], sizes: list[float | tuple[float, float]] | float
) -> None:
    mask = np.ones((3, 3), np.uint8)
    with pytest.raises(RequestError, match="one truth and one pixel size for each mask"):
        tune_refinement([mask] * numbers[0], [mask] * numbers[1], sizes)


def test_a_truth_of_another_shape_is_refused() -> None:
    with pytest.raises(GridMismatchError, match=r"\(3, 3\) does not fit truth of shape \(3, 4\)"):
        tune_refinement(np.ones((3, 3)), np.ones((3, 4)), 10)


@given(masks(), masks(), SIZES)
def test_agreement_is_that_of_sklearn_over_known_pixels(
    raw: NDArray[np.uint8], truth: NDArray[np.uint8], size_m: tuple[float, float]
) -> None:
    truth = np.resize(truth, raw.shape)
    refined = np.where(raw == 255, 255, np.roll(raw == 1, 1, axis=1)).astype(np.uint8)
    gain = region_gain("r", "test", raw, refined, truth, size_m)
    known = (raw != 255) & (truth != 255)
    assert gain.known_px == known.sum()
    for mask, found in ((raw, gain.raw), (refined, gain.refined)):
        if not known.any():
            assert found == PooledScores(0, 0, 0)
            continue
        assert found.iou == pytest.approx(jaccard_score(truth[known], mask[known], zero_division=0))
        assert found.f1 == pytest.approx(f1_score(truth[known], mask[known], zero_division=0))
        predicted, true = (int((each[known] == 1).sum()) for each in (mask, truth))
        if true:
            assert found.area_error == pytest.approx((predicted - true) / true)
        else:
            assert found.area_error == (math.inf if predicted else 0)


def gain(region: str, use: Literal["tuned", "test"], raw: float, refined: float) -> RegionGain:
    return RegionGain(region, use, PooledScores(raw, raw, -raw), PooledScores(refined, refined, -refined), 9)


def test_the_verdict_names_what_got_worse_first() -> None:
    lines = verdict(
        [
            gain("a", "tuned", 0.5, 0.6),
            gain("b", "test", 0.5, 0.55),
            gain("c", "test", 0.7, 0.6),
            gain("d", "test", 0.7, 0.7),
            gain("e", "test", 0.70003, 0.70001),
            gain("f", "tuned", 0.70003, 0.70001),
        ],
        "iou",
    )
    assert len(lines) == 3
    assert "1 of 4 test regions WORSE: c (IoU 0.7000 -> 0.6000)" in lines[0]
    assert "improved 1 of 4 test regions: b (IoU 0.5000 -> 0.5500)" in lines[1]
    assert "left the IoU of 2 of 4 test regions as it was" in lines[2]


def test_of_many_regions_the_largest_changes_are_named() -> None:
    gains = [gain(f"r{i:02d}", "test", 0.5, 0.5 - i / 100) for i in range(1, 21)]
    line = verdict(gains, "iou")[0]
    assert "20 of 20 test regions WORSE: r09 (IoU 0.5000 -> 0.4100), r10" in line
    assert "r20 (IoU 0.5000 -> 0.3000) and 8 more; do not" in line


def test_a_region_that_pays_for_the_others_is_named() -> None:
    lines = verdict([gain("a", "tuned", 0.5, 0.6), gain("b", "tuned", 0.9, 0.8)], "iou")
    assert lines[0] == "of the 2 regions that were tuned on together, 1 got worse: b (IoU 0.9000 -> 0.8000)"


def test_of_areas_the_size_of_the_error_counts() -> None:
    lines = verdict([gain("b", "test", -0.2, 0.1), gain("c", "test", 0.1, -0.2)], "area")
    assert "WORSE: c (area error -10.0% -> +20.0%)" in lines[0]
    assert "improved 1 of 2 test regions: b (area error +20.0% -> -10.0%)" in lines[1]


def test_without_test_regions_the_verdict_says_that_nothing_is_known() -> None:
    assert "nothing is known" in verdict([gain("a", "tuned", 0.5, 0.6)], "iou")[0]


def test_an_infinite_error_that_stays_is_no_change() -> None:
    stays = gain("b", "test", math.inf, math.inf)
    assert stays.gain("area") == 0


def test_what_cannot_be_compared_is_refused() -> None:
    mask = np.ones((3, 3), np.uint8)
    with pytest.raises(GridMismatchError, match="r: mask of shape"):
        region_gain("r", "tuned", mask, mask, np.ones((3, 4), np.uint8), 10)
    unknown = region_gain("r", "tuned", mask, mask, np.full((3, 3), 255, np.uint8), 10)
    with pytest.raises(TruthError, match="r: no pixel is known in both"):
        require_comparable([unknown])


@given(masks(), masks())
def test_gains_counted_in_strips_are_those_of_the_whole(mask: NDArray[Any], other: NDArray[Any]) -> None:
    rows, columns = (min(pair) for pair in zip(mask.shape, other.shape, strict=True))
    raw, truth = mask[:rows, :columns], other[:rows, :columns]
    whole = region_gain("r", "test", raw, truth, truth, (10.0, 20.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glacierseg.refine.search._STRIP_ROWS", 2)
        assert region_gain("r", "test", raw, truth, truth, (10.0, 20.0)) == whole


def test_a_table_read_back_from_json_is_ranked_where_there_was_no_true_glacier() -> None:
    mask = np.ones((6, 6), np.uint8)
    found = tune_refinement(mask, np.zeros((6, 6), np.uint8), 10.0, GRID)
    assert found.table[0]["area_error"] == math.inf
    null = [row | {"area_error": None} if math.isinf(row["area_error"]) else row for row in found.table]
    assert [row["iou"] for row in replace(found, table=null).ranked()] == [
        row["iou"] for row in found.ranked()
    ]
