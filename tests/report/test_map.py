import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.crs import CRS
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from glacierseg.errors import DataError
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import own_layers
from glacierseg.report.images import frame_of
from glacierseg.report.map import (
    UNIT,
    _as_steps,
    _Drawn,
    encode,
    glacier_layers,
    outline,
    paint_probability,
    read_glaciers,
)
from glacierseg.report.page import render
from glacierseg.report.views import RegionView, view_region
from glacierseg.runs.results import RegionResult, read_results
from glacierseg.vectors.trace import trace_polygons
from tests.helpers import present

FOLDER = "unetplusplus/all"


def rings(path: str) -> Iterator[NDArray[np.int64]]:
    """Corners of the rings of an SVG path of moves, relative lines and closings."""
    for ring in re.findall(r"M([^z]+)z", path):
        start, steps = ring.split("l")
        moves = np.array([start.split(), *np.array(steps.split()).reshape(-1, 2)], int)
        yield np.cumsum(moves, axis=0)


def fill(path: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fills an SVG path (even-odd) at pixel centres, by OpenCV at twice the size."""
    canvas = np.zeros((2 * shape[0] + 1, 2 * shape[1] + 1), np.uint8)
    for ring in rings(path):
        own = np.zeros_like(canvas)
        cv2.fillPoly(own, [(2 * ring).astype(np.int32)], 1)
        canvas ^= own
    result: NDArray[np.bool_] = canvas[1::2, 1::2] == 1
    return result


def test_blocks_are_drawn_exactly() -> None:
    mask = np.zeros((40, 50), bool)
    mask[5:25, 10:40] = True
    mask[10:20, 20:30] = False
    mask[30:38, 1:9] = True
    drawn = present(outline("truth", mask, "red", "1 2"))
    assert (drawn.key, drawn.colour, drawn.dashes) == ("truth", "red", "1 2")
    assert (fill(drawn.path, mask.shape) == mask).all()
    x, y = drawn.label_at
    assert mask[int(y), int(x)]


@settings(deadline=None)
@given(arrays(bool, (3, 4)))
def test_any_blocks_are_drawn(blocks: NDArray[np.bool_]) -> None:
    mask = np.kron(blocks, np.ones((8, 8))).astype(bool)
    drawn = outline("x", mask)
    if drawn is None:
        assert not mask.any()
        return
    # Corners that touch may be drawn in either of two ways; inside the blocks there is no doubt.
    inner = np.zeros((8, 8), bool)
    inner[2:-2, 2:-2] = True
    sure = np.tile(inner, (3, 4))
    assert (fill(drawn.path, mask.shape) == mask)[sure].all()


def test_a_chequerboard_is_not_drawn() -> None:
    assert outline("x", (np.indices((600, 600)) // 3).sum(axis=0) % 2 == 0) is None


def test_probability_is_clear_without_data() -> None:
    pixels = paint_probability(np.array([[0.0, 1.0, np.nan]], np.float32))
    assert pixels[0, :, 3].tolist() == [255, 255, 0]
    assert pixels[0, 1, :2].min() > 200  # yellow


def test_the_inventory_is_a_layer_of_refined_masks(run_dir: Path) -> None:
    results = read_results(run_dir)
    view = present(view_region(results, results.regions[0]))
    assert not any(key.endswith("inventory") for key in glacier_layers(results, view, 10**6))
    assert 'value="inventory"' not in render(results)
    outlines = run_dir / FOLDER / "khumbu.gpkg"
    table = gpd.read_file(outlines, layer="refined").assign(zmin_m=4321.0)
    pyogrio.write_dataframe(table, run_dir / FOLDER / "khumbu_inventory.gpkg", layer="glaciers")
    layers = glacier_layers(results, view, 10**6)
    found = layers["unetplusplus-all-refined-inventory"]
    assert "zmin_m" in found.columns
    assert len(found.paths) == len(table)
    assert "unetplusplus-all-raw-inventory" not in layers
    assert 'value="inventory"' in render(results)


GRID = Grid(CRS.from_epsg(32645), Affine(10, 0, 480_000, 0, -10, 3_100_000), 2400, 2400)


@pytest.fixture
def view(tmp_path: Path) -> RegionView:
    """A region of 2400 px that is shown with 1200."""
    region = RegionResult("x", (), (), (), (10.0, 10.0), "EPSG:32645", tmp_path / "t.tif", tmp_path / "r.tif")
    return RegionView("x", GRID, frame_of(GRID), None, (), region, None, None, {}, ())


def decoded(path: str) -> Polygon:
    """The rings of an SVG path: the first is the rim, the others are holes."""
    rings = []
    for start, steps in re.findall(r"M(\d+ \d+)l([^z]*)z", path):
        points = np.array([start.split(), *np.array(steps.split()).reshape(-1, 2)], int)
        rings.append(np.cumsum(points, axis=0))
    return Polygon(rings[0], rings[1:])


def write(path: Path, polygons: Sequence[BaseGeometry], **columns: Any) -> Path:
    table = gpd.GeoDataFrame(columns, geometry=polygons, crs="EPSG:32645")
    table.to_file(path, layer="raw", driver="GPKG")
    return path


def test_outlines_lie_where_they_lie_on_the_ground(tmp_path: Path, view: RegionView) -> None:
    hole = box(482_000, 3_096_000, 483_000, 3_097_000)
    glacier = box(481_000, 3_095_000, 485_000, 3_099_000) - hole
    path = write(
        tmp_path / "o.gpkg", [box(480_000, 3_099_900, 480_100, 3_100_000), glacier], id=["small", "large"]
    )
    assert own_layers(path) == ("raw",)
    layer = read_glaciers(path, "raw", view, 10_000)
    assert layer.columns == ["id"]
    assert layer.rows == [("large",), ("small",)]
    # A pixel as shown is 20 m; the north-west corner of the scene is (0, 0).
    expected = box(50, 50, 250, 250) - box(100, 150, 150, 200)
    assert decoded(layer.paths[0]).equals(shapely.transform(expected, lambda p: p * UNIT))


def test_attributes_are_plain_values(tmp_path: Path, view: RegionView) -> None:
    square = box(481_000, 3_095_000, 485_000, 3_099_000)
    path = write(
        tmp_path / "o.gpkg",
        [square],
        id=np.array([7], np.int32),
        area_km2=[1 / 3],
        slope=[np.nan],
        name=["<b>"],
    )
    assert read_glaciers(path, "raw", view, 10_000).rows == [(7, 0.3333333, None, "<b>")]


def test_a_budget_is_kept_by_dropping_the_smallest(tmp_path: Path, view: RegionView) -> None:
    rng = np.random.default_rng(1)
    sizes = rng.uniform(50, 400, 300)
    polygons = [
        shapely.Point(rng.uniform(480_500, 503_000), rng.uniform(3_077_000, 3_099_500)).buffer(size)
        for size in sizes
    ]
    path = write(tmp_path / "o.gpkg", polygons, size=sizes)
    whole = read_glaciers(path, "raw", view, 1_000_000)
    tight = read_glaciers(path, "raw", view, 5_000)
    used = sum(map(len, tight.paths)) + sum(len(str(value)) for row in tight.rows for value in row)
    assert used <= 5_000
    assert len(whole.paths) == 300
    assert 20 < len(tight.paths) < 300
    assert tight.left_out == 300 - len(tight.paths)
    assert [row[0] for row in tight.rows] == pytest.approx(
        sorted(sizes, reverse=True)[: len(tight.paths)], rel=1e-6
    )


def test_simplified_outlines_keep_their_area() -> None:
    shape = shapely.Point(400, 400).buffer(300, quad_segs=200)
    fine, coarse = encode(np.array([shape]), 0.25)[0], encode(np.array([shape]), 4.0)[0]
    assert len(coarse) < len(fine) < 1000
    assert decoded(fine).area == pytest.approx(shape.area, rel=0.01)
    assert decoded(coarse).area == pytest.approx(shape.area, rel=0.08)


def test_a_ring_that_collapses_is_left_out() -> None:
    corner = Polygon([(0, 0), (4, 0), (4, 0.2), (4, 4)])
    assert encode(np.array([box(5, 5, 5.4, 5.4), corner]), 0.01) == ["", "M0 0l4 0 0 4z"]
    assert encode(np.array([], object), 0.25) == []


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, (24, 24), elements=st.integers(0, 1)), st.sampled_from([0.1, 0.5, 2.0]))
def test_what_is_counted_is_what_is_written(mask: NDArray[np.uint8], tolerance_px: float) -> None:
    shapes = shapely.transform(trace_polygons(mask), lambda points: points * 3.7 - 40)
    drawn = _as_steps(shapes, tolerance_px)
    paths = drawn.paths()
    assert len(paths) == len(shapes)
    assert drawn.characters() == sum(map(len, paths))


def test_speckled_outlines_keep_their_budget_and_are_written_once(
    tmp_path: Path, view: RegionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    mask = (rng.random((400, 400)) < 0.3).astype(np.uint8)
    mask[100:300, 100:300] = rng.random((200, 200)) < 0.8
    corner = np.array([480_000, 3_100_000])
    shapes = shapely.transform(trace_polygons(mask), lambda points: corner + points * [10, -10])
    path = write(tmp_path / "o.gpkg", list(shapes), area_km2=shapely.area(shapes) / 1e6)
    written: list[int] = []
    paths_of = _Drawn.paths

    def count(drawn: _Drawn) -> list[str]:
        written.append(len(drawn.owners))
        return paths_of(drawn)

    monkeypatch.setattr(_Drawn, "paths", count)
    layer = read_glaciers(path, "raw", view, 60_000)
    assert sum(map(len, layer.paths)) + 12 * len(layer.rows) <= 70_000
    assert len(written) == 1
    assert len(layer.paths) + layer.left_out == len(shapes)
    # Holes of a pixel as shown, which is two of the mask, are not drawn; the glacier around them is.
    areas = [decoded(path).area for path in layer.paths]
    assert areas[0] == max(areas)
    assert min(areas) > UNIT**2
    assert written[0] < 2000


def test_a_damaged_file_is_named(tmp_path: Path, view: RegionView) -> None:
    assert own_layers(tmp_path / "none.gpkg") == ()
    broken = tmp_path / "broken.gpkg"
    broken.write_bytes(b"no vectors")
    with pytest.raises(DataError, match=r"broken\.gpkg: cannot be read as outlines"):
        own_layers(broken)
