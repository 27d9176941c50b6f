from typing import cast

import numpy as np
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.inventory.divides import Divider, cut_polygon
from glacierseg.inventory.relief import pixels_inside
from glacierseg.inventory.sources import LocalRaster
from glacierseg.raster.grid import Grid
from glacierseg.settings.outlines import InventorySettings
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.trace import to_crs, trace_polygons
from tests.helpers import blobs, utm_grid

TRANSFORM = Affine(30, 0, 478_000, 0, -30, 3_108_000)


def labelled(mask: NDArray[np.uint8], seed: int, seeds: int = 6) -> NDArray[np.int32]:
    """Random Voronoi labels of a mask."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, mask.shape[0], (seeds, 2))
    rows, columns = np.indices(mask.shape)
    near = np.argmin([np.hypot(rows - r, columns - c) for r, c in points], axis=0) + 1
    return np.where(mask > 0, near, 0).astype(np.int32)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_pieces_add_up_to_the_body_without_overlap(seed: int, smooth: bool) -> None:
    mask = np.pad(blobs(50, 50, seed), 4)
    traced = trace_polygons(mask)
    outlines = to_crs(smooth_outlines(traced) if smooth else traced, TRANSFORM)
    body = outlines[0]
    labels = labelled(mask, seed)
    own = pixels_inside(to_crs(traced, TRANSFORM)[0], _grid(mask.shape))
    pieces = np.array(cut_polygon(body, np.where(own, labels, 0), TRANSFORM, smooth=smooth))
    assert shapely.is_valid(pieces).all()
    assert (shapely.get_type_id(pieces) == 3).all()
    np.testing.assert_allclose(shapely.area(pieces).sum(), body.area, rtol=1e-9)
    assert shapely.area(shapely.symmetric_difference(shapely.union_all(pieces), body)) < 1e-3
    for k, piece in enumerate(pieces):
        assert shapely.area(shapely.intersection(piece, pieces[k + 1 :])).sum() < 1e-3


def _grid(shape: tuple[int, int]) -> Grid:
    grid = utm_grid(*shape, pixel_m=30)
    return type(grid)(grid.crs, TRANSFORM, *shape)


def test_jagged_pieces_have_the_area_of_their_pixels() -> None:
    mask = np.pad(np.ones((20, 30), np.uint8), 4)
    labels = np.where(
        mask > 0, 1 + (np.arange(mask.shape[1]) > 13) + 2 * (np.arange(mask.shape[0]) > 11)[:, None], 0
    )
    body = to_crs(trace_polygons(mask), TRANSFORM)[0]
    pieces = cut_polygon(body, labels.astype(np.int32), TRANSFORM, smooth=False)
    assert sorted(round(piece.area / 900) for piece in pieces) == sorted(np.bincount(labels.ravel())[1:])


def test_small_pieces_join_the_longest_neighbour() -> None:
    mask = np.pad(np.ones((20, 30), np.uint8), 4)
    labels = np.where(mask > 0, 1, 0).astype(np.int32)
    labels[:, 20:] *= 2
    labels[8:11, 18:25][mask[8:11, 18:25] > 0] = 3
    body = to_crs(trace_polygons(mask), TRANSFORM)[0]
    assert len(cut_polygon(body, labels, TRANSFORM, smooth=True)) == 3
    pieces = cut_polygon(body, labels, TRANSFORM, smooth=True, least_area=25 * 900)
    assert len(pieces) == 2
    np.testing.assert_allclose(sum(piece.area for piece in pieces), body.area)


def test_one_label_leaves_the_body_as_it_is() -> None:
    mask = np.pad(np.ones((5, 6), np.uint8), 4)
    body = to_crs(trace_polygons(mask), TRANSFORM)[0]
    assert cut_polygon(body, mask.astype(np.int32), TRANSFORM, smooth=True) == [body]


class Level:
    """Level ground without end, which remembers what was read of it."""

    def __init__(self) -> None:
        self.read_on: list[Grid] = []

    def read(self, grid: Grid) -> NDArray[np.float64]:
        self.read_on.append(grid)
        return np.zeros(grid.shape)


def test_terrain_is_read_as_far_beyond_the_ice_as_water_is_followed() -> None:
    body = shapely.box(478_300, 3_107_400, 478_600, 3_107_700)
    for surround_m in (90.0, 1500.0):
        ground = Level()
        rules = InventorySettings(surround_m=surround_m)
        Divider(_grid((40, 40)), cast("LocalRaster", ground), settings=rules).divide(np.array([body]))
        (grid,) = ground.read_on
        margins = np.abs(np.array(grid.bounds) - body.bounds)
        assert (margins >= surround_m).all()
        assert (margins < surround_m + 300).all()
