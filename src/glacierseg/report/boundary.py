"""Raw and smooth outlines of the same glacier, close up."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import RequestError
from glacierseg.raster.outlines import own_layers, read_own
from glacierseg.report import style
from glacierseg.report.decimate import part_of
from glacierseg.report.furniture import draw_furniture
from glacierseg.report.views import RegionView, read_image

_COLOURS = {"raw": style.VERMILLION, "smooth": style.BLUE}


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
    """Returns a square about that corner of the largest outline which is farthest from the scene's rim."""
    largest = shapes[np.argmax(shapely.area(shapes))]
    points = shapely.get_coordinates(shapely.get_exterior_ring(shapely.get_parts(largest)))
    size = np.array([view.grid.width, view.grid.height])
    x, y = points[np.argmax(np.minimum(points, size - points).min(axis=1))]
    width, height = min(side_px, view.grid.width), min(side_px, view.grid.height)
    left = int(np.clip(x - width / 2, 0, view.grid.width - width))
    top = int(np.clip(y - height / 2, 0, view.grid.height - height))
    return Window(left, top, width, height)
