"""The file to correct: what it holds, and that it is never replaced once somebody has edited it."""

import logging
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod

from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import rasterize_outlines
from glacierseg.review.corrections import label_glaciers, read_origin, write_corrections
from glacierseg.review.edits import read_edits
from tests.review.drawn import (
    DEGREES,
    SOUTH_UP,
    TURNED,
    UTM,
    box,
    check_all,
    drawn,
    layer,
    save,
    two_glaciers,
    with_rows,
    write_mask,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_unedited_outlines_are_the_mask_again(tmp_path: Path, seed: int) -> None:
    share = (0.0, 0.05, 0.3, 0.5, 0.6, 0.8, 0.95, 1.0)[seed]
    grid = (UTM, DEGREES, TURNED, SOUTH_UP)[seed % 4]
    rng = np.random.default_rng(seed)
    # Noise has holes, holes in holes, and pixels that touch at corners.
    mask = (rng.random(grid.shape) < share).astype(np.uint8)
    mask[rng.random(grid.shape) < 0.05] = 255
    divides = gpd.GeoDataFrame(
        {"inv_id": ["upper", "lower"]},
        geometry=[box(0, 9.3, 0, 30, grid), box(9.3, 17, 2.2, 30, grid)],
        crs=grid.crs.to_wkt(),
    )
    file, path = drawn(tmp_path, mask, grid, glaciers=divides if seed % 3 else None)
    check_all(path, grid)
    found = read_edits(file, path)
    np.testing.assert_array_equal(found.truth, mask)
    np.testing.assert_array_equal(found.checked, mask != 255)
    assert found.changes.empty
    shapes = layer(path).geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.area(shapes).sum() == pytest.approx(abs(grid.transform.determinant) * (mask == 1).sum())


def test_outlines_are_cut_along_the_divides_of_the_inventory(tmp_path: Path) -> None:
    mask = two_glaciers()
    mask[22, 2] = 1
    # A smooth outline leaves pixels at the rim out; they belong to the glacier beside them.
    divides = gpd.GeoDataFrame(
        {"inv_id": ["west", "east", "other"]},
        geometry=[box(2.7, 9.4, 2.6, 7, UTM), box(2.7, 9.4, 7, 11.4, UTM), box(14, 20, 18, 24, UTM)],
        crs=UTM.crs.to_wkt(),
    ).to_crs(4326)
    _, path = drawn(tmp_path, mask, glaciers=divides)
    table = layer(path)
    assert list(table["glacier_id"]) == ["west", "east", "other", "fragment 1"]
    expected = np.zeros(UTM.shape, np.uint8)
    expected[2:10, 2:7] = 1
    expected[5, 5] = 0
    np.testing.assert_array_equal(rasterize_outlines(table[:1], UTM), expected)
    assert [shape.area / 100 for shape in table.geometry] == [8 * 5 - 1, 8 * 5, 36, 1]


@pytest.mark.parametrize("seed", range(3))
def test_without_an_inventory_connected_ice_is_a_glacier(seed: int) -> None:
    mask = (np.random.default_rng(seed).random(UTM.shape) < 0.4).astype(np.uint8)
    labels, ids = label_glaciers(mask, UTM, None)
    count, parts = cv2.connectedComponents(mask, connectivity=8)
    assert len(ids) == count - 1
    assert len(np.unique(labels * count + parts)) == count
    assert (np.diff(np.bincount(labels.ravel())[1:]) <= 0).all()


def test_the_file_says_what_it_was_drawn_from_and_how_it_looks(tmp_path: Path) -> None:
    places = gpd.GeoDataFrame({"rank": [1]}, geometry=[box(0, 5, 0, 5)], crs=UTM.crs.to_wkt())
    file, path = drawn(tmp_path, places=places, facts={"model": "runs/a/unet/all"})
    origin = read_origin(path)
    assert origin["model"] == "runs/a/unet/all"
    assert origin["mask"] == str(file)
    assert len(layer(path)) == len(layer(path, "before")) == 2
    assert layer(path, "checked").empty
    assert list(layer(path, "checked").columns) == ["analyst", "date", "note", "geometry"]
    assert list(layer(path, "places")["rank"]) == [1]
    styles = layer(path, "layer_styles")
    assert set(styles["f_table_name"]) == {"outlines", "checked", "before", "places"}
    assert "glacier_id" in styles.set_index("f_table_name").loc["outlines", "styleQML"]


def test_a_mask_without_glacier_gives_empty_layers(tmp_path: Path) -> None:
    file, path = drawn(tmp_path, np.zeros(UTM.shape, np.uint8))
    check_all(path)
    assert layer(path).empty
    assert (read_edits(file, path).truth == 0).all()


def test_what_nobody_edited_is_made_anew(tmp_path: Path) -> None:
    file, path = drawn(tmp_path)
    made = path.stat().st_mtime_ns
    assert write_corrections(path, file)
    assert path.stat().st_mtime_ns == made  # nothing had changed
    # QGIS writes such a file again when it only looks at it.
    save(path, layer(path)[::-1])
    mask = two_glaciers()
    mask[14:20] = 0
    assert write_corrections(path, write_mask(tmp_path, mask))
    assert len(layer(path)) == 1


@pytest.mark.parametrize("how", ["moved", "noted", "removed", "checked", "layer", "strange"])
def test_what_was_edited_stays(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    path = drawn(tmp_path)[1]
    table = layer(path)
    if how == "moved":
        save(path, table.set_geometry(table.translate(0.01)))
    elif how == "noted":
        save(path, table.assign(note=["shadow", None]))
    elif how == "removed":
        save(path, table[:1])
    elif how == "checked":
        check_all(path)
    elif how == "layer":
        save(path, table, "mine")
    else:
        path.unlink()
        save(path, table, "theirs")
    before = path.read_bytes()
    caplog.set_level(logging.INFO)
    assert not write_corrections(path, write_mask(tmp_path, 1 - np.minimum(two_glaciers(), 1)))
    assert path.read_bytes() == before
    assert "was edited, so it stays as it is" in caplog.text
    assert not list(tmp_path.glob("*-wal"))


def test_random_edits_are_what_numpy_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for number, grid in enumerate([UTM, DEGREES, TURNED, SOUTH_UP]):
        folder = tmp_path / str(number)
        folder.mkdir()
        mask = (rng.random(grid.shape) < 0.6).astype(np.uint8)
        mask[rng.random(grid.shape) < 0.05] = 255
        file, path = drawn(folder, mask, grid)
        # Whole pixels, so that numpy knows them, and overlapping what is there.
        sides = [np.sort(rng.choice(size + 1, (5, 2)), axis=1) for size in grid.shape]
        boxes = [
            (a, b + 1, c, d + 1) for (a, b), (c, d) in zip(*(one.tolist() for one in sides), strict=True)
        ]
        table = layer(path)
        add, cut, looked_at = boxes[:2], boxes[2:4], boxes[4]
        shapes = shapely.difference(
            table.geometry.to_numpy(), shapely.union_all([box(*one, grid) for one in cut])
        )
        table = table.set_geometry(shapes, crs=table.crs)
        save(path, with_rows(table, *({"geometry": box(*one, grid)} for one in add)))
        check_ground = gpd.GeoDataFrame(geometry=[box(*looked_at, grid)], crs=grid.crs.to_wkt())
        save(path, check_ground, "checked")
        edited = mask == 1
        for top, bottom, left, right in cut:
            edited[top:bottom, left:right] = False
        for top, bottom, left, right in add:
            edited[top:bottom, left:right] = True
        inside = np.zeros(grid.shape, bool)
        inside[looked_at[0] : looked_at[1], looked_at[2] : looked_at[3]] = True
        expected = np.where(inside & (mask != 255), edited, 255)
        found = read_edits(file, path)
        np.testing.assert_array_equal(found.truth, expected)
        areas = areas_by_row(grid)
        gained, lost = (expected == 1) & (mask == 0), (expected == 0) & (mask == 1)
        assert found.gained_km2 == pytest.approx((gained * areas).sum(), rel=5e-3)
        assert found.lost_km2 == pytest.approx((lost * areas).sum(), rel=5e-3)
        assert found.checked_km2 == pytest.approx(((expected != 255) * areas).sum(), rel=5e-3)
        unused = (mask != 255) & ~inside & (edited != (mask == 1))
        said = [line for line in found.warnings if "outside the checked ground" in line]
        assert len(said) == int(unused.any())
        if said:
            assert float(said[0].split()[0]) == pytest.approx((unused * areas).sum(), rel=1e-2)


def areas_by_row(grid: Grid) -> Any:
    """Area of a pixel of every row, on the ellipsoid where the CRS counts degrees."""
    if not grid.is_geographic:
        return abs(grid.transform.determinant) / 1e6
    geod, found = Geod(ellps="WGS84"), []
    for row in range(grid.height):
        corners = [grid.transform * corner for corner in ((0, row), (1, row), (1, row + 1), (0, row + 1))]
        longitudes, latitudes = np.transpose(corners)
        found.append([abs(geod.polygon_area_perimeter(longitudes, latitudes)[0]) / 1e6])
    return np.array(found)
