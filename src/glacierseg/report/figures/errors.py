"""Where masks and truth differ: as classes and colours, side by side, and the largest errors close up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.report.figures.maps import draw_outline
from glacierseg.report.furniture import draw_furniture
from glacierseg.report.images import grey_of, part_of, read_classes
from glacierseg.report.save import Picture
from glacierseg.report.style import (
    AGREED,
    FALSE_ALARM,
    INK,
    MISSED,
    PREDICTED,
    RULE,
    area_text,
    variant_label,
)
from glacierseg.report.views import RegionView, Variant, read_image
from glacierseg.runs.results import RunResults

NEITHER, TP, FP, FN = 0, 1, 2, 3
# Colour and opacity of each class; agreement lets the image through.
OVERLAY_COLOURS: Mapping[int, tuple[str, float]] = {
    TP: (AGREED, 0.45),
    FP: (FALSE_ALARM, 0.85),
    FN: (MISSED, 0.85),
}
ERROR_LABELS = {TP: "glacier in both (TP)", FP: "predicted only (FP)", FN: "truth only (FN)"}
_SMALL_MAP_PX = 500
_MOST_ZOOMS = 4
_LEAST_SIDE_PX, _LONG_SIDE_PX = 64, 480


def error_classes(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compares a mask with the truth, both of 0, 1 and 255.

    Returns:
        `(H, W)`: 1 where both are glacier (TP), 2 where only the prediction is (FP), 3 where only the truth
        is (FN), else 0; 0 also where either is to be ignored.
    """
    found, true = predicted == GLACIER, truth == GLACIER
    classes = np.select([found & true, found, true], [TP, FP, FN], NEITHER).astype(np.uint8)
    classes[(predicted == IGNORE) | (truth == IGNORE)] = NEITHER
    return classes


def paint(classes: NDArray[np.uint8], colours: Mapping[int, tuple[str, float]]) -> NDArray[np.uint8]:
    """Colours classes.

    Args:
        classes: `(H, W)`.
        colours: By class a colour and its opacity; others are transparent.

    Returns:
        `(H, W, 4)` red, green, blue and opacity.
    """
    table = np.zeros((256, 4), np.uint8)
    for value, (colour, opacity) in colours.items():
        table[value] = np.round(255 * np.array([*to_rgb(colour), opacity]))
    return table[classes]


@dataclass(frozen=True)
class Place:
    """A coherent patch of errors (`FP` or `FN`): its box, and how many pixels of the box belong to it."""

    kind: int
    row: int
    column: int
    height: int
    width: int
    pixels: int


def worst_places(classes: NDArray[np.uint8], count: int = _MOST_ZOOMS) -> tuple[Place, ...]:
    """Finds the largest patches of errors.

    Rims of one or two pixels, where an outline merely lies a little aside, are opened away first: they would
    tie unrelated errors together.

    Returns:
        The largest first; empty when there are only thin errors along outlines.
    """
    places = []
    for kind in (FP, FN):
        wrong = (classes == kind).astype(np.uint8)
        opened = cv2.morphologyEx(wrong, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
        for left, top, width, height, pixels in stats[1:].tolist():
            places.append(Place(kind, top, left, height, width, pixels))
    return tuple(sorted(places, key=lambda place: -place.pixels)[:count])


def figure_errors(
    predictions: Mapping[str, NDArray[np.uint8]],
    truth: NDArray[np.uint8],
    pixel_size_m: tuple[float, float],
    *,
    background: NDArray[np.uint8] | None = None,
    test: NDArray[np.bool_] | None = None,
    columns: int = 4,
    north: float = 0.0,
) -> Figure:
    """Draws where predictions and truth agree and differ, one small map per prediction.

    Args:
        predictions: By title, masks `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel of these arrays.
        background: `(H, W)` grey image to draw on.
        test: `(H, W)`, the pixels that are tested; their outline is drawn.
        columns: Largest number of maps in a row.
        north: Direction of north in degrees clockwise from up.
    """
    columns = min(columns, len(predictions))
    rows = math.ceil(len(predictions) / columns)
    aspect = pixel_size_m[1] / pixel_size_m[0]
    ratio = truth.shape[0] * aspect / truth.shape[1]
    side = 12.0 / max(columns, 2)
    figure = Figure(figsize=(side * columns, rows * (side * ratio + 0.3) + 0.35), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (axes, (title, predicted)) in enumerate(zip(grid.flat, predictions.items(), strict=False)):
        _draw_errors(axes, error_classes(predicted, truth), background, aspect)
        if test is not None and min(test.shape) > 1 and test.any() and not test.all():
            axes.contour(test, levels=[0.5], colors=INK, linewidths=0.9, linestyles="dashed")
        axes.set_title(title, fontsize=9, loc="left")
        if number == 0:
            draw_furniture(axes, truth.shape, pixel_size_m[0], north)
    _error_legend(figure)
    return figure


def figure_zoom(
    image: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    pixel_size_m: tuple[float, float],
    *,
    north: float = 0.0,
) -> Figure:
    """Draws a place twice: its image with both outlines, and where they agree and differ.

    Args:
        image: `(H, W, 4)` colour image.
        truth: `(H, W)` of 0, 1 and 255.
        predicted: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel of these arrays.
        north: Direction of north in degrees clockwise from up.
    """
    aspect = pixel_size_m[1] / pixel_size_m[0]
    ratio = truth.shape[0] * aspect / truth.shape[1]
    figure = Figure(figsize=(6.6, 3.25 * ratio + 0.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image, aspect=aspect, interpolation="nearest")
    draw_outline(left, truth == 1, INK, 1.5)
    draw_outline(left, predicted == 1, PREDICTED, 2.0)
    grey = image[..., :3].astype(np.float32).mean(axis=2)
    _draw_errors(right, error_classes(predicted, truth), np.round(70 + 0.72 * grey).astype(np.uint8), aspect)
    draw_furniture(left, truth.shape, pixel_size_m[0], north)
    left.set_title("outlines: truth black, predicted blue", fontsize=8, loc="left")
    right.set_title("agreement and errors", fontsize=8, loc="left")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(RULE)
    return figure


def _draw_errors(
    axes: Axes, classes: NDArray[np.uint8], background: NDArray[np.uint8] | None, aspect: float
) -> None:
    if background is not None:
        axes.imshow(background, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="antialiased")
    axes.imshow(
        paint(classes, OVERLAY_COLOURS),
        aspect=aspect,
        interpolation="antialiased",
        interpolation_stage="rgba",
    )


def _error_legend(figure: Figure) -> None:
    handles = [
        Patch(facecolor=(colour, opacity), edgecolor=INK, linewidth=0.4, label=ERROR_LABELS[kind])
        for kind, (colour, opacity) in OVERLAY_COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def errors_picture(results: RunResults, view: RegionView) -> Picture | None:
    """Shows the errors of every model in a region side by side, refined where that is done."""
    if view.truth is None or not view.predictions:
        return None
    final = {(model, bands): stage for model, bands, stage in view.predictions}  # refined comes after raw
    iou = {
        score.variant: score.get("iou")
        for score in results.scores
        if score.region == view.region.name and score.role == "test"
    }
    masks = {}
    for (model, bands), stage in final.items():
        score = iou.get((model, bands, stage))
        title = variant_label(model, bands, stage) + (f": {score:.3f}" if score is not None else "")
        masks[title] = view.predictions[model, bands, stage]
    # Small maps need no more; half the pixels take a quarter of the time.
    step = max(1, max(view.truth.shape) // _SMALL_MAP_PX)
    coarse = (slice(None, None, step), slice(None, None, step))
    test = view.role("test")
    figure = figure_errors(
        {title: mask[coarse] for title, mask in masks.items()},
        view.truth[coarse],
        (view.pixel_size_m[0] * step, view.pixel_size_m[1] * step),
        background=grey_of(view.composites[0])[coarse] if view.composites else None,
        test=None if test is None else test[coarse],
        north=view.north,
    )
    return Picture(
        figure,
        f"Maps of agreement and errors in {view.region.name} for {'; '.join(masks)}.",
        "Agreement and errors of every model"
        + (", with its IoU on the test part (dashed outline)." if iou else "."),
        has_image=True,
    )


def find_zooms(results: RunResults, views: Sequence[RegionView], variant: Variant) -> list[Picture]:
    """Finds and draws the largest errors over all regions, on test parts where there are any."""
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
        found += [(p.pixels * width_m * height_m / 1e6, view, p) for p in worst_places(classes)]
    found.sort(key=lambda entry: -entry[0])
    return [_zoom(results, view, place, variant, area) for area, view, place in found[:_MOST_ZOOMS]]


def _zoom(results: RunResults, view: RegionView, place: Place, variant: Variant, area_km2: float) -> Picture:
    window = _window(view, place)
    frame = part_of(window, _LONG_SIDE_PX)
    model = results.model(variant[0], variant[1])
    assert model is not None  # noqa: S101  (its prediction is in the view)
    truth = read_classes(view.region.truth_path, frame)
    predicted = read_classes(model.folder.mask(view.region.name, variant[2]), frame)
    width_m, height_m = view.grid.pixel_size_m
    size = width_m * frame.step, height_m * window.height / frame.shape[0]
    figure = figure_zoom(read_image(view, frame), truth, predicted, size, north=view.north)
    kind = "Missed" if place.kind == FN else "Wrongly mapped as glacier"
    text = f"{kind}: {area_text(area_km2)} km² in one piece, {view.region.name}, {_where(view, window)}"
    return Picture(figure, text, text, has_image=True)


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
