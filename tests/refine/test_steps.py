import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from glacierseg.errors import RequestError, TruthError
from glacierseg.refine.search import UNCHANGED
from glacierseg.refine.steps import refine_mask, refine_with_report
from glacierseg.settings import RefineSettings
from tests.refine.array_steps import fill_holes, merge_fragments, remove_fragments, smooth
from tests.refine.masks import EDGE_CASES, SIZES, masks, plain_masks

EIGHT = np.ones((3, 3), bool)
DISTANCES_M = st.sampled_from([0.0, 9.9, 10.0, 20.0, 30.0, 40.0, 61.8])
AREAS_KM2 = st.sampled_from([0.0, 0.0002, 0.0005, 0.001, 0.005])
STEPS: dict[str, Callable[[NDArray[np.uint8], tuple[float, float]], NDArray[np.uint8]]] = {
    "merge": lambda mask, size_m: merge_fragments(mask, size_m, 40),
    "majority": lambda mask, _: smooth(mask, 3),
    "closing": lambda mask, _: smooth(mask, 2, "closing"),
    "opening": lambda mask, _: smooth(mask, 2, "opening"),
    "fill": fill_holes,
    "fill small": lambda mask, size_m: fill_holes(mask, size_m, 0.0003),
    "remove": lambda mask, size_m: remove_fragments(mask, size_m, 0.0005),
}
NEVER_LESS = {"merge", "closing", "fill", "fill small"}
NEVER_MORE = {"opening", "remove"}


@pytest.mark.parametrize("name", STEPS)
@given(mask=masks(), size_m=SIZES)
@settings(max_examples=60, deadline=None)
def test_every_step_keeps_the_promises_of_all(
    name: str, mask: NDArray[np.uint8], size_m: tuple[float, float]
) -> None:
    original = mask.copy()
    result = STEPS[name](mask, size_m)
    assert result.dtype == np.uint8
    assert set(np.unique(result)) <= {0, 1, 255}
    np.testing.assert_array_equal(result == 255, mask == 255)
    np.testing.assert_array_equal(mask, original)
    if name in NEVER_LESS:
        assert np.all(result[mask == 1] == 1)
    if name in NEVER_MORE:
        assert np.all(result[mask == 0] == 0)
    if name != "majority":
        np.testing.assert_array_equal(STEPS[name](result, size_m), result)
    # Nothing depends on the direction in which a scene is looked at.
    np.testing.assert_array_equal(STEPS[name](mask.T, size_m[::-1]).T, result)
    np.testing.assert_array_equal(STEPS[name](mask[::-1], size_m)[::-1], result)
    np.testing.assert_array_equal(STEPS[name](mask[:, ::-1], size_m)[:, ::-1], result)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("case", EDGE_CASES)
def test_every_step_takes_every_mask(name: str, case: str) -> None:
    result = STEPS[name](EDGE_CASES[case], (10.0, 10.0))
    if case in {"empty", "all ignored", "one background pixel"}:
        np.testing.assert_array_equal(result, EDGE_CASES[case])
    if case == "full" and name != "remove":
        assert result.all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3,), (2, 3, 3)])
def test_arrays_that_are_no_masks_are_refused(shape: tuple[int, ...]) -> None:
    for step in STEPS.values():
        with pytest.raises(RequestError, match="rows and columns"):
            step(np.zeros(shape, np.uint8), (10.0, 10.0))


@given(plain_masks(), SIZES, AREAS_KM2, st.sampled_from([4, 8]))
def test_removal_leaves_the_fragments_that_scipy_finds_large(
    mask: NDArray[np.uint8], size_m: tuple[float, float], min_area_km2: float, connectivity: int
) -> None:
    labels, number = ndimage.label(mask, EIGHT if connectivity == 8 else None)
    expected = np.zeros_like(mask)
    for label in range(1, number + 1):
        if (labels == label).sum() * size_m[0] * size_m[1] / 1e6 >= min_area_km2 - 1e-12:
            expected[labels == label] = 1
    result = remove_fragments(mask, size_m, min_area_km2, connectivity)
    np.testing.assert_array_equal(result, expected)


def test_a_fragment_of_just_the_minimum_stays() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[2:22, 2:17] = 1  # 300 pixels of 100 m2 are 0.03 km2
    assert remove_fragments(mask, (10, 10), 0.03).sum() == 300
    mask[2, 2] = 0
    assert remove_fragments(mask, (10, 10), 0.03).sum() == 0


@given(plain_masks())
def test_filling_all_holes_is_what_scipy_does(mask: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(fill_holes(mask, (10, 10)), ndimage.binary_fill_holes(mask))


@given(masks(), SIZES, AREAS_KM2)
def test_filling_small_holes_fills_those_of_all_that_are_small(
    mask: NDArray[np.uint8], size_m: tuple[float, float], max_area_km2: float
) -> None:
    expected = mask.copy()
    labels, number = ndimage.label((fill_holes(mask, size_m) == 1) & (mask == 0))
    for label in range(1, number + 1):
        if (labels == label).sum() * size_m[0] * size_m[1] / 1e6 <= max_area_km2 + 1e-12:
            expected[labels == label] = 1
    np.testing.assert_array_equal(fill_holes(mask, size_m, max_area_km2), expected)


def merged_by_scipy(
    mask: NDArray[np.uint8], size_m: tuple[float, float], distance_m: float
) -> NDArray[np.int64]:
    columns, rows = (int(distance_m / side_m + 1e-6) + 1 for side_m in size_m)
    y, x = np.ogrid[:rows, :columns]
    disk = ((2 * x - columns + 1) / columns) ** 2 + ((2 * y - rows + 1) / rows) ** 2 <= 1
    glacier = np.pad(mask == 1, 20)
    added = ndimage.binary_closing(glacier, disk) & ~glacier & (np.pad(mask, 20) != 255)
    fragments, _ = ndimage.label(glacier, EIGHT)
    pieces, number = ndimage.label(added, EIGHT)
    result = glacier.copy()
    for piece in range(1, number + 1):
        near = ndimage.binary_dilation(pieces == piece, EIGHT)
        if len(set(fragments[near & glacier])) > 1:
            result |= pieces == piece
    return np.where(mask == 255, 255, result[20:-20, 20:-20])


@settings(max_examples=150, deadline=None)
@given(masks(), SIZES, DISTANCES_M)
def test_merging_adds_the_bridges_of_scipys_closing(
    mask: NDArray[np.uint8], size_m: tuple[float, float], distance_m: float
) -> None:
    result = merge_fragments(mask, size_m, distance_m)
    np.testing.assert_array_equal(result, merged_by_scipy(mask, size_m, distance_m))


@pytest.mark.parametrize("gap_px", range(7))
@pytest.mark.parametrize("distance_m", [0, 5, 10, 15, 20, 30, 40, 50])
@pytest.mark.parametrize("upright", [False, True])
def test_two_blocks_are_joined_over_a_gap_up_to_the_distance(
    gap_px: int, distance_m: int, upright: bool
) -> None:
    mask = np.zeros((24, 40), np.uint8)
    mask[4:20, 5:15] = mask[4:20, 15 + gap_px : 30] = 1
    given_mask, size_m = (mask.T, (3.0, 10.0)) if upright else (mask, (10.0, 3.0))
    result = merge_fragments(given_mask, size_m, distance_m)
    result = result.T if upright else result
    bridged = 0 < gap_px * 10 <= distance_m
    assert ndimage.label(result)[1] == (1 if bridged or gap_px == 0 else 2)
    added = result - mask
    # Only the gap is filled, and nothing sticks out above, below or on the far sides.
    assert set(np.nonzero(added)[1]) == (set(range(15, 15 + gap_px)) if bridged else set())
    assert set(np.nonzero(added)[0]) <= set(range(4, 20))


def test_merging_leaves_bays_holes_and_distant_fragments_alone() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:35, 5:25] = 1
    mask[10:30, 12:13] = 0  # a slit of one pixel in one and the same glacier
    mask[20, 18] = 0
    mask[5:35, 40:55] = 1
    np.testing.assert_array_equal(merge_fragments(mask, (10, 10), 40), mask)


def test_merging_never_joins_a_fragment_to_the_scene_border() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[3:7, 1:9] = 1
    mask[9, 4] = 1
    result = merge_fragments(mask, (10, 10), 10)
    np.testing.assert_array_equal(result, mask)


@given(masks(), st.integers(0, 4))
def test_majority_is_scipys_median_with_the_border_repeated(mask: NDArray[np.uint8], iterations: int) -> None:
    expected = np.where(mask == 255, 0, mask)
    for _ in range(iterations):
        # Ignored pixels are background for every pass, whatever the one before made of them.
        expected = np.where(mask == 255, 0, ndimage.median_filter(expected, 3, mode="nearest"))
    np.testing.assert_array_equal(smooth(mask, iterations), np.where(mask == 255, 255, expected))


def test_majority_stops_when_nothing_changes() -> None:
    rows, columns = np.indices((40, 40))
    mask = ((rows // 4 + columns // 3) % 2).astype(np.uint8)
    stable = smooth(mask, 500)
    np.testing.assert_array_equal(smooth(mask, 100_000_000), stable)
    np.testing.assert_array_equal(ndimage.median_filter(stable, 3, mode="nearest"), stable)


@given(plain_masks(), st.integers(1, 3), st.sampled_from(["closing", "opening"]))
def test_closing_and_opening_are_those_of_scipy_beyond_whose_border_nothing_happens(
    mask: NDArray[np.uint8], iterations: int, method: str
) -> None:
    around = np.pad(mask, 10, constant_values=int(method == "opening"))
    operation = getattr(ndimage, f"binary_{method}")
    around = np.pad(around, 10, mode="edge")
    expected = operation(around, iterations=iterations)[20:-20, 20:-20]
    np.testing.assert_array_equal(smooth(mask, iterations, method), expected)


def test_a_glacier_that_leaves_the_scene_is_not_opened_from_the_border() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[:, 3:9] = 1
    np.testing.assert_array_equal(smooth(mask, 2, "opening"), mask)


def test_an_unknown_method_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RequestError, match="did you mean 'majority'"):
        smooth(np.zeros((3, 3), np.uint8), 1, "majorty")


def test_steps_run_in_several_threads_at_once() -> None:
    masks_at_once = [
        (np.random.default_rng(seed).random((300, 300)) < 0.5).astype(np.uint8) for seed in range(6)
    ]
    for step in STEPS.values():
        alone = [step(mask, (10, 10)) for mask in masks_at_once]
        with ThreadPoolExecutor(3) as threads:
            together = list(threads.map(lambda mask, step=step: step(mask, (10, 10)), masks_at_once))
        np.testing.assert_array_equal(together, alone)


PARAMETERS = st.builds(
    RefineSettings,
    min_area_km2=st.sampled_from([0, 0.0005, 0.003]),
    merge_distance_m=st.sampled_from([0, 10, 40]),
    iterations=st.sampled_from([0, 1, 10]),
    smoothing=st.sampled_from(["majority", "closing", "opening"]),
    max_hole_km2=st.sampled_from([0, 0.0005, None]),
)


def glacier_with_faults() -> NDArray[np.uint8]:
    """A glacier of 4 km2 in two pieces 20 m apart, with a small hole, a nunatak and a speck beside it."""
    mask = np.zeros((240, 240), np.uint8)
    mask[20:120, 20:220] = mask[122:222, 20:220] = 1
    mask[60:65, 60:65] = 0  # 0.0025 km2
    mask[160:190, 100:130] = 0  # 0.09 km2
    mask[5:12, 5:12] = 1  # 0.0049 km2
    return mask


def test_the_defaults_mend_a_torn_glacier_and_leave_the_nunatak() -> None:
    mask = glacier_with_faults()
    expected = mask.copy()
    expected[120:122, 20:220] = 1
    expected[60:65, 60:65] = 1
    expected[5:12, 5:12] = 0
    refined, changes = refine_with_report(mask, 10)
    different = np.argwhere(refined != expected)
    # Majority rounds the four outer corners and those of the nunatak, by a pixel or so each.
    assert 0 < len(different) < 50
    corners = np.array(
        [[r, c] for r in (20, 221) for c in (20, 219)] + [[r, c] for r in (160, 189) for c in (100, 129)]
    )
    assert np.abs(different[:, None] - corners).max(axis=2).min(axis=1).max() <= 5
    assert [change.step for change in changes] == ["merge", "smooth", "fill", "remove"]
    assert [change.fragments_after for change in changes] == [2, 2, 2, 1]
    assert [change.holes_after for change in changes] == [2, 2, 1, 1]
    assert changes[0].fragments_before == 3
    assert changes[0].area_after_km2 - changes[0].area_before_km2 == pytest.approx(400 * 1e-4)
    assert changes[0].changed_px == 400


@settings(max_examples=60, deadline=None)
@given(masks(), SIZES, PARAMETERS)
def test_refinement_is_its_steps_in_order(
    mask: NDArray[np.uint8], size_m: tuple[float, float], parameters: RefineSettings
) -> None:
    expected = merge_fragments(mask, size_m, parameters.merge_distance_m)
    expected = smooth(expected, parameters.iterations, parameters.smoothing)
    expected = fill_holes(expected, size_m, parameters.max_hole_km2)
    expected = remove_fragments(expected, size_m, parameters.min_area_km2)
    refined, changes = refine_with_report(mask, size_m, parameters)
    np.testing.assert_array_equal(refined, expected)
    np.testing.assert_array_equal(
        refine_mask(
            mask,
            size_m,
            RefineSettings(
                min_area_km2=parameters.min_area_km2,
                merge_distance_m=parameters.merge_distance_m,
                iterations=parameters.iterations,
                smoothing=parameters.smoothing,
                max_hole_km2=parameters.max_hole_km2,
            ),
        ),
        expected,
    )
    assert changes[-1].area_after_km2 == pytest.approx((expected == 1).sum() * size_m[0] * size_m[1] / 1e6)
    for earlier, later in itertools.pairwise(changes):
        assert earlier.fragments_after == later.fragments_before
        assert earlier.holes_after == later.holes_before
        assert earlier.area_after_km2 == later.area_before_km2


@given(masks(), SIZES)
def test_with_all_parameters_zero_a_mask_stays_as_it_is(
    mask: NDArray[np.uint8], size_m: tuple[float, float]
) -> None:
    np.testing.assert_array_equal(refine_mask(mask, size_m, UNCHANGED), mask)


@pytest.mark.parametrize("case", EDGE_CASES)
def test_every_mask_can_be_refined(case: str) -> None:
    mask = EDGE_CASES[case]
    refined, changes = refine_with_report(mask, 10)
    np.testing.assert_array_equal(refined == 255, mask == 255)
    assert changes[-1].fragments_after == 0  # all of them are below 0.03 km2
    if case == "full":
        np.testing.assert_array_equal(refine_mask(mask, 100), mask)


def test_masks_of_other_types_are_taken_and_not_changed() -> None:
    mask = glacier_with_faults()
    for other in (mask.astype(bool), mask.astype(float), mask.astype(np.int64)):
        before = other.copy()
        np.testing.assert_array_equal(refine_mask(other, 10), refine_mask(mask, 10))
        np.testing.assert_array_equal(other, before)


def test_masks_with_other_values_are_refused() -> None:
    with pytest.raises(TruthError, match="mask holds 2"):
        refine_mask(np.full((3, 3), 2), 10)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_area_km2": -1}, r"min_area_km2 must be greater than or equal to 0 \(got -1\)"),
        ({"merge_distance_m": float("nan")}, "merge_distance_m"),
        ({"iterations": -3}, "iterations"),
        ({"max_hole_km2": float("-inf")}, "max_hole_km2"),
        ({"smoothing": "medain"}, r"smoothing must be 'majority', .* \(got 'medain'\)"),
    ],
)
def test_senseless_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        refine_mask(np.ones((3, 3), np.uint8), 10, RefineSettings(**parameters))


def test_cut_fragments_are_kept_when_asked_for() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[:3, :3] = mask[10:13, 10:13] = 1
    for keep, left in ((False, 0), (True, 9)):
        settings = RefineSettings(steps=("remove",), keep_cut_fragments=keep)
        assert refine_mask(mask, 10, settings).sum() == left
