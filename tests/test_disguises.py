"""One and the same ground in many disguises gives the same numbers through every command that reads it."""

import contextlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from glacierseg.cli import main
from glacierseg.raster.scene import open_scene

H, W, SIDE_M = 64, 72, 30.0
SLOPE_DEG = 20.0
NAMES = ("blue", "green", "red", "nir")
PLACE = Affine(SIDE_M, 0, 480_000, 0, -SIDE_M, 3_100_000)
FOOT_M = 0.3048
FEET = f"+proj=utm +zone=45 +datum=WGS84 +to_meter={FOOT_M} +no_defs"
ESRI = rasterio.CRS.from_epsg(32645).to_wkt(version="WKT1_ESRI")
RECIPE = "green,red,ndvi,elevation,slope"


@dataclass(frozen=True)
class Layer:
    """What is stored: `(C, H, W)` values, where there is data, and how it is stored plainly."""

    values: np.ndarray
    valid: np.ndarray
    dtype: str
    nodata: float
    names: tuple[str, ...]


def _ground() -> dict[str, Layer]:
    rng = np.random.default_rng(5)
    row, column = np.mgrid[:H, :W]
    truth = ((row - 30) / 20) ** 2 + ((column - 36) / 25) ** 2 < 1
    predicted = ((row - 31) / 20) ** 2 + ((column - 38) / 24) ** 2 < 1
    valid = ~((row < 9) & (column < 14))
    light = 400 + 300 * np.arange(4)[:, None, None] + 3000 * truth + rng.integers(0, 200, (4, H, W))
    # Sixty-fourths of a metre are exact in every kind of number.
    height = np.rint(64 * (4000 + column * SIDE_M * np.tan(np.radians(SLOPE_DEG)))) / 64
    share = np.round(0.05 + 0.9 * predicted, 4)
    return {
        "scene": Layer(light.astype(float), valid, "uint16", 0, NAMES),
        "mask": Layer(predicted[None].astype(float), valid, "uint8", 255, ("glacier",)),
        "truth": Layer(truth[None].astype(float), valid, "uint8", 255, ("glacier",)),
        "dem": Layer(height[None], np.ones_like(valid), "float32", -9999, ("elevation",)),
        "probability": Layer(share[None], valid, "float32", np.nan, ("glacier",)),
    }


GROUND = _ground()


def _write(
    path: Path,
    layer: Layer,
    *,
    stored: np.ndarray | None = None,
    dtype: str | None = None,
    nodata: float | str | None = "plain",
    crs: Any = "EPSG:32645",
    transform: Affine = PLACE,
    driver: str = "GTiff",
    **facts: Any,
) -> Path:
    numbers = layer.values if stored is None else stored
    nodata = layer.nodata if nodata == "plain" else nodata
    if nodata is not None:
        numbers = np.where(layer.valid, numbers, nodata)
    kind = dtype or layer.dtype
    profile = {
        "height": H,
        "width": W,
        "count": len(numbers),
        "dtype": kind,
        "crs": crs,
        "transform": transform,
    }
    # Some formats do not have every kind of number.
    with rasterio.open(path, "w", driver=driver, nodata=nodata, **profile) as dataset:
        dataset.write(numbers.astype(kind))
        if len(numbers) == len(layer.names):
            dataset.descriptions = layer.names
        for name, value in facts.items():
            setattr(dataset, name, (value,) * len(numbers))
    return path


def plain(path: Path, layer: Layer) -> Path:
    return _write(path, layer)


def other_nodata(path: Path, layer: Layer) -> Path:
    value = {"uint16": 65535, "uint8": 15, "float32": -3.4028234663852886e38}[layer.dtype]
    return _write(path, layer, nodata=value)


def not_a_number(path: Path, layer: Layer) -> Path:
    return _write(path, layer, dtype="float32", nodata=np.nan)


def double_precision(path: Path, layer: Layer) -> Path:
    return _write(path, layer, dtype="float64", nodata=-1e30)


def scaled(path: Path, layer: Layer) -> Path:
    """Stored as whole numbers, of which the file says what they mean."""
    scale, offset = {"elevation": (1 / 64, 1000.0), "glacier": (1e-4, 0.0)}.get(layer.names[0], (0.5, -500.0))
    numbers = np.rint((layer.values - offset) / scale)
    return _write(path, layer, stored=numbers, dtype="int32", nodata=-7, scales=scale, offsets=offset)


def internal_mask(path: Path, layer: Layer) -> Path:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        _write(path, layer, nodata=None)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.where(layer.valid, 255, 0).astype(np.uint8))
    return path


def alpha_first(path: Path, layer: Layer) -> Path:
    opaque = np.where(layer.valid, np.iinfo("uint8").max, 0)[None]
    stored = np.concatenate([opaque, layer.values])
    _write(path, layer, stored=stored, nodata=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = (None, *layer.names)
        dataset.colorinterp = [ColorInterp.alpha, *[ColorInterp.gray] * (dataset.count - 1)]
    return path


def rows_run_north(path: Path, layer: Layer) -> Path:
    turned = Layer(layer.values[:, ::-1], layer.valid[::-1], layer.dtype, layer.nodata, layer.names)
    return _write(path, turned, transform=PLACE * Affine.translation(0, H) * Affine.scale(1, -1))


def heights_in_the_crs(path: Path, layer: Layer) -> Path:
    if layer.names == ("elevation",):
        return _write(path, layer, stored=layer.values / FOOT_M, crs="EPSG:32645+5773", units="ft")
    return _write(path, layer, crs="EPSG:32645+5773")


def crs_in_other_words(path: Path, layer: Layer) -> Path:
    return _write(path, layer, crs=rasterio.CRS.from_wkt(ESRI))


def crs_in_feet(path: Path, layer: Layer) -> Path:
    a, _, c, _, e, f = (number / FOOT_M for number in PLACE[:6])
    return _write(path, layer, crs=rasterio.CRS.from_string(FEET), transform=Affine(a, 0, c, 0, e, f))


def in_an_archive(path: Path, layer: Layer) -> Path:
    inside = _write(path.with_suffix(".inside.tif"), layer)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.write(inside, "a folder/layer.tif")
    inside.unlink()
    return Path(f"/vsizip/{path.with_suffix('.zip')}/a folder/layer.tif")


def erdas(path: Path, layer: Layer) -> Path:
    nodata = -9999 if np.isnan(layer.nodata) else layer.nodata
    return _write(path.with_suffix(".img"), layer, driver="HFA", nodata=nodata)


def mosaic_of_bands(path: Path, layer: Layer) -> Path:
    """A virtual mosaic whose bands have nodata values of their own."""
    values = [(7, 8, 9, 65535), (77,), (-9999,)][("uint16", "uint8", "float32").index(layer.dtype)]
    bands = ""
    for number, (numbers, nodata) in enumerate(zip(layer.values, values, strict=True), start=1):
        member = path.with_suffix(f".{number}.tif")
        one = Layer(numbers[None], layer.valid, layer.dtype, nodata, layer.names[number - 1 : number])
        _write(member, one)
        kind = {"uint16": "UInt16", "uint8": "Byte", "float32": "Float32"}[layer.dtype]
        bands += (
            f'<VRTRasterBand dataType="{kind}" band="{number}"><Description>{one.names[0]}</Description>'
            f"<NoDataValue>{nodata}</NoDataValue><SimpleSource>"
            f'<SourceFilename relativeToVRT="1">{member.name}</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand>"
        )
    corners = ", ".join(map(repr, PLACE.to_gdal()))
    mosaic = path.with_suffix(".vrt")
    mosaic.write_text(
        f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}"><SRS>EPSG:32645</SRS>'
        f"<GeoTransform>{corners}</GeoTransform>{bands}</VRTDataset>"
    )
    return mosaic


DISGUISES: tuple[Callable[[Path, Layer], Path], ...] = (
    other_nodata, not_a_number, double_precision, scaled, internal_mask, alpha_first, rows_run_north,
    heights_in_the_crs, crs_in_other_words, crs_in_feet, in_an_archive, erdas, mosaic_of_bands,
)  # fmt: skip


def glacierseg(*words: object) -> None:
    argv = sys.argv
    sys.argv = ["glacierseg", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise AssertionError(f"{sys.argv[1:]}: exit status {stop.code}") from stop
    finally:
        sys.argv = argv


def pixels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values `(C, H, W)` with north at the top, NaN where there are none, and where every band has data."""
    scene = open_scene(path)
    with scene.open() as reader:
        values, valid = reader.read(0, 0, *scene.grid.shape)
    values = np.where(valid, values.astype(float), np.nan)
    northward = scene.grid.transform.e > 0
    return (values[:, ::-1], valid[::-1]) if northward else (values, valid)


def results(files: dict[str, Path], like: Path, ranges: Path, folder: Path) -> dict[str, Any]:
    """Runs every command that reads one of the files and returns what they found."""
    folder.mkdir()
    out = {
        name: folder / f"{name}.tif"
        for name in ("aligned", "stacked", "selected", "levels", "refined", "burned")
    }
    shapes, inventory, scores = folder / "shapes.gpkg", folder / "inventory.gpkg", folder / "scores.json"
    tuned, changed = folder / "tuned.json", folder / "change.gpkg"
    glacierseg("check", files["scene"], "--truth", files["truth"], "--patch-px", 32)
    glacierseg("prepare", "align", files["scene"], "--like", like, "--out", out["aligned"])
    glacierseg(
        *("prepare", "stack", files["scene"], "--recipe", RECIPE, "--dem", files["dem"], "--like", like),
        *("--out", out["stacked"]),
    )
    glacierseg("prepare", "select", files["scene"], "--bands", "red,nir", "--out", out["selected"])
    glacierseg("prepare", "normalize", files["scene"], "--ranges", ranges, "--out", out["levels"])
    glacierseg("refine", files["mask"], "--out", out["refined"])
    glacierseg("vectorize", files["mask"], "--out", shapes)
    glacierseg(
        "prepare", "rasterize", shapes, "--layer", "raw", "--like", files["scene"], "--out", out["burned"]
    )
    glacierseg(
        *("inventory", files["mask"], "--dem", files["dem"], "--probability", files["probability"]),
        *("--divides", "none", "--out", inventory),
    )
    glacierseg(
        *("evaluate", files["mask"], files["truth"], "--dem", files["dem"], "--buffer-m", 60),
        *("--probability", files["probability"], "--draws", 0, "--out", scores),
    )
    glacierseg("tune", files["mask"], "--truth", files["truth"], "--iterations", 0, "--out", tuned)
    glacierseg("change", files["truth"], files["mask"], "--out", changed)
    glaciers = gpd.read_file(inventory, layer="glaciers")
    found: dict[str, Any] = {name: pixels(path) for name, path in out.items()}
    found["areas"] = gpd.read_file(shapes, layer="raw")["area_km2"].tolist()
    found["inventory"] = glaciers[
        ["area_km2", "zmin_m", "zmax_m", "zmed_m", "slope_deg", "dem_share", "probability_mean"]
    ].to_dict("list")
    found["scores"] = json.loads(scores.read_text())
    found["tuned"] = json.loads(tuned.read_text())["best"]
    found["change"] = json.loads(changed.with_suffix(".json").read_text())["total"]
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, dict[str, Any]]]:
    """The ground as it is stored plainly, the ranges measured on it, and what every command finds."""
    folder = tmp_path_factory.mktemp("plain")
    files = {name: plain(folder / f"{name}.tif", layer) for name, layer in GROUND.items()}
    ranges = folder / "ranges.json"
    with contextlib.chdir(folder):
        glacierseg("prepare", "normalize", files["scene"], "--ranges", ranges, "--out", folder / "first.tif")
        yield files["scene"], ranges, results(files, files["scene"], ranges, folder / "results")


def same(found: Any, told: Any, where: str, *, tolerance: float) -> None:
    """Compares nested results; names of files are left aside."""
    if isinstance(told, dict):
        assert found.keys() == told.keys(), where
        for key in told:
            same(found[key], told[key], f"{where}.{key}", tolerance=tolerance)
    elif isinstance(told, list | tuple):
        assert len(found) == len(told), where
        for number, (one, other) in enumerate(zip(found, told, strict=True)):
            same(one, other, f"{where}[{number}]", tolerance=tolerance)
    elif isinstance(told, np.ndarray | float):
        np.testing.assert_allclose(found, told, rtol=tolerance, atol=tolerance, err_msg=where)
    elif not isinstance(told, str):
        assert found == told, where


def test_the_plain_ground_gives_what_was_put_in(told: tuple[Path, Path, dict[str, Any]]) -> None:
    found = told[2]
    scene, mask = GROUND["scene"], GROUND["mask"]
    np.testing.assert_array_equal(found["aligned"][1], scene.valid)
    np.testing.assert_array_equal(found["aligned"][0][:, scene.valid], scene.values[:, scene.valid])
    stacked, valid = found["stacked"]
    np.testing.assert_allclose(stacked[4][valid], SLOPE_DEG, atol=0.01)
    area = float(((mask.values[0] == 1) & mask.valid).sum()) * (SIDE_M / 1000) ** 2
    assert sum(found["areas"]) == pytest.approx(area, rel=2e-3)
    assert found["inventory"]["slope_deg"][0] == pytest.approx(SLOPE_DEG, abs=0.01)
    assert found["inventory"]["probability_mean"][0] == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda disguise: disguise.__name__)
def test_a_disguise_changes_no_number(
    disguise: Callable[[Path, Layer], Path], told: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    like, ranges, expected = told
    files = {name: disguise(tmp_path / f"{name}.tif", layer) for name, layer in GROUND.items()}
    with contextlib.chdir(tmp_path):
        found = results(files, like, ranges, tmp_path / "results")
    # Feet are not exact.
    rounded = disguise in {crs_in_feet, heights_in_the_crs}
    same(found, expected, disguise.__name__, tolerance=1e-4 if rounded else 1e-6)
