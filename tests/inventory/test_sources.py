import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from glacierseg.inventory.sources import ends_of_data, observed_shares
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.trace import to_crs, trace_polygons

HERE = Affine(30, 0, 478_000, 0, -30, 3_108_000)


def shares_of(mask: NDArray[np.uint8], smooth: bool = False) -> NDArray[np.float64]:
    traced = trace_polygons(mask)
    outlines = to_crs(smooth_outlines(traced) if smooth else traced, HERE)
    return observed_shares(outlines, ends_of_data(mask, HERE, mask == 1), 15.0)


@given(arrays(np.uint8, (7, 8), elements=st.sampled_from([0, 1, 1, 255])))
def test_shares_are_those_of_the_pixel_edges(mask: NDArray[np.uint8]) -> None:
    padded = np.pad(mask, 1, constant_values=255)
    edges, cut = 0, 0
    for axis in (0, 1):
        for step in (-1, 1):
            beside = np.roll(padded, step, axis)
            edges += int(((padded == 1) & (beside != 1)).sum())
            cut += int(((padded == 1) & (beside == 255)).sum())
    outlines = trace_polygons(mask)
    lengths = shapely.length(outlines)
    found = shares_of(mask)
    assert lengths.sum() == edges
    assert ((1 - found) * lengths).sum() == pytest.approx(cut, abs=0.01 * max(edges, 1))
    if not cut:
        assert (found == 1).all()


@pytest.mark.parametrize("smooth", [False, True])
def test_a_collar_a_cloud_and_the_rim_cut_and_what_only_lies_near_does_not(smooth: bool) -> None:
    mask = np.zeros((60, 80), np.uint8)
    mask[5:25, 10:30] = 1
    mask[5:25, 30:] = 255  # a collar along one side
    mask[35:50, 10:30] = 1
    mask[40:44, 18:22] = 255  # a cloud within
    mask[35:50, :9] = 255  # one pixel of bare ground between
    mask[40:50, 70:80] = 1  # at the rim
    mask[50, 69] = 255  # touches at a corner
    mask[52:58, 40:46] = 1
    shares = shares_of(mask, smooth)
    by_place = dict(zip(("collar", "cloud", "rim", "whole"), shares, strict=True))
    assert by_place["collar"] == pytest.approx(0.75, abs=0.02)
    assert by_place["cloud"] == pytest.approx(1 - 16 / (70 + 16), abs=0.02)
    assert by_place["rim"] == pytest.approx(0.75, abs=0.03)
    assert by_place["whole"] == 1


def test_a_slanted_collar_is_followed_by_a_smooth_outline() -> None:
    row, column = np.mgrid[:60, :60]
    mask = ((row > 10) & (row < 50) & (column > 10)).astype(np.uint8)
    mask[column + 0.3 * row > 45] = 255
    expected = np.hypot(39, 0.3 * 39) / (np.hypot(39, 0.3 * 39) + 39 + (2 * 45 - 0.3 * 60 - 21))
    assert shares_of(mask, smooth=True)[0] == pytest.approx(1 - expected, abs=0.02)


def test_a_divide_is_neither_seen_nor_unseen() -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 10:30] = 1
    mask[10:20, 30:] = 255
    halves = to_crs(np.array([shapely.box(10, 10, 20, 20), shapely.box(20, 10, 30, 20)]), HERE)
    shares = observed_shares(halves, ends_of_data(mask, HERE, mask == 1), 15.0)
    assert shares.tolist() == pytest.approx([1, 2 / 3], abs=1e-3)
