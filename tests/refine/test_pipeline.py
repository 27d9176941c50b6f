import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.errors import RequestError, TruthError
from glacierseg.refine.pipeline import refine_mask, refine_with_report
from glacierseg.refine.search import UNCHANGED
from glacierseg.settings import RefineSettings
from tests.refine.array_steps import fill_holes, merge_fragments, remove_fragments, smooth
from tests.refine.masks import EDGE_CASES, SIZES, masks

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
