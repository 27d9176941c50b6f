"""Boxes and areas: in order, around the globe, with names of their own."""

import json
import shlex
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import box, shape

from glacierseg.catalogues.place import place_of_box, places_in
from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.outlines import read_shapes

KHUMBU = (86.5, 27.7, 87.1, 28.2)


def test_a_box_is_its_ground() -> None:
    place = place_of_box(KHUMBU)
    assert place.outline.equals(box(*KHUMBU))
    assert (place.words, place.name, place.is_area) == ("86.5,27.7,87.1,28.2", "", False)


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        ((179.5, 66, -179.5, 67), (179.5, 66, 180.5, 67)),
        ((179.5, 66, 180.5, 67), (179.5, 66, 180.5, 67)),
        ((-180.5, 66, -179.5, 67), (179.5, 66, 180.5, 67)),
        ((180, 66, 181, 67), (-180, 66, -179, 67)),
        ((-180, 66, -179, 67), (-180, 66, -179, 67)),
        ((-70.5, -50, -70, -49), (-70.5, -50, -70, -49)),
        # Wide in degrees, and not on the ground.
        ((10, 77, 30, 80), (10, 77, 30, 80)),
    ],
)
def test_a_box_lies_in_one_piece_across_180_degrees(
    given: tuple[float, ...], bounds: tuple[float, ...]
) -> None:
    assert place_of_box(given).outline.bounds == pytest.approx(bounds)


def test_sides_follow_their_parallel() -> None:
    """Between the corners of the outline a straight line in UTM is nowhere a pixel beside the parallel."""
    corners = shapely.get_coordinates(place_of_box((80, 55, 89, 56)).outline)
    north = corners[corners[:, 1] == 56]
    way = Transformer.from_crs(4326, 32645, always_xy=True)
    ends = np.column_stack(way.transform(*north.T))
    middles = np.column_stack(way.transform(*((north[1:] + north[:-1]) / 2).T))
    assert np.abs((ends[1:] + ends[:-1]) / 2 - middles)[:, 1].max() < 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((27.7, 86.5, 28.2, 87.1), "no satellite here looks beyond 84"),
        ((27.7, 96.5, 28.2, 97.1), "latitudes must be from -90 to 90"),
        ((87.1, 27.7, 86.5, 28.2), "is 359.4 x 0.5 degrees"),
        ((86.5, 28.2, 87.1, 27.7), "must lie below its north side"),
        ((86.5, 87.1, 27.7, 28.2), "must lie below its north side"),
    ],
)
def test_numbers_in_another_order_are_refused_with_the_box_that_was_meant(
    given: tuple[float, ...], said: str
) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        place_of_box(given)
    words = shlex.split(str(caught.value).split("did you mean ")[1].split("?")[0])
    assert words[0] == "--bbox"
    meant = [float(side) for side in words[1].split(",")]
    assert sorted(meant) == sorted(given)
    assert place_of_box(meant).outline.area > 0


def test_a_text_is_no_box() -> None:
    with pytest.raises(RequestError, match=r"a box is four numbers, .* \(got '86,27,87,28'\)"):
        place_of_box("86,27,87,28")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 0, 40, 3), "is 40 x 3 degrees, and the limit is 10 x 10"),
        ((10, 0, 5, 3), "is 355 x 3 degrees"),
        ((86, 27, 86, 28), "only 0 x 1 degrees"),
        ((86, 27, 86.0001, 27.1), r"only 0.0001 x 0.1 degrees"),
        ((400, 1, 402, 3), "longitudes must be"),
        ((np.nan, 1, 2, 3), "must be numbers"),
        ((1, 2, 3), "got 3 numbers"),
    ],
)
def test_what_is_no_box_is_refused(given: tuple[float, ...], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        place_of_box(given)


def write_areas(path: Path, crs: int = 4326, **columns: Any) -> Path:
    count = len(next(iter(columns.values())))
    shapes = [box(86 + i / 10, 27, 86.05 + i / 10, 27.05) for i in range(count)]
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_crs(crs).to_file(path)
    return path


def test_areas_have_names_that_are_folders_and_there_once(tmp_path: Path) -> None:
    names = ["Khumbu / Nepal", "khumbu_nepal", None, "../etc", "  ", "Hispar", "areas.csv"]
    places = places_in(write_areas(tmp_path / "basins.gpkg", name=names))
    assert [one.name for one in places] == [
        "Khumbu_Nepal",
        "khumbu_nepal_2",
        "3",
        "etc",
        "5",
        "Hispar",
        "areas.csv_2",
    ]
    assert all(one.is_area for one in places)
    assert places[5].words == "Hispar"
    unnamed = places_in(write_areas(tmp_path / "unnamed.gpkg", area=[1.5, 2.5]))
    assert [one.name for one in unnamed] == ["1", "2"]


def test_the_column_of_names_is_asked_for_or_a_usual_one(tmp_path: Path) -> None:
    path = write_areas(tmp_path / "basins.gpkg", ID=[7.0, 8.0], Name=["a", "b"], code=["x", "y"])
    assert [one.name for one in places_in(path)] == ["a", "b"]
    assert [one.name for one in places_in(path, column="id")] == ["7", "8"]
    with pytest.raises(RequestError, match=r"no column 'cod' \(did you mean 'code'\?\); its columns are"):
        places_in(path, column="cod")


def test_areas_of_any_crs_lie_where_they_are_and_in_one_piece(tmp_path: Path) -> None:
    place = places_in(write_areas(tmp_path / "utm.gpkg", 32645, name=["a"]))[0]
    assert place.outline.symmetric_difference(box(86, 27, 86.05, 27.05)).area < 1e-5
    halves = shapely.multipolygons([box(179.9, 66, 180, 66.1), box(-180, 66, -179.8, 66.1)])
    gpd.GeoDataFrame({"name": ["b"]}, geometry=[halves], crs=4326).to_file(tmp_path / "halves.gpkg")
    joined = places_in(tmp_path / "halves.gpkg")[0].outline
    assert joined.geom_type == "Polygon"
    assert joined.bounds == pytest.approx((179.9, 66, 180.2, 66.1))


def test_an_area_that_is_too_large_is_named(tmp_path: Path) -> None:
    table = gpd.GeoDataFrame({"name": ["Asia"]}, geometry=[box(60, 20, 100, 40)], crs=4326)
    table.to_file(tmp_path / "a.gpkg")
    with pytest.raises(RequestError, match=r"a\.gpkg: area Asia is 40 x 20 degrees"):
        places_in(tmp_path / "a.gpkg")
    with pytest.raises(TruthError, match="no such file"):
        places_in(tmp_path / "none.gpkg")


def test_an_outline_is_written_as_others_read_it(tmp_path: Path) -> None:
    place = places_in(write_areas(tmp_path / "basins.gpkg", name=["a"]))[0]
    place.write(tmp_path / "a.geojson")
    written = shape(json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"])
    assert written.symmetric_difference(place.outline).area < 1e-9
    assert read_shapes(tmp_path / "a.geojson", shapes="polygons").crs.to_epsg() == 4326
