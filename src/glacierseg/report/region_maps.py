"""Maps of whole regions with coordinates, for papers and print."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from glacierseg.report import style
from glacierseg.report.furniture import draw_furniture
from glacierseg.report.glaciers import UNIT, to_screen
from glacierseg.report.maps import draw_rim
from glacierseg.report.views import RegionView, Variant


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
        draw_rim(axes, view.truth == 1, style.INK, 1.0)
        handles.append(Line2D([], [], color=style.INK, label="truth"))
    if variant is not None:
        draw_rim(axes, view.predictions[variant] == 1, style.BLUE, 1.3)
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


def draw_polygons(axes: Axes, shapes: NDArray[Any], colour: str, width: float) -> None:
    """Draws the rims of polygons that `to_screen` has moved."""
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
