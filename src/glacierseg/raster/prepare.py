"""Preparing rasters: each function is one `glacierseg prepare` command, and works in notebooks as well."""

from glacierseg.raster.align import align_raster
from glacierseg.raster.normalize import normalize_scene
from glacierseg.raster.ranges import BandRange, Ranges, measure_ranges, read_ranges, write_ranges
from glacierseg.raster.rasterize import rasterize_file
from glacierseg.raster.recipes import PHYSICAL_RANGES, RECIPES
from glacierseg.raster.select import select_bands
from glacierseg.raster.sensors import SENSORS
from glacierseg.raster.stack import stack_rasters

__all__ = [
    "PHYSICAL_RANGES",
    "RECIPES",
    "SENSORS",
    "BandRange",
    "Ranges",
    "align_raster",
    "measure_ranges",
    "normalize_scene",
    "rasterize_file",
    "read_ranges",
    "select_bands",
    "stack_rasters",
    "write_ranges",
]
