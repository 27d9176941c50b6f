"""Static maps: errors of every model side by side, and zooms of single places."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from glacierseg.report.furniture import draw_furniture
from glacierseg.report.overlays import FN, FP, OVERLAY_COLOURS, TP, error_classes, paint
from glacierseg.report.style import INK, PREDICTED, RULE

ERROR_LABELS = {TP: "glacier in both (TP)", FP: "predicted only (FP)", FN: "truth only (FN)"}


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
        test: `(H, W)`, the pixels that are tested; its rim is drawn.
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
    """Draws a place twice: its image with both outlines, and what is right and wrong there.

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
    draw_rim(left, truth == 1, INK, 1.5)
    draw_rim(left, predicted == 1, PREDICTED, 2.0)
    grey = image[..., :3].astype(np.float32).mean(axis=2)
    _draw_errors(right, error_classes(predicted, truth), np.round(70 + 0.72 * grey).astype(np.uint8), aspect)
    draw_furniture(left, truth.shape, pixel_size_m[0], north)
    left.set_title("outlines: truth black, predicted blue", fontsize=8, loc="left")
    right.set_title("right and wrong", fontsize=8, loc="left")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(RULE)
    return figure


def draw_rim(axes: Axes, mask: NDArray[np.bool_], colour: str, width: float) -> None:
    """Draws the rim of a mask with a pale casing."""
    # Contours need two rows and two columns.
    if min(mask.shape) > 1 and mask.any() and not mask.all():
        drawn = axes.contour(mask, levels=[0.5], colors=colour, linewidths=width)
        drawn.set_path_effects([withStroke(linewidth=width + 1.8, foreground="white")])


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
