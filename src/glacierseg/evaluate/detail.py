"""A mask against its truth in detail: zones of the ground, distances, glaciers; of arrays and of files."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.evaluate.counts import Counts, cache_strips, scores_of
from glacierseg.evaluate.debris import (
    IceRule,
    SurfaceScores,
    count_surfaces,
    find_ice_rule,
    score_surfaces,
    surface_classes,
)
from glacierseg.evaluate.distances import OutlineDistances, mask_distances
from glacierseg.evaluate.evaluation import Evaluation, evaluate_masks
from glacierseg.evaluate.glaciers import (
    GlacierAreas,
    TrueGlaciers,
    glacier_areas,
    glaciers_by_outline,
    glaciers_by_part,
)
from glacierseg.evaluate.intervals import Intervals, bootstrap_scores, table_by_block
from glacierseg.evaluate.reliability import ProbabilityEvaluation, evaluate_probability
from glacierseg.predict.calibrated import require_calibration_of
from glacierseg.predict.calibration import read_calibration
from glacierseg.raster.blocks import Block
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.grid import Grid, require_one_shape
from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.outlines import is_vector, read_outlines
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import GLACIER, load_truth, read_mask, warn_of_glacier_alone
from glacierseg.raster.warp import read_grid
from glacierseg.raster.write import finite_only
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.score import ScoreSettings

SIZE_EDGES_KM2 = (0.01, 0.1, 0.5, 1.0, 5.0, 10.0)
SIZE_NAMES = ("<0.01", "0.01-0.1", "0.1-0.5", "0.5-1", "1-5", "5-10", ">10")


@dataclass(frozen=True, eq=False)
class Zoning:
    """A division of a scene.

    Attributes:
        kind: What divides it: `size_km2`, `elevation_m` or `layer`.
        names: Of the zones.
        labels: `(H, W)`, index of the zone of each pixel, -1 for none.
    """

    kind: str
    names: tuple[str, ...]
    labels: NDArray[np.int16]


def size_zones(glaciers: TrueGlaciers) -> Zoning:
    """Divides a scene by the size class of the true glacier.

    A pixel outside every glacier belongs to the class of the nearest one, so that false alarms are counted
    too and the zones together are the scene. Classes hold their lower bound and not their upper one.
    """
    classes = np.digitize(glaciers.areas_km2 * (1 + 1e-12), SIZE_EDGES_KM2)
    by_number = np.concatenate([[-1], classes]).astype(np.int16)
    return Zoning("size_km2", SIZE_NAMES, by_number[glaciers.nearest])


def elevation_zones(elevation_m: NDArray[np.floating], band_m: float) -> Zoning:
    """Divides a scene into bands of elevation, from multiples of their height."""
    known = np.isfinite(elevation_m)
    if not known.any():
        return Zoning("elevation_m", (), np.full(elevation_m.shape, -1, np.int16))
    low = math.floor(float(elevation_m[known].min()) / band_m)
    number = math.floor(float(elevation_m[known].max()) / band_m) - low + 1
    if number > 1000:
        raise RequestError(
            f"there must be at most 1000 elevation bands (got {number} of {band_m:g} m); give higher bands, "
            "or an elevation model in metres whose nodata value is declared"
        )
    labels = np.full(elevation_m.shape, -1, np.int16)
    labels[known] = np.floor(elevation_m[known] / band_m).astype(np.int64) - low
    names = tuple(f"{(low + i) * band_m:g}-{(low + i + 1) * band_m:g}" for i in range(number))
    return Zoning("elevation_m", names, labels)


def layer_zones(layers: Mapping[str, NDArray[np.uint8]]) -> tuple[Zoning, ...]:
    """Makes a zone of each layer, and one of the glacier that lies in none: clean ice, if they are its kinds.

    Layers may overlap (debris in shadow). The rest, `no layer`, is what no layer covers.
    """
    if not layers:
        return ()
    zonings = []
    covered: NDArray[np.bool_] = np.zeros(next(iter(layers.values())).shape, bool)
    for name, mask in layers.items():
        inside = mask == GLACIER
        covered |= inside
        zonings.append(Zoning("layer", (name,), np.where(inside, 0, -1).astype(np.int16)))
    rest = Zoning("layer", ("no layer",), np.where(covered, -1, 0).astype(np.int16))
    return (*zonings, rest)


def count_zones(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], zoning: Zoning) -> dict[str, Counts]:
    """Counts by zone, leaving out pixels that are 255 in either and those of no zone.

    Returns:
        Counts by name of the zone; zones without a pixel are left out.
    """
    require_one_shape({"grid of zones": zoning.labels.shape, "truth": truth.shape})
    table = np.zeros((len(zoning.names), 4), np.int64)
    for rows in cache_strips(truth.shape):
        found, glacier, zone = predicted[rows], truth[rows], zoning.labels[rows]
        counted = ((found | glacier) < 2) & (zone >= 0)
        # tp, fp, fn, tn
        place = 4 * zone[counted].astype(np.int64) + 3 - 2 * found[counted] - glacier[counted]
        table += np.bincount(place, minlength=table.size).reshape(table.shape)
    # 3 - 2 found - truth: found and true 0, found only 1, true only 2, neither 3.
    return {name: Counts.of_row(row) for name, row in zip(zoning.names, table, strict=True) if row.any()}


@dataclass(frozen=True)
class ZoneEvaluation:
    """Counts of one zone; for its kind see `Zoning`."""

    kind: str
    zone: str
    counts: Counts

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record."""
        return {"kind": self.kind, "zone": self.zone, **asdict(scores_of(self.counts)), **asdict(self.counts)}


@dataclass(frozen=True)
class Detail:
    """A mask against its truth, with all that was asked for; None or empty where it was not."""

    evaluation: Evaluation
    intervals: Intervals | None = None
    zones: tuple[ZoneEvaluation, ...] = ()
    distances: OutlineDistances | None = None
    glaciers: GlacierAreas | None = None
    probability: ProbabilityEvaluation | None = None
    ice_rule: IceRule | None = None
    surfaces: SurfaceScores | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the record of the evaluation and, nested in it, one key for each of the others."""
        record = self.evaluation.to_dict()
        if self.intervals is not None:
            record["intervals"] = self.intervals.to_dict()
        if self.zones:
            record["zones"] = [zone.to_dict() for zone in self.zones]
        if self.distances is not None:
            record["outline_distances"] = asdict(self.distances)
        if self.glaciers is not None:
            record["glaciers"] = self.glaciers.to_dict()
        if self.probability is not None:
            record["probability"] = self.probability.to_dict()
        if self.surfaces is not None and self.ice_rule is not None:
            record["surfaces"] = {**asdict(self.ice_rule), **self.surfaces.to_dict()}
        plain: dict[str, Any] = finite_only(record)
        return plain


def evaluate_in_detail(
    predicted: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    grid: Grid,
    settings: ScoreSettings,
    glaciers: TrueGlaciers | None,
    zonings: Sequence[Zoning],
) -> Detail:
    """Compares a mask with the truth in every way that is asked for, but without probabilities.

    Areas by glacier need the true glaciers. Zones without a pixel are left out.
    """
    size_m = grid.pixel_size_m
    intervals = areas = None
    if settings.draws:
        intervals = bootstrap_scores(table_by_block([(predicted, truth)], settings.block_px), settings)
    if glaciers is not None:
        areas = glacier_areas(predicted, truth, glaciers, grid.pixel_area_km2)
    return Detail(
        evaluation=evaluate_masks(predicted, truth, size_m, settings.buffers_m),
        intervals=intervals,
        zones=tuple(
            ZoneEvaluation(zoning.kind, name, counts)
            for zoning in zonings
            for name, counts in count_zones(predicted, truth, zoning).items()
        ),
        distances=mask_distances(predicted, truth, size_m) if settings.distances else None,
        glaciers=areas,
    )


Table = tuple[str | None, tuple[str, ...], list[tuple[Any, ...]]]
_ZONE_SCORES = ("iou", "precision", "recall", "tp", "fp", "fn")


def detail_tables(detail: Detail) -> Iterator[Table]:
    """Yields title, column names and rows for each thing that was asked for; None stands for no value."""
    record, scores = detail.to_dict(), detail.evaluation.to_dict()
    if intervals := record.get("intervals"):
        title = (
            f"Scores and intervals of {intervals['confidence']:.0%} confidence "
            f"({intervals['draws']} draws of {intervals['blocks']} blocks of {intervals['block_px']} px)"
        )
        rows = [(name, value, *intervals["scores"].get(name, ("", ""))) for name, value in scores.items()]
        yield title, ("score", "value", "low", "high"), rows
    else:
        yield None, ("score", "value"), list(scores.items())
    if zones := record.get("zones"):
        columns = ("kind", "zone", *_ZONE_SCORES)
        yield "By zone", columns, [tuple(zone[name] for name in columns) for zone in zones]
    if detail.surfaces is not None:
        title = f"Clean and debris-covered ice, told by {detail.ice_rule}"
        yield title, ("score", "value"), list(detail.surfaces.to_dict().items())
    if distances := record.get("outline_distances"):
        yield "Between the outlines", ("distance", "m"), list(distances.items())
    if areas := record.get("glaciers"):
        yield (
            "Areas by glacier",
            ("quantity", "value"),
            [
                ("true glaciers", areas["number"]),
                ("deviation of the total area, %", areas["deviation_percent"]),
                ("predicted away from every true glacier, km2", areas["elsewhere_km2"]),
                (f"share of {areas['share_is_of']} areas right within 5 %", areas["share_within_5_percent"]),
            ],
        )
    if raw := record.get("probability"):
        both = {"as predicted": raw, "calibrated": raw.get("calibrated")}
        names = ("ece", "mce", "brier")
        rows = [(kind, *(found[name] for name in names)) for kind, found in both.items() if found]
        yield "Reliability", ("probabilities", *names), rows


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
    scene: Scene | None = None,
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
        scene: On the same grid, for scores of clean and debris-covered ice.

    Raises:
        RasterError: A file cannot be read, or the pixels have very different sizes on the ground.
        GridMismatchError: Rasters lie on different grids.
        TruthError: A raster has values other than 0, 1 and ignore, or no outline meets the mask.
        BandError: The scene has no bands that tell ice from stones.
        ValuesError: The unit of its bands is unknown.
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
    if scene is not None:
        if difference := grid.difference(scene.grid):
            own, like = shlex.quote(str(scene.paths[0])), shlex.quote(str(predicted))
            raise GridMismatchError(
                f"{scene.paths[0]}: scene lies on another grid than {predicted} ({difference}); "
                f"run `glacierseg prepare align {own} --like {like} --out ALIGNED.tif`"
            )
        rule = find_ice_rule(scene)
        surfaces = score_surfaces(count_surfaces(mask, surface_classes(scene, true, rule)))
        detail = replace(detail, ice_rule=rule, surfaces=surfaces)
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
