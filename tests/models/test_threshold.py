from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.errors import RequestError
from glacierseg.models.threshold import find_threshold


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float((predicted & truth).sum() / (predicted | truth).sum())


def brute_force(values: np.ndarray, glacier: np.ndarray) -> float:
    """The best IoU of any threshold at any value that occurs, in either direction."""
    features = [band.astype(float) for band in values]
    for a, b in combinations(values.astype(float), 2):
        total = a + b
        features.append(np.divide(a, total, out=np.full_like(a, 0.5), where=total > 0))
    best = 0.0
    for feature in features:
        for value in [*np.unique(feature), feature.min() - 1]:
            best = max(best, iou(feature > value, glacier), iou(feature <= value, glacier))
    return best


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_finds_what_brute_force_finds_and_applies_it_alike(seed: int, bands: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 30, (bands, 200)).astype(np.uint8)
    glacier = (values[0] + rng.normal(0, 6, 200)) > 15
    if not glacier.any():
        return
    names = tuple("abc"[:bands])
    pieces = [(values[:, :90], glacier[:90]), (values[:, 90:], glacier[90:])]
    rule = find_threshold(lambda: pieces, names)
    positions = [names.index(band) for band in rule.bands]
    assert rule.train_iou == pytest.approx(iou(rule.apply(values[positions]), glacier), abs=1e-9)
    # 1024 steps resolve every single band here; close ratios may fall into one step.
    assert rule.train_iou >= brute_force(values[:1], glacier) - 1e-9
    assert rule.train_iou == pytest.approx(brute_force(values, glacier), abs=0.02)


def test_a_ratio_beats_bands_when_only_the_ratio_tells() -> None:
    rng = np.random.default_rng(0)
    light = rng.uniform(20, 200, 5000)
    glacier = rng.random(5000) < 0.3
    values = np.stack([light * np.where(glacier, 1.6, 1.0), light])
    rule = find_threshold(lambda: [(values, glacier)], ("red", "swir"))
    assert (rule.band, rule.divisor, rule.above) == ("red", "swir", True)
    assert 1.0 < rule.value < 1.6
    assert rule.train_iou == 1.0
    assert str(rule).startswith("red / swir > 1.")


def test_bands_that_may_be_negative_take_part_in_no_ratio() -> None:
    values = np.array([[-1.0, 2.0, 3.0, -2.0], [1.0, 1.0, 1.0, 1.0]])
    rule = find_threshold(lambda: [(values, np.array([False, True, True, False]))], ("t", "u"))
    assert rule.divisor is None
    assert rule.train_iou == 1.0


def test_no_glacier_is_one_line() -> None:
    with pytest.raises(RequestError, match="no training pixel is glacier"):
        find_threshold(lambda: [(np.ones((1, 4)), np.zeros(4, bool))], ("a",))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([2, 40, 256]))
def test_levels_counted_in_one_pass_give_the_rule_of_values_counted_in_two(
    seed: int, bands: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, (bands, 500)).astype(np.uint8)
    values[0, :9] = 7
    glacier = rng.random(500) < rng.random(500) * (values[0] + 1) / levels
    glacier[0] = True
    names = tuple("abcd"[:bands])
    blocks = [(values[:, part], glacier[part]) for part in (slice(0), slice(200), slice(200, None))]
    wide = [(block.astype(np.int16), there) for block, there in blocks]
    calls = []

    def pixels() -> list[tuple[np.ndarray, np.ndarray]]:
        calls.append(1)
        return blocks

    assert find_threshold(pixels, names) == find_threshold(lambda: wide, names)
    assert len(calls) == 1
