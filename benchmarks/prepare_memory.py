"""Peak memory and time of preparing a large scene, each step in a process of its own.

The inputs are sparse files (no pixel is stored, all read as 0 or nodata), so that a scene of
30 000 x 30 000 pixels needs hardly any disk. Memory does not depend on what the pixels hold.

    python benchmarks/prepare_memory.py --side 30000
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import rasterio
from affine import Affine
from shapely.geometry import Point

from glacierseg.raster.check import check_scene
from glacierseg.raster.prepare.align import align_raster
from glacierseg.raster.prepare.normalize import normalize_scene
from glacierseg.raster.prepare.ranges import BandRange, Ranges, write_ranges
from glacierseg.raster.prepare.rasterize import rasterize_file
from glacierseg.raster.prepare.select import select_bands
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.raster.scene import open_scene
from glacierseg.settings.prepare import RasterizeSettings, StackSettings

BANDS = ["blue", "green", "red", "nir", "swir1", "swir2"]


def make_sparse(path: Path, side: int, bands: list[str], dtype: str, crs: str, transform: Affine) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        crs=crs,
        transform=transform,
        height=side,
        width=side,
        count=len(bands),
        dtype=dtype,
        nodata=-9999 if dtype == "float32" else None,
        tiled=True,
        sparse_ok=True,
        bigtiff="yes",
    ) as dataset:
        dataset.descriptions = bands


def make_outlines(path: Path, side: int) -> None:
    step = max(side * 10 // 40, 1)
    points = [
        Point(300000 + x, 3400000 - y).buffer(step * 0.3)
        for x in range(step, side * 10, step)
        for y in range(step, side * 10, step)
    ]
    gpd.GeoDataFrame(geometry=points, crs="EPSG:32644").to_file(path)


def measure(step: Callable[[], object], queue: "multiprocessing.Queue[tuple[float, float]]") -> None:
    start = time.perf_counter()
    step()
    queue.put((time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def stack(folder: Path) -> None:
    settings = StackSettings(recipe="sentinel2-18")
    stack_rasters([folder / "scene.tif"], folder / "stack.tif", settings, dem=folder / "dem.tif")


def normalize(folder: Path) -> None:
    normalize_scene(open_scene(folder / "scene.tif"), folder / "levels.tif", folder / "ranges.json")


def normalize_stack(folder: Path) -> None:
    names = open_scene(folder / "stack.tif").band_names
    write_ranges(folder / "given.json", Ranges({name: BandRange(0, 1) for name in names}))
    normalize_scene(open_scene(folder / "stack.tif"), folder / "levels18.tif", folder / "given.json")


def align(folder: Path) -> None:
    align_raster(folder / "dem.tif", folder / "scene.tif", folder / "aligned.tif", resampling="cubic")


def rasterize(folder: Path) -> None:
    settings = RasterizeSettings(ignore_rim_m=20)
    rasterize_file(folder / "outlines.gpkg", folder / "scene.tif", folder / "mask.tif", settings)


def select(folder: Path) -> None:
    select_bands(open_scene(folder / "stack.tif"), ["blue", "slope"], folder / "two.tif")


def check(folder: Path) -> None:
    check_scene(folder / "stack.tif", folder / "mask.tif")


class Step:
    """A step that can be sent to another process."""

    def __init__(self, function: Callable[[Path], None], folder: Path) -> None:
        self.function, self.folder = function, folder

    def __call__(self) -> None:
        self.function(self.folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=30_000, help="rows and columns of the scene")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder without it")
    parser.add_argument("--steps", default="stack,normalize,normalize_stack,align,rasterize,select,check")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, side = Path(name), arguments.side
        make_sparse(
            folder / "scene.tif", side, BANDS, "uint16", "EPSG:32644", Affine(10, 0, 300000, 0, -10, 3400000)
        )
        degrees = side * 10 / 90_000
        make_sparse(
            folder / "dem.tif",
            max(side // 3, 10),
            ["elevation"],
            "float32",
            "EPSG:4326",
            Affine(degrees * 3 / side, 0, 78.9, 0, -degrees * 3 / side, 30.73),
        )
        make_outlines(folder / "outlines.gpkg", side)
        print(f"{side} x {side} px")
        for step_name in arguments.steps.split(","):
            queue: multiprocessing.Queue[tuple[float, float]] = context.Queue()
            process = context.Process(target=measure, args=(Step(globals()[step_name], folder), queue))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{step_name} failed")
            seconds, peak_mb = queue.get()
            print(f"{step_name:16s} {seconds:8.1f} s   peak {peak_mb:7.0f} MB", flush=True)


if __name__ == "__main__":
    main()
