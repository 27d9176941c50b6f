"""Training curves."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from glacierseg.report.save import Picture
from glacierseg.report.style import (
    BLUE,
    MUTED,
    RULE,
    VERMILLION,
    bands_label,
    model_label,
    score_text,
    variant_label,
)
from glacierseg.runs.results import ModelResult

BAND_SET_COLOURS = (BLUE, VERMILLION)


def figure_training_curves(models: Sequence[ModelResult]) -> Figure:
    """Draws losses and IoU against epochs, one column per network, one colour per set of bands.

    Returns:
        A figure of two rows, losses and IoU (validation solid, training dotted), with the validation IoU of
        the kept epoch marked.
    """
    names = list(dict.fromkeys(model.model for model in models))
    sets = list(dict.fromkeys(model.bands for model in models))
    figure = Figure(figsize=(3.9 * max(2, len(names)), 4.9), layout="constrained")
    grid = figure.subplots(2, len(names), squeeze=False, sharey="row", sharex="col")
    for column, name in enumerate(names):
        losses, scores = grid[0, column], grid[1, column]
        losses.set_title(model_label(name), fontsize=10, fontweight="bold", loc="left")
        for model in (model for model in models if model.model == name):
            colour = BAND_SET_COLOURS[sets.index(model.bands) % len(BAND_SET_COLOURS)]
            _draw(losses, scores, model, colour)
        scores.set_xlabel("Epoch")
        scores.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        for axes in (losses, scores):
            axes.grid(axis="y", color=RULE, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
    grid[0, 0].set_ylabel("Loss")
    grid[1, 0].set_ylabel("Glacier IoU")
    lines, labels = _legend(sets)
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8.5)
    return figure


def _draw(losses: Axes, scores: Axes, model: ModelResult, colour: str) -> None:
    epochs = model.epochs
    x = np.asarray(epochs["epoch"])
    if "train_loss" in epochs:
        losses.plot(x, epochs["train_loss"], color=colour, linewidth=1.1, linestyle=":")
    if "val_loss" in epochs:
        losses.plot(x, epochs["val_loss"], color=colour, linewidth=1.4)
    if "train_iou" in epochs:
        scores.plot(x, epochs["train_iou"], color=colour, linewidth=1.1, linestyle=":")
    if "val_iou" not in epochs:
        return
    iou = np.asarray(epochs["val_iou"])
    scores.plot(x, iou, color=colour, linewidth=1.4)
    best = model.card.get("training", {}).get("best_epoch")
    at = int(np.flatnonzero(x == best)[0]) if best in x else None
    if at is None and np.isfinite(iou).any():
        at = int(np.nanargmax(iou))
    if at is not None:
        scores.plot(x[at], iou[at], "o", color=colour, markersize=6, markeredgecolor="white", clip_on=False)


def _legend(sets: Sequence[str]) -> tuple[list[Line2D], list[str]]:
    lines = [
        Line2D([], [], color=BAND_SET_COLOURS[i % len(BAND_SET_COLOURS)], linewidth=2)
        for i in range(len(sets))
    ]
    labels = [bands_label(bands) for bands in sets]
    lines += [
        Line2D([], [], color=MUTED, linewidth=1.4),
        Line2D([], [], color=MUTED, linewidth=1.1, linestyle=":"),
        Line2D([], [], color=MUTED, marker="o", linestyle="", markersize=5),
    ]
    return lines, [*labels, "validation", "training", "kept epoch"]


def curves_picture(networks: Iterable[ModelResult]) -> Picture | None:
    """Shows the training curves of all networks that have any."""
    trained = [model for model in networks if model.epochs.get("epoch")]
    if not trained:
        return None
    words = [
        f"{variant_label(model.model, model.bands)}: {len(model.epochs['epoch'])} epochs, "
        f"best validation IoU {score_text(float(np.nanmax(model.epochs['val_iou'])))}"
        for model in trained
        if np.isfinite(model.epochs.get("val_iou", [])).any()
    ]
    return Picture(
        figure_training_curves(trained),
        f"Training curves. {'; '.join(words)}.",
        "Loss and glacier IoU by epoch on validation patches (solid) and on augmented training patches "
        "(dotted). The weights of the marked epoch were kept.",
    )
