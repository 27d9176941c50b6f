"""Pictures of any scene with what was mapped on it: a mask, an inventory, a change.

All lie in the coordinates of the scene's CRS. Masks and outlines on other grids are brought to it.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import OUTLINE_ID, read_outlines
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.report import style
from glacierseg.report.figures.maps import (
    add_legend,
    draw_map,
    draw_outline,
    draw_pixels,
    draw_polygons,
    draw_title,
    fill_polygons,
    map_figure,
    map_size,
)
from glacierseg.report.images import frame_of, grey_of
from glacierseg.report.map import paint_probability
from glacierseg.report.shown import LEFT_OUT, dates_of_change, read_change, shown_mask, shown_probability
from glacierseg.report.views import FIGURE_SIDE_PX, SceneView, view_scene
from glacierseg.settings.figures import FigureInputs
from glacierseg.vectors.layers import areas_km2

MOST_NUMBERED = 10
"""Glaciers of an inventory that have a number on its map."""
# Ice at both dates lets the image through; what changed does not.
_COLOURS = {
    "glaciers": (style.SKY, 0.4),
    "retreat": (style.VERMILLION, 0.9),
    "advance": (style.BLUE, 0.9),
    LEFT_OUT: (style.YELLOW, 0.5),
}
_LABELS = {
    "glaciers": "glacier at both dates",
    "retreat": "retreat",
    "advance": "advance",
    LEFT_OUT: "not compared",
}
_NAMES = ("glac_name", "name", "glacier_name", "glaciername")
_MOST_LETTERS = 46
_NUMBERS: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "ha": "center", "va": "center", "zorder": 4}


def plot_scene(
    scene: Scene | Path | str, ax: Axes | None = None, bands: str | Sequence[str | int] | None = None
) -> Axes:
    """Draws a scene in colour, for a notebook.

    Args:
        scene: The scene or its file.
        ax: Where to draw; a new figure when None.
        bands: `natural`, `false`, or the names or 1-based numbers of one band (grey) or of three (red, green,
            blue); natural colour when None, where the scene has its bands.

    Returns:
        The axes, in the coordinates of the scene's CRS.

    Raises:
        BandError: The scene has no such bands, or their number is neither one nor three.
        RasterError: The scene cannot be read.
    """
    view = view_scene(_opened(scene), bands, most_images=1)
    axes = _new_axes(view) if ax is None else ax
    draw_map(axes, view)
    return axes


def plot_mask(
    scene: Scene | Path | str,
    mask: NDArray[Any] | Path | str,
    ax: Axes | None = None,
    *,
    colour: str = style.BLUE,
) -> Axes:
    """Draws the outlines of a mask over a scene, for a notebook.

    Args:
        scene: The scene or its file.
        mask: `(H, W)` of 0, 1 and 255 on the scene's grid, or a file on any grid.
        ax: Where to draw: what it shows already stays; the scene is drawn where it shows no image. A new
            figure when None.
        colour: Of the outlines.

    Returns:
        The axes, in the coordinates of the scene's CRS.

    Raises:
        RasterError: A file cannot be read.
        GridMismatchError: The array has another shape than the scene, or the file lies elsewhere.
        TruthError: The mask has other values.
    """
    scene = _opened(scene)
    if ax is None or not ax.images:
        ax = plot_scene(scene, ax)
    grid = _shown_grid(scene)
    _draw_mask(ax, shown_mask(mask, scene.grid, grid), colour, grid)
    return ax


def scene_figures(scene: Scene, inputs: FigureInputs) -> Iterator[tuple[str, Figure]]:
    """Draws a scene with what was mapped on it, one figure after the other.

    Args:
        scene: The scene.
        inputs: What else is drawn.

    Yields:
        Name of the figure, without a suffix, and the figure.

    Raises:
        RasterError: A raster cannot be read.
        GridMismatchError: A mask, a probability or a change lies elsewhere.
        TruthError: The mask has other values, or the inventory cannot be used.
        RequestError: The change is none.
    """
    view = view_scene(scene)
    # All is read before anything is drawn: of a faulty input nothing is left behind.
    mask = None if inputs.mask is None else shown_mask(inputs.mask, scene.grid, view.shown)
    chance = None if inputs.probability is None else shown_probability(inputs.probability, view.shown)
    change = None if inputs.change is None else read_change(inputs.change, scene.grid)
    outlines = None
    if inputs.inventory is not None:
        outlines = read_outlines(
            inputs.inventory,
            scene.grid,
            layer=inputs.inventory_layer,
            option="--inventory-layer",
            prefer=("glaciers", "refined_smooth", "smooth", "refined", "raw"),
        )
    for number, composite in enumerate(view.composites):
        yield f"{scene.name}_{composite.recipe.key}", figure_mask(view, mask, image=number)
    if chance is not None:
        yield f"{scene.name}_probability", figure_probability(view, chance)
    if outlines is not None:
        yield f"{scene.name}_inventory", figure_inventory(view, outlines)
    if change is not None:
        dates = dates_of_change(inputs.change) if inputs.change else ""
        yield f"{scene.name}_change", figure_change(view, change, dates)


def figure_mask(view: SceneView, mask: NDArray[np.uint8] | None = None, *, image: int = 0) -> Figure:
    """Draws a colour image of a scene, with the outlines of a mask.

    Args:
        view: The scene at screen size.
        mask: `(h, w)` of 0, 1 and 255 as the view shows it; None for the image alone.
        image: Position of the colour image among the view's.
    """
    figure, axes = map_figure(view)
    draw_map(axes, view, image)
    draw_title(axes, view.title, view.composites[image].recipe.label)
    if mask is not None:
        _draw_mask(axes, mask, style.BLUE, view.shown)
        add_legend(figure, [Line2D([], [], color=style.BLUE, label="glacier")])
    return figure


def figure_probability(view: SceneView, probability: NDArray[np.float32]) -> Figure:
    """Draws glacier probability with a scale of its colours.

    Args:
        view: The scene at screen size.
        probability: `(h, w)` as the view shows it, NaN where there is none.
    """
    figure, axes = map_figure(view)
    draw_map(axes, replace(view, composites=()))
    draw_pixels(axes, paint_probability(probability), view.shown)
    draw_title(axes, f"Glacier probability, {view.title}")
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), "cividis"), ax=axes, shrink=0.6, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    return figure


def figure_inventory(view: SceneView, outlines: gpd.GeoDataFrame) -> Figure:
    """Draws the outlines of an inventory over a scene; the largest have numbers, which a list explains.

    Args:
        view: The scene at screen size.
        outlines: As `read_outlines` gives them: in the CRS of the scene, with the column `OUTLINE_ID`.
    """
    figure, axes = map_figure(view)
    draw_map(axes, view, len(view.composites) - 1)
    shapes, frame = outlines.geometry.to_numpy(), _frame_of(view.grid)
    draw_polygons(axes, shapes, style.BLUE, 0.9)
    seen, areas = shapely.intersection(shapes, frame), areas_km2(shapes, outlines.crs)
    order = np.argsort(-shapely.area(seen), kind="stable")[:MOST_NUMBERED]
    numbered = sorted((int(i) for i in order if shapely.area(seen[i])), key=lambda i: -areas[i])
    handles = []
    for number, i in enumerate(numbered, 1):
        x, y = _middle_of(seen[i])
        halo = [withStroke(linewidth=2.4, foreground="white")]
        axes.text(x, y, str(number), color=style.INK, path_effects=halo, **_NUMBERS)
        words = (str(outlines[OUTLINE_ID].iloc[i]), _name_of(outlines, i), f"{style.area_text(areas[i])} km²")
        label = textwrap.shorten(", ".join(filter(None, words[:2])), _MOST_LETTERS, placeholder=" …")
        handles.append(
            Line2D(
                [], [], linestyle="", marker=f"${number}$", color=style.INK, markersize=4 + 2 * (number > 9),
                label=f"{label}, {words[2]}",
            )
        )  # fmt: skip
    count = int(np.count_nonzero(shapely.area(seen)))
    said = f"{count} glacier{'' if count == 1 else 's'}; the largest in the picture have numbers"
    beyond = not shapely.covers(frame, shapes[numbered]).all()
    draw_title(axes, view.title, said + (", areas include what lies beyond it" if beyond else ""))
    add_legend(figure, handles)
    return figure


def figure_change(view: SceneView, change: dict[str, gpd.GeoDataFrame], dates: str = "") -> Figure:
    """Draws advance, retreat and what stayed ice over a scene in grey.

    Args:
        view: The scene at screen size.
        change: From `read_change`.
        dates: Of the change, in words.
    """
    figure, axes = map_figure(view)
    draw_map(axes, view)
    axes.images[-1].remove()
    if view.composites:
        grey = grey_of(view.composites[0])
        draw_pixels(axes, np.dstack([grey, grey, grey, np.full_like(grey, 255)]), view.shown)
    # Straight edges of another CRS bend: by much less than a pixel, where the scene itself was compared.
    frame = _frame_of(view.grid).buffer(math.hypot(view.grid.transform.a, view.grid.transform.d))
    whole = all(shapely.covers(frame, table.geometry.to_numpy()).all() for table in change.values())
    handles = []
    for name, table in change.items():
        if name == LEFT_OUT and table.empty:
            continue
        colour, opacity = _COLOURS[name]
        shapes, area = table.geometry.to_numpy(), float(table["area_km2"].sum())
        fill_polygons(axes, shapes, colour, opacity)
        # Beyond the scene the picture shows less than the file holds, and no number would be that of both.
        label = f"{_LABELS[name]}: {style.area_text(area)} km²" if whole else _LABELS[name]
        handles.append(Patch(facecolor=(colour, opacity), edgecolor=colour, linewidth=0.6, label=label))
    draw_title(axes, f"Change of glaciers{', ' * bool(dates)}{dates}, over {view.title}")
    add_legend(figure, handles)
    return figure


def _draw_mask(axes: Axes, mask: NDArray[np.uint8], colour: str, grid: Grid) -> None:
    # No line where the mask ends or knows nothing: there the ice may go on.
    known: Any = np.ma.masked_array(mask == GLACIER, mask == IGNORE)
    draw_outline(axes, known, colour, 1.1, grid)


def _opened(scene: Scene | Path | str) -> Scene:
    return scene if isinstance(scene, Scene) else open_scene(scene)


def _shown_grid(scene: Scene) -> Grid:
    return SceneView(scene.name, scene.grid, frame_of(scene.grid, FIGURE_SIDE_PX), scene, ()).shown


def _new_axes(view: SceneView) -> Axes:
    """Axes of a figure that a notebook shows by itself."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  (chooses a backend, and only notebooks need it)

    _, axes = plt.subplots(figsize=map_size(view), layout="constrained")
    return axes


def _frame_of(grid: Grid) -> Any:
    corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
    return shapely.Polygon([grid.transform * corner for corner in corners])


def _middle_of(shape: Any) -> tuple[float, float]:
    """The middle of the largest circle inside a shape, which is farthest from its outline."""
    x, y = shapely.get_coordinates(shapely.maximum_inscribed_circle(shape))[0]
    return float(x), float(y)


def _name_of(outlines: gpd.GeoDataFrame, row: int) -> str:
    """The name of a glacier, where the inventory has names; empty where it has none for it."""
    column = next((name for name in outlines.columns if str(name).lower() in _NAMES), None)
    value = None if column is None else outlines[column].iloc[row]
    return value.strip() if isinstance(value, str) else ""
