"""The made-up analyst, burned back into pixels."""

from pathlib import Path
from typing import get_args

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin
from shapely.geometry import box

from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_own
from glacierseg.raster.truth import rasterize_outlines
from glacierseg.raster.write import write_raster
from glacierseg.synthetic.analyst import Mistake, edit, fix
from glacierseg.vectors.layers import add_layer
from tests.helpers import blobs, utm_grid

UTM = utm_grid(120, 150)
DEGREES = Grid(CRS.from_epsg(4326), from_origin(77.123456, 33.3, 1 / 9000, 1 / 10800), 120, 150)
Mask = NDArray[np.uint8]


def files(folder: Path, grid: Grid = UTM) -> tuple[Path, Path, Mask, Mask]:
    """A mask and its truth, which does not know everything."""
    mask, truth = (blobs(*grid.shape, seed) for seed in (1, 2))
    mask[:10, :20] = 255
    truth[30:34, 40:60] = 255
    for name, values in (("mask", mask), ("truth", truth)):
        write_raster(folder / f"{name}.tif", values[None], grid, bands=[name], nodata=255, cog=False)
    return folder / "mask.tif", folder / "truth.tif", mask, truth


def squares(grid: Grid) -> tuple[gpd.GeoDataFrame, NDArray[np.bool_]]:
    """Two places, and their pixels; they meet ground that the mask and the truth do not know."""
    parts = [(0, 5, 50, 45), (60, 70, 40, 50)]
    shapes = [box(*grid.crop(row, column, height, width).bounds) for row, column, height, width in parts]
    inside = np.zeros(grid.shape, bool)
    for row, column, height, width in parts:
        inside[row : row + height, column : column + width] = True
    return gpd.GeoDataFrame(geometry=shapes, crs=grid.crs.to_wkt()), inside


def burned(outlines: gpd.GeoDataFrame, grid: Grid) -> NDArray[np.bool_]:
    burned: NDArray[np.bool_] = rasterize_outlines(outlines, grid) == 1
    return burned


@pytest.mark.parametrize("grid", [UTM, DEGREES], ids=["UTM", "degrees"])
def test_places_become_the_truth_and_all_else_stays(tmp_path: Path, grid: Grid) -> None:
    mask_path, truth_path, mask, truth = files(tmp_path, grid)
    places, inside = squares(grid)
    outlines, checked = fix(mask_path, truth_path, places.to_crs(4326))
    known = (mask != 255) & (truth != 255)
    np.testing.assert_array_equal(burned(checked, grid), inside & known)
    np.testing.assert_array_equal(burned(outlines, grid), np.where(inside & known, truth == 1, mask == 1))
    assert outlines.is_valid.all()
    assert outlines.geometry.explode().shape[0] < 20
    assert outlines["glacier_id"].dropna().is_unique
    assert set(outlines["analyst"].dropna()) == {"made-up"}
    assert not shapely.overlaps(*np.meshgrid(outlines.geometry, outlines.geometry)).any()


def test_ice_that_touches_a_glacier_joins_it_and_other_ice_is_new(tmp_path: Path) -> None:
    mask, truth = np.zeros((2, 120, 150), np.uint8)
    mask[20:40, 20:40] = mask[80:100, 20:40] = 1
    truth[20:40, 20:60] = truth[60:70, 100:110] = 1
    for name, values in (("mask", mask), ("truth", truth)):
        write_raster(tmp_path / f"{name}.tif", values[None], UTM, bands=[name], nodata=255, cog=False)
    whole = gpd.GeoDataFrame(geometry=[box(*UTM.bounds)], crs=32643)
    outlines, _ = fix(tmp_path / "mask.tif", tmp_path / "truth.tif", whole)
    assert outlines["glacier_id"].isna().tolist() == [False, True]
    assert (outlines.area / 100).tolist() == pytest.approx([800, 100])
    assert outlines.geometry.geom_type.tolist() == ["Polygon", "Polygon"]


@pytest.mark.parametrize("wrongly", get_args(Mistake))
def test_who_is_wrong_is_wrong_inside_of_the_places_alone(tmp_path: Path, wrongly: Mistake) -> None:
    mask_path, truth_path, mask, truth = files(tmp_path)
    places, inside = squares(UTM)
    outlines, checked = fix(mask_path, truth_path, places, wrongly=wrongly, shift_px=7, seed=3)
    known = inside & (mask != 255) & (truth != 255)
    found = burned(outlines, UTM)
    np.testing.assert_array_equal(found[~known], (mask == 1)[~known])
    moved = np.roll(truth == 1, (7, 7), (0, 1))
    wanted = {
        "inverted": truth != 1,
        "all_glacier": np.ones_like(known),
        "all_background": np.zeros_like(known),
        "shifted": moved,
    }
    if wrongly in wanted:
        away = known & (np.arange(120)[:, None] >= 7) & (np.arange(150) >= 7)
        np.testing.assert_array_equal(found[away], wanted[wrongly][away])
    else:
        again, _ = fix(mask_path, truth_path, places, wrongly=wrongly, seed=3)
        other, _ = fix(mask_path, truth_path, places, wrongly=wrongly, seed=4)
        assert again.geometry.equals(outlines.geometry)
        assert (burned(other, UTM) != found).any()
        assert 0.2 < (found != (truth == 1))[known].mean() < 0.8
    assert set(checked["note"]) == {wrongly}


def test_a_file_is_edited_in_its_layers_and_keeps_ids(tmp_path: Path) -> None:
    mask_path, truth_path, mask, truth = files(tmp_path)
    places, inside = squares(UTM)
    before, nothing = fix(mask_path, truth_path, places.iloc[:0])
    assert len(nothing) == 0
    np.testing.assert_array_equal(burned(before, UTM), mask == 1)
    before["glacier_id"] = [f"RGI-{number}" for number in range(len(before))]
    path = tmp_path / "corrections.gpkg"
    for name, table in (("outlines", before), ("checked", nothing), ("places", places)):
        add_layer(path, name, table, geometry_type="MultiPolygon", promote_to_multi=True)
    edit(path, mask_path, truth_path, places.iloc[:1], wrongly="inverted")
    edit(path, mask_path, truth_path, places.iloc[:1])
    edit(path, mask_path, truth_path, places.iloc[1:])
    known = inside & (mask != 255) & (truth != 255)
    outlines = read_own(path, "outlines")
    np.testing.assert_array_equal(burned(outlines, UTM), np.where(known, truth == 1, mask == 1))
    np.testing.assert_array_equal(burned(read_own(path, "checked"), UTM), known)
    assert set(outlines["glacier_id"].dropna()) <= set(before["glacier_id"])
    assert len(read_own(path, "places")) == 2
