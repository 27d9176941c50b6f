import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score

from glacierseg.errors import GridMismatchError, TruthError
from glacierseg.refine.search import PooledScores
from glacierseg.refine.transfer import RegionGain, region_gain, require_comparable, verdict
from tests.refine.masks import SIZES, masks


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
