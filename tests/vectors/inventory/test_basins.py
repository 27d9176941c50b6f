import numpy as np
import pytest

from glacierseg.errors import RequestError
from glacierseg.vectors.inventory.basins import BasinRules, label_basins, merge_slivers, separate
from tests.vectors.inventory.ground import two_valleys

SIZE = (30.0, 30.0)


def test_a_ridge_divides():
    elevation, mask, ridge = two_valleys()
    labels = label_basins(mask > 0, elevation, SIZE, BasinRules())
    assert ((labels > 0) == (mask > 0)).all()
    assert labels.max() == 2
    inside = mask[:, 40] > 0
    upper, lower = labels[:ridge, 40][inside[:ridge]], labels[ridge:, 40][inside[ridge:]]
    assert np.mean(upper == upper[0]) > 0.97
    assert np.mean(lower == lower[-1]) > 0.97
    assert upper[0] != lower[-1]


def test_a_small_void_is_bridged_and_ice_beyond_the_model_stays_in_one_piece():
    elevation, mask, ridge = two_valleys()
    elevation[40:50, 30:40] = np.nan
    assert label_basins(mask > 0, elevation, SIZE, BasinRules()).max() == 2
    elevation[: ridge + 10] = np.nan
    labels = label_basins(mask > 0, elevation, SIZE, BasinRules())
    assert len(np.unique(labels[: ridge + 3][mask[: ridge + 3] > 0])) == 1
    assert not label_basins(mask > 0, np.full_like(elevation, np.nan), SIZE, BasinRules()).any()


def test_a_bulging_tongue_is_one_glacier():
    """Its flanks drain into the troughs beside it, which lead to the terminus."""
    row, column = np.mgrid[:150, :60].astype(float)
    across = np.abs(column - 29.5)
    bulge = np.where(across < 12, -0.1 * across**2, -0.1 * 144 + 25 * (across - 12))
    elevation = 5000 - 8 * row + bulge
    mask = (across < 12) & (row > 20) & (row < 120)
    assert label_basins(mask, elevation, SIZE, BasinRules()).max() == 1


def test_slivers_go_to_the_neighbour_with_the_longest_common_divide():
    labels = np.zeros((40, 40), np.int32)
    labels[:, :20], labels[:, 20:] = 1, 2
    labels[10:14, 18:24] = 3  # 2 of 6 columns lie among the first
    merged = merge_slivers(labels, SIZE, BasinRules(sliver_km2=0.1, thin_km2=0))
    assert merged.max() == 2
    assert merged[11, 18] == merged[11, 30]


def test_thin_basins_are_slivers_below_a_larger_area():
    labels = np.ones((200, 40), np.int32)
    labels[:, :3] = 2  # 0.54 km2, three pixels wide
    assert merge_slivers(labels, SIZE, BasinRules(thin_km2=0.5)).max() == 2
    assert merge_slivers(labels, SIZE, BasinRules(thin_km2=0.6)).max() == 1


def test_nothing_is_lost_when_all_is_small():
    labels = np.arange(1, 26, dtype=np.int32).reshape(5, 5)
    merged = merge_slivers(labels, SIZE, BasinRules())
    assert (merged == 1).all()


def test_parts_of_one_label_get_numbers_of_their_own():
    labels = np.array([[1, 0, 1], [2, 2, 1], [1, 2, 0]], np.int32)
    apart = separate(labels)
    assert ((apart > 0) == (labels > 0)).all()
    assert apart.max() == 4
    assert apart[0, 2] == apart[1, 2] != apart[0, 0]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turning_the_ground_turns_the_basins(turn):
    elevation, mask, _ = two_valleys()
    straight = label_basins(mask > 0, elevation, SIZE, BasinRules())
    turned = np.rot90(
        label_basins(np.rot90(mask > 0, turn), np.rot90(elevation, turn), SIZE, BasinRules()), -turn
    )
    assert turned.max() == straight.max() == 2
    same = np.mean((turned == turned[20, 40]) == (straight == straight[20, 40]))
    assert same > 0.98


@pytest.mark.parametrize("senseless", [{"smooth_m": -3.0}, {"join_share": float("nan")}])
def test_senseless_rules_are_refused(senseless):
    with pytest.raises(RequestError, match=f"divides: {next(iter(senseless))} must be a number from 0 on"):
        BasinRules(**senseless)
