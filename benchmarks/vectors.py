"""Outlines: against `rasterio.features.shapes` in one run, and the memory that a large mask takes.

python benchmarks/vectors.py --side 10000 --memory-side 20000
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import rasterio.features
import shapely
from affine import Affine

from glacierseg.raster.blocks import RowWriter
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import mask_strips
from glacierseg.vectors.polygons import draw_outlines
from glacierseg.vectors.smoothing import smooth_outlines
from glacierseg.vectors.trace import trace_polygons, trace_strips


def make_mask(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of all sizes with holes, about 88 000 in 10 000 x 10 000."""
    noise = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    relief = cv2.GaussianBlur(noise, (0, 0), 4.5)
    relief -= relief.mean()
    blobs: np.ndarray = (relief > 0.7 * relief.std()).astype(np.uint8)
    return blobs


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def gdal_shapes(mask: np.ndarray) -> list[Any]:
    return list(rasterio.features.shapes(mask, mask=mask == 1, connectivity=4))


def to_shapely(shapes: list[Any]) -> np.ndarray:
    rings = [geometry["coordinates"] for geometry, _ in shapes]
    return np.array([shapely.Polygon(ring[0], ring[1:]) for ring in rings], dtype=object)


def gdal_polygons_of(mask: np.ndarray) -> np.ndarray:
    return to_shapely(gdal_shapes(mask))


def compare(side: int, rounds: int) -> None:
    mask = make_mask(side, side)
    start = time.perf_counter()
    trace_polygons(mask[:50, :50])
    print(f"first call, compiling or reading the cache: {time.perf_counter() - start:.2f} s")
    ours = trace_polygons(mask)
    theirs = to_shapely(gdal_shapes(mask))
    same = set(map(shapely.to_wkb, shapely.normalize(ours))) == set(
        map(shapely.to_wkb, shapely.normalize(theirs))
    )
    print(f"{side} x {side} px, {len(ours)} outlines, {shapely.get_num_coordinates(ours).sum()} points")
    print(f"identical geometry: {same}")
    for name, ways in {
        "mask": (mask, mask),
        "empty mask": (np.zeros_like(mask), np.zeros_like(mask)),
    }.items():
        rows = []
        for _ in range(rounds):
            values = ways[0]
            rows.append(
                (
                    seconds(partial(trace_strips, [values], side)),
                    seconds(partial(trace_polygons, values)),
                    seconds(partial(gdal_shapes, values)),
                    seconds(partial(gdal_polygons_of, values)),
                )
            )
        corners, polygons, gdal, gdal_polygons = np.median(rows, axis=0)
        print(
            f"{name}: rings {corners:.2f} s, shapely polygons {polygons:.2f} s; "
            f"rasterio.features.shapes {gdal:.2f} s, its polygons {gdal_polygons:.2f} s; "
            f"{gdal / polygons:.1f} and {gdal_polygons / polygons:.1f} times as fast"
        )
    outlines = trace_strips([mask], side)
    spent = seconds(lambda: [smooth_outlines(part) for part in outlines.chunks()])
    print(f"smoothing: {spent:.2f} s, {1e6 * spent / len(outlines):.0f} us an outline")


def write_large(path: Path, side: int) -> None:
    grid = Grid(rasterio.crs.CRS.from_epsg(32644), Affine(10, 0, 300000, 0, -10, 3500000), side, side)
    with RowWriter(path.parent / "rows", grid, bands=["glacier"], dtype="uint8", nodata=255) as writer:
        for top in range(0, side, 1000):
            writer.append(make_mask(min(1000, side - top), side, seed=top)[None])
        writer.to_cog(path, resampling="nearest")


def trace(mask: Path, _: Path) -> int:
    with bounded_gdal():
        with rasterio.open(mask) as dataset:
            width = dataset.width
        return len(trace_strips(mask_strips(mask, rows=2**24 // width), width))


def draw(mask: Path, out: Path) -> int:
    return draw_outlines(mask, out)["smooth"].outlines


def measure(work: Callable[[Path, Path], int], mask: Path, out: Path, label: str) -> None:
    trace_polygons(np.ones((2, 2), np.uint8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    outlines = work(mask, out)
    spent = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{label}: {outlines} outlines, {spent:.0f} s, peak {peak:.0f} MB ({before:.0f} MB before)",
        flush=True,
    )


def memory(side: int) -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        mask, out = Path(name) / "mask.tif", Path(name) / "out.gpkg"
        for size in (side // 2, side):
            works = [(trace, "tracing only"), (draw, "to a GeoPackage with raw and smooth")]
            jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
                (write_large, (mask, size)),
                *((measure, (work, mask, out, f"{size} x {size} px, {label}")) for work, label in works),
            ]
            for target, arguments in jobs:
                process = context.Process(target=target, args=arguments)
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit("the process failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-side", type=int, default=20_000, help="0 to leave it out")
    arguments = parser.parse_args()
    if arguments.side:
        compare(arguments.side, arguments.rounds)
    if arguments.memory_side:
        memory(arguments.memory_side)


if __name__ == "__main__":
    main()
