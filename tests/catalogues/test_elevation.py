"""Windows of elevation models, against the whole tiles that they are cut from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.transform import from_origin
from shapely.geometry import MultiPolygon, box
from shapely.geometry.base import BaseGeometry

from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.elevation import fetch_elevation, plan_elevation
from glacierseg.catalogues.web import Web
from glacierseg.errors import ProductError, RequestError
from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid

ROWS = 240
LAYERS = ("elevation", "slope", "curvature_profile")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Reads files without a cache."""
    with Web(cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader


def tile(folder: Path, west: int, south: int, columns: int = ROWS, dtype: str = "float32") -> Asset:
    """A tile of one degree as that of GLO-30, with fewer pixels."""
    side, width = 1 / ROWS, 1 / columns
    x = west + (np.arange(columns) + 0.5) * width
    y = south + 1 - (np.arange(ROWS) + 0.5) * side
    heights = 3000 + 900 * np.sin(40 * np.radians(x))[None] * np.cos(50 * y)[:, None] + 20 * y[:, None]
    north, east = f"{'NS'[south < 0]}{abs(south):02}", f"{'EW'[west < 0]}{abs(west):03}"
    path = folder / f"Copernicus_DSM_COG_10_{north}_00_{east}_00_DEM.tif"
    folder.mkdir(exist_ok=True)
    # Centres of pixels lie on whole degrees, as those of GLO-30 do.
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=columns,
        height=ROWS,
        count=1,
        dtype=dtype,
        crs="EPSG:4326",
        transform=from_origin(west - width / 2, south + 1 + side / 2, width, side),
    ) as file:
        file.write((heights % 10_000).astype(dtype), 1)
    return Asset(str(path))


def grid_around(outline: BaseGeometry, crs: CRS, pixel_m: float) -> Grid:
    """Pixels of a projection that lie around a shape."""
    way = Transformer.from_crs(4326, crs, always_xy=True)
    points = np.column_stack(way.transform(*shapely.get_coordinates(outline.segmentize(0.01)).T))
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    height, width = int((top - bottom) / pixel_m), int((right - left) / pixel_m)
    return Grid(crs, from_origin(left, top, pixel_m, pixel_m), height, width)


def terrain(paths: list[Path], grid: Grid) -> dict[str, NDArray[np.float32]]:
    with open_terrain(paths, grid) as reader:
        return reader.read(Block(0, 0, grid.height, grid.width), LAYERS)


PLACES: dict[str, tuple[BaseGeometry, list[tuple[int, int, int]], CRS]] = {
    "two tiles": (box(86.9, 27.4, 87.1, 27.6), [(86, 27, ROWS), (87, 27, ROWS)], CRS.from_epsg(32645)),
    "at the side of a tile": (
        box(86.5, 27.5, 87.0, 28.0),
        [(86, 27, ROWS), (87, 27, ROWS), (86, 28, ROWS), (87, 28, ROWS)],
        CRS.from_epsg(32645),
    ),
    "wider pixels": (
        box(14.4, 49.9, 14.6, 50.1),
        [(14, 49, ROWS), (14, 50, ROWS * 2 // 3)],
        CRS.from_epsg(32633),
    ),
    "180 degrees": (
        MultiPolygon([box(179.9, 68.4, 180, 68.6), box(-180, 68.4, -179.9, 68.6)]),
        [(179, 68, ROWS // 2), (-180, 68, ROWS // 2)],
        CRS.from_epsg(32601),
    ),
    "beyond 180 degrees": (
        box(179.9, 68.4, 180.1, 68.6),
        [(179, 68, ROWS // 2), (-180, 68, ROWS // 2)],
        CRS.from_epsg(32601),
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_has_the_terrain_of_the_whole_tiles(tmp_path: Path, web: Web, name: str) -> None:
    outline, tiles, crs = PLACES[name]
    assets = [tile(tmp_path / "store", *one) for one in tiles]
    found = fetch_elevation(web, plan_elevation(web, assets[::-1], outline), tmp_path / "dem")
    assert len(found) == len(tiles)
    assert sorted(found) == list(found)
    for path in found:
        with rasterio.open(path) as file:
            assert file.width * file.height < 0.6 * ROWS * ROWS
            assert file.dtypes[0] == "float32"
    grid = grid_around(outline, crs, 250)
    wholes = sorted(Path(asset.address) for asset in assets)
    expected, own = terrain(wholes, grid), terrain(list(found), grid)
    for layer in LAYERS:
        assert np.isfinite(expected[layer]).all()
        np.testing.assert_array_equal(own[layer], expected[layer], layer)


def test_tiles_of_the_sea_may_be_missing(tmp_path: Path, web: Web) -> None:
    there = tile(tmp_path / "store", 86, 27)
    place = box(86.9, 27.4, 87.1, 27.6)
    (found,) = fetch_elevation(web, plan_elevation(web, [there], place), tmp_path / "dem")
    assert found.name == Path(there.address).name
    assert plan_elevation(web, [there], box(10, 27, 11, 28)) == {}
    assert fetch_elevation(web, {}, tmp_path / "sea") == ()
    assert not (tmp_path / "sea").exists()


def test_the_same_windows_are_not_read_again_and_others_take_their_place(tmp_path: Path, web: Web) -> None:
    asset, out = tile(tmp_path / "store", 86, 27), tmp_path / "dem"
    windows = plan_elevation(web, [asset], box(86.4, 27.4, 86.6, 27.6))
    (found,) = fetch_elevation(web, windows, out)
    before = found.stat().st_mtime_ns
    assert fetch_elevation(web, windows, out) == (found,)
    assert found.stat().st_mtime_ns == before
    other = plan_elevation(web, [asset], box(86.1, 27.4, 86.2, 27.6))
    assert fetch_elevation(web, other, out) == (found,)
    with rasterio.open(found) as file:
        assert file.bounds.right < 86.3


def test_what_is_no_elevation_model_is_refused(tmp_path: Path, web: Web) -> None:
    picture = tile(tmp_path / "store", 86, 27, dtype="uint8")
    with pytest.raises(ProductError, match="holds uint8, and heights are float32 or int16"):
        plan_elevation(web, [picture], box(86.4, 27.4, 86.6, 27.6))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, web: Web) -> None:
    windows = plan_elevation(web, [tile(tmp_path / "store", 86, 27)], box(86.4, 27.4, 86.6, 27.6))
    (tmp_path / "dem").mkdir()
    (tmp_path / "dem" / "own.tif").touch()
    with pytest.raises(RequestError, match="dem: exists and was not made by a fetch"):
        fetch_elevation(web, windows, tmp_path / "dem")
    assert [path.name for path in (tmp_path / "dem").iterdir()] == ["own.tif"]
