"""Two glaciers as different people deliver them, through every command that reads outlines."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely import GeometryCollection, LineString, Point, Polygon, box

from glacierseg.change.files import change_between_files
from glacierseg.errors import GlaciersegWarning, TruthError
from glacierseg.evaluate.detail import evaluate_files
from glacierseg.inventory.files import make_inventory
from glacierseg.raster.check import check_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.prepare.rasterize import rasterize_file
from glacierseg.raster.write import write_raster
from glacierseg.settings.outlines import InventoryInputs, InventorySettings
from glacierseg.settings.prepare import RasterizeSettings
from glacierseg.settings.score import ScoreSettings
from tests.helpers import present

X, Y = 440000, 5140000
GRID = Grid(CRS.from_epsg(32632), Affine(20, 0, X - 200, 0, -20, Y + 1200), 70, 130)
HOLE = box(X + 300, Y + 300, X + 600, Y + 600)
LARGE = box(X, Y, X + 1000, Y + 1000) - HOLE
BOW = Polygon([(X + 1600, Y), (X + 2400, Y + 800), (X + 2400, Y), (X + 1600, Y + 800)])
SMALL = shapely.union_all(shapely.get_parts(shapely.make_valid(BOW)))
PLAIN = [LARGE, SMALL]
"""0.91 and 0.32 km2."""


def same_wound(shape: Any) -> Polygon:
    rings = [np.asarray(ring.coords) for ring in (shape.exterior, *shape.interiors)]
    turned = [ring if shapely.is_ccw(shapely.LinearRing(ring)) else ring[::-1] for ring in rings]
    return Polygon(turned[0], turned[1:])


RIM = LineString([(X, Y), (X + 9000, Y)])
# Name: shapes, columns, what is said.
DISGUISES: dict[str, tuple[list[Any], dict[str, Any], str | None]] = {
    "heights": ([shapely.force_3d(one, 2500.0) for one in PLAIN], {}, None),
    "a bow-tie and a hole wound like its shell": ([same_wound(LARGE), BOW], {}, "1 invalid outline repaired"),
    "collections": (
        [GeometryCollection([LARGE, RIM]), SMALL],
        {},
        "polygons taken out of 1 collection (1 part of another kind left out)",
    ),
    "rows of other kinds": (
        [LARGE, None, Polygon(), Point(X, Y), RIM, SMALL],
        {},
        "2 rows without a shape, 1 point and 1 line left out",
    ),
    "ids that are missing": (PLAIN, {"id": [None, None]}, "2 missing or 0"),
    "ids that are 0": (PLAIN, {"Id": [0, 0]}, "2 missing or 0"),
    "ids that repeat": (PLAIN, {"id": [3, 3]}, "2 repeated"),
    "one glacier in two rows": (
        [LARGE - box(X, Y, X + 1000, Y + 150), SMALL, box(X, Y, X + 1000, Y + 150)],
        {"rgi_id": ["RGI60-11.1", "RGI60-11.2", "RGI60-11.1"]},
        "2 rows that share an id joined to 1 glacier",
    ),
    "the same twice": ([LARGE, SMALL, LARGE], {}, "km2 where 1 pair of outlines overlaps count once"),
    "outlines that overlap": (
        [LARGE, shapely.union_all([SMALL, box(X + 900, Y + 700, X + 1000, Y + 900)])],
        {},
        "0.02 km2 where 1 pair of outlines overlaps count once",
    ),
    "a GLIMS download": (
        [box(X, Y, X + 1000, Y + 1000), HOLE, box(X, Y + 800, X + 1000, Y + 1000), SMALL, SMALL.buffer(-30)],
        {
            "glac_id": ["G1", "G1", "G1", "G2", "G2"],
            "anlys_id": [1, 1, 1, 2, 3],
            "line_type": ["glac_bound", "intrnl_rock", "debris_cov", "glac_bound", "glac_bound"],
        },
        "left out (debris_cov); 1 area of internal rock cut out; 2 rows that share an id joined to 1 glacier",
    ),
}


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ground") / "mask.tif"
    burned = rasterio.features.rasterize(PLAIN, GRID.shape, transform=GRID.transform, dtype="uint8")
    write_raster(path, burned, GRID, bands=["glacier"], nodata=255)
    return path


def write(path: Path, shapes: list[Any], **columns: Any) -> Path:
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=32632).to_file(path)
    return path


def rasterize(path: Path, mask: Path) -> list[str]:
    # True areas decide: 0.32 km2 stay, 0.91 go, though the large one without its hole has 1 km2.
    out = rasterize_file(path, mask, path.with_name("out.tif"), RasterizeSettings(min_area_km2=0.31))
    with rasterio.open(out) as burned, rasterio.open(mask) as wanted:
        np.testing.assert_array_equal(burned.read(), wanted.read())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TruthError, match=r"the largest has 0\.91"):
            rasterize_file(path, mask, path.with_name("none.tif"), RasterizeSettings(min_area_km2=0.95))
    return []


def evaluate(path: Path, mask: Path) -> list[str]:
    found = evaluate_files(mask, path, ScoreSettings(draws=0, distances=False))
    assert found.evaluation.scores.iou == 1
    assert [one.truth_km2 for one in present(found.glaciers).glaciers] == pytest.approx(
        [0.91, 0.32], rel=0.01
    )
    assert len({one.glacier_id for one in present(found.glaciers).glaciers}) == 2
    assert {one.zone for one in found.zones if one.kind == "size_km2"} == {"0.1-0.5", "0.5-1"}
    return []


def check(path: Path, mask: Path) -> list[str]:
    results = {one.name: one for one in check_scene(mask, path, patch_px=32)}
    assert results["truth extent"].message == "all 2 outlines lie inside the scene"
    outlines = results["truth outlines"]
    assert outlines.status in ("passed", "warning")
    return [outlines.message] if outlines.status == "warning" else []


def inventory(path: Path, mask: Path) -> list[str]:
    made = make_inventory(path, path.with_name("out.gpkg"))
    assert made.glaciers["area_km2"].sum() == pytest.approx(1.23, rel=2e-3)
    return []


def existing(path: Path, mask: Path) -> list[str]:
    made = make_inventory(
        mask,
        path.with_name("out.gpkg"),
        inputs=InventoryInputs(existing=path),
        settings=InventorySettings(smooth=False),
    )
    shares = present(made.links).groupby("existing_id")["share_of_existing"].sum()
    assert shares.tolist() == pytest.approx([1, 1], abs=0.03)
    return []


def change(path: Path, mask: Path) -> list[str]:
    plain = write(path.with_name("plain.gpkg"), PLAIN)
    found = change_between_files(path, plain)
    assert found.change.total.old_km2 == pytest.approx(1.23, rel=2e-3)
    assert found.change.total.retreat_km2 + found.change.total.advance_km2 == pytest.approx(0, abs=1e-9)
    assert [one.change_km2 for one in found.change.glaciers] == pytest.approx([0, 0], abs=1e-9)
    assert len({one.glacier_id for one in found.change.glaciers}) == 2
    return []


@pytest.mark.parametrize(
    ("command", "name"),
    [(command, name) for command in (rasterize, evaluate, check, inventory, change) for name in DISGUISES]
    + [(existing, name) for name in ("ids that are missing", "one glacier in two rows", "a GLIMS download")],
)
def test_every_command_sees_the_same_two_glaciers(
    tmp_path: Path, mask: Path, command: Callable[..., Any], name: str
) -> None:
    shapes, columns, said = DISGUISES[name]
    path = write(tmp_path / "odd.gpkg", shapes, **columns)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sentences = command(path, mask)
    sentences += [str(one.message) for one in caught if issubclass(one.category, GlaciersegWarning)]
    assert len(sentences) == (said is not None)
    assert all(one.startswith(f"{path}: ") and said in one for one in sentences)
