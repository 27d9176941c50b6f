"""Writing basins as rasters, and the three regions of the demo."""

import json
from dataclasses import dataclass
from pathlib import Path

from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.raster.facts import RANGES_TAG
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.synthetic.basin import SyntheticBasin, make_basin
from glacierseg.synthetic.sensor import BAND_RANGES

_CRS = CRS.from_epsg(32643)
# Upper left corner of the first region, in Lahaul; the others lie to the east of it.
_EAST_M, _NORTH_M, _REGION_STEP_M = 724_000.0, 3_598_000.0, 30_000.0


@dataclass(frozen=True)
class DemoRegion:
    """What makes one region of the demo.

    Attributes:
        seed: Chooses the basin.
        sun_azimuth_deg: Where the sun stands.
        sun_elevation_deg: How high it stands.
        snow_line_m: Mean height of the snow line.
    """

    seed: int
    sun_azimuth_deg: float
    sun_elevation_deg: float
    snow_line_m: float


#: To train, to validate and to test, in this order.
DEMO_REGIONS: dict[str, DemoRegion] = {
    "basin_a": DemoRegion(19, 150.0, 48.0, 5200.0),
    "basin_b": DemoRegion(21, 146.0, 51.0, 5230.0),
    "basin_c": DemoRegion(22, 155.0, 45.0, 5190.0),
}


@dataclass(frozen=True)
class BasinPaths:
    """Where a basin's rasters lie.

    Attributes:
        scene: Levels 1-255 as of `prepare normalize`, no data 0.
        mask: Truth, 0 background, 1 glacier, 255 ignore.
        dem: Heights in metres.
    """

    scene: Path
    mask: Path
    dem: Path


def write_basin(
    basin: SyntheticBasin, folder: Path, name: str, east_m: float = _EAST_M, north_m: float = _NORTH_M
) -> BasinPaths:
    """Writes a basin as `<name>_scene.tif`, `<name>_mask.tif` and `<name>_dem.tif`, tagged `synthetic=yes`.

    The scene says in its tags what its levels mean, as one of `prepare normalize` does.

    Args:
        basin: What to write.
        folder: Where; made when missing.
        name: Of the region.
        east_m: Upper left corner in UTM zone 43 north; a made-up place in Lahaul unless given.
        north_m: As `east_m`.

    Raises:
        OutputError: The folder cannot be written to.
    """
    folder = Path(folder)
    transform = from_origin(east_m, north_m, basin.pixel_size_m, basin.pixel_size_m)
    grid = Grid(_CRS, transform, *basin.truth.shape)
    paths = BasinPaths(*(folder / f"{name}_{kind}.tif" for kind in ("scene", "mask", "dem")))
    tags = {"synthetic": "yes"}
    ranges = json.dumps({band: BAND_RANGES[band] for band in basin.band_names})
    write_raster(
        paths.scene,
        basin.bands,
        grid,
        bands=basin.band_names,
        nodata=0,
        tags=tags | {RANGES_TAG: ranges},
        cog=False,
    )
    write_raster(paths.mask, basin.truth, grid, bands=["glacier"], nodata=255, tags=tags, cog=False)
    write_raster(paths.dem, basin.elevation_m, grid, bands=["elevation_m"], nodata=None, tags=tags, cog=False)
    return paths


def write_demo(folder: Path, size_px: int = 512, *, noise: bool = False) -> dict[str, BasinPaths]:
    """Makes and writes the three regions of the demo.

    Args:
        folder: Where; made when missing.
        size_px: Rows and columns of each region, at least 64. The regions are chosen and measured at 512.
        noise: As of `make_basin`.

    Returns:
        The paths by region.

    Raises:
        RequestError: The size is too small.
        OutputError: The folder cannot be written to.
    """
    paths = {}
    for number, (name, region) in enumerate(DEMO_REGIONS.items()):
        basin = make_basin(
            region.seed,
            size_px,
            size_px,
            sun_azimuth_deg=region.sun_azimuth_deg,
            sun_elevation_deg=region.sun_elevation_deg,
            snow_line_m=region.snow_line_m,
            noise=noise,
        )
        paths[name] = write_basin(basin, folder, name, east_m=_EAST_M + number * _REGION_STEP_M)
    return paths
