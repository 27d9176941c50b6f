"""Evaluation of files: a predicted mask against truth, with zones, elevation and probabilities."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.evaluate.detail import (
    Detail,
    Zoning,
    elevation_zones,
    evaluate_in_detail,
    layer_zones,
    size_zones,
)
from glacierseg.evaluate.glaciers import TrueGlaciers, glaciers_by_outline, glaciers_by_part
from glacierseg.evaluate.reliability import evaluate_probability, require_calibration_of
from glacierseg.predict.calibration import read_calibration
from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.outlines import is_vector, read_outlines
from glacierseg.raster.truth import load_truth, read_mask, warn_of_glacier_alone
from glacierseg.raster.warp import read_grid
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.score import ScoreSettings


@fields_as_keywords(settings=ScoreSettings)
def evaluate_files(
    predicted: Path,
    truth: Path,
    settings: ScoreSettings | None = None,
    *,
    zones: Mapping[str, Path] | None = None,
    dem: Path | None = None,
    probability: Path | None = None,
    model: Path | str | None = None,
) -> Detail:
    """Compares a predicted mask with truth on its grid, in every way that is asked for.

    The glaciers of a raster are its connected parts; outlines keep their ids, and their whole area decides on
    the size class.

    Args:
        predicted: A mask raster.
        truth: A raster of 0, 1 and 255 on the same grid, or outlines in any CRS.
        settings: What to measure.
        zones: Masks or polygons by name, for scores by kind of ground. Of several layers in a vector file the
            one of that name is taken.
        dem: Elevation, of any grid, for scores by elevation band.
        probability: The probability raster on the same grid.
        model: The model, or `weights:NAME`, whose calibration is applied to the probabilities where it has
            one.

    Raises:
        RasterError: A file cannot be read, or the pixels have very different sizes on the ground.
        GridMismatchError: Rasters lie on different grids.
        TruthError: A raster has values other than 0, 1 and ignore, or no outline meets the mask.
        RequestError: There are too many elevation bands, or the calibration is of other probabilities.
        CheckpointError: The model folder cannot be used.
    """
    settings = settings or ScoreSettings()
    grid = read_grid(predicted)
    even_pixel_m(grid, str(predicted))
    calibration = read_calibration(model) if model else None
    if probability and model and calibration:
        require_calibration_of(probability, model, calibration)
    mask, true = read_mask(predicted), load_truth(truth, grid, layer=settings.truth_layer)
    warn_of_glacier_alone(mask, predicted)
    layers = {
        name: load_truth(path, grid, option="--zones FILE=LAYER", prefer=(name,), shapes="polygons")
        for name, path in (zones or {}).items()
    }
    zonings = list(layer_zones(layers))
    glaciers = None
    if settings.glaciers:
        glaciers = true_glaciers(truth, true, grid, settings.truth_layer)
        zonings.append(size_zones(glaciers))
    if dem is not None:
        zonings.append(read_elevation_zones(dem, grid, settings.elevation_band_m))
    detail = evaluate_in_detail(mask, true, grid, settings, glaciers, zonings)
    if probability is None:
        return detail
    return replace(detail, probability=evaluate_probability(probability, true, grid, calibration))


def true_glaciers(path: Path, truth: NDArray[np.uint8], grid: Grid, layer: str | None = None) -> TrueGlaciers:
    """Returns the glaciers of the truth: by outline where its file has them, else by connected part."""
    if not is_vector(path):
        return glaciers_by_part(truth, grid.pixel_area_km2)
    from glacierseg.raster.outlines.repair import areas_km2  # noqa: PLC0415  (with pandas, a third of a second)

    # What was corrected has been said when the mask was read.
    outlines = read_outlines(path, grid, layer=layer, notes=[])
    return glaciers_by_outline(outlines, grid, areas_km2(outlines.geometry, outlines.crs))


def read_elevation_zones(path: Path, grid: Grid, band_m: float) -> Zoning:
    """Reads an elevation model onto a grid and divides it into bands."""
    with open_terrain(path, grid) as terrain:
        elevation_m = terrain.read(Block(0, 0, grid.height, grid.width), ["elevation"])["elevation"]
    return elevation_zones(elevation_m, band_m)
