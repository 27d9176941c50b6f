"""Weights in words: a table of all of them, and the whole card of one."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from glacierseg.weights.shelf import Weights

COLUMNS = ("name", "network", "parameters", "MB", "bands", "sensor", "pixel")
NONE = (
    "no weights come with this version; train a network (`glacierseg run`), or name a folder of packed "
    "weights with GLACIERSEG_WEIGHTS_DIR"
)


def table_rows(found: Sequence[Weights]) -> list[list[str]]:
    """Returns one row per weights for `COLUMNS`."""
    return [
        [
            weights.name,
            _network(weights),
            _parameters(weights),
            f"{weights.megabytes:.1f}",
            ", ".join(band.in_words for band in weights.card.bands),
            weights.card.sensor,
            f"{weights.card.pixel_m:g} m",
        ]
        for weights in found
    ]


def summary_lines(weights: Weights) -> list[str]:
    """Returns what the table has no room for."""
    card = weights.card
    return [
        f"{weights.name}: {card.summary}",
        f"  trained on {card.trained_on}; data: {card.data_licence}",
        *(f"  {score.in_words}" for score in card.scores),
        *(f"  expected elsewhere: {line}" for line in card.expected),
    ]


def card_lines(weights: Weights) -> list[str]:
    """Returns the whole card, a line for each fact."""
    card = weights.card
    ways = ", the mean over eight symmetries" if card.symmetries else ""
    lines = [
        f"{weights.name}: {card.summary}",
        f"network: {_network(weights)}, {_parameters(weights)} parameters, {weights.megabytes:.1f} MB",
        f"windows of {weights.window_px} px{ways}; glacier from a probability of {card.threshold:g}",
        f"trained on: {card.trained_on}",
        f"sensor: {card.sensor}, pixels of {card.pixel_m:g} m",
        f"licence of the data: {card.data_licence}",
        f"to be named: {card.attribution}",
        "bands, in this order or by name (nearly all values in training, and their median):",
    ]
    lines += [f"  {band.in_words}: {band.unit}, {band.values.in_words}" for band in card.bands]
    lines += ["scores, with 90 % intervals where they were made:"]
    lines += [f"  {score.in_words}" for score in card.scores]
    if card.expected:
        lines += ["to be expected elsewhere, not measured:", *(f"  {line}" for line in card.expected)]
    lines += ["limits:", *(f"  {limit}" for limit in card.limits)]
    lines += [f"folder: {weights.folder} (packed by glacierseg {card.version})"]
    return lines


def as_dict(weights: Weights) -> dict[str, Any]:
    """Returns the card for JSON, with the networks and the size."""
    return {
        **weights.card.model_dump(mode="json"),
        "window_px": weights.window_px,
        "members": [
            {"network": model.architecture, "width": model.width, "patch_px": model.patch_px}
            for model in weights.model_cards
        ],
        "megabytes": round(weights.megabytes, 3),
        "folder": str(weights.folder),
    }


def _network(weights: Weights) -> str:
    counts = Counter(model.architecture for model in weights.model_cards)
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())


def _parameters(weights: Weights) -> str:
    return f"{weights.card.parameters / 1e6:.2f} M"
