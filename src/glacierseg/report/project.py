"""What the QGIS projects of maps, runs and inventories show: images, results, and what an analyst edits."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.colors import to_hex
from rasterio.crs import CRS
from rasterio.enums import MaskFlags

from glacierseg.inventory.files import Inventory
from glacierseg.inventory.sources import LAYERS
from glacierseg.predict.calibrated import calibration_for_bounds
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import open_raster
from glacierseg.raster.outlines import is_vector, own_layers, shown_layer
from glacierseg.raster.scene import Scene
from glacierseg.raster.values import alpha_of
from glacierseg.raster.warp import read_grid
from glacierseg.report.figures.errors import ERROR_LABELS, FN, FP, OVERLAY_COLOURS, TP
from glacierseg.report.images import composite_recipes, frame_of, read_composites
from glacierseg.report.style import PREDICTED, YELLOW, variant_label
from glacierseg.report.views import open_region
from glacierseg.review.corrections import CHECKED, OUTLINES, PLACES, write_corrections
from glacierseg.review.places import suggest_places
from glacierseg.review.project import write_project
from glacierseg.review.qgs import (
    Classes,
    Colours,
    Group,
    Layer,
    ProjectLayers,
    Ramp,
    RasterLayer,
    VectorLayer,
)
from glacierseg.review.virtual import AGREED, FALSE, MISSED, write_errors, write_stack
from glacierseg.runs.layout import MapFolder, ModelFolder
from glacierseg.runs.results import RegionResult, RunResults
from glacierseg.settings.outlines import InventoryInputs

# Enough for a stretch, and quickly read.
_SAMPLE_PX = 600
_MARGIN = 0.03
_WHO, _TODAY = "coalesce(nullif(@user_full_name, ''), @user_account_name)", "to_date(now())"
_EDITED: tuple[tuple[str, str, str | None, dict[str, tuple[str, bool]]], ...] = (
    # Layer, name, label, and by column the expression of new values and whether edits set them again.
    (CHECKED, "Checked ground (draw here)", None, {"analyst": (_WHO, False), "date": (_TODAY, False)}),
    (PLACES, "Places to look at", "rank", {}),
    (OUTLINES, "Outlines (edit here)", "glacier_id", {"analyst": (_WHO, True)}),
)
_DRAWN = {
    "refined_smooth": "Refined mask, smooth",
    "refined": "Refined mask, pixel edges",
    "smooth": "Raw mask, smooth",
    "raw": "Raw mask, pixel edges",
}
_ERRORS = Classes(
    {
        value: (ERROR_LABELS[kind], *OVERLAY_COLOURS[kind])
        for value, kind in ((AGREED, TP), (FALSE, FP), (MISSED, FN))
    }
)
_MASK = Classes({1: ("glacier", PREDICTED, 0.55)})
_TRUTH = Classes({1: ("glacier", YELLOW, 0.6)})


def _ramp(name: str, most: float, band: int) -> Ramp:
    stops = (0.0, 0.25, 0.5, 0.75, 1.0)
    return Ramp({most * share: to_hex(colormaps[name](share)) for share in stops}, band)


_PROBABILITY, _SPREAD = _ramp("cividis", 1.0, 1), _ramp("magma", 0.3, 2)


def write_map_project(
    folder: MapFolder,
    scene: Scene,
    model: str,
    box: Sequence[float],
    existing: Path | None = None,
    existing_layer: str | None = None,
    sensor: str | None = None,
) -> bool:
    """Writes the project of a map.

    Args:
        folder: Of the map.
        scene: The scene, whose name its files begin with.
        model: What the networks are called.
        box: Of the glaciers, in the CRS of the scene.
        existing: Another inventory.
        existing_layer: Its layer.
        sensor: For bands that have only numbers, where the scene does not name it.

    Returns:
        Whether it was written now.

    Raises:
        RasterError: The scene cannot be read.
        OutputError: The project cannot be written.
    """
    name, grid = scene.name, scene.grid
    members: tuple[Layer | Group, ...] = (
        *_corrections(folder.corrections(name), grid.crs),
        _of_model(model, folder, name, grid),
        *_outlines("Existing inventory", existing, existing_layer),
        *_scene(scene, folder.bands(name), sensor),
    )
    return write_project(
        folder.project(name), ProjectLayers(name, grid.crs, _seen_at_first(box, grid), members)
    )


def write_inventory_project(
    path: Path, source: Path, made: Inventory, inputs: InventoryInputs, scene: Scene | None = None
) -> bool:
    """Writes the project of an inventory and, beside it, the outlines of a mask to correct.

    Args:
        path: The project.
        source: The mask or the outlines that the inventory was made of.
        made: The inventory.
        inputs: What else it was made of.
        scene: What to see below; nothing when None.

    Returns:
        Whether the project was written now.

    Raises:
        RasterError: A raster cannot be read.
        OutputError: The project cannot be written.
    """
    crs = CRS.from_user_input(made.glaciers.crs.to_wkt())
    layers: list[Layer] = []
    edited: list[Layer | Group] = []
    if not is_vector(source):
        corrections = path.with_name(f"{path.stem}_corrections.gpkg")
        places = None
        if inputs.probability:
            calibration = (
                calibration_for_bounds(inputs.probability, inputs.calibrated_by)
                if inputs.calibrated_by
                else None
            )
            alike = not read_grid(source).difference(read_grid(inputs.probability))
            places = suggest_places(
                inputs.probability, calibration=calibration, mask=source if alike else None
            )
        write_corrections(corrections, source, made.glaciers, places, scene=scene)
        edited += _corrections(corrections, crs)
        layers.append(RasterLayer("Mask", source, crs, _MASK))
    if inputs.probability:
        layers[:0] = _probabilities(inputs.probability, read_grid(inputs.probability).crs)
    layers.insert(0, _inventory(made.path, crs, shown=not edited))
    members: tuple[Layer | Group, ...] = (
        *edited,
        Group("Inventory", layers),
        *(_outlines("Outlines before", source, inputs.layer) if is_vector(source) else ()),
        *_outlines("Existing inventory", inputs.existing, inputs.existing_layer),
        *(_scene(scene, path.with_name(f"{path.stem}_bands.vrt")) if scene else ()),
    )
    box = _seen_at_first(made.glaciers.total_bounds, scene.grid if scene else None)
    return write_project(path, ProjectLayers(path.stem, crs, box, members))


def write_run_project(results: RunResults, best: tuple[str, str], regions: Sequence[RegionResult]) -> bool:
    """Writes the project of a run, with a group for each region, and in it one for each model.

    Args:
        results: The run.
        best: Model and bands of the one that is switched on.
        regions: Which regions, the first of them seen at first.

    Returns:
        Whether it was written now.

    Raises:
        RasterError: A raster of the run is damaged.
        OutputError: The project cannot be written.
    """
    folder = results.folder
    models = sorted(results.models, key=lambda model: (model.model, model.bands) != best)
    groups: list[Group] = []
    grids: list[Grid] = []
    for region in regions:
        grid = read_grid(models[0].folder.refined(region.name))
        scene, _ = open_region(region)
        inside: list[Layer | Group] = [
            *_corrections(models[0].folder.corrections(region.name), grid.crs),
            *(
                _of_model(
                    variant_label(model.model, model.bands),
                    model.folder,
                    region.name,
                    grid,
                    truth=region.truth_path,
                    shown=model is models[0],
                )
                for model in models
                if model.folder.refined(region.name).is_file()
            ),
            RasterLayer("Truth", region.truth_path, grid.crs, _TRUTH),
            *(_scene(scene, folder.bands(region.name)) if scene else ()),
        ]
        groups.append(Group(region.name, inside, expanded=not groups))
        grids.append(grid)
    box = _seen_at_first(grids[0].bounds, grids[0])
    return write_project(folder.project, ProjectLayers(results.name, grids[0].crs, box, groups))


def _scene(scene: Scene, stack: Path, sensor: str | None = None) -> Iterator[Group]:
    """Yields the colour images of a scene; false colour, which shows ice best, is switched on.

    Where the bands of an image lie in several files, the virtual raster `stack` shows them as one.
    """
    recipes = composite_recipes(scene.band_names, scene.facts.sensor or sensor)
    images = read_composites(scene, recipes, frame_of(scene.grid, _SAMPLE_PX))
    stacked = list(dict.fromkeys(band for image in images for band in image.recipe.bands))
    layers = []
    for image in images:
        bands = [scene.bands[position] for position in image.recipe.bands]
        path, numbers = bands[0].path, [band.index for band in bands]
        if len({band.path for band in bands}) > 1:
            path, numbers = stack, [1 + stacked.index(position) for position in image.recipe.bands]
            write_stack(stack, scene.grid, [scene.bands[position] for position in stacked])
        nodata = {
            number: float(band.scale * band.nodata + band.offset)
            for number, band in zip(numbers, bands, strict=True)
            if band.nodata is not None and not math.isnan(band.nodata)
        }
        red, green, blue = numbers
        colours = Colours((red, green, blue), image.limits, image.exponent, _alpha(path), nodata)
        shown = image is images[-1]
        layers.append(RasterLayer(image.recipe.label, path, scene.grid.crs, colours, shown))
    yield Group("Scene", layers, is_choice=True)


def _alpha(path: Path) -> int | None:
    """Returns the number of the band by which QGIS knows where a file has data; None where values say it."""
    with open_raster(path) as dataset:
        flags = dataset.mask_flag_enums[0]
        if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            return int(dataset.count) + 1
        return alpha_of(dataset)


def _corrections(path: Path, crs: CRS) -> Iterator[Group]:
    """Yields the layers that an analyst edits, if they are there."""
    found = own_layers(path)
    layers = [
        VectorLayer(
            title, path, crs, name, name, label, shown=True, editable=name != PLACES, defaults=defaults
        )
        for name, title, label, defaults in _EDITED
        if name in found
    ]
    if layers:
        yield Group("Corrections", layers)


def _of_model(
    name: str, folder: ModelFolder, region: str, grid: Grid, *, truth: Path | None = None, shown: bool = True
) -> Group:
    """Returns the glaciers, masks and probabilities of a region, and with a truth the errors."""
    crs, refined, drawn = grid.crs, folder.refined(region), own_layers(folder.outlines(region))
    layers: list[Layer] = []
    if (inventory := folder.inventory(region)).is_file():
        layers.append(_inventory(inventory, crs, shown=not folder.corrections(region).is_file()))
    layers += [
        VectorLayer(title, folder.outlines(region), crs, layer, layer, "glacier_id")
        for layer, title in _DRAWN.items()
        if layer in drawn
    ]
    if truth is not None:
        write_errors(folder.errors(region), grid, refined, truth)
        layers.append(RasterLayer("Errors", folder.errors(region), crs, _ERRORS, shown=True))
    if (probability := folder.probability(region)).is_file():
        layers += _probabilities(probability, crs)
    layers += [
        RasterLayer("Refined mask", refined, crs, _MASK),
        RasterLayer("Raw mask", folder.mask(region), crs, _MASK),
    ]
    return Group(name, layers, shown=shown, expanded=shown)


def _inventory(path: Path, crs: CRS, *, shown: bool) -> VectorLayer:
    return VectorLayer("Inventory", path, crs, "glaciers", "glaciers", "inv_id", shown=shown)


def _probabilities(path: Path, crs: CRS) -> Iterator[RasterLayer]:
    yield RasterLayer("Probability", path, crs, _PROBABILITY)
    with open_raster(path) as dataset:
        if dataset.count > 1:
            yield RasterLayer("Spread of the probability", path, crs, _SPREAD)


def _outlines(name: str, path: Path | None, layer: str | None) -> Iterator[VectorLayer]:
    """Yields somebody's outlines, if there are any and other programs can open them."""
    if path and (found := shown_layer(path, layer, LAYERS)):
        yield VectorLayer(name, path, CRS.from_user_input(found[1]), found[0], "contour")


def _seen_at_first(box: Sequence[float], grid: Grid | None) -> tuple[float, float, float, float]:
    """Returns a box with a margin; the whole grid where there is no box."""
    if grid is not None and not all(map(math.isfinite, box)):
        box = grid.bounds
    west, south, east, north = box if all(map(math.isfinite, box)) else (0.0, 0.0, 1.0, 1.0)
    margin = _MARGIN * max(east - west, north - south)
    return west - margin, south - margin, east + margin, north + margin
