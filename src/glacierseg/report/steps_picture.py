"""What each step of refinement did to a mask, before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.outputs import writes
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.refine.ground import slope_on_grid
from glacierseg.refine.parameters import RefineParameters
from glacierseg.refine.pipeline import refine_stepwise
from glacierseg.report.furniture import draw_furniture, north_degrees
from glacierseg.report.overlays import paint
from glacierseg.report.save import require_picture, save_figure
from glacierseg.report.style import BLUE, INK, MUTED, RULE, SKY, VERMILLION, area_text

KEPT, ADDED, REMOVED, UNKNOWN = 1, 2, 3, 4
_COLOURS = {KEPT: (SKY, 0.75), ADDED: (BLUE, 1.0), REMOVED: (VERMILLION, 1.0), UNKNOWN: (RULE, 1.0)}
_LABELS = {KEPT: "glacier", ADDED: "added", REMOVED: "taken away", UNKNOWN: "no data"}
_LONG_SIDE_PX, _CLOSE_UP_PX = 700, 80


def figure_refinement_steps(
    mask: NDArray[np.uint8],
    steps: Sequence[tuple[str, NDArray[np.uint8]]],
    pixel_size_m: tuple[float, float],
    *,
    close_up_px: int = _CLOSE_UP_PX,
    north: float = 0.0,
) -> Figure:
    """Draws every step in a row: the whole mask with what changed, then the busiest place before and after.

    Args:
        mask: `(H, W)` of 0, 1 and 255, as it came.
        steps: Name of each step and the mask `(H, W)` that it made, as `refine_stepwise` yields them.
        pixel_size_m: Width and height of a pixel.
        close_up_px: Side of the close-up.
        north: Direction of north in degrees clockwise from up.
    """
    aspect = pixel_size_m[1] / pixel_size_m[0]
    ratio = float(np.clip(mask.shape[0] * aspect / mask.shape[1], 0.3, 1.5))
    figure = Figure(figsize=(10.5, len(steps) * (3.3 * ratio + 0.35) + 0.5), layout="constrained")
    grid = figure.subplots(len(steps), 3, squeeze=False)
    before = mask
    for row, (name, after) in zip(grid, steps, strict=True):
        classes = change_classes(before, after)
        place = busiest_place(np.isin(classes, (ADDED, REMOVED)), close_up_px)
        _draw_whole(row[0], classes, place, aspect)
        _draw(
            row[1],
            np.where(classes == REMOVED, KEPT, np.where(classes == ADDED, 0, classes))[place.box],
            aspect,
        )
        _draw(row[2], classes[place.box], aspect)
        draw_furniture(row[1], place.shape, pixel_size_m[0], north)
        area = pixel_size_m[0] * pixel_size_m[1] / 1e6
        added, removed = (int(np.count_nonzero(classes == kind)) for kind in (ADDED, REMOVED))
        row[0].set_title(f"{name}: {_balance(added * area, removed * area)}", fontsize=9, loc="left")
        row[1].set_title("before, in the frame", fontsize=8, loc="left", color=MUTED)
        row[2].set_title("after", fontsize=8, loc="left", color=MUTED)
        before = after
    handles = [
        Patch(facecolor=colour, alpha=opacity, edgecolor=INK, linewidth=0.4, label=_LABELS[kind])
        for kind, (colour, opacity) in _COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


@writes(picture=())
def draw_refinement_steps(
    mask_path: Path, picture: Path, parameters: RefineParameters | None = None, *, dem: Path | None = None
) -> None:
    """Refines a mask file and writes a picture of what each step changed.

    Args:
        mask_path: A mask raster.
        picture: The picture; its suffix says whether PNG, SVG or PDF.
        parameters: What to do; the defaults when None.
        dem: Elevation, where the parameters ask for the slope.

    Raises:
        RasterError: A file cannot be read.
        TruthError: The mask has values other than 0, 1 and ignore.
        RequestError: The picture has another suffix, or the slope is needed and there is no elevation.
        OutputError: The picture cannot be written.
    """
    require_picture(picture)
    parameters = parameters or RefineParameters()
    with open_raster(mask_path) as dataset:
        grid = grid_of(dataset)
    size_m = even_pixel_m(grid, str(mask_path))
    needs_slope = parameters.max_hole_slope_deg is not None and dem is not None
    slope = slope_on_grid(dem, grid) if needs_slope and dem is not None else None
    mask = read_mask(mask_path)
    steps = list(refine_stepwise(mask, size_m, parameters, slope_deg=slope))
    save_figure(figure_refinement_steps(mask, steps, size_m, north=north_degrees(grid)), picture)


def change_classes(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns `(H, W)`: 1 glacier in both, 2 added, 3 taken away, 4 ignored, else 0."""
    was, now = before == GLACIER, after == GLACIER
    return np.select([after == IGNORE, was & now, now, was], [UNKNOWN, KEPT, ADDED, REMOVED], 0).astype(
        np.uint8
    )


@dataclass(frozen=True)
class Place:
    """A rectangle of pixels: first row and column, and its shape."""

    row: int
    column: int
    shape: tuple[int, int]

    @property
    def box(self) -> tuple[slice, slice]:
        """The same for an array."""
        return slice(self.row, self.row + self.shape[0]), slice(self.column, self.column + self.shape[1])


def busiest_place(changed: NDArray[np.bool_], side_px: int) -> Place:
    """Returns the square of a side in which most pixels changed; the middle when nothing did.

    Args:
        changed: `(H, W)`.
        side_px: Its side; smaller where the array is.
    """
    height, width = (min(side_px, size) for size in changed.shape)
    if not changed.any():
        return Place((changed.shape[0] - height) // 2, (changed.shape[1] - width) // 2, (height, width))
    total = np.zeros((changed.shape[0] + 1, changed.shape[1] + 1), np.int64)
    total[1:, 1:] = changed.cumsum(axis=0).cumsum(axis=1)
    inside = (
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )
    # Of many equal squares, take the one in their middle, so that what changed does not stick to a rim.
    best = np.argwhere(inside == inside.max())
    row, column = best[np.abs(best - best.mean(axis=0)).sum(axis=1).argmin()]
    return Place(int(row), int(column), (height, width))


def _draw_whole(axes: Axes, classes: NDArray[np.uint8], place: Place, aspect: float) -> None:
    """Draws all of it at screen size; a pixel that changed is never lost between larger ones."""
    step = max(1, -(-max(classes.shape) // _LONG_SIDE_PX))
    small = classes[::step, ::step].copy()
    for kind in (ADDED, REMOVED):
        rows, columns = np.nonzero(classes == kind)
        small[rows // step, columns // step] = kind
    _draw(axes, small, aspect)
    corner = place.column / step - 0.5, place.row / step - 0.5
    axes.add_patch(
        Rectangle(
            corner, place.shape[1] / step, place.shape[0] / step, fill=False, edgecolor=INK, linewidth=1
        )
    )


def _draw(axes: Axes, classes: NDArray[np.uint8], aspect: float) -> None:
    axes.imshow(paint(classes, _COLOURS), aspect=aspect, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)


def _balance(added_km2: float, removed_km2: float) -> str:
    parts = [f"{sign}{_area(km2)}" for sign, km2 in (("+", added_km2), ("−", removed_km2)) if km2]
    return f"{', '.join(parts)} km²" if parts else "changed nothing"


def _area(km2: float) -> str:
    return area_text(km2) if km2 >= 0.1 else f"{km2:.4f}"
