"""Evaluation of a mask file against truth in a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glacierseg.evaluate.detail import (
    Detail,
    Zoning,
    elevation_zones,
    evaluate_zones,
    layer_zones,
    size_zones,
)
from glacierseg.evaluate.distances import mask_distances
from glacierseg.evaluate.evaluation import evaluate_masks
from glacierseg.evaluate.glaciers import TrueGlaciers, glacier_areas, glaciers_by_outline, glaciers_by_part
from glacierseg.evaluate.intervals import bootstrap_scores, table_by_block
from glacierseg.evaluate.reliability import evaluate_probability, require_calibration_of
from glacierseg.predict.calibration import read_calibration
from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outlines import is_vector, read_outlines
from glacierseg.raster.truth import load_truth, read_mask, warn_of_glacier_alone


def evaluate_file_in_detail(
    predicted: Path,
    truth: Path,
    *,
    truth_layer: str | None = None,
    buffers_m: Sequence[float] = (),
    draws: int = 1000,
    block_px: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    layers: Mapping[str, Path] | None = None,
    dem: Path | None = None,
    elevation_band_m: float = 200.0,
    distances: bool = True,
    glaciers: bool = True,
    probability: Path | None = None,
    model_dir: Path | str | None = None,
) -> Detail:
    """Compares a predicted mask with truth on its grid, in every way that is asked for.

    Args:
        predicted: A mask raster.
        truth: A mask raster on the same grid, or outlines in any CRS.
        truth_layer: Of outlines in a file with several layers.
        buffers_m: Distances from the true boundary that are forgiven.
        draws: Of the bootstrap; 0 for no intervals.
        block_px: Side of its blocks; chosen when None.
        confidence: Of the intervals.
        seed: Of the draws.
        layers: Masks or polygons by name, for scores by kind of ground. Of several layers in a vector file
            the one of that name is taken.
        dem: Elevation, of any grid, for scores by elevation band.
        elevation_band_m: Height of a band.
        distances: Whether to measure between the outlines.
        glaciers: Whether to compare areas by glacier, and scores by its size class. The glaciers of a true
            mask are its connected parts; outlines keep their ids, and their whole area decides on the class.
        probability: The probability raster on the same grid.
        model_dir: The model, or `weights:NAME`, whose calibration is applied to the probabilities where it
            has one.

    Raises:
        RasterError: A file cannot be read, or the pixels have very different sizes on the ground.
        GridMismatchError: Rasters lie on different grids.
        TruthError: A mask has values other than 0, 1 and ignore, or no outline meets the mask.
        RequestError: A number makes no sense, or the calibration is of probabilities that come about in
            another way.
        CheckpointError: The model folder cannot be used.
    """
    with open_raster(predicted) as dataset:
        grid = grid_of(dataset)
    size_m = even_pixel_m(grid, str(predicted))
    calibration = read_calibration(model_dir) if model_dir else None
    if probability and model_dir and calibration:
        require_calibration_of(probability, model_dir, calibration)
    found, true = read_mask(predicted), load_truth(truth, grid, layer=truth_layer)
    warn_of_glacier_alone(found, predicted)
    evaluation = evaluate_masks(found, true, size_m, buffers_m)
    zonings = list(layer_zones({name: _read_zone(path, name, grid) for name, path in (layers or {}).items()}))
    areas = None
    if glaciers:
        known = true_glaciers(truth, true, grid, truth_layer)
        zonings.append(size_zones(known))
        areas = glacier_areas(found, true, known, grid.pixel_area_km2)
    if dem is not None:
        zonings.append(read_elevation_zones(dem, grid, elevation_band_m))
    intervals = None
    if draws:
        table = table_by_block([(found, true)], block_px)
        intervals = bootstrap_scores(table, draws=draws, confidence=confidence, seed=seed)
    chances = None
    if probability is not None:
        chances = evaluate_probability(probability, true, grid, calibration)
    return Detail(
        evaluation=evaluation,
        intervals=intervals,
        zones=evaluate_zones(found, true, zonings),
        distances=mask_distances(found, true, size_m) if distances else None,
        glaciers=areas,
        probability=chances,
    )


def true_glaciers(path: Path, truth: NDArray[np.uint8], grid: Grid, layer: str | None = None) -> TrueGlaciers:
    """Tells the glaciers of a true mask apart: by outline where the file has them, else by connected part.

    Args:
        path: The file that the truth is from.
        truth: `(H, W)` as read from it.
        grid: Where it lies.
        layer: Of a vector file with several.
    """
    if not is_vector(path):
        return glaciers_by_part(truth, grid.pixel_area_km2)
    from glacierseg.raster.mend import areas_km2  # noqa: PLC0415  (with pandas, a third of a second)

    # What was corrected has been said when the mask was read.
    outlines = read_outlines(path, grid, layer=layer, notes=[])
    return glaciers_by_outline(outlines, grid, areas_km2(outlines.geometry, outlines.crs))


def _read_zone(path: Path, name: str, grid: Grid) -> NDArray[np.uint8]:
    return load_truth(path, grid, option="--zones FILE=LAYER", prefer=(name,), shapes="polygons")


def read_elevation_zones(path: Path, grid: Grid, band_m: float) -> Zoning:
    """Reads an elevation model onto a grid and divides it into bands."""
    with open_terrain(path, grid) as terrain:
        elevation_m = terrain.read(Block(0, 0, grid.height, grid.width), ["elevation"])["elevation"]
    return elevation_zones(elevation_m, band_m)
