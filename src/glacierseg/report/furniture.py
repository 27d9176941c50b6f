"""Scale bars and north arrows: what makes a picture a map."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Transform

from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import pixel_axes
from glacierseg.report.style import INK


@dataclass(frozen=True)
class ScaleBar:
    """A round length for a map."""

    length_m: float
    label: str


def scale_bar(width_m: float) -> ScaleBar:
    """Returns the longest of 1, 2, 5, 10, ... that fits a quarter of a map's width."""
    limit = width_m / 4
    decade = 10 ** math.floor(math.log10(limit))
    length = max(factor * decade for factor in (1, 2, 5) if factor * decade <= limit * (1 + 1e-9))
    return ScaleBar(length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m")


def north_degrees(grid: Grid) -> float:
    """Returns where north points in a picture of a grid, in degrees clockwise from up.

    It is north as terrain has it, in the middle of the grid, see `glacierseg.raster.ground.pixel_axes`.
    """
    axes = pixel_axes(grid, grid.height // 2, grid.width // 2, 1, 1)
    steps = axes.column_east_m, axes.column_north_m, axes.row_east_m, axes.row_north_m
    column_east, column_north, row_east, row_north = (float(np.squeeze(step)) for step in steps)
    area = column_east * row_north - row_east * column_north
    # A step to the north leads so many columns to the right and rows down; pixels need not be square.
    width_m, height_m = grid.pixel_size_m
    right, down = -row_east / area * width_m, column_east / area * height_m
    return math.degrees(math.atan2(right, -down))


def draw_furniture(
    axes: Axes,
    shape: tuple[int, int],
    pixel_width_m: float,
    north: float = 0.0,
    *,
    transform: Transform | None = None,
) -> None:
    """Draws a scale bar and a north arrow into a map of pixels.

    Args:
        axes: Axes with an image.
        shape: Rows and columns of the image.
        pixel_width_m: Width of one of the image's pixels.
        north: Direction of north in degrees clockwise from up.
        transform: From pixels of the image (0 the centre of the first one) to the axes' data; the same when
            None.
    """
    height, width = shape
    place = axes.transData if transform is None else transform + axes.transData
    bar = scale_bar(width * pixel_width_m)
    length = bar.length_m / pixel_width_m
    left, bottom = 0.04 * width, 0.95 * height
    thickness = 0.012 * height
    axes.add_patch(
        Rectangle(
            (left, bottom),
            length,
            thickness,
            facecolor=INK,
            edgecolor="white",
            linewidth=0.8,
            zorder=5,
            transform=place,
        )
    )
    halo: dict[str, Any] = {"path_effects": [withStroke(linewidth=2, foreground="white")], "zorder": 6}
    axes.text(
        left + length / 2,
        bottom - 0.012 * height,
        bar.label,
        ha="center",
        va="bottom",
        fontsize=7,
        transform=place,
        **halo,
    )
    turn = math.radians(north)
    reach = 0.05 * max(height, width)
    x, y = 0.94 * width, 0.09 * height
    tip = (x + reach * math.sin(turn), y - reach * math.cos(turn))
    axes.annotate(
        "",
        xy=tip,
        xytext=(x, y),
        xycoords=place,
        textcoords=place,
        zorder=6,
        arrowprops={
            "arrowstyle": "-|>",
            "color": INK,
            "lw": 1.2,
            "path_effects": [withStroke(linewidth=3, foreground="white")],
        },
    )
    axes.text(
        x,
        y + 0.005 * height,
        "N",
        ha="center",
        va="top",
        fontsize=7,
        fontweight="bold",
        transform=place,
        **halo,
    )
