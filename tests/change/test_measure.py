import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio import features
from rasterio.transform import from_origin
from scipy import ndimage

from glacierseg.change import measure as change
from glacierseg.change.files import change_between_files, write_change
from glacierseg.change.measure import measure_change
from glacierseg.change.termini import _lowest, run_down, shift_along_line, shift_of_lowest_part
from glacierseg.errors import RequestError, TruthError
from glacierseg.raster.grid import Grid
from glacierseg.settings.outlines import ChangeInputs, ChangeSettings
from glacierseg.vectors.trace import trace_polygons
from tests.helpers import present, utm_grid, write_mask, write_scene

MASKS = st.tuples(*[arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1]))] * 2)


def traced(mask: NDArray[np.uint8]) -> NDArray[Any]:
    return trace_polygons(mask) if mask.any() else np.empty(0, object)


@settings(max_examples=60)
@given(MASKS)
def test_areas_are_those_of_the_pixels(masks: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    old, new = masks
    polygons = traced(old)
    found = measure_change(
        polygons, traced(new), [str(i) for i in range(len(polygons))], old_error_m=0, new_error_m=0
    )
    total = found.total
    assert total.old_km2 * 1e6 == pytest.approx(old.sum())
    assert total.new_km2 * 1e6 == pytest.approx(new.sum(), abs=1e-6)
    assert total.advance_km2 * 1e6 == pytest.approx(((new == 1) & (old == 0)).sum(), abs=1e-6)
    assert total.retreat_km2 * 1e6 == pytest.approx(((new == 0) & (old == 1)).sum(), abs=1e-6)
    assert total.change_km2 == pytest.approx(total.advance_km2 - total.retreat_km2, abs=1e-12)
    assert shapely.area(found.retreat).sum() == pytest.approx(total.retreat_km2 * 1e6, abs=1e-6)
    # Ground gained that touches no old glacier along an edge belongs to none.
    gained, _ = ndimage.label((new == 1) & (old == 0))
    beside = ndimage.binary_dilation(old)
    alone = [i for i in range(1, gained.max() + 1) if not (beside & (gained == i)).any()]
    expected = sum((gained == i).sum() for i in alone)
    assert shapely.area(found.advance[found.advance_of < 0]).sum() == pytest.approx(expected, abs=1e-6)
    for i, one in enumerate(found.glaciers):
        assert one.old_km2 * 1e6 == pytest.approx(polygons[i].area)


def test_ground_gained_goes_to_the_longest_border_and_parts_stay_together() -> None:
    old = [shapely.box(0, 0, 100, 100), shapely.box(200, 0, 300, 100)]
    new = [shapely.box(0, 0, 100, 40), shapely.box(0, 60, 100, 100), shapely.box(150, -20, 300, 100)]
    found = measure_change(np.array(old), np.array(new), ["a", "b"], old_error_m=1, new_error_m=2)
    a, b = found.glaciers
    assert (a.retreat_km2 * 1e6, a.advance_km2 * 1e6) == pytest.approx((2000, 0))
    assert (b.retreat_km2, b.advance_km2 * 1e6) == pytest.approx((0, 50 * 100 + 150 * 20))
    # A square of side 100 grown and shrunk by 1: 4 * 100 on either side but for the corners.
    corners = 4 - shapely.Point(0, 0).buffer(1).area
    assert a.old_error_km2 * 1e6 == pytest.approx((800 - corners) / 2, rel=0.01)
    assert a.change_error_km2 == pytest.approx(np.hypot(a.old_error_km2, a.new_error_km2))
    assert a.is_noise
    assert not b.is_noise
    assert a.change_percent == pytest.approx(-20)


def test_a_glacier_of_several_parts_owns_what_lies_beside_any_of_them() -> None:
    apart = shapely.MultiPolygon([shapely.box(0, 0, 100, 100), shapely.box(500, 0, 600, 100)])
    old = [apart, shapely.box(200, 0, 300, 100)]
    new = [apart, old[1], shapely.box(600, 0, 650, 100)]
    found = measure_change(np.array(old), np.array(new), ["a", "b"], old_error_m=0, new_error_m=0)
    assert [one.advance_km2 * 1e6 for one in found.glaciers] == pytest.approx([5000, 0])


def test_parts_of_a_mask_that_touch_at_a_corner_are_one_glacier(tmp_path: Path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[1:3, 1:3] = 1
    mask[5:9, 5:9] = mask[9:11, 9:11] = 1
    grown = mask.copy()
    grown[11, 9:11] = 1
    paths = [write_mask(tmp_path / f"{name}.tif", one) for name, one in (("a", mask), ("b", grown))]
    found = change_between_files(paths[0], paths[1]).change.glaciers
    assert [one.glacier_id for one in found] == ["1", "2"]
    assert found[0].old_km2 == pytest.approx(20 * 1e-4, rel=0.01)
    assert found[0].advance_km2 == pytest.approx(2 * 1e-4, rel=0.01)
    assert found[1].advance_km2 == 0


def test_rates_follow_from_dates() -> None:
    years = ChangeSettings(old_date="2000-10-30", new_date="2010-10-30").years
    assert years == pytest.approx(10, abs=0.01)
    assert ChangeSettings(old_date="2000", new_date="2001").years == pytest.approx(1, abs=0.01)
    shape = np.array([shapely.box(0, 0, 1000, 1000)])
    smaller = np.array([shapely.box(0, 0, 1000, 900)])
    row = measure_change(shape, smaller, ["a"], old_error_m=5, new_error_m=5, years=5).glaciers[0].to_dict()
    assert row["km2_per_year"] == pytest.approx(-0.02)
    assert row["percent_per_year"] == pytest.approx(-2)
    with pytest.raises(RequestError, match=r"'30\.10\.2000' is not a date"):
        ChangeSettings(old_date="30.10.2000", new_date="2010")
    with pytest.raises(RequestError, match="must be after the old one"):
        ChangeSettings(old_date="2010", new_date="2000")


def test_old_outlines_that_overlap_are_counted_once() -> None:
    old = np.array([shapely.box(0, 0, 10, 10), shapely.box(5, 0, 15, 10)])
    found = measure_change(old, old, ["a", "b"], old_error_m=0, new_error_m=0)
    assert found.total.old_km2 * 1e6 == pytest.approx(150)
    assert found.total.change_km2 == pytest.approx(0, abs=1e-12)


def slope_grid() -> tuple[Grid, float, float, NDArray[np.float32]]:
    grid = utm_grid(60, 20)
    left, top = grid.transform * (0, 0)
    elevation = np.repeat(np.linspace(5000, 4410, 60)[:, None], 20, axis=1).astype(np.float32)
    return grid, left, top, elevation


def test_the_terminus_moves_along_a_line_and_roughly_without_one() -> None:
    grid, left, top, elevation = slope_grid()
    old = shapely.box(left + 50, top - 500, left + 150, top - 50)
    new = shapely.box(left + 50, top - 420, left + 150, top - 50)
    line = shapely.LineString([(left + 100, top - 600), (left + 100, top)])
    down = run_down(line, elevation, grid)
    assert shapely.get_coordinates(down)[0].tolist() == [left + 100, top]
    assert run_down(down, elevation, grid) is down
    assert shift_along_line(down, old, new).shift_m == pytest.approx(-80)
    assert shift_along_line(down, new, old).shift_m == pytest.approx(80)
    rough = shift_of_lowest_part(old, new, elevation, grid)
    assert rough.shift_m == pytest.approx(-80, abs=10)
    assert "approximation" in rough.method
    short = shapely.LineString([(left + 100, top), (left + 100, top - 450)])
    assert shift_along_line(short, new, old).at_end_of_line
    assert shift_along_line(short, old, new).at_end_of_line
    assert not shift_along_line(down, new, old).at_end_of_line
    # Lines of an inventory end on its outlines, which a mask knows to within half a pixel.
    ending = shapely.LineString([(left + 100, top), (left + 100, top - 497)])
    assert not shift_along_line(ending, old, new, error_m=5).at_end_of_line
    assert shift_along_line(ending, old, new, error_m=1).at_end_of_line
    assert np.isnan(shift_along_line(down, old, shapely.Point(0, 0).buffer(1)).shift_m)


def test_files_of_either_kind(tmp_path: Path) -> None:
    _, left, top, elevation = slope_grid()
    old = np.zeros((60, 20), np.uint8)
    old[5:50, 5:15] = 1
    new = old.copy()
    new[42:] = 0
    new[55:57, 0:2] = 1
    new[:, 18:] = 255
    paths = [write_mask(tmp_path / f"{name}.tif", mask) for name, mask in (("old", old), ("new", new))]
    dem = write_scene(tmp_path / "dem.tif", elevation[None], ["elevation"])
    found = change_between_files(
        paths[0],
        paths[1],
        settings=ChangeSettings(old_date="2000", new_date="2010"),
        inputs=ChangeInputs(dem=dem),
    )
    assert found.old_error_m == found.new_error_m == 5
    total = found.change.total
    # A pixel of UTM is a hair larger or smaller on the ellipsoid.
    assert total.old_km2 == pytest.approx(0.045, rel=2e-3)
    assert total.new_km2 == pytest.approx(0.037 + 0.0004, rel=2e-3)
    assert present(found.termini[0]).shift_m == pytest.approx(-80, abs=10)
    path = write_change(found, tmp_path / "out")
    layers = {name: gpd.read_file(path, layer=name) for name in ("advance", "retreat", "glaciers")}
    assert layers["retreat"].area.sum() == pytest.approx(8000)
    assert layers["advance"]["glacier_id"].isna().all()
    assert layers["glaciers"]["terminus_shift_m"].iloc[0] == present(found.termini[0]).shift_m
    stored = json.loads((tmp_path / "out/change.json").read_text())
    assert stored["total"]["percent_per_year"] == pytest.approx(10 * (37.4 / 45 - 1), rel=0.01)

    outline = gpd.GeoDataFrame(
        {"rgi_id": ["RGI2000-v7.0-G-14-00001"]},
        geometry=[shapely.box(left + 50, top - 500, left + 150, top - 50)],
        crs="EPSG:32643",
    ).to_crs("EPSG:4326")
    outline.to_file(tmp_path / "old.gpkg")
    lines = gpd.GeoDataFrame(
        geometry=[shapely.LineString([(left + 100, top), (left + 100, top - 600)])], crs="EPSG:32643"
    )
    lines.to_file(tmp_path / "lines.gpkg")
    again = change_between_files(
        tmp_path / "old.gpkg",
        paths[1],
        inputs=ChangeInputs(centre_lines=tmp_path / "lines.gpkg"),
        settings=ChangeSettings(new_error_m=3),
    )
    assert again.change.glaciers[0].glacier_id == "RGI2000-v7.0-G-14-00001"
    assert again.change.total.change_km2 == pytest.approx(total.change_km2, rel=1e-3)
    assert (again.old_error_m, again.new_error_m) == (10, 3)
    assert present(again.termini[0]).shift_m == pytest.approx(-80, abs=0.1)
    lines.translate(5000, 0).to_file(tmp_path / "lines.gpkg", layer="elsewhere")
    with pytest.raises(TruthError, match="say which with --centre-lines-layer"):
        change_between_files(
            tmp_path / "old.gpkg", paths[1], inputs=ChangeInputs(centre_lines=tmp_path / "lines.gpkg")
        )
    named = ChangeInputs(centre_lines=tmp_path / "lines.gpkg", centre_lines_layer="lines")
    assert change_between_files(tmp_path / "old.gpkg", paths[1], inputs=named).termini == again.termini
    both = change_between_files(tmp_path / "old.gpkg", tmp_path / "old.gpkg")
    assert both.change.total.change_km2 == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "a.tif", np.ones((5, 5), np.uint8))
    empty = write_mask(tmp_path / "b.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(RequestError, match="both dates"):
        change_between_files(mask, mask, settings=ChangeSettings(old_date="2000"))
    with pytest.raises(TruthError, match="no such file"):
        change_between_files(tmp_path / "no.gpkg", mask)
    with pytest.raises(TruthError, match="no glacier lies"):
        change_between_files(empty, empty)
    gone = change_between_files(mask, empty).change.total
    assert gone.change_percent == pytest.approx(-100)
    grown = change_between_files(empty, mask).change
    assert grown.glaciers == ()
    assert grown.total.new_km2 == pytest.approx(0.0025, rel=2e-3)


def test_of_several_layers_none_is_taken_unasked(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for name, side in (("raw", 100), ("refined", 200)):
        shape = shapely.box(500000, 3000000, 500000 + side, 3000000 + side)
        gpd.GeoDataFrame(geometry=[shape], crs="EPSG:32643").to_file(path, layer=name)
    with pytest.raises(
        TruthError, match=r"two\.gpkg: has the layers raw, refined; say which with --old-layer"
    ):
        change_between_files(path, path)
    with pytest.raises(TruthError, match="has no layer 'smooth'; its layers of polygons are raw, refined"):
        change_between_files(path, path, inputs=ChangeInputs(old_layer="smooth", new_layer="raw"))
    total = change_between_files(
        path, path, inputs=ChangeInputs(old_layer="raw", new_layer="refined")
    ).change.total
    assert total.new_km2 / total.old_km2 == pytest.approx(4)
    with pytest.raises(TruthError, match="holds no lines"):
        change_between_files(
            path,
            path,
            inputs=ChangeInputs(
                old_layer="raw", new_layer="raw", centre_lines=_one_layer(tmp_path / "box.gpkg")
            ),
        )


def _one_layer(path: Path) -> Path:
    shape = shapely.box(500000, 3000000, 500100, 3000100)
    gpd.GeoDataFrame(geometry=[shape], crs="EPSG:32643").to_file(path)
    return path


def test_a_grid_in_degrees_is_measured_in_metres(tmp_path: Path) -> None:
    import rasterio

    grid = Grid(rasterio.crs.CRS.from_epsg(4326), from_origin(86.8, 28.0, 0.001, 0.001), 20, 20)
    from glacierseg.raster.write import write_raster

    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    write_raster(tmp_path / "a.tif", mask, grid, bands=["glacier"], nodata=255, cog=False)
    found = change_between_files(tmp_path / "a.tif", tmp_path / "a.tif")
    assert found.change.total.old_km2 == pytest.approx(100 * grid.pixel_area_km2, rel=1e-3)


@given(st.tuples(*[st.floats(-100, 700)] * 6), st.integers(0, 9))
def test_the_lowest_part_is_that_of_the_whole_grid(places: tuple[float, ...], seed: int) -> None:
    grid = utm_grid(40, 60)
    left, top = grid.transform * (0, 0)
    shape = shapely.Polygon([(left + x, top - y) for x, y in zip(places[::2], places[1::2], strict=True)])
    elevation = np.random.default_rng(seed).normal(5000, 100, grid.shape)
    elevation[:5] = np.nan
    every = features.geometry_mask([shape], grid.shape, grid.transform, invert=True)
    inside = every & ~np.isnan(elevation)
    found = _lowest(shape, elevation, grid)
    if inside.sum() < 0.95 * every.sum() or not every.any():
        assert found is None
        return
    order = np.argsort(elevation[inside], kind="stable")[: int(np.ceil(inside.sum() / 50))]
    row, column = (np.nonzero(inside)[axis][order].mean() + 0.5 for axis in (0, 1))
    assert found == pytest.approx((*(grid.transform * (column, row)), elevation[inside][order].mean()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.sampled_from([0.5, 1.0, 2.2]))
def test_uncertainty_in_tiles_is_that_of_one_buffer(seed: int, reach_m: float) -> None:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 1)
    masks = [(noise > level).astype(np.uint8) for level in (0, 0.1)]
    shapes = np.array([shapely.multipolygons(trace_polygons(mask)) for mask in masks])
    grown, shrunk = (shapely.area(shapely.buffer(shapes, reach)) for reach in (reach_m, -reach_m))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(change, "_TILE_POINTS", 50)
        np.testing.assert_allclose(change._buffer_error(shapes, reach_m), (grown - shrunk) / 2, rtol=1e-9)


def test_paths_may_be_words(tmp_path: Path) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    old = write_mask(tmp_path / "old.tif", mask)
    mask[5:7] = 0
    new, out = write_mask(tmp_path / "new.tif", mask), tmp_path / "c.gpkg"
    found = change_between_files(str(old), str(new), str(out))
    assert found.change.total.change_km2 == pytest.approx(-20 * 1e-4, rel=1e-3)
    assert len(gpd.read_file(out, layer="retreat")) == 1
