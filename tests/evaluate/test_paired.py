import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin
from scipy import stats

from glacierseg.errors import RequestError
from glacierseg.evaluate.counts import count, scores_of
from glacierseg.evaluate.paired import change_map, compare_masks, mcnemar
from glacierseg.raster.grid import Grid
from glacierseg.settings.score import BootstrapSettings

TRIPLES = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255]))] * 3)
)


@given(TRIPLES)
def test_both_masks_are_scored_on_the_same_pixels(
    triple: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    a, b, truth = triple
    known = (a != 255) & (b != 255) & (truth != 255)
    found = compare_masks([triple], BootstrapSettings(draws=20, block_px=3))
    for mask, side in ((a, "a"), (b, "b")):
        expected = scores_of(count(mask[known][None], truth[known][None]))
        # The contest's way: a pixel that a mask lacks is background, whatever the other mask says.
        everywhere = scores_of(count(np.where(mask == 255, 0, mask), truth))
        for name, one in found.scores.items():
            own = everywhere if name.endswith("_undefined_as_background") else expected
            score = getattr(own, name.removesuffix("_undefined_as_background"))
            assert getattr(one, side) == pytest.approx(score, nan_ok=True)
    assert found.pixels == known.sum()
    assert found.fixed == (known & (a != truth) & (b == truth)).sum()
    assert found.broken == (known & (a == truth) & (b != truth)).sum()
    assert found.changed == found.fixed + found.broken
    json.dumps(found.to_dict(), allow_nan=False)


@given(TRIPLES)
def test_the_map_says_what_happened(
    triple: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    a, b, truth = triple
    values = change_map(a, b, truth)
    found = compare_masks([triple], BootstrapSettings(draws=20, block_px=3))
    assert np.isin(values, (4, 5)).sum() == found.fixed
    assert np.isin(values, (6, 7)).sum() == found.broken
    assert (values != 255).sum() == found.pixels
    assert ((values == 1) == ((a == 1) & (b == 1) & (truth == 1))).all()
    assert ((values == 7) == ((a == 0) & (b == 1) & (truth == 0))).all()


@given(st.integers(0, 500), st.integers(0, 500))
def test_mcnemar_is_the_chi_square_test_with_correction(fixed: int, broken: int) -> None:
    statistic, p = mcnemar(fixed, broken)
    if fixed + broken == 0:
        assert (statistic, p) == (0, 1)
        return
    expected = max(abs(fixed - broken) - 1, 0) ** 2 / (fixed + broken)
    assert statistic == pytest.approx(expected)
    assert p == pytest.approx(stats.chi2.sf(expected, 1))


def smooth(rng: np.random.Generator, sigma: int) -> NDArray[np.float64]:
    noise = cv2.GaussianBlur(rng.standard_normal((256, 256)), (0, 0), sigma)
    result: NDArray[np.float64] = noise / noise.std()
    return result


def test_equal_skill_is_noise_to_the_bootstrap_though_not_to_mcnemar_and_better_skill_is_not() -> None:
    rng = np.random.default_rng(1)
    false_alarms = mcnemar_alarms = found_better = 0
    for _ in range(60):
        shown = smooth(rng, 10)
        truth = (shown > 0).astype(np.uint8)
        a, b, better = ((shown + skill * smooth(rng, 4) > 0).astype(np.uint8) for skill in (0.5, 0.5, 0.25))
        same = compare_masks([(a, b, truth)], BootstrapSettings(draws=300))
        false_alarms += not same.scores["iou"].is_noise
        mcnemar_alarms += same.mcnemar_p < 0.05
        one = compare_masks([(a, better, truth)], BootstrapSettings(draws=300)).scores["iou"]
        found_better += one.low > 0 and one.p < 0.05
    assert false_alarms <= 8
    assert mcnemar_alarms > 30
    assert found_better == 60


def test_equal_masks_do_not_differ() -> None:
    truth = np.eye(40, dtype=np.uint8)
    found = compare_masks([(truth, truth, truth)], BootstrapSettings(draws=50, block_px=10))
    one = found.scores["iou"]
    assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)
    assert one.is_noise


def test_regions_that_show_the_same_ground_bring_no_further_blocks() -> None:
    a, b, truth = np.random.default_rng(0).integers(0, 2, (3, 40, 40), dtype=np.uint8)
    grid = Grid(CRS.from_epsg(32643), from_origin(0, 0, 10, 10), 40, 40)
    once, twice, apart = (
        compare_masks(
            [(a, b, truth)] * len(grids), grids=grids, settings=BootstrapSettings(draws=50, block_px=8)
        )
        for grids in ([grid], [grid, grid], [grid, replace(grid, crs=CRS.from_epsg(32644))])
    )
    assert (once.blocks, twice.blocks, apart.blocks) == (25, 25, 50)
    assert twice.scores["iou"] == once.scores["iou"]
    assert twice.pixels == 2 * once.pixels


def test_the_number_of_draws_must_make_sense() -> None:
    with pytest.raises(RequestError, match="draws must be greater than or equal to 20"):
        compare_masks([(np.ones((2, 2), np.uint8),) * 3], BootstrapSettings(draws=1))
