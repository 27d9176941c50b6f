"""The score of a parameter search over all its parameters."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from glacierseg.refine.search import TuneResult
from glacierseg.report.save import save_figure
from glacierseg.report.style import INK, VERMILLION

_LABELS = {"iou": "IoU", "f1": "F1", "area": "area error"}


def figure_tuning_surface(result: TuneResult) -> Figure:
    """Draws the score of every combination: merge distance across, smallest area down.

    There is one small map per method and number of passes of smoothing (columns) and size of filled holes
    (rows), all in one scale of colours. The best combination is framed, and the title tells what the masks
    had as they came.

    Args:
        result: A search.
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
                _frame(axes, distances, areas, best.merge_distance_m, best.min_area_km2)
    raw = _number(_score(result.table[0], objective), objective, decimals)
    top = _number(_score(result.ranked()[0], objective), objective, decimals)
    figure.suptitle(
        f"{_LABELS[objective]}: {raw} as the masks came, best {top} (framed)", fontsize=9, x=0.01, ha="left"
    )
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.8, pad=0.01)
        bar.ax.tick_params(labelsize=7)
        if objective == "area":
            bar.ax.invert_yaxis()
    return figure


def draw_tuning_surface(result: TuneResult, path: Path) -> None:
    """Writes `figure_tuning_surface` to a file; its suffix says whether PNG, SVG or PDF.

    Raises:
        RequestError: The suffix is none of these.
        OutputError: The file cannot be written.
    """
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


def _frame(axes: Axes, distances: list[float], areas: list[float], distance: float, area: float) -> None:
    if distance in distances and area in areas:
        corner = (distances.index(distance) - 0.5, areas.index(area) - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILLION, linewidth=2.2, zorder=5))
