"""The worst places of the best network, close up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from pyproj import Transformer
from rasterio.windows import Window

from glacierseg.report.decimate import part_of, read_classes
from glacierseg.report.maps import figure_zoom
from glacierseg.report.overlays import FN, NEITHER, Place, error_classes, worst_places
from glacierseg.report.style import area_text
from glacierseg.report.views import RegionView, Variant, read_image
from glacierseg.runs.results import RunResults

_LEAST_SIDE_PX, _LONG_SIDE_PX = 64, 480


@dataclass(frozen=True)
class Zoom:
    """A place where the best network is wrong.

    Attributes:
        figure: Picture of the place.
        text: What is wrong there, how much and where.
    """

    figure: Figure
    text: str


def find_zooms(
    results: RunResults, views: Sequence[RegionView], variant: Variant, count: int = 4
) -> list[Zoom]:
    """Finds and draws the largest errors over all regions, on test parts where there are any.

    Args:
        results: The run.
        views: Its regions at screen size.
        variant: Model, bands and stage to look at.
        count: How many places at most.

    Raises:
        RasterError: A raster of the run folder is damaged.
    """
    tested = any(view.role("test") is not None for view in views)
    found: list[tuple[float, RegionView, Place]] = []
    for view in views:
        if view.truth is None or variant not in view.predictions:
            continue
        classes = error_classes(view.predictions[variant], view.truth)
        part = view.role("test")
        if tested:
            classes = np.where(part, classes, NEITHER).astype(np.uint8) if part is not None else classes * 0
        width_m, height_m = view.pixel_size_m
        found += [(p.pixels * width_m * height_m / 1e6, view, p) for p in worst_places(classes, count)]
    found.sort(key=lambda entry: -entry[0])
    return [_zoom(results, view, place, variant, area) for area, view, place in found[:count]]


def _zoom(results: RunResults, view: RegionView, place: Place, variant: Variant, area_km2: float) -> Zoom:
    window = _window(view, place)
    frame = part_of(window, _LONG_SIDE_PX)
    model = results.model(variant[0], variant[1])
    assert model is not None  # noqa: S101  (its prediction is in the view)
    truth = read_classes(view.region.truth_path, frame)
    predicted = read_classes(model.mask_path(view.region.name, variant[2]), frame)
    width_m, height_m = view.grid.pixel_size_m
    size = width_m * frame.step, height_m * window.height / frame.shape[0]
    figure = figure_zoom(read_image(view, frame), truth, predicted, size, north=view.north)
    kind = "Missed" if place.kind == FN else "Wrongly mapped as glacier"
    return Zoom(
        figure, f"{kind}: {area_text(area_km2)} km² in one piece, {view.region.name}, {_where(view, window)}"
    )


def _window(view: RegionView, place: Place) -> Window:
    """Returns a square around a place, in pixels of the full grid, inside it where possible."""
    rows, columns = view.frame.shape
    scale_y, scale_x = view.grid.height / rows, view.grid.width / columns
    side = max(_LEAST_SIDE_PX, 1.4 * max(place.height * scale_y, place.width * scale_x))
    height, width = min(side, view.grid.height), min(side, view.grid.width)
    top = (place.row + place.height / 2) * scale_y - height / 2
    left = (place.column + place.width / 2) * scale_x - width / 2
    top = min(max(top, 0), view.grid.height - height)
    left = min(max(left, 0), view.grid.width - width)
    return Window(int(left), int(top), int(width), int(height))


def _where(view: RegionView, window: Window) -> str:
    x, y = view.grid.transform * (window.col_off + window.width / 2, window.row_off + window.height / 2)
    transformer = Transformer.from_crs(view.grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
    longitude, latitude = transformer.transform(x, y)
    return (
        f"{abs(latitude):.3f}° {'N' if latitude >= 0 else 'S'}, "
        f"{abs(longitude):.3f}° {'E' if longitude >= 0 else 'W'}"
    )
