import re
from collections.abc import Callable, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import (
    GeometryCollection,
    LineString,
    MultiPoint,
    MultiPolygon,
    Point,
    Polygon,
    box,
    from_wkt,
)
from shapely.geometry.base import BaseGeometry

from glacierseg.raster.outlines.repair import (
    about_shapes,
    areas_km2,
    count_once,
    glacier_boundaries,
    join_parts,
    lines_of,
    polygons_of,
)

CRS = "EPSG:32645"


def rewound(shape: Polygon, *, holes_too: bool) -> Polygon:
    """The same ground with all rings the same way round, or the holes against the outer one."""
    shell, *holes = (np.asarray(ring.coords) for ring in (shape.exterior, *shape.interiors))
    turned = [ring if shapely.is_ccw(shapely.LinearRing(ring)) else ring[::-1] for ring in (shell, *holes)]
    return Polygon(turned[0], [ring if holes_too else ring[::-1] for ring in turned[1:]])


def with_spike(shape: Polygon) -> Polygon:
    first = np.asarray(shape.exterior.coords)
    return Polygon(np.vstack([first[:1], first[:1] + 7, first]), list(shape.interiors))


DISGUISES: dict[str, Callable[[Polygon], BaseGeometry]] = {
    "heights": lambda one: shapely.force_3d(one, 5000.0),
    "heights and measures": lambda one: from_wkt(re.sub(r"(\d)(?=[,)])", r"\1 7 8", one.wkt)),
    "holes wound like their shell": lambda one: rewound(one, holes_too=True),
    "holes wound against it": lambda one: rewound(one, holes_too=False),
    "in a collection": lambda one: GeometryCollection([Point(0, 0), one, LineString([(0, 0), (9, 9)])]),
    "deep in collections": lambda one: GeometryCollection([GeometryCollection([MultiPolygon([one])])]),
    "twice in one": lambda one: MultiPolygon([one, one]),
    "a hole twice": lambda one: Polygon(one.exterior, [ring for ring in one.interiors for _ in range(2)]),
    "a spike": with_spike,
    "doubled corners": lambda one: Polygon(
        np.repeat(np.asarray(one.exterior.coords), 2, axis=0), list(one.interiors)
    ),
}


@given(
    st.tuples(*[st.integers(1, 50)] * 2, *[st.integers(1, 9)] * 2),
    st.sampled_from(sorted(DISGUISES)),
)
def test_the_ground_of_a_polygon_is_the_same_in_every_disguise(
    sizes: tuple[int, int, int, int], name: str
) -> None:
    width, height, hole_width, hole_height = sizes
    shape = box(0, 0, 20 + width, 20 + height) - box(5, 5, 5 + hole_width, 5 + hole_height)
    assert isinstance(shape, Polygon)
    (found,) = polygons_of([DISGUISES[name](shape)])
    assert found.is_valid
    assert not found.has_z
    assert found.symmetric_difference(shape).area < 1e-9
    assert shapely.is_ccw(found.exterior)
    assert not shapely.is_ccw(found.interiors[0])


@pytest.mark.parametrize(
    ("wkt", "area"),
    [
        ("POLYGON((0 0, 4 4, 4 0, 0 4, 0 0))", 8),  # a bow-tie
        ("POLYGON((0 0, 6 0, 6 6, 2 6, 2 2, 8 2, 8 4, 4 4, 4 8, 0 8, 0 0))", 48),  # overlaps itself
        ("MULTIPOLYGON(((0 0, 2 0, 2 2, 0 2, 0 0)), ((1 0, 3 0, 3 2, 1 2, 1 0)))", 6),
        ("POLYGON((0 0, 2 0, 2 2, 0 2, 0 0), (1 1, 3 1, 3 3, 1 3, 1 1))", 3),  # a hole across the rim
        ("POLYGON((0 0, 6 0, 6 6, 0 6, 0 0), (1 1, 3 1, 3 3, 1 3, 1 1), (2 2, 4 2, 4 4, 2 4, 2 2))", 29),
        ("POLYGON((0 0, 4 0, 4 4, 0 4, 0 0), (0 0, 4 0, 4 4, 0 4, 0 0))", None),  # nothing but its hole
        ("POLYGON((0 0, 1 1, 2 2, 0 0))", None),
        ("POLYGON EMPTY", None),
        ("POINT(0 0)", None),
        ("LINESTRING(0 0, 1 1)", None),
        ("GEOMETRYCOLLECTION(POINT(0 0))", None),
        ("POLYGON((0 0, 1 NaN, 1 1, 0 0))", None),
        ("POLYGON((0 0, 1 inf, 1 1, 0 0))", None),
        ("POLYGON((0 0, 4 0, 4 NaN, 4 4, 0 4, 0 0))", 16),
    ],
)
@pytest.mark.filterwarnings("error")
def test_areas_of_odd_shapes(wkt: str, area: int | None) -> None:
    with np.errstate(invalid="ignore"):
        shape = from_wkt(wkt)
    (found,) = polygons_of([shape])
    assert (found if found is None else found.area) == area


def test_what_one_repair_leaves_invalid_is_repaired_again() -> None:
    corners = [(10, 13), (20, 18), (25, 9), (30, 14), (29, 5), (20, 6), (36, 16), (25, 38), (23, 7), (34, 18)]
    crossing = Polygon([(100 * x, 100 * y) for x, y in [*corners, (4, 6)]])
    (found,) = polygons_of([crossing])
    assert found.is_valid


def test_what_was_left_out_taken_and_repaired_is_counted() -> None:
    given_shapes = np.array(
        [
            box(0, 0, 1, 1),
            None,
            Polygon(),
            Point(0, 0),
            MultiPoint([(0, 0), (1, 1)]),
            LineString([(0, 0), (1, 1)]),
            GeometryCollection([box(0, 0, 1, 1), Point(0, 0), LineString([(0, 0), (1, 1)])]),
            GeometryCollection([Point(0, 0)]),
            Polygon([(0, 0), (4, 4), (4, 0), (0, 4)]),
        ],
        object,
    )
    found = polygons_of(given_shapes)
    assert about_shapes(given_shapes, found, "polygons") == [
        "2 rows without a shape, 2 points, 1 line and 1 shape without polygons left out",
        "polygons taken out of 1 collection (2 parts of another kind left out)",
        "1 invalid outline repaired (lines that cross, parts that overlap)",
    ]
    assert about_shapes(given_shapes[:1], found[:1], "polygons") == []


def test_lines_are_taken_out_of_collections_too() -> None:
    line = LineString([(0, 0, 5), (9, 9, 5)])
    shapes = np.array([line, GeometryCollection([line, line, Point(0, 0)]), box(0, 0, 1, 1), None], object)
    found = lines_of(shapes)
    assert [None if one is None else (round(one.length, 2), one.has_z) for one in found] == [
        (12.73, False), (25.46, False), None, None,
    ]  # fmt: skip
    assert about_shapes(shapes, found, "lines") == [
        "1 row without a shape and 1 polygon left out",
        "lines taken out of 1 collection (1 part of another kind left out)",
    ]


def test_areas_are_true_however_rings_are_wound() -> None:
    shell, hole = box(481000, 3098000, 482000, 3099000), box(481200, 3098200, 481900, 3098900)
    for holes_too in (True, False):
        holed = shell - hole
        assert isinstance(holed, Polygon)
        shape = rewound(holed, holes_too=holes_too)
        equal_area = pyproj.CRS.from_proj4("+proj=laea +lat_0=28 +lon_0=86.8")
        expected = gpd.GeoSeries([shell - hole], crs=CRS).to_crs(equal_area).area / 1e6
        np.testing.assert_allclose(areas_km2([shape], CRS), expected, rtol=1e-6)


BOUND, ROCK, DEBRIS = box(0, 0, 1000, 2000), box(300, 300, 600, 900), box(100, 1500, 900, 2000)
OTHER = box(3000, 0, 4000, 1500)


def glims(rows: Sequence[tuple[str, int, str, BaseGeometry]], **dates: Any) -> gpd.GeoDataFrame:
    ids, analyses, kinds, shapes = zip(*rows, strict=True)
    columns = {"glac_id": ids, "anlys_id": analyses, "line_type": kinds} | dates
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=CRS)


@pytest.mark.parametrize("already_cut", [False, True])
def test_of_a_glims_file_boundaries_are_ice_and_rock_is_cut_out(already_cut: bool) -> None:
    table = glims(
        [
            ("G1", 1, "glac_bound", BOUND - ROCK if already_cut else BOUND),
            ("G1", 1, "Intrnl_Rock ", ROCK),
            ("G1", 1, "debris_cov", DEBRIS),
            ("G1", 1, "pro_lake", box(0, -100, 100, 0)),
            ("G2", 2, "glac_bound", OTHER),
        ]
    )
    found, said = glacier_boundaries(table)
    assert found["glac_id"].tolist() == ["G1", "G2"]
    assert found.area.tolist() == [2e6 - 180e3, 1.5e6]
    assert said == [
        "2 rows of other line types left out (debris_cov, pro_lake)",
        "1 area of internal rock cut out",
    ]


@pytest.mark.parametrize(
    ("dates", "kept"),
    [
        ({"src_date": ["2000-09-01", "2010-09-01", "2010-09-01", "1990-01-01"]}, ["b", "c", "d"]),
        ({"src_date": ["2010-09-01T00:00:00", "2000-09-01", None, "1990-01-01"]}, ["a", "d"]),
        ({"src_date": [None] * 4, "anlys_time": ["2001", "2002", "2003", None]}, ["c", "d"]),
        ({"src_date": ["2000"] * 4, "release_dt": ["2015-01-01", "2014-01-01", None, None]}, ["a", "d"]),
        ({}, ["a", "b", "c", "d"]),
        ({"src_date": ["2000"] * 4}, ["a", "b", "c", "d"]),
    ],
)
def test_of_several_analyses_the_newest_counts(dates: dict[str, list[str | None]], kept: list[str]) -> None:
    rows = [("G1", number, "glac_bound", BOUND) for number in (1, 2, 3)] + [("G2", 4, "glac_bound", OTHER)]
    found, said = glacier_boundaries(glims(rows, name=["a", "b", "c", "d"], **dates))
    assert found["name"].tolist() == kept
    older = 4 - len(kept)
    assert said == (
        [f"{older} older {'analysis' if older == 1 else 'analyses'} of 1 glacier left out"] if older else []
    )


def test_rock_of_an_older_analysis_is_not_cut_out() -> None:
    rows = [
        ("G1", 1, "glac_bound", BOUND),
        ("G1", 1, "intrnl_rock", ROCK),
        ("G1", 2, "glac_bound", BOUND),
        ("G1", 2, "intrnl_rock", box(0, 0, 10, 10)),
    ]
    found, _ = glacier_boundaries(glims(rows, src_date=["2000", "2000", "2010", "2010"]))
    assert found.area.tolist() == [2e6 - 100]


def test_line_types_of_other_people_are_left_alone() -> None:
    table = gpd.GeoDataFrame({"line_type": ["solid", "dashed"]}, geometry=[BOUND, OTHER], crs=CRS)
    found, said = glacier_boundaries(table)
    assert (len(found), said) == (2, [])
    none, _ = glacier_boundaries(table.assign(line_type=["debris_cov", "snowline"]))
    assert none.empty


FAR = [box(5000 * i, 0, 5000 * i + 1000, 1000) for i in range(4)]
NEAR = [box(1500 * i, 0, 1500 * i + 1000, 1000) for i in range(4)]


@pytest.mark.parametrize(
    ("columns", "ids", "said"),
    [
        ({}, "1 2 3 4", ""),
        ({"RGIId": list("abcd"), "id": [1, 2, 3, 4]}, "a b c d", ""),
        ({"id": [7.0, 8.0, 9.0, 11.0]}, "7 8 9 11", ""),
        ({"id": pd.array([None] * 4, "Int64")}, "1 2 3 4", "all of 4 ids in column 'id' (4 missing or 0)"),
        ({"Id": [0, 0, 0, 0]}, "1 2 3 4", "all of 4 ids in column 'Id' (4 missing or 0)"),
        ({"id": ["", " ", None, "NULL"]}, "1 2 3 4", "all of 4 ids in column 'id' (4 missing or 0)"),
        ({"id": [5, 5, 5, 5]}, "1 2 3 4", "all of 4 ids in column 'id' (4 repeated)"),
        ({"id": [5, 5, 6, None]}, "1 2 6 4", "3 of 4 ids in column 'id' (1 missing or 0 and 2 repeated)"),
        # A row number that is somebody's id already would be a second of that name.
        ({"id": [0, 1, 2, 3]}, "1 2 3 4", "all of 4 ids in column 'id' (1 missing or 0)"),
        ({"rgi_id": [None] * 4, "glac_id": list("abcd")}, "a b c d", ""),
        ({"rgi_id": ["a", "b", None, "d"], "id": [1, 2, 3, 4]}, "a b 3 d", "1 of 4 ids in column 'rgi_id'"),
        ({"rgi_id": [1, 1, 2, 3]}, "1 2 3 4", "all of 4 ids in column 'rgi_id' (2 repeated)"),
        # Far apart one id is a default that somebody forgot, not one glacier.
        ({"rgi_id": ["x"] * 4}, "1 2 3 4", "all of 4 ids in column 'rgi_id' (4 repeated)"),
        ({"id": [None] * 4, "Name": list("abcd")}, "a b c d", ""),
        ({"Name": ["a", "a", "b", None]}, "1 2 3 4", ""),
    ],
)
def test_ids_that_are_none_become_row_numbers(columns: dict[str, Any], ids: str, said: str) -> None:
    table = gpd.GeoDataFrame(columns, geometry=FAR, crs=CRS)
    found, own, notes = join_parts(table)
    assert len(found) == 4
    assert own.tolist() == ids.split()
    assert " ".join(notes).startswith(f"row numbers stand for {said}" if said else said)
    assert bool(notes) == bool(said)


@pytest.mark.parametrize("columns", [{"id": list("aabc")}, {"glacier_id": [1, 1, 2, 3]}])
def test_only_ids_of_inventories_with_letters_join_rows(columns: dict[str, list[str | int]]) -> None:
    found, ids, said = join_parts(gpd.GeoDataFrame(columns, geometry=NEAR, crs=CRS))
    assert (len(found), len(set(ids))) == (4, 4)
    assert "2 repeated" in said[0]


@pytest.mark.parametrize("crs", [CRS, "EPSG:4326", "EPSG:2263"])
def test_rows_of_one_glacier_are_its_parts(crs: str) -> None:
    shapes = gpd.GeoSeries([*NEAR[:3], box(9000, 0, 9900, 900)], crs=CRS).translate(480000, 3100000)
    if crs == "EPSG:2263":  # in feet, near New York
        shapes = shapes.set_crs("EPSG:32618", allow_override=True).translate(100000, 1400000)
    table = gpd.GeoDataFrame({"glac_id": ["G1", "G2", "G1", "G3"]}, geometry=shapes).to_crs(crs)
    # 2 km apart they are two glaciers; 500 m apart one.
    assert join_parts(table)[1].tolist() == ["1", "G2", "3", "G3"]
    table = table.assign(glac_id=["G1", "G1", "G2", "G3"])
    found, ids, said = join_parts(table)
    assert ids.tolist() == ["G1", "G2", "G3"]
    assert shapely.get_num_geometries(found.geometry).tolist() == [2, 1, 1]
    assert said == ["2 rows that share an id joined to 1 glacier"]


def test_parts_that_overlap_count_once_in_their_glacier() -> None:
    table = gpd.GeoDataFrame({"k": ["x", "x", "y"]}, geometry=[NEAR[0], NEAR[0], NEAR[1]], crs=CRS)
    table = table.set_geometry(table.translate(480000, 3100000))
    found, ids, said = join_parts(table, "k")
    assert ids.tolist() == ["x", "y"]
    assert found.area.tolist() == [1e6, 1e6]
    assert said == ["2 rows that share an id joined to 1 glacier (their overlap of 1 km2 counts once)"]


def test_row_numbers_are_those_of_the_file() -> None:
    table = gpd.GeoDataFrame(geometry=FAR, crs=CRS, index=[0, 2, 5, 6])
    assert join_parts(table)[1].tolist() == ["1", "3", "6", "7"]


def moved(*shapes: Polygon) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=gpd.GeoSeries(list(shapes), crs=CRS).translate(480000, 3100000))


def test_ground_in_two_outlines_counts_once_for_the_earlier() -> None:
    table = moved(box(0, 0, 1000, 1000), box(500, 0, 1500, 1000), box(900, 0, 1400, 1000), box(0, 0, 90, 90))
    found, said = count_once(table)
    assert found.area.tolist() == [1e6, 0.5e6]
    assert shapely.union_all(found.geometry).area == 1.5e6
    # What is lost: half of the second, all of the third, and all of the last.
    assert " ".join(said) == (
        "1.01 km2 where 4 pairs of outlines overlap count once, for the earlier row, "
        "and 2 outlines entirely inside others left out"
    )


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(1, 4)] * 2), min_size=1, max_size=6))
def test_the_sum_of_areas_is_that_of_the_ground(boxes: list[tuple[int, int, int, int]]) -> None:
    table = moved(*(box(100 * x, 100 * y, 100 * (x + w), 100 * (y + h)) for x, y, w, h in boxes))
    found, said = count_once(table)
    together = shapely.union_all(table.geometry)
    assert found.area.sum() == pytest.approx(together.area)
    assert shapely.union_all(found.geometry).symmetric_difference(together).area < 1e-3
    assert bool(said) == (table.area.sum() > together.area + 1)


@pytest.mark.parametrize(
    "second",
    [
        box(1000, 0, 2000, 1000),  # a common side
        box(1000, 1000, 2000, 2000),  # a common corner
        box(999.5, 0, 2000, 1000),  # half a metre wide
        box(999.9, 0.1, 2000, 900),
        box(995, 990, 2000, 2000),  # 50 m2
    ],
)
def test_slivers_are_no_overlap(second: Polygon) -> None:
    table = moved(box(0, 0, 1000, 1000), second)
    found, said = count_once(table)
    assert said == []
    assert found.area.tolist() == pytest.approx([1e6, second.area])


def test_an_outline_smaller_than_a_sliver_counts_once_too() -> None:
    found, said = count_once(moved(box(0, 0, 1000, 1000), box(10, 10, 15, 15)))
    assert len(found) == 1
    assert "1 outline entirely inside" in said[0]
