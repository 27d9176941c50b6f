"""Maps of whole regions with coordinates, and their outlines close up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import RequestError
from glacierseg.raster.outlines import own_layers, read_own
from glacierseg.report import style
from glacierseg.report.furniture import draw_furniture
from glacierseg.report.glaciers import UNIT, to_screen
from glacierseg.report.images import part_of
from glacierseg.report.save import Picture
from glacierseg.report.views import RegionView, Variant, read_image

_COLOURS = {"raw": style.VERMILLION, "smooth": style.BLUE}


def figure_region(view: RegionView, variant: Variant | None = None, *, image: int = 0) -> Figure:
    """Draws a region: its image, the true outlines and those of a prediction, scale, north and coordinates.

    Args:
        view: The region at screen size.
        variant: Model, bands and stage of a prediction to draw; None for none.
        image: Position of the colour image among the view's.
    """
    figure, axes = _frame(view)
    draw_image(axes, view, image)
    handles = []
    if view.truth is not None:
        draw_outline(axes, view.truth == 1, style.INK, 1.0)
        handles.append(Line2D([], [], color=style.INK, label="truth"))
    if variant is not None:
        draw_outline(axes, view.predictions[variant] == 1, style.BLUE, 1.3)
        handles.append(Line2D([], [], color=style.BLUE, label=style.variant_label(*variant)))
    _finish(figure, axes, view, handles)
    return figure


def figure_outlines(view: RegionView, layers: dict[str, NDArray[Any]], *, image: int = 0) -> Figure:
    """Draws outlines of vector files over a region, for example raw and smooth ones.

    Args:
        view: The region at screen size.
        layers: By label, polygons in the CRS of the region; four at most.
        image: Position of the colour image among the view's.
    """
    figure, axes = _frame(view)
    draw_image(axes, view, image)
    handles = []
    colours = (style.INK, style.VERMILLION, style.SKY, style.PURPLE)
    for (label, polygons), colour in zip(layers.items(), colours, strict=False):
        draw_polygons(axes, to_screen(polygons, view), colour, 1.0)
        handles.append(Line2D([], [], color=colour, linewidth=1.5, label=label))
    _finish(figure, axes, view, handles)
    return figure


def still_picture(view: RegionView, best: Variant | None) -> Picture | None:
    """Shows a region as its map opens: image, true and predicted outlines, coordinates."""
    if not view.composites:
        return None
    predicted = view.predictions.get(best) if best else None
    figure = figure_region(view, best if predicted is not None else None)
    lines = " with the true outlines" if view.truth is not None else ""
    lines += f" and those of {style.variant_label(*best)}" if best and predicted is not None else ""
    return Picture(figure, f"Map of {view.region.name}{lines}.", "", has_image=True)


def draw_polygons(axes: Axes, shapes: NDArray[Any], colour: str, width: float) -> None:
    """Draws the outlines of polygons that `to_screen` has moved."""
    rings = shapely.get_rings(shapely.get_parts(shapes))
    for ring in rings:
        x, y = shapely.get_coordinates(ring).T / UNIT - 0.5
        axes.plot(x, y, color="white", linewidth=width + 1.4, alpha=0.8)
        axes.plot(x, y, color=colour, linewidth=width)


def draw_image(axes: Axes, view: RegionView, image: int = 0) -> None:
    """Draws a colour image of a region, white where there is none."""
    aspect = view.pixel_size_m[1] / view.pixel_size_m[0]
    blank = np.full((*view.frame.shape, 4), 255, np.uint8)
    pixels = view.composites[image].pixels if view.composites else blank
    axes.imshow(pixels, aspect=aspect, interpolation="antialiased")


def label_coordinates(axes: Axes, transform: Affine, shape: tuple[int, int], *, degrees: bool) -> None:
    """Labels the axes of a picture with the coordinates of its CRS, at round values.

    Only where rows and columns run along the coordinates; a turned grid is left without labels.

    Args:
        axes: Axes with an image in pixel coordinates.
        transform: From (column, row) of the image to CRS coordinates.
        shape: Rows and columns of the image.
        degrees: Whether the coordinates are degrees.
    """
    rows, columns = shape
    if transform.b or transform.d:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for axis, start, step, count in (
        (axes.xaxis, transform.c, transform.a, columns),
        (axes.yaxis, transform.f, transform.e, rows),
    ):
        low, high = sorted((start, start + step * count))
        values = [v for v in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= v <= high]
        axis.set_ticks([(value - start) / step - 0.5 for value in values])
        texts = [f"{v:.2f}°" if degrees else f"{v:,.0f}".replace(",", "\u2009") for v in values]
        axis.set_ticklabels(texts, fontsize=7)
    for label in axes.get_yticklabels():
        label.set(rotation=90, va="center")


def _frame(view: RegionView) -> tuple[Figure, Axes]:
    rows, columns = view.frame.shape
    ratio = rows * view.pixel_size_m[1] / (columns * view.pixel_size_m[0])
    width = min(7.2, 8.6 / ratio)
    figure = Figure(figsize=(width, width * ratio + 0.6), layout="constrained")
    return figure, figure.subplots()


def _finish(figure: Figure, axes: Axes, view: RegionView, handles: Sequence[Line2D]) -> None:
    rows, columns = view.frame.shape
    grid = view.grid
    shown = grid.transform * Affine.scale(grid.width / columns, grid.height / rows)
    label_coordinates(axes, shown, view.frame.shape, degrees=bool(grid.crs.is_geographic))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(length=3, color=style.MUTED)
    axes.spines[:].set_color(style.MUTED)
    draw_furniture(axes, view.frame.shape, view.pixel_size_m[0], view.north)
    axes.set_title(f"{view.region.name}, {view.region.crs}", fontsize=9, loc="left")
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8.5
        )


def draw_outline(axes: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    """Draws the outline of a mask with a pale casing."""
    # Contours need two rows and two columns.
    if min(mask.shape) > 1 and mask.any() and not mask.all():
        drawn = axes.contour(mask, levels=[0.5], colors=colour, linewidths=width)
        drawn.set_path_effects([withStroke(linewidth=width + 1.8, foreground="white")])


def figure_boundary(view: RegionView, outlines: Path, *, refined: bool = False, side_px: int = 72) -> Figure:
    """Draws the raw and the smooth outline over the image, where the largest glacier ends within the scene.

    Args:
        view: The region at screen size.
        outlines: Vector file with the layers `raw` and `smooth` (`refined`, `refined_smooth`).
        refined: Whether to draw the refined ones.
        side_px: Side of the part shown, in pixels of the scene.

    Raises:
        RequestError: The file has no such layers, or no outline.
        DataError: It is damaged.
    """
    layers = {"raw": "refined", "smooth": "refined_smooth"} if refined else {"raw": "raw", "smooth": "smooth"}
    found = own_layers(outlines)
    if missing := [layer for layer in layers.values() if layer not in found]:
        raise RequestError(f"{outlines}: has no layer {missing[0]!r}; give the outlines of a run")
    inverse = ~view.grid.transform
    turn = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]]).T
    shapes: dict[str, NDArray[Any]] = {
        label: shapely.transform(
            read_own(outlines, layer).geometry.to_numpy(),
            lambda points: points @ turn + np.array([inverse.c, inverse.f]),
        )
        for label, layer in layers.items()
    }
    if not len(shapes["raw"]):
        raise RequestError(f"{outlines}: holds no outline, so there is no boundary to show")
    window = _window(view, shapes["raw"], side_px)
    frame = part_of(window, 1024)
    width_m, height_m = view.grid.pixel_size_m
    figure = Figure(
        figsize=(4.6, 4.6 * window.height * height_m / (window.width * width_m) + 0.5), layout="constrained"
    )
    axes = figure.subplots()
    axes.imshow(
        read_image(view, frame),
        extent=(0, window.width, window.height, 0),
        aspect=height_m / width_m,
        interpolation="nearest",
    )
    seen = shapely.box(
        window.col_off, window.row_off, window.col_off + window.width, window.row_off + window.height
    )
    for label, own in shapes.items():
        for ring in shapely.get_rings(shapely.get_parts(own[shapely.intersects(own, seen)])):
            x, y = (shapely.get_coordinates(ring) - (window.col_off, window.row_off)).T
            # All casings lie under all lines: the two run a pixel apart.
            axes.plot(x, y, color="white", linewidth=3.2, alpha=0.8, zorder=2)
            axes.plot(x, y, color=_COLOURS[label], linewidth=1.5, zorder=3)
    axes.set_xlim(0, window.width)
    axes.set_ylim(window.height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(style.RULE)
    draw_furniture(axes, (int(window.height), int(window.width)), width_m, view.north)
    axes.set_title(f"{view.region.name}: {'refined ' if refined else ''}outlines", fontsize=9, loc="left")
    handles = [Line2D([], [], color=colour, linewidth=1.5, label=label) for label, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def _window(view: RegionView, shapes: NDArray[Any], side_px: int) -> Window:
    """Returns a square about that corner of the largest outline which is farthest from the scene's edge."""
    largest = shapes[np.argmax(shapely.area(shapes))]
    points = shapely.get_coordinates(shapely.get_exterior_ring(shapely.get_parts(largest)))
    size = np.array([view.grid.width, view.grid.height])
    x, y = points[np.argmax(np.minimum(points, size - points).min(axis=1))]
    width, height = min(side_px, view.grid.width), min(side_px, view.grid.height)
    left = int(np.clip(x - width / 2, 0, view.grid.width - width))
    top = int(np.clip(y - height / 2, 0, view.grid.height - height))
    return Window(left, top, width, height)
