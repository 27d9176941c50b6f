"""Maps of whole regions with coordinates, and their outlines close up."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke
from matplotlib.ticker import Formatter, MaxNLocator
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import RequestError
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import own_layers, read_own
from glacierseg.report import style
from glacierseg.report.furniture import draw_furniture, north_degrees
from glacierseg.report.images import part_of
from glacierseg.report.save import Picture
from glacierseg.report.views import RegionView, SceneView, Variant, read_image

_LONG_LIST = 6
# Mean width of a letter, and of the sign before a label with its margins, per point of the font's size.
_LETTER_IN, _HANDLE_IN = 0.0075, 0.055
_LINE_IN = 0.022
_WIDEST_IN, _HIGHEST_IN, _NARROWEST_IN = 7.2, 8.6, 3.6
# Sides of pixels between glacier and none, of which a map a page wide shows some ten thousand.
_MOST_EDGES = 100_000
_COLOURS = {"raw": style.VERMILLION, "smooth": style.BLUE}


def figure_region(view: RegionView, variant: Variant | None = None) -> Figure:
    """Draws a region: its image, the true outlines and those of a prediction, scale, north and coordinates.

    Args:
        view: The region at screen size.
        variant: Model, bands and stage of a prediction to draw; None for none.
    """
    figure, axes = map_figure(view)
    draw_map(axes, view)
    handles = []
    if view.truth is not None:
        draw_outline(axes, view.truth == 1, style.INK, 1.0, view.shown)
        handles.append(Line2D([], [], color=style.INK, label="truth"))
    if variant is not None:
        draw_outline(axes, view.predictions[variant] == 1, style.BLUE, 1.3, view.shown)
        handles.append(Line2D([], [], color=style.BLUE, label=style.variant_label(*variant)))
    add_legend(figure, handles)
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


def map_figure(view: SceneView) -> tuple[Figure, Axes]:
    """Returns an empty figure of the shape of a scene's map, and its axes."""
    figure = Figure(figsize=map_size(view), layout="constrained")
    return figure, figure.subplots()


def map_size(view: SceneView) -> tuple[float, float]:
    """Returns width and height in inches of a figure with a scene's map."""
    grid = _north_up(view.shown)
    width_m, height_m = grid.pixel_size_m
    ratio = grid.height * height_m / (grid.width * width_m)
    width = min(_WIDEST_IN, _HIGHEST_IN / ratio)
    # A narrow map still needs room for its title and its legend.
    return max(width, _NARROWEST_IN), width * ratio + 0.6


def draw_map(axes: Axes, view: SceneView, image: int = 0) -> None:
    """Draws a scene, white without image, in the coordinates of its CRS, with scale bar, north and title."""
    shown, grid = view.shown, _north_up(view.shown)
    blank = np.full((*shown.shape, 4), 255, np.uint8)
    draw_pixels(axes, view.composites[image].pixels if view.composites else blank, shown)
    left, bottom, right, top = grid.bounds
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    width_m, height_m = grid.pixel_size_m
    axes.set_aspect((height_m / -grid.transform.e) / (width_m / grid.transform.a))
    axes.set_anchor("W")
    across, down = _inches(axes)
    down = min(down, across * grid.height * height_m / (grid.width * width_m))
    across = min(across, down * grid.width * width_m / (grid.height * height_m))
    for axis, inches in ((axes.xaxis, across), (axes.yaxis, down)):
        axis.set_major_locator(MaxNLocator(max(1, min(4, int(inches / 0.8))), steps=[1, 2, 5, 10]))
        axis.set_major_formatter(_Coordinates(degrees=grid.is_geographic))
    axes.tick_params(length=3, color=style.MUTED, labelsize=7)
    axes.tick_params(axis="y", labelrotation=90)
    for label in axes.get_yticklabels():
        label.set(va="center")
    axes.spines[:].set_color(style.MUTED)
    draw_furniture(axes, grid.shape, width_m, north_degrees(grid), transform=_to_crs(grid))
    draw_title(axes, view.title)


def draw_pixels(axes: Axes, pixels: NDArray[np.uint8], grid: Grid) -> None:
    """Draws an image `(H, W, 4)` where its grid lies, in the coordinates of the CRS."""
    a, b, c, d, e, f = grid.transform[:6]
    if b or d:
        extent = (-0.5, grid.width - 0.5, grid.height - 0.5, -0.5)
        axes.imshow(pixels, extent=extent, transform=_to_crs(grid) + axes.transData, aspect="auto")
        return
    axes.imshow(pixels, extent=(c, c + a * grid.width, f + e * grid.height, f), aspect="auto")


def draw_polygons(axes: Axes, shapes: NDArray[Any], colour: str, width: float) -> None:
    """Draws the outlines of polygons, in the coordinates of the axes, with a pale casing."""
    paths = _paths_of(shapes)
    for edge, line, opacity in (("white", width + 1.4, 0.8), (colour, width, 1.0)):
        axes.add_collection(
            PathCollection(paths, facecolors="none", edgecolors=edge, linewidths=line, alpha=opacity),
            autolim=False,
        )


def fill_polygons(axes: Axes, shapes: NDArray[Any], colour: str, opacity: float) -> None:
    """Fills polygons, in the coordinates of the axes; a line of their colour keeps thin ones visible."""
    axes.add_collection(
        PathCollection(
            _paths_of(shapes), facecolors=to_rgba(colour, opacity), edgecolors=colour, linewidths=0.6
        ),
        autolim=False,
    )


def _paths_of(shapes: NDArray[Any]) -> list[Curve]:
    """One path for each polygon; holes are wound the other way, which leaves them empty."""
    parts = shapely.orient_polygons(shapely.get_parts(shapes))
    paths = []
    for part in parts:
        rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(part)]
        codes = [[Curve.MOVETO, *[Curve.LINETO] * (len(ring) - 2), Curve.CLOSEPOLY] for ring in rings]
        paths.append(Curve(np.concatenate(rings), np.concatenate(codes)))
    return paths


class _Coordinates(Formatter):
    """Coordinates of a CRS, with as many decimals as tell the ticks apart."""

    def __init__(self, *, degrees: bool) -> None:
        self._unit = "°" if degrees else ""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        step = min(np.diff(values), default=1.0)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
        return [f"{value:,.{decimals}f}{self._unit}".replace(",", "\u2009") for value in values]

    def __call__(self, value: float, position: int | None = None) -> str:  # noqa: ARG002  (matplotlib's)
        return f"{value:g}{self._unit}"


def draw_title(axes: Axes, *lines: str) -> None:
    """Writes lines above a map, wrapped to its width."""
    width = max(20, int(_inches(axes)[0] / (9 * _LETTER_IN)))
    text = "\n".join(textwrap.fill(line, width) for line in lines)
    axes.set_title(text, fontsize=9, loc="left")


def _inches(axes: Axes) -> tuple[float, float]:
    """Width and height that axes have, about, once the layout has given them what margins leave."""
    whole, own = axes.figure.bbox, axes.get_position(original=True)
    width, height = (side / axes.figure.dpi for side in (whole.width, whole.height))
    return min(1.0, 1.2 * own.width) * width, min(1.0, 1.2 * own.height) * height


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Explains what was drawn, below the map, in as many columns as fit."""
    if not handles:
        return
    size = 8.5 if len(handles) < _LONG_LIST else 7
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = int(figure.get_figwidth() / (size * (_LETTER_IN * longest + _HANDLE_IN)))
    rows = math.ceil(len(handles) / min(max(columns, 1), len(handles)))
    figure.set_figheight(figure.get_figheight() + (rows - 1) * size * _LINE_IN)
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        # As few as make so many rows: five and five rather than nine and one.
        ncols=math.ceil(len(handles) / rows),
        frameon=False,
        fontsize=size,
        handletextpad=0.5,
    )


def draw_outline(
    axes: Axes, mask: NDArray[np.bool_], colour: str, width: float, grid: Grid | None = None
) -> None:
    """Draws the outline of a mask with a pale casing, in pixels or, with its grid, in coordinates."""
    mask, step = _calmed(mask)
    # Contours need two rows and two columns.
    if min(mask.shape) > 1 and mask.any() and not mask.all():
        place: Any = {}
        if step > 1 or grid is not None:
            middle = (step - 1) / 2
            moved = Affine2D().scale(step).translate(middle, middle)
            place["transform"] = (moved if grid is None else moved + _to_crs(grid)) + axes.transData
        drawn = axes.contour(mask, levels=[0.5], colors=colour, linewidths=width, **place)
        drawn.set_path_effects([withStroke(linewidth=width + 1.8, foreground="white")])


def _calmed(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Makes a mask coarser, each pixel what most of four are, until its outline can be told from speckle.

    Returns:
        The mask, and how many pixels one of its own is wide.
    """
    step = 1
    while min(mask.shape) > 3 and _edges(mask) > _MOST_EDGES:
        rows, columns = mask.shape[0] // 2, mask.shape[1] // 2
        fours = mask[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
        mask, step = fours.mean(axis=(1, 3)) > 0.5, 2 * step
    return mask, step


def _edges(mask: NDArray[np.bool_]) -> int:
    return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())


def _to_crs(grid: Grid) -> Affine2D:
    """From pixels, 0 the centre of the first one, to coordinates of the CRS."""
    moved = grid.transform * Affine.translation(0.5, 0.5)
    return Affine2D(np.array(moved).reshape(3, 3))


def _north_up(grid: Grid) -> Grid:
    """The grid along the axes of the CRS, first row in the north, that holds another with its pixels."""
    a, b, _, d, e, _ = grid.transform[:6]
    left, bottom, right, top = grid.bounds
    width = max(1, round((right - left) / math.hypot(a, d)))
    height = max(1, round((top - bottom) / math.hypot(b, e)))
    transform = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
    return Grid(grid.crs, transform, height, width)


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
