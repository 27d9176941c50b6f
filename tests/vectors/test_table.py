import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod

from glacierseg.vectors.layers import outline_table


def test_areas_are_those_of_the_ellipsoid_without_holes():
    outer, hole = shapely.box(86.8, 27.9, 86.9, 28.0), shapely.box(86.82, 27.92, 86.84, 27.94)
    table = outline_table(np.array([outer.difference(hole), hole]), CRS.from_epsg(4326))
    geod = Geod(ellps="WGS84")
    areas_km2 = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in (outer, hole)]
    assert table["area_km2"].tolist() == pytest.approx([areas_km2[0] - areas_km2[1], areas_km2[1]], rel=1e-12)


def test_a_projected_area_is_corrected_for_its_scale():
    # On the central meridian a UTM map is too small by 0.9996 in each direction.
    square = shapely.box(499_500, 3_099_500, 500_500, 3_100_500)
    table = outline_table(np.array([square]), CRS.from_epsg(32645))
    assert table["area_km2"][0] == pytest.approx(1 / 0.9996**2, rel=1e-6)


def test_the_centre_lies_inside_even_of_a_ring():
    ring = shapely.Point(500_000, 3_100_000).buffer(900) - shapely.Point(500_000, 3_100_000).buffer(800)
    table = outline_table(np.array([ring]), CRS.from_epsg(32645))
    degrees = table.to_crs(4326).geometry[0]
    assert degrees.contains(shapely.Point(table["cenlon"][0], table["cenlat"][0]))


def test_small_outlines_are_left_out_and_the_rest_numbered_through():
    squares = np.array(
        [
            shapely.box(5e5 + x, 3e6, 5e5 + x + side, 3e6 + side)
            for x, side in ((0, 1000), (2000, 100), (3000, 500))
        ]
    )
    table = outline_table(squares, CRS.from_epsg(32645), min_area_km2=0.05)
    assert table["glacier_id"].tolist() == [1, 2]
    assert table.geometry.area.tolist() == [1e6, 2.5e5]


def test_no_outlines_make_an_empty_table_with_all_columns():
    table = outline_table(np.array([], dtype=object), CRS.from_epsg(32645))
    assert table.columns.tolist() == ["glacier_id", "area_km2", "cenlon", "cenlat", "geometry"]
    assert table.crs.to_epsg() == 32645
    assert len(table) == 0
    assert all(len(name) <= 10 for name in table.columns)
