from itertools import chain, pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from glacierseg.data.split import ELSEWHERE, ROLE_CODES, find_places, give_way, roles_by_places
from glacierseg.errors import GridMismatchError
from glacierseg.raster.grid import Grid

UTM = CRS.from_epsg(32643)


def chip(column: int, row: int, height: int = 12, width: int = 12) -> Grid:
    return Grid(UTM, Affine(10, 0, 10 * column, 0, -10, -10 * row), height, width)


chips = st.lists(
    st.builds(chip, *[st.integers(0, 60)] * 2, *[st.integers(4, 16)] * 2), min_size=3, max_size=40
)


def ground(roles: list[np.ndarray], grids: list[Grid], code: int) -> np.ndarray:
    """Marks on one large map the pixels that any region has under a code."""
    marked = np.zeros((90, 90), bool)
    for own, grid in zip(roles, grids, strict=True):
        row, column = round(-grid.transform.f / 10), round(grid.transform.c / 10)
        marked[row : row + grid.height, column : column + grid.width] |= own == code
    return marked


@given(chips, st.integers(3, 5), st.data())
def test_no_ground_has_two_roles_and_each_region_tests_once(
    grids: list[Grid], folds: int, data: st.DataObject
) -> None:
    areas = data.draw(st.lists(st.floats(0, 1e3), min_size=len(grids), max_size=len(grids)))
    places = find_places(grids, max(len(grids) // (4 * folds), 1))
    assert sorted(chain.from_iterable(places)) == list(range(len(grids)))
    if len(places) < folds:
        return
    tested = np.zeros(len(grids), int)
    for fold in range(1, folds + 1):
        wanted = roles_by_places(places, areas, folds, fold, 0.2)
        assert {"test", "validate"} <= set(wanted)
        tested += np.array([role == "test" for role in wanted])
        roles = [
            np.full(grid.shape, ROLE_CODES[role], np.uint8) for grid, role in zip(grids, wanted, strict=True)
        ]
        before = [own.copy() for own in roles]
        give_way(roles, grids)
        found = {role: ground(roles, grids, code) for role, code in ROLE_CODES.items()}
        assert not (found["train"] & (found["validate"] | found["test"])).any()
        assert not (found["validate"] & found["test"]).any()
        # Nothing is given up but what a stricter role needs, and no ground is lost.
        assert (found["test"] == ground(before, grids, ROLE_CODES["test"])).all()
        together = found["train"] | found["validate"] | found["test"]
        assert (together == np.any([ground(before, grids, n) for n in ROLE_CODES.values()], axis=0)).all()
        for own, old in zip(roles, before, strict=True):
            assert ((own == old) | (own == ELSEWHERE)).all()
    assert (tested == 1).all()


@given(chips, st.integers(1, 6))
def test_places_are_small_and_always_the_same(grids: list[Grid], most: int) -> None:
    places = find_places(grids, most)
    assert places == find_places(grids, most)
    for place in places:
        middles = np.array([grids[i].transform * (grids[i].width / 2, grids[i].height / 2) for i in place])
        if len(place) > most:  # one ground at several dates: no gap of a tenth of the smallest side
            least = 0.1 * 10 * min(min(grid.shape) for grid in grids)
            for axis in (0, 1):
                assert all(b - a <= least + 1e-9 for a, b in pairwise(np.sort(middles[:, axis])))


def test_folds_hold_about_the_same_glacier_area() -> None:
    rng = np.random.default_rng(1)
    grids = [chip(*rng.integers(0, 60, 2)) for _ in range(240)]
    areas = rng.lognormal(0, 1, 240).tolist()
    places = find_places(grids, 240 // 12)
    assert 12 <= len(places) <= 20
    held = []
    for fold in (1, 2, 3):
        roles = roles_by_places(places, areas, 3, fold, 0.2)
        held.append(sum(area for area, role in zip(areas, roles, strict=True) if role == "test"))
        validated = sum(area for area, role in zip(areas, roles, strict=True) if role == "validate")
        assert validated == pytest.approx(0.2 * (sum(areas) - held[-1]), rel=0.5)
    assert max(held) < 1.15 * min(held)


def test_a_row_of_chips_is_cut_where_it_is_long() -> None:
    grids = [chip(20 * column, 3 * (column % 2)) for column in (5, 1, 4, 0, 3, 2)]
    assert find_places(grids, 3) == [[0, 2, 4], [1, 3, 5]]


def test_dates_of_one_scene_stay_together() -> None:
    grids = [chip(0, 0), chip(40, 0), chip(0, 0), chip(80, 0), chip(0, 0)]
    assert find_places(grids, 1) == [[0, 2, 4], [1], [3]]


def test_regions_in_another_crs_give_way_too() -> None:
    from rasterio.warp import transform_bounds

    utm = Grid(UTM, Affine(10, 0, 500_000, 0, -10, 3_600_000), 100, 100)
    west, south, east, north = transform_bounds(UTM, CRS.from_epsg(4326), *utm.bounds)
    half = (east - west) / 2
    step = half / 50
    degrees = Grid(
        CRS.from_epsg(4326), Affine(step, 0, west + half, 0, -(north - south) / 100, north), 100, 50
    )
    roles = [np.full(utm.shape, 1, np.uint8), np.full(degrees.shape, 3, np.uint8)]
    give_way(roles, [utm, degrees])
    assert (roles[0][:, :49] == 1).all()
    assert (roles[0][:, 51:] == ELSEWHERE)[1:-1].all()
    assert len(find_places([utm, degrees], 1)) == 2


def test_a_region_without_a_position_is_one_line() -> None:
    far = Grid(CRS.from_epsg(4326), Affine(0.1, 0, -105.0, 0, -0.1, 95.0), 10, 10)
    with pytest.raises(GridMismatchError, match="has no position in EPSG:32643"):
        find_places([chip(0, 0), far], 1)


def test_tiles_edge_to_edge_keep_all_their_pixels() -> None:
    grids = [chip(0, 0), chip(12, 0), chip(0, 12)]
    roles = [np.full((12, 12), code, np.uint8) for code in (1, 3, 2)]
    give_way(roles, grids)
    assert [int(own.max()) for own in roles] == [1, 3, 2]
    assert [int(own.min()) for own in roles] == [1, 3, 2]


def test_neighbours_on_both_sides_of_180_degrees_are_one_place() -> None:
    degrees = CRS.from_epsg(4326)
    west = [179.5, -179.9, 175.0, 174.6]
    grids = [Grid(degrees, Affine(0.01, 0, left, 0, -0.01, 70), 10, 10) for left in west]
    assert find_places(grids, 2) == [[0, 1], [2, 3]]
