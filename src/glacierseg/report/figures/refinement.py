"""Refinement: every step before and after, and the search for its parameters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.raster.ground import even_pixel_m
from glacierseg.raster.outputs import writes
from glacierseg.raster.truth import GLACIER, IGNORE, open_mask, read_mask
from glacierseg.raster.warp import read_grid
from glacierseg.refine.files import load_parameters, slope_on_grid
from glacierseg.refine.search import TuneResult
from glacierseg.refine.steps import refine_stepwise
from glacierseg.report.figures.errors import paint
from glacierseg.report.furniture import draw_furniture, north_degrees
from glacierseg.report.save import Picture, require_picture, save_figure
from glacierseg.report.style import BLUE, INK, MUTED, RULE, SKY, VERMILLION, area_text, variant_label
from glacierseg.report.views import RegionView, Variant
from glacierseg.runs.layout import STAGES
from glacierseg.runs.results import ModelResult, RunResults
from glacierseg.settings.refine import RefineSettings

KEPT, ADDED, REMOVED, UNKNOWN = 1, 2, 3, 4
_COLOURS = {KEPT: (SKY, 0.75), ADDED: (BLUE, 1.0), REMOVED: (VERMILLION, 1.0), UNKNOWN: (RULE, 1.0)}
_LABELS = {KEPT: "glacier", ADDED: "added", REMOVED: "removed", UNKNOWN: "no data"}
_LONG_SIDE_PX, _CLOSE_UP_PX = 700, 80
# Steps of a larger mask are done again on a part of it.
_LARGEST_PX = 2048
_OBJECTIVES = {"iou": "IoU", "f1": "F1", "area": "area error"}


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
        box = busiest_box(np.isin(classes, (ADDED, REMOVED)), close_up_px)
        _draw_whole(row[0], classes, box, aspect)
        close = classes[box]
        _draw(row[1], np.where(close == REMOVED, KEPT, np.where(close == ADDED, 0, close)), aspect)
        _draw(row[2], classes[box], aspect)
        draw_furniture(row[1], classes[box].shape, pixel_size_m[0], north)
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
    mask_path: Path, picture: Path, settings: RefineSettings | None = None, *, dem: Path | None = None
) -> None:
    """Refines a mask file and writes a picture of what each step changed.

    Args:
        mask_path: A mask raster.
        picture: The picture; its suffix says whether PNG, SVG or PDF.
        settings: What to do; the defaults when None.
        dem: Elevation, for `max_hole_slope_deg`.

    Raises:
        RasterError: A file cannot be read.
        TruthError: The mask has values other than 0, 1 and ignore.
        RequestError: The picture has another suffix, or the slope is needed and there is no elevation.
        OutputError: The picture cannot be written.
    """
    require_picture(picture)
    settings = settings or RefineSettings()
    grid = read_grid(mask_path)
    size_m = even_pixel_m(grid, str(mask_path))
    slope = None
    if dem is not None and settings.max_hole_slope_deg is not None:
        slope = slope_on_grid(dem, grid)
    mask = read_mask(mask_path)
    steps = list(refine_stepwise(mask, size_m, settings, slope_deg=slope))
    save_figure(figure_refinement_steps(mask, steps, size_m, north=north_degrees(grid)), picture)


def change_classes(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns `(H, W)`: 1 glacier in both, 2 added, 3 removed, 4 ignored, else 0."""
    was, now = before == GLACIER, after == GLACIER
    kinds = [np.uint8(kind) for kind in (UNKNOWN, KEPT, ADDED, REMOVED)]
    return np.select([after == IGNORE, was & now, now, was], kinds, np.uint8(0))


def busiest_box(changed: NDArray[np.bool_], side_px: int) -> tuple[slice, slice]:
    """Returns rows and columns of the square in which most pixels changed; of the middle when nothing did."""
    height, width = (min(side_px, size) for size in changed.shape)
    row, column = (changed.shape[0] - height) // 2, (changed.shape[1] - width) // 2
    if changed.any():
        total = np.zeros((changed.shape[0] + 1, changed.shape[1] + 1), np.int64)
        total[1:, 1:] = changed.cumsum(axis=0).cumsum(axis=1)
        inside = (
            total[height:, width:]
            - total[:-height, width:]
            - total[height:, :-width]
            + total[:-height, :-width]
        )
        # Of many equal squares, take the one in their middle, so that what changed does not lie at its edge.
        best = np.argwhere(inside == inside.max())
        row, column = best[np.abs(best - best.mean(axis=0)).sum(axis=1).argmin()].tolist()
    return slice(row, row + height), slice(column, column + width)


def _draw_whole(axes: Axes, classes: NDArray[np.uint8], box: tuple[slice, slice], aspect: float) -> None:
    """Draws all of it at screen size; a pixel that changed is never lost between larger ones."""
    step = max(1, -(-max(classes.shape) // _LONG_SIDE_PX))
    small = classes[::step, ::step].copy()
    for kind in (ADDED, REMOVED):
        rows, columns = np.nonzero(classes == kind)
        small[rows // step, columns // step] = kind
    _draw(axes, small, aspect)
    down, across = box
    corner = across.start / step - 0.5, down.start / step - 0.5
    size = (across.stop - across.start) / step, (down.stop - down.start) / step
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=INK, linewidth=1))


def _draw(axes: Axes, classes: NDArray[np.uint8], aspect: float) -> None:
    axes.imshow(paint(classes, _COLOURS), aspect=aspect, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)


def _balance(added_km2: float, removed_km2: float) -> str:
    parts = [f"{sign}{_area(km2)}" for sign, km2 in (("+", added_km2), ("−", removed_km2)) if km2]
    return f"{', '.join(parts)} km²" if parts else "no change"


def _area(km2: float) -> str:
    return area_text(km2) if km2 >= 0.1 else f"{km2:.4f}"


def steps_pictures(results: RunResults, views: Iterable[RegionView], best: Variant | None) -> list[Picture]:
    """Shows what each step of the refinement did to the mask of the best model, region by region.

    The steps are done again on the whole mask, or on the part of a large one that changed most; those that
    changed nothing are only named. Where they need the slope of the ground, which lies outside the run's
    folder, there is no picture.
    """
    model = _refined(results, best)
    if model is None:
        return []
    parameters = load_parameters(model.folder.refinement)
    if parameters.max_hole_slope_deg is not None:
        return []
    pictures = []
    for view in views:
        path = model.folder.mask(view.region.name)
        if not path.exists():
            continue
        part = _shown_part(view, best)
        with open_mask(path) as reader:
            mask, size_m = reader.read(part), view.region.pixel_size_m
        steps = list(refine_stepwise(mask, size_m, parameters))
        befores = [mask, *(after for _, after in steps)]
        drawn = [number for number, (_, after) in enumerate(steps) if (after != befores[number]).any()]
        if not drawn:
            continue
        idle = [name for number, (name, _) in enumerate(steps) if number not in drawn]
        label = f"{variant_label(model.model, model.bands)} in {view.region.name}"
        pictures.append(
            Picture(
                # A step that changed nothing leaves the mask of the one before, so it can be left out.
                figure_refinement_steps(mask, [steps[number] for number in drawn], size_m, north=view.north),
                f"Maps of what each step of the refinement added and removed for {label}.",
                f"{label}, step by step: {_extent(view, part)}, and the place of most changes before and "
                "after." + (f" Steps without any change: {', '.join(idle)}." if idle else ""),
                has_image=True,
            )
        )
    return pictures


def _shown_part(view: RegionView, best: Variant | None) -> Window:
    """Returns the part of a region that its picture of steps shows: all of it, or where most changes."""
    height, width = (min(side, _LARGEST_PX) for side in view.grid.shape)
    raw, refined = (view.predictions.get((*best[:2], stage)) if best else None for stage in STAGES)
    if (height, width) == view.grid.shape or raw is None or refined is None:
        return Window(0, 0, view.grid.width, view.grid.height)
    step = max(view.grid.height / view.frame.shape[0], view.grid.width / view.frame.shape[1])
    rows, columns = busiest_box(raw != refined, max(1, int(_LARGEST_PX / step)))
    top = min(int(rows.start * step), view.grid.height - height)
    left = min(int(columns.start * step), view.grid.width - width)
    return Window(left, top, width, height)


def _extent(view: RegionView, part: Window) -> str:
    if (part.height, part.width) == view.grid.shape:
        return "the whole region"
    return f"the {part.width} × {part.height} pixels of the region that changed most"


def figure_tuning_surface(result: TuneResult) -> Figure:
    """Draws the score of every combination: merge distance across, smallest area down.

    There is one small map per method and number of passes of smoothing (columns) and size of filled holes
    (rows), all in one scale of colours. The best combination is framed, and the title gives the
    score before refinement.
    """
    rows = result.table[1:]
    objective = result.objective
    distances, areas = _values(rows, "merge_distance_m"), _values(rows, "min_area_km2")
    across = list(dict.fromkeys((row["smoothing"], row["iterations"]) for row in rows))
    holes = _values(rows, "max_hole_km2")
    # The masks as they came stand in the table first, also as the combination that does nothing.
    scores = {_key(row): _score(row, objective) for row in result.table}
    shown = [value for value in scores.values() if np.isfinite(value)] or [0.0]
    width = 1.1 + len(across) * max(1.5, 0.52 * len(distances) + 0.3)
    height = 1.3 + len(holes) * max(1.3, 0.36 * len(areas) + 0.6)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(holes), len(across), squeeze=False, sharex=True, sharey=True)
    low, high = min(shown), max(shown)
    decimals = 3 if high - low > 0.02 else 4
    image = None
    for i, hole in enumerate(holes):
        for j, (method, passes) in enumerate(across):
            axes = grid[i, j]
            surface = np.array(
                [[scores.get((d, method, passes, hole, a), np.nan) for d in distances] for a in areas]
            )
            image = axes.imshow(surface, cmap="cividis", vmin=low, vmax=high, aspect="auto")
            _write_numbers(axes, surface, (low, high), lambda value: _number(value, objective, decimals))
            axes.set_xticks(range(len(distances)), [f"{d:g}" for d in distances], fontsize=7)
            axes.set_yticks(range(len(areas)), [f"{a:g}" for a in areas], fontsize=7)
            if i == 0:
                axes.set_title(f"{method} × {passes}" if passes else "no smoothing", fontsize=8)
            if j == 0:
                size = "all" if hole is None else f"up to {hole:g} km²" if hole else "none"
                axes.set_ylabel(f"holes filled: {size}\nsmallest area, km²", fontsize=7)
            if i == len(holes) - 1:
                axes.set_xlabel("merge distance, m", fontsize=7)
            best = result.best
            if (best.max_hole_km2, best.smoothing, best.iterations) == (hole, method, passes):
                _frame_best(axes, distances, areas, best.merge_distance_m, best.min_area_km2)
    raw = _number(_score(result.table[0], objective), objective, decimals)
    top = _number(_score(result.ranked()[0], objective), objective, decimals)
    figure.suptitle(
        f"{_OBJECTIVES[objective]}: {raw} before refinement, best {top} (framed)",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.8, pad=0.01)
        bar.ax.tick_params(labelsize=7)
        if objective == "area":
            bar.ax.invert_yaxis()
    return figure


def draw_tuning_surface(result: TuneResult, path: Path) -> None:
    """Writes `figure_tuning_surface` to a file; its suffix says whether PNG, SVG or PDF."""
    save_figure(figure_tuning_surface(result), path)


def _write_numbers(
    axes: Axes, surface: NDArray[np.float64], limits: tuple[float, float], text: Callable[[float], str]
) -> None:
    low, high = limits
    for (row, column), value in np.ndenumerate(surface):
        if np.isfinite(value):
            dark = high > low and (value - low) / (high - low) < 0.55
            colour = "white" if dark else INK
            axes.text(column, row, text(value), ha="center", va="center", fontsize=6.5, color=colour)


def _score(row: Mapping[str, Any], objective: str) -> float:
    return abs(float(row["area_error"])) if objective == "area" else float(row[objective])


def _number(value: float, objective: str, decimals: int) -> str:
    return f"{value:.{decimals - 2}%}" if objective == "area" else f"{value:.{decimals}f}"


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("merge_distance_m", "smoothing", "iterations", "max_hole_km2", "min_area_km2")
    return tuple(row[name] for name in names)


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return sorted({row[name] for row in rows}, key=lambda value: np.inf if value is None else value)


def _frame_best(axes: Axes, distances: list[float], areas: list[float], distance: float, area: float) -> None:
    if distance in distances and area in areas:
        corner = (distances.index(distance) - 0.5, areas.index(area) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILLION, linewidth=2.2, zorder=5))


def surface_picture(results: RunResults, best: Variant | None) -> Picture | None:
    """Shows what the parameter search found for the best model; None where there was none, or an old one."""
    model = _refined(results, best)
    if model is None or len(model.refinement.get("table", ())) < 2:
        return None
    found = model.refinement
    # Earlier versions wrote fewer columns; the report leaves the figure out.
    if not all({"iou", "f1", "area_error"} <= row.keys() for row in found["table"]):
        return None
    result = TuneResult(
        best=load_parameters(model.folder.refinement),
        best_iou=found["best_iou"],
        raw_iou=found["raw_iou"],
        table=found["table"],
        objective=found.get("objective", "iou"),
    )
    label = variant_label(model.model, model.bands)
    return Picture(
        figure_tuning_surface(result),
        f"Score of every combination of refinement parameters that was tried for {label}.",
        f"{label}: score on validation pixels of every combination that was tried.",
    )


def _refined(results: RunResults, best: Variant | None) -> ModelResult | None:
    model = results.model(best[0], best[1]) if best else None
    return model if model is not None and "best" in model.refinement else None
