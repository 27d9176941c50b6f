import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.spatial.distance import directed_hausdorff

from glacierseg.evaluate import distances
from glacierseg.evaluate.distances import line_distances, mask_distances

PAIRS = array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 0, 1, 255]))] * 2)
)


def unit_edges(
    mask: NDArray[np.uint8], known: NDArray[np.bool_], size_m: tuple[float, float]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Every pixel edge of the outline, one by one."""
    width_m, height_m = size_m
    found = []
    for row, column in np.ndindex(*mask.shape):
        for down, right in ((1, 0), (0, 1)):
            other = row + down, column + right
            inside = other[0] < mask.shape[0] and other[1] < mask.shape[1]
            if inside and known[row, column] and known[other] and mask[row, column] != mask[other]:
                start = ((column + right) * width_m, (row + down) * height_m)
                found.append((start, ((column + 1) * width_m, (row + 1) * height_m)))
    return found


@settings(max_examples=120)
@given(PAIRS, st.sampled_from([(10.0, 10.0), (4.0, 10.0)]))
def test_distances_are_what_brute_force_says(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], size_m: tuple[float, float]
) -> None:
    known = (pair[0] != 255) & (pair[1] != 255)
    edges = [unit_edges(mask, known, size_m) for mask in pair]
    found = mask_distances(*pair, size_m)
    if not all(edges):
        assert all(math.isnan(value) for value in vars(found).values())
        return
    lines = [shapely.MultiLineString(one) for one in edges]
    far, weights = [], []
    for own, other in ((0, 1), (1, 0)):
        for start, end in edges[own]:
            length = math.dist(start, end)
            pieces = math.ceil(length / (min(size_m) / 2) - 1e-9)
            for i in range(pieces + 1):
                t = i / pieces
                point = shapely.Point(*[a + t * (b - a) for a, b in zip(start, end, strict=True)])
                far.append((own, point.distance(lines[other])))
                weights.append(length / pieces * (0.5 if i in {0, pieces} else 1))
    owner, distance = (np.array(values) for values in zip(*far, strict=True))
    shares = np.array(weights)
    means = [np.average(distance[owner == i], weights=shares[owner == i]) for i in (0, 1)]
    assert found.polis_m == pytest.approx(np.mean(means))
    assert found.predicted_to_truth_m == pytest.approx(means[0])
    assert found.mean_m == pytest.approx(np.average(distance, weights=shares))
    assert found.hausdorff_m == pytest.approx(distance.max())
    beyond = shares[distance > found.p95_m + 1e-9].sum() / shares.sum()
    short = shares[distance < found.p95_m - 1e-9].sum() / shares.sum()
    assert beyond <= 0.05 + 1e-9
    assert short < 0.95 + 1e-9


def test_the_hausdorff_distance_is_that_of_shapely_and_scipy() -> None:
    one = shapely.Point(0, 0).buffer(100)
    other = shapely.Point(30, 10).buffer(80)
    found = line_distances(np.array([one.boundary]), np.array([other.boundary]), 0.5)
    expected = shapely.hausdorff_distance(one.boundary, other.boundary, densify=0.01)
    assert found.hausdorff_m == pytest.approx(expected, abs=0.05)
    points = [shapely.get_coordinates(shapely.segmentize(p.boundary, 0.1)) for p in (one, other)]
    by_points = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    assert found.hausdorff_m == pytest.approx(by_points, abs=0.1)


def test_two_straight_outlines_lie_apart_by_their_shift() -> None:
    masks = [np.repeat((np.arange(20) < end).astype(np.uint8)[None], 12, axis=0) for end in (8, 11)]
    found = mask_distances(masks[0], masks[1], (10.0, 10.0))
    assert set(vars(found).values()) == {30.0}
    same = mask_distances(masks[0], masks[0], (10.0, 10.0))
    assert set(vars(same).values()) == {0.0}


def test_without_an_outline_there_is_no_distance() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[:2] = 1
    for other in (np.zeros_like(mask), np.ones_like(mask)):
        assert math.isnan(mask_distances(mask, other, (10.0, 10.0)).polis_m)


@settings(max_examples=25)
@given(arrays(np.uint8, (2, 23, 17), elements=st.sampled_from([0, 0, 0, 1, 1, 255])), st.integers(1, 3))
def test_tiles_change_nothing(pair: NDArray[np.uint8], margin_px: int) -> None:
    whole = mask_distances(pair[0], pair[1], (10.0, 10.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "_TILE_PX", 5)
        patch.setattr(distances, "_MARGINS_PX", (margin_px, 2 * margin_px))
        in_tiles = mask_distances(pair[0], pair[1], (10.0, 10.0))
    known = (pair[0] != 255) & (pair[1] != 255)
    lines = [distances._edges(mask, known, (10.0, 10.0)) for mask in pair]
    by_lines = line_distances(lines[0], lines[1], 5.0)
    for name, value in vars(whole).items():
        assert getattr(in_tiles, name) == pytest.approx(value, nan_ok=True)
        if name == "p95_m":  # where weights tie, the last digit decides which of two values it is
            continue
        assert getattr(by_lines, name) == pytest.approx(value, rel=1e-5, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("apart_px", [63, 65, 380, 511, 513, 1500])
def test_far_outlines_are_measured_exactly(apart_px: int) -> None:
    masks = np.zeros((2, 40, apart_px + 20), np.uint8)
    masks[0, :, :10], masks[1, :, : apart_px + 10] = 1, 1
    assert set(vars(mask_distances(masks[0], masks[1], (10.0, 10.0))).values()) == {10.0 * apart_px}


def test_far_and_slanted_distances_are_those_of_lines() -> None:
    """At every distance from a corner that a margin or single precision might round."""
    masks = np.zeros((2, 700, 1300), np.uint8)
    masks[0, 600:690, 1200:1290] = 1
    masks[1, 3:40, 5:30] = 1
    masks[1, 200, 900] = 1
    found = mask_distances(masks[0], masks[1], (10.0, 10.0))
    lines = [distances._edges(mask, np.ones(mask.shape, bool), (10.0, 10.0)) for mask in masks]
    for name, value in vars(line_distances(lines[0], lines[1], 5.0)).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9)
