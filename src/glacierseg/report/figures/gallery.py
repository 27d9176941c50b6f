"""What a network learns from: patches with their truth, and statistics of classes and bands."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from rasterio.windows import Window

from glacierseg.errors import RequestError
from glacierseg.report import style
from glacierseg.report.figures.maps import draw_outline
from glacierseg.report.furniture import draw_furniture
from glacierseg.report.images import part_of, read_classes, read_layers
from glacierseg.report.views import RegionView, read_image

_BOX_SHARES = (5, 25, 50, 75, 95)


def figure_patches(view: RegionView, *, side_px: int = 128, count: int = 8, seed: int = 100) -> Figure:
    """Draws patches of a region with the true outlines.

    Patches are chosen at random among those that a glacier and its surroundings share; where there are too
    few, others fill the gallery.

    Args:
        view: The region at screen size.
        side_px: Side of a patch in pixels of the scene.
        count: How many.
        seed: Seed of the random choice.
    """
    if view.truth is None:
        raise RequestError(f"{view.region.name}: has no truth yet, so no patches can be shown with it")
    windows = pick_windows(view, side_px, count, seed)
    columns = min(4, len(windows))
    rows = -(-len(windows) // columns)
    figure = Figure(figsize=(1.8 * columns, 2.05 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    width_m, height_m = view.grid.pixel_size_m
    for axes in panels:
        axes.set_axis_off()
    for number, (axes, window) in enumerate(zip(panels, windows, strict=False)):
        frame = part_of(window, 512)
        truth = read_classes(view.region.truth_path, frame)
        axes.imshow(read_image(view, frame), aspect=height_m / width_m, interpolation="nearest")
        draw_outline(axes, truth == 1, style.INK, 1.1)
        known = truth != 255
        share = f"{(truth[known] == 1).mean():.0%} glacier" if known.any() else "no truth"
        axes.set_title(share, fontsize=8, loc="left")
        if number == 0:
            draw_furniture(axes, frame.shape, width_m * frame.step, view.north)
    figure.suptitle(
        f"{view.region.name}: patches of {side_px} × {side_px} px, truth outlined",
        x=0.01,
        ha="left",
        fontsize=9,
    )
    return figure


def pick_windows(view: RegionView, side_px: int, count: int, seed: int = 100) -> list[Window]:
    """Picks windows that do not overlap, mixed ones first; they are smaller where the scene is."""
    assert view.truth is not None  # noqa: S101  (a condition of the call)
    grid = view.grid
    height, width = min(side_px, grid.height), min(side_px, grid.width)
    scale_y, scale_x = view.frame.shape[0] / grid.height, view.frame.shape[1] / grid.width
    found: list[tuple[bool, Window]] = []
    for top in range(0, grid.height - height + 1, height):
        for left in range(0, grid.width - width + 1, width):
            rows = slice(int(top * scale_y), max(int(top * scale_y) + 1, int((top + height) * scale_y)))
            columns = slice(int(left * scale_x), max(int(left * scale_x) + 1, int((left + width) * scale_x)))
            share = (view.truth[rows, columns] == 1).mean()
            found.append((bool(0.1 < share < 0.9), Window(left, top, width, height)))
    order = np.random.default_rng(seed).permutation(len(found))
    picked = sorted((found[i] for i in order), key=lambda entry: not entry[0])
    return [window for _, window in picked[:count]]


def figure_statistics(view: RegionView) -> Figure:
    """Draws what a region consists of: classes by role, and the bands over glacier and elsewhere.

    Bands are shown in standard deviations from their mean, as a network sees them; boxes hold half of the
    pixels, whiskers nine tenths. Pixels are those shown on the screen.
    """
    if view.truth is None:
        raise RequestError(f"{view.region.name}: has no truth yet, so there is nothing to count")
    names, boxes = _band_boxes(view, view.truth)
    figure = Figure(figsize=(7.2, 1.5 + 0.32 * max(4, len(names))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    roles = [role for role in style.ROLES if view.role(role) is not None] or ["all"]
    classes = ((1, style.SKY, "glacier"), (0, "#b9a48a", "background"), (255, "#e4e7ea", "ignored"))
    for row, role in enumerate(roles):
        mask = view.role(role) if role != "all" else None
        values = view.truth if mask is None else view.truth[mask]
        start = 0.0
        for value, colour, _ in classes:
            share = float((values == value).mean()) * 100
            left.barh(row, share, left=start, color=colour, height=0.6)
            if share > 12:
                left.text(start + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=7.5)
            start += share
    left.set_yticks(range(len(roles)), roles, fontsize=8.5)
    left.set_ylim(len(roles) - 0.4, -0.6)
    left.set_xlabel("Share of pixels, %", fontsize=8.5)
    left.set_xlim(0, 100)
    for offset, colour, own in ((-0.18, style.SKY, boxes[0]), (0.18, "#b9a48a", boxes[1])):
        if own:
            right.bxp(
                own, positions=[n + offset for n in range(len(own))], orientation="horizontal", widths=0.3,
                showfliers=False, patch_artist=True,
                boxprops={"facecolor": colour, "edgecolor": style.INK, "lw": 0.6},
                medianprops={"color": style.INK}, whiskerprops={"lw": 0.8}, capprops={"lw": 0.8},
            )  # fmt: skip
    right.set_yticks(range(len(names)), names, fontsize=8.5)
    right.set_ylim(len(names) - 0.4, -0.6)
    right.set_xlabel("Standard deviations from the band's mean", fontsize=8.5)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
    handles = [Patch(facecolor=colour, label=label) for _, colour, label in classes]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    figure.suptitle(view.region.name, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _band_boxes(
    view: RegionView, truth: NDArray[np.uint8]
) -> tuple[list[str], tuple[list[dict[str, object]], list[dict[str, object]]]]:
    names: list[str] = []
    boxes: tuple[list[dict[str, object]], list[dict[str, object]]] = ([], [])
    layers = read_layers(view.scene, range(len(view.scene.bands)), view.frame) if view.scene else {}
    for name, values in zip(view.scene.band_names if view.scene else (), layers.values(), strict=True):
        known = np.isfinite(values) & (truth != 255)
        if not known.any():
            continue
        spread = float(values[known].std()) or 1.0
        standard = (values - values[known].mean()) / spread
        names.append(name)
        for own, kind in zip(boxes, (1, 0), strict=True):
            own.append(_box(standard[known & (truth == kind)]))
    return names, boxes


def _box(values: NDArray[np.float32]) -> dict[str, object]:
    shares: Sequence[float] = np.percentile(values, _BOX_SHARES).tolist() if values.size else [np.nan] * 5
    keys = ("whislo", "q1", "med", "q3", "whishi")
    return dict(zip(keys, shares, strict=True)) | {"fliers": []}
