import re
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin
from scipy import stats

from glacierseg.errors import RequestError
from glacierseg.evaluate.counts import SCORE_NAMES, Counts, count, count_blocks, scores_of
from glacierseg.evaluate.intervals import (
    BlockTable,
    bootstrap_scores,
    draw_sums,
    score_arrays,
    student_quantile,
    student_tail,
    table_by_block,
)
from glacierseg.raster.grid import Grid
from glacierseg.settings.score import BootstrapSettings, ScoreSettings

SHAPES = st.tuples(st.integers(0, 40), st.integers(0, 40))
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255]))] * 2)
)


@given(PAIRS, st.integers(1, 45))
def test_counts_by_block_are_those_of_the_blocks(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], side: int
) -> None:
    predicted, truth = pair
    table = count_blocks(predicted, truth, side)
    assert table.shape == (-(-truth.shape[0] // side), -(-truth.shape[1] // side), 4)
    for row, column in np.ndindex(*table.shape[:2]):
        part = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        assert Counts.of_row(table[row, column]) == count(predicted[part].astype(float), truth[part])


def test_a_block_may_be_higher_than_a_byte_can_count() -> None:
    predicted = np.ones((1000, 3), np.uint8)
    assert count_blocks(predicted, predicted, 1000)[0, 0].tolist() == [3000, 0, 0, 0]


@given(st.lists(st.tuples(*[st.integers(0, 10**9) | st.just(0)] * 4), min_size=1, max_size=20))
def test_scores_of_many_counts_are_those_of_each(rows: list[tuple[int, int, int, int]]) -> None:
    found = score_arrays(np.array(rows))
    assert set(found) == set(SCORE_NAMES)
    for i, row in enumerate(rows):
        for name in SCORE_NAMES:
            expected = getattr(scores_of(Counts(*row)), name)
            assert found[name][i] == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


def test_draws_are_what_drawing_one_by_one_gives_on_average() -> None:
    counts = np.random.default_rng(0).integers(0, 50, (30, 4))
    sums = draw_sums(counts, 20_000, seed=1)
    rng = np.random.default_rng(2)
    plain = np.array([counts[rng.integers(0, 30, 30)].sum(axis=0) for _ in range(20_000)])
    np.testing.assert_allclose(sums.mean(axis=0), plain.mean(axis=0), rtol=0.005)
    np.testing.assert_allclose(sums.std(axis=0), plain.std(axis=0), rtol=0.03)


def test_the_same_seed_gives_the_same_interval_and_confidence_widens_it() -> None:
    table = BlockTable(np.random.default_rng(0).integers(0, 50, (60, 4)), 16)
    first, again = (
        bootstrap_scores(table, BootstrapSettings(seed=3)),
        bootstrap_scores(table, BootstrapSettings(seed=3)),
    )
    assert first == again
    assert first != bootstrap_scores(table, BootstrapSettings(seed=4))
    narrow = bootstrap_scores(table, BootstrapSettings(seed=3, confidence=0.5)).scores["iou"]
    wide = first.scores["iou"]
    iou = scores_of(Counts.of_row(table.counts.sum(axis=0))).iou
    assert wide.low < narrow.low < iou < narrow.high < wide.high


def test_one_block_says_nothing_about_others() -> None:
    mask = np.ones((5, 5), np.uint8)
    intervals = bootstrap_scores(table_by_block([(mask, mask)]))
    assert intervals.blocks == 1
    assert np.isnan(intervals.scores["iou"].low)
    empty = bootstrap_scores(table_by_block([(mask, np.full_like(mask, 255))]))
    assert empty.blocks == 0


def test_blocks_of_regions_are_not_joined_and_empty_ones_do_not_count() -> None:
    mask = np.ones((10, 10), np.uint8)
    truth = mask.copy()
    truth[5:] = 255
    table = table_by_block([(mask, mask), (mask, truth)], block_px=5)
    assert table.blocks == 4 + 2
    assert table.counts.sum() == 150


def grid_at(
    row: np.int64 | float,
    column: int | np.int64,
    shape: tuple[int, int],
    *,
    epsg: int = 32643,
    pixel_m: int = 10,
) -> Grid:
    corner = from_origin(500_000 + column * pixel_m, 4_000_000 - row * pixel_m, pixel_m, pixel_m)
    return Grid(CRS.from_epsg(epsg), corner, *shape)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.none() | st.integers(1, 50))
def test_pieces_of_ground_give_the_blocks_of_the_whole(seed: int, cuts: int, block_px: int | None) -> None:
    rng = np.random.default_rng(seed)
    mask, truth = rng.choice(np.array([0, 1, 255], np.uint8), (2, *rng.integers(1, 300, 2)))
    row, column = (sorted({0, *rng.integers(0, length, cuts)} | {length}) for length in truth.shape)
    pieces = [
        np.s_[top:bottom, left:right] for top, bottom in pairwise(row) for left, right in pairwise(column)
    ]
    grids = [grid_at(rows.start, columns.start, truth[rows, columns].shape) for rows, columns in pieces]
    shuffled = rng.permutation(len(pieces))
    found = table_by_block(
        [(mask[pieces[i]], truth[pieces[i]]) for i in shuffled], block_px, grids=[grids[i] for i in shuffled]
    )
    whole = table_by_block([(mask, truth)], block_px)
    assert found.block_px == whole.block_px
    np.testing.assert_array_equal(found.counts, whole.counts)


def test_ground_that_is_shown_twice_is_one_block_on_one_lattice_of_pixels_only() -> None:
    mask = np.ones((32, 32), np.uint8)
    shown = [(mask, mask)] * 3
    for other, blocks in ({}, 1 + 1), ({"epsg": 32644}, 2 + 1), ({"pixel_m": 20}, 2 + 1):
        grids = [grid_at(0, 0, mask.shape), grid_at(0, 0, mask.shape, **other), grid_at(320, 64, mask.shape)]
        table = table_by_block(shown, 32, grids=grids)
        assert table.blocks == blocks
        assert table.counts.sum() == 3 * 32 * 32
    # Half a pixel aside is the same ground for a block.
    assert (
        table_by_block(shown[:2], 32, grids=[grid_at(0, 0, mask.shape), grid_at(0.4, 0, mask.shape)]).blocks
        == 1
    )


def test_numbers_without_sense_are_refused() -> None:
    mask = np.ones((5, 5), np.uint8)
    table = table_by_block([(mask, mask)], block_px=1)
    for wrong, message in (
        ({"block_px": 0}, "block_px must be greater than or equal to 1 (got 0)"),
        ({"confidence": 95}, "confidence must be less than 1 (got 95)"),
        ({"draws": 3}, "draws must be greater than or equal to 20 (got 3)"),
        ({"draws": 0}, "draws must be greater than or equal to 20 (got 0)"),
    ):
        with pytest.raises(RequestError, match=re.escape(message)):
            bootstrap_scores(table, BootstrapSettings(**wrong))
    with pytest.raises(RequestError, match=re.escape("draws: must be 0 or at least 20 (got 3)")):
        ScoreSettings(draws=3)
    assert ScoreSettings(draws=0).draws == 0


def patchy(
    rng: np.random.Generator, side_px: int, sigma_px: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Masks that differ in patches."""
    shown, noise = (
        cv2.GaussianBlur(rng.standard_normal((side_px, side_px)), (0, 0), sigma) for sigma in (12.0, sigma_px)
    )
    shown, noise = shown / shown.std(), noise / noise.std()
    return (shown > 0.3).astype(np.uint8), (shown + 0.6 * noise > 0.3).astype(np.uint8)


def test_most_intervals_hold_although_errors_come_in_patches() -> None:
    rng = np.random.default_rng(5)
    scenes = [patchy(rng, 320, 4.0) for _ in range(120)]
    true_iou = scores_of(sum((count(*pair) for pair in scenes), Counts())).iou
    held = by_pixel = 0
    for pair in scenes:
        interval = bootstrap_scores(
            table_by_block([pair]), BootstrapSettings(draws=400, confidence=0.9)
        ).scores["iou"]
        held += interval.low <= true_iou <= interval.high
        row = np.array(count_blocks(*pair, 320)[0, 0])
        drawn = rng.multinomial(row.sum(), row / row.sum(), size=200)
        low, high = np.quantile(score_arrays(drawn)["iou"], [0.05, 0.95])
        by_pixel += low <= true_iou <= high
    # Percentiles of a few dozen blocks fall a little short of the 0.9 that they promise.
    assert 0.82 * 120 <= held <= 0.98 * 120
    assert by_pixel < 0.5 * 120


@given(st.floats(1, 1e4), st.floats(0.5, 0.999))
def test_quantiles_are_scipys(degrees_of_freedom: float, share: float) -> None:
    expected = stats.t.ppf(share, degrees_of_freedom)
    assert student_quantile(share, degrees_of_freedom) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@given(st.floats(1, 2000), st.lists(st.floats(-50, 50), min_size=1))
def test_tails_are_scipys_and_keep_small_shares(degrees_of_freedom: float, t: list[float]) -> None:
    expected = stats.t.sf(t, degrees_of_freedom)
    assert student_tail(t, degrees_of_freedom) == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_infinities_lie_at_the_ends() -> None:
    assert student_tail(np.array([-np.inf, np.inf]), 5).tolist() == [1, 0]
    assert student_tail(0.0, 5) == pytest.approx(0.5, rel=1e-12)


def test_regions_may_be_read_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.integers(0, 2, (2, 40, 50)).astype(np.uint8)) for _ in range(3)]
    grids = [grid_at(0, 50 * number, (40, 50)) for number in range(3)]
    table = table_by_block((pair for pair in pairs), grids=grids)
    np.testing.assert_array_equal(table.counts, table_by_block(pairs, grids=grids).counts)
