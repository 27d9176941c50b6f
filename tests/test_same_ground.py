"""One and the same ground in many coordinate systems: all commands say the same lengths, areas and slopes.

The ground is a tilted plane with a round glacier of known size, told in metres around the place. It is
written on grids of all kinds, and what commands say must not depend on them.
"""

import json
import math
import shlex
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from scipy import ndimage

from glacierseg.cli import main
from glacierseg.raster.grid import Grid
from glacierseg.raster.warp import read_grid
from glacierseg.raster.write import write_raster

RADIUS_M = 700.0
SMALL_M = 115.0
"""Radius of a second glacier of 0.0415 km2."""
SHIFT_M = 60.0
SLOPE_DEG = 30.0
AREA_KM2 = math.pi * (RADIUS_M**2 + SMALL_M**2) / 1e6
SIDE = 132

# Coordinate system, place, sides of a pixel in its units for some 20 m on the ground, how the grid is turned.
GROUND = {
    "utm": ("EPSG:32606", (-147, 61), (20, 20), 0),
    "web mercator": ("EPSG:3857", (-147, 61), (41, 41), 0),
    "south-up": ("EPSG:32606", (-147, 61), (20, -20), 0),
    "turned": ("EPSG:32606", (-147, 61), (20, 20), 33),
    "mirrored": ("EPSG:3857", (-147, 61), (-41, 41), 0),
    "polar far from its latitude": ("EPSG:3413", (-60, 60), (21, 21), 0),
    "antarctic": ("EPSG:3031", (-58, -62), (21, 21), 0),
    "albers": ("EPSG:3338", (-168, 53), (20, 20), 0),
    "laea": ("EPSG:3035", (-22, 65), (20, 20), 0),
    "ease polar": ("EPSG:6931", (86, 60), (20, 20), 0),
    "ease global": ("EPSG:6933", (-147, 61), (38, 11), 0),
    "degrees": ("EPSG:4326", (25, 70), (5.2e-4, 1.8e-4), 0),
    "date line": ("EPSG:4326", (180, 71), (5.5e-4, 1.8e-4), 0),
    "feet": ("EPSG:2272", (-77, 40.5), (65.6, 65.6), 0),
}


few = pytest.mark.parametrize(
    "ground",
    ["web mercator", "polar far from its latitude", "albers", "ease global", "date line", "feet"],
    indirect=True,
)


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["glacierseg", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module", params=GROUND)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes the ground: `m.tif`, the same glacier 60 m farther east in `t.tif`, `dem.tif` and `ice.gpkg`."""
    tmp_path = tmp_path_factory.mktemp("ground")
    crs, (longitude, latitude), (width, height), turn = GROUND[request.param]
    reference = CRS.from_user_input(crs)
    local = f"+proj=aeqd +lon_0={longitude} +lat_0={latitude} +datum=WGS84"
    x, y = Transformer.from_crs(local, reference.to_wkt(), always_xy=True).transform(0, 0)
    transform = Affine.translation(x, y) * Affine.rotation(turn) * Affine.scale(width, -height)
    grid = Grid(reference, transform * Affine.translation(-SIDE / 2, -SIDE / 2), SIDE, SIDE)
    columns, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    there = grid.transform * (columns.ravel(), rows.ravel())
    east, north = Transformer.from_crs(reference.to_wkt(), local, always_xy=True).transform(*there)
    east, north = np.reshape(east, grid.shape), np.reshape(north, grid.shape)
    for name, shift in (("m", 0.0), ("t", SHIFT_M)):
        mask = np.hypot(east - shift, north) < RADIUS_M
        mask |= np.hypot(east - shift + 800, north + 800) < SMALL_M
        write_raster(tmp_path / f"{name}.tif", mask.astype(np.uint8), grid, bands=["m"], nodata=255)
    # It falls to the north-north-east.
    fall = np.radians(30)
    height_m = 2000 - math.tan(math.radians(SLOPE_DEG)) * (np.sin(fall) * east + np.cos(fall) * north)
    write_raster(tmp_path / "dem.tif", height_m.astype(np.float32), grid, bands=["elevation"], nodata=-9999)
    circles = [shapely.Point(0, 0).buffer(RADIUS_M, 64), shapely.Point(-800, -800).buffer(SMALL_M, 64)]
    gpd.GeoDataFrame({"id": ["a", "b"]}, geometry=circles, crs=local).to_file(tmp_path / "ice.gpkg")
    return tmp_path


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as dataset:
        result: NDArray[Any] = dataset.read()
        return result


def km2(path: Path, value: int = 1) -> float:
    """Area of a value in a mask."""
    return float((read(path)[0] == value).sum()) * read_grid(path).pixel_area_km2


def test_terrain(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = "elevation,slope,aspect_sin,aspect_cos"
    stacked = ["prepare", "stack", ground / "m.tif", "--recipe", names, "--dem", ground / "dem.tif"]
    assert call(monkeypatch, *stacked, "--like", ground / "m.tif", "--out", ground / "s.tif") == 0
    _, slope, sine, cosine = read(ground / "s.tif")[:, 3:-3, 3:-3]
    np.testing.assert_allclose(slope, SLOPE_DEG, atol=0.1)
    aspect = np.degrees(np.arctan2(sine, cosine))
    # Grid north of UTM and its like may lie 3 degrees beside true north.
    np.testing.assert_allclose(aspect, 30, atol=3.1)


def test_scores_and_distances(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["evaluate", ground / "m.tif", ground / "t.tif", "--out", ground / "s.json", "--draws", 0]
    assert call(monkeypatch, *words, "--buffer-m", 70, "--buffer-m", 30) == 0
    found = json.loads((ground / "s.json").read_text())
    assert found["predicted_km2"] == pytest.approx(AREA_KM2, rel=0.01)
    assert found["outline_distances"]["hausdorff_m"] == pytest.approx(SHIFT_M, abs=13)
    assert found["iou_buffer_70m"] == 1
    assert found["iou_buffer_30m"] < 0.999
    zones = {zone["zone"] for zone in found["zones"] if zone["kind"] == "size_km2"}
    assert zones == {"1-5", "0.01-0.1"}


@few
def test_refinement(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for least, left in ((0.035, AREA_KM2), (0.05, math.pi * RADIUS_M**2 / 1e6)):
        out = ground / f"{least}.tif"
        words = ["refine", ground / "m.tif", "--out", out, "--iterations", 0, "--merge-distance-m", 0]
        assert call(monkeypatch, *words, "--min-area-km2", least) == 0
        assert km2(out) == pytest.approx(left, rel=0.01)
    # The two glaciers are 316 m apart.
    for distance_m, fragments in ((280, 2), (500, 1)):
        out = ground / f"{distance_m}.tif"
        words = [
            "refine",
            ground / "m.tif",
            "--out",
            out,
            "--iterations",
            0,
            "--merge-distance-m",
            distance_m,
        ]
        assert call(monkeypatch, *words) == 0
        assert ndimage.label(read(out)[0] == 1, np.ones((3, 3)))[1] == fragments


@few
def test_outlines(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["vectorize", ground / "m.tif", "--out", ground / "o.gpkg", "--min-area-km2"]
    for least, count in ((0.035, 2), (0.05, 1)):
        assert call(monkeypatch, *words, least) == 0
        assert len(gpd.read_file(ground / "o.gpkg", layer="raw")) == count
    assert gpd.read_file(ground / "o.gpkg", layer="smooth").area_km2.sum() == pytest.approx(1.5394, rel=0.01)


def test_inventory(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "inventory",
        ground / "m.tif",
        "--dem",
        ground / "dem.tif",
        "--divides",
        "none",
        "--buffer-m",
        15,
    ]
    assert call(monkeypatch, *words, "--out", ground / "i.gpkg") == 0
    glacier = gpd.read_file(ground / "i.gpkg", layer="glaciers").iloc[0]
    assert glacier.area_km2 == pytest.approx(math.pi * RADIUS_M**2 / 1e6, rel=0.01)
    assert glacier.slope_deg == pytest.approx(SLOPE_DEG, abs=0.1)
    assert glacier.aspect_deg == pytest.approx(30, abs=0.5)
    assert glacier.uncertainty_km2 == pytest.approx(2 * math.pi * RADIUS_M * 15 / 1e6, rel=0.04)
    assert 2 * RADIUS_M - 60 < glacier.lmax_m < 2 * RADIUS_M * 1.08
    assert glacier.zmax_m - glacier.zmin_m == pytest.approx(
        2 * RADIUS_M * math.tan(math.radians(30)), rel=0.05
    )


@few
def test_inventory_of_outlines(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpd.read_file(ground / "ice.gpkg").to_crs(read_crs(ground)).to_file(ground / "own.gpkg")
    words = ["inventory", ground / "own.gpkg", "--buffer-m", 15]
    assert call(monkeypatch, *words, "--out", ground / "i.gpkg") == 0
    glacier = gpd.read_file(ground / "i.gpkg", layer="glaciers").iloc[0]
    assert glacier.area_km2 == pytest.approx(math.pi * RADIUS_M**2 / 1e6, rel=0.01)
    assert glacier.uncertainty_km2 == pytest.approx(2 * math.pi * RADIUS_M * 15 / 1e6, rel=0.01)


def read_crs(folder: Path) -> str:
    with rasterio.open(folder / "m.tif") as dataset:
        result: str = dataset.crs.to_wkt()
        return result


@few
def test_rasterized_outlines_and_their_rim(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "prepare",
        "rasterize",
        ground / "ice.gpkg",
        "--like",
        ground / "m.tif",
        "--out",
        ground / "r.tif",
    ]
    assert call(monkeypatch, *words, "--ignore-rim-m", 50, "--min-area-km2", 0.05) == 0
    assert km2(ground / "r.tif") == pytest.approx(math.pi * (RADIUS_M - 50) ** 2 / 1e6, rel=0.01)
    assert km2(ground / "r.tif", 255) == pytest.approx(2 * math.pi * RADIUS_M * 100 / 1e6, rel=0.03)


@few
def test_change(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "change", ground / "m.tif", ground / "ice.gpkg", "--out", ground / "c.gpkg") == 0
    found = json.loads((ground / "c.json").read_text())
    assert found["total"]["old_km2"] == pytest.approx(AREA_KM2, rel=0.01)
    assert found["total"]["new_km2"] == pytest.approx(AREA_KM2, rel=0.01)
    assert found["old_error_m"] == pytest.approx(10, abs=0.7)


@few
def test_check_prints_the_ground(
    ground: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "check", ground / "dem.tif", "--patch-px", 64) == 0
    printed = " ".join(capfd.readouterr().out.split())
    assert "m on the ground" in printed
    kilometres = float(printed.split("a patch of 64 px covers ")[1].split()[0])
    assert kilometres == pytest.approx(64 * 0.0201, rel=0.05)


@pytest.mark.parametrize(
    "command",
    [
        "evaluate {m} {m} --out {d}/s.json",
        "refine {m} --out {d}/r.tif",
        "tune {m} --truth {m} --out {d}/t.json",
        "inventory {m} --out {d}/i.gpkg",
        "change {m} {m} --out {d}/c.gpkg",
    ],
)
def test_uneven_pixels_are_refused_by_all_alike_and_the_printed_cure_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    grid = Grid(CRS.from_epsg(4326), Affine(0.02, 0, 20, 0, -0.02, 72), 400, 100)
    mask = np.zeros(grid.shape, np.uint8)
    mask[150:260, 30:60] = 1
    path = tmp_path / "a mask.tif"
    write_raster(path, mask, grid, bands=["m"], nodata=255)
    monkeypatch.chdir(tmp_path)
    words = [word.format(m=path, d=tmp_path) for word in command.split()]
    assert call(monkeypatch, *words) == 1
    said = capfd.readouterr().err
    assert len(said.splitlines()) == 1
    assert "by more than 5 %" in said
    assert call(monkeypatch, *shlex.split(said.split("`")[1])[1:]) == 0
    words = [word.format(m=tmp_path / "UTM.tif", d=tmp_path) for word in command.split()]
    assert call(monkeypatch, *words) == 0
    assert set(np.unique(read(tmp_path / "UTM.tif"))) <= {0, 1, 255}
