from typing import Any

import numpy as np
import pytest

from glacierseg.errors import RequestError
from glacierseg.inventory.basins import (
    _join,
    label_basins,
    merge_parallel,
    merge_slivers,
    separate,
)
from glacierseg.settings.outlines import InventorySettings
from tests.inventory.ground import two_valleys

SIZE = (30.0, 30.0)


def test_a_ridge_divides() -> None:
    elevation, mask, ridge = two_valleys()
    labels = label_basins(mask > 0, elevation, SIZE, InventorySettings())
    assert ((labels > 0) == (mask > 0)).all()
    assert labels.max() == 2
    inside = mask[:, 40] > 0
    upper, lower = labels[:ridge, 40][inside[:ridge]], labels[ridge:, 40][inside[ridge:]]
    assert np.mean(upper == upper[0]) > 0.97
    assert np.mean(lower == lower[-1]) > 0.97
    assert upper[0] != lower[-1]


def test_a_small_void_is_bridged_and_ice_beyond_the_model_stays_in_one_piece() -> None:
    elevation, mask, ridge = two_valleys()
    elevation[40:50, 30:40] = np.nan
    assert label_basins(mask > 0, elevation, SIZE, InventorySettings()).max() == 2
    elevation[: ridge + 10] = np.nan
    labels = label_basins(mask > 0, elevation, SIZE, InventorySettings())
    assert len(np.unique(labels[: ridge + 3][mask[: ridge + 3] > 0])) == 1
    assert not label_basins(mask > 0, np.full_like(elevation, np.nan), SIZE, InventorySettings()).any()


def test_a_bulging_tongue_is_one_glacier() -> None:
    """Its flanks drain into the troughs beside it, which lead to the terminus."""
    row, column = np.mgrid[:150, :60].astype(float)
    across = np.abs(column - 29.5)
    bulge = np.where(across < 12, -0.1 * across**2, -0.1 * 144 + 25 * (across - 12))
    elevation = 5000 - 8 * row + bulge
    mask = (across < 12) & (row > 20) & (row < 120)
    assert label_basins(mask, elevation, SIZE, InventorySettings()).max() == 1


def test_a_plane_and_a_dome_have_no_divides_and_a_sloping_ridge_has_one() -> None:
    row, column = np.mgrid[:160, :160].astype(float)
    away_m = 30 * np.hypot(row - 80, column - 80)
    slab = (abs(row - 80) < 35) & (abs(column - 80) < 30)
    for ice, elevation, labels in (
        (slab, 3000 - 6 * row, 1),
        (away_m < 2000, 1600 - away_m**2 / 20_000, 1),
        (slab, 3000 - 6 * row - 4 * abs(column - 79.5), 2),
    ):
        assert label_basins(ice, elevation, SIZE, InventorySettings()).max() == labels
    # Without the rule there are as many basins as outlets that lie apart.
    assert label_basins(slab, 3000 - 6 * row, SIZE, InventorySettings(min_parting_deg=0)).max() > 4


def test_only_what_flows_side_by_side_is_joined() -> None:
    """Of three strips, ice flows apart between the first two and side by side between the last two."""
    labels = np.repeat([1, 2, 3], 20)[None] * np.ones((40, 1), np.int32)
    across = np.arange(60.0)
    elevation = 3000 - 5 * np.abs(across - 19.5) - 2 * np.arange(40.0)[:, None]
    merged = merge_parallel(labels.astype(np.int32), elevation, SIZE, InventorySettings())
    assert merged.max() == 2
    assert merged[0, 0] != merged[0, 30] == merged[0, 50]
    unknown = np.full_like(elevation, np.nan)
    assert (merge_parallel(labels.astype(np.int32), unknown, SIZE, InventorySettings()) == labels).all()


def test_slivers_go_to_the_neighbour_with_the_longest_common_divide() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[:, :20], labels[:, 20:] = 1, 2
    labels[10:14, 18:24] = 3  # 2 of 6 columns lie among the first
    merged = merge_slivers(labels, SIZE, InventorySettings(sliver_km2=0.1, thin_km2=0))
    assert merged.max() == 2
    assert merged[11, 18] == merged[11, 30]
    assert merge_slivers(labels, SIZE, InventorySettings(sliver_km2=0.02, thin_km2=0)).max() == 3


def test_thin_basins_are_slivers_below_a_larger_area() -> None:
    labels = np.ones((200, 40), np.int32)
    labels[:, :3] = 2  # 0.54 km2, three pixels wide
    assert merge_slivers(labels, SIZE, InventorySettings(thin_km2=0.5)).max() == 2
    assert merge_slivers(labels, SIZE, InventorySettings(thin_km2=0.6)).max() == 1
    # 0.54 km2 in a rim of 12.18 km is 0.074 of a circle.
    for compactness, number in ((0.07, 2), (0.08, 1)):
        rules = InventorySettings(thin_km2=0.6, thin_compactness=compactness)
        assert merge_slivers(labels, SIZE, rules).max() == number


def test_nothing_is_lost_when_all_is_small() -> None:
    labels = np.arange(1, 26, dtype=np.int32).reshape(5, 5)
    merged = merge_slivers(labels, SIZE, InventorySettings())
    assert (merged == 1).all()


def test_parts_of_one_label_get_numbers_of_their_own() -> None:
    labels = np.array([[1, 0, 1], [2, 2, 1], [1, 2, 0]], np.int32)
    apart = separate(labels)
    assert ((apart > 0) == (labels > 0)).all()
    assert apart.max() == 4
    assert apart[0, 2] == apart[1, 2] != apart[0, 0]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_turning_the_ground_turns_the_basins(turn: int) -> None:
    elevation, mask, _ = two_valleys()
    straight = label_basins(mask > 0, elevation, SIZE, InventorySettings())
    turned = np.rot90(
        label_basins(np.rot90(mask > 0, turn), np.rot90(elevation, turn), SIZE, InventorySettings()), -turn
    )
    assert turned.max() == straight.max() == 2
    same = np.mean((turned == turned[20, 40]) == (straight == straight[20, 40]))
    assert same > 0.98


@pytest.mark.parametrize("senseless", [{"smooth_dem_m": -3.0}, {"join_share": float("nan")}])
def test_senseless_rules_are_refused(senseless: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(senseless))} must be "):
        InventorySettings(**senseless)


def test_outlets_are_one_within_a_share_of_the_root_of_the_area_and_no_farther() -> None:
    positions_m = np.array([[0.0, 0.0], [0.0, 2500.0], [0.0, -900.0]])
    areas_km2 = np.array([16.0, 4.0, 1.0])  # half the root of the largest is 2 km
    for rules, joined in (
        ({}, [0, 1, 0]),
        ({"max_join_m": 800}, [0, 1, 2]),
        ({"join_share": 0.2}, [0, 1, 2]),
        ({"join_share": 0.7, "max_join_m": 3000}, [0, 0, 0]),
        ({"join_share": 0.7}, [0, 1, 0]),
    ):
        assert _join(positions_m, areas_km2, InventorySettings(**rules)).tolist() == joined, rules


def test_water_is_followed_as_far_beyond_the_ice_as_asked_for() -> None:
    """It parts along the middle of the ice, and all of it ends in a hollow 600 m beyond."""
    row, column = np.mgrid[:110, :100].astype(float)
    ice = (abs(row - 40) < 20) & (abs(column - 50) < 30)
    fan = 3000 - 6 * row - 0.02 * (column - 50) ** 2
    elevation = np.where(row < 70, fan, 2000 + 10 * np.hypot(row - 80, column - 50))
    for surround_m, number in ((60, 2), (900, 1)):
        rules = InventorySettings(surround_m=surround_m, min_parting_deg=0)
        assert label_basins(ice, elevation, SIZE, rules).max() == number


def test_roughness_divides_only_terrain_that_is_not_smoothed() -> None:
    row, column = np.mgrid[:160, :160].astype(float)
    slab = (abs(row - 80) < 35) & (abs(column - 80) < 30)
    rough = np.random.default_rng(0).normal(0, 8, row.shape)
    ridge = 3000 - 6 * row - 4 * abs(column - 79.5) + rough
    assert label_basins(slab, ridge, SIZE, InventorySettings(smooth_dem_m=60)).max() == 2
    assert label_basins(slab, ridge, SIZE, InventorySettings(smooth_dem_m=0)).max() > 2


def test_flow_is_compared_beyond_what_smoothing_blurs() -> None:
    """A crest of four pixels on either side, and a plane beyond it."""
    labels = np.repeat([1, 2], 30)[None] * np.ones((40, 1), np.int32)
    across = np.abs(np.arange(60) - 29.5)
    elevation = 3000 - 20 * np.minimum(across, 4) - 5 * np.arange(40.0)[:, None]
    for smooth_dem_m, number in ((60, 2), (120, 1)):
        rules = InventorySettings(smooth_dem_m=smooth_dem_m)
        assert merge_parallel(labels.astype(np.int32), elevation, SIZE, rules).max() == number
