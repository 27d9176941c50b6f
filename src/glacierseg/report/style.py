"""Colours, names and formats that the page and its figures share."""

import re

from glacierseg.runs.layout import TEACHER, THRESHOLD, student_name

# Okabe and Ito (2008), "Color universal design": distinct for any kind of colour vision.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
INK, MUTED, RULE = "#1c2329", "#5d6872", "#d5dade"

# Agreement is calm, errors are loud; their lightness differs too, so that they survive a grey print.
AGREED, FALSE_ALARM, MISSED = SKY, VERMILLION, YELLOW
PREDICTED = BLUE
ROLE_COLOURS = {"train": BLUE, "validate": ORANGE, "test": PURPLE}
ROLE_DASHES = {"train": "10 5", "validate": "3 4", "test": ""}
ROLES = ("train", "validate", "test")
"""Roles in the order of their codes in a roles raster, from 1 on."""

_MODEL_LABELS = {
    "glavitu": "GLAVITU",
    "glavitu_global": "GlaViTU (global)",
    "m_landsnet": "M-LandsNet",
    "unetplusplus": "UNet++",
    THRESHOLD: "Threshold",
    TEACHER: "Mean of the teachers",
}
_MODEL_COLOURS = {
    "glavitu": BLUE,
    "m_landsnet": GREEN,
    "unetplusplus": VERMILLION,
    "glavitu_global": PURPLE,
}
DASH = "–"


def model_label(model: str) -> str:
    """Returns a model's name as people write it."""
    teacher = model.removesuffix(student_name(""))
    label = _MODEL_LABELS.get(teacher, teacher)
    return label if teacher == model else f"{label}, distilled"


def model_colour(model: str) -> str:
    """Returns the colour that stands for a model in every figure."""
    return _MODEL_COLOURS.get(model, MUTED)


def bands_label(bands: str) -> str:
    """Returns the name of a set of bands: `all` is *all bands*, `top6` *top bands*, for it may hold fewer."""
    return "top bands" if re.fullmatch(r"top\d+", bands) else f"{bands} bands"


def variant_label(model: str, bands: str, stage: str | None = None) -> str:
    """Returns model, bands and stage in words; the threshold has no sets of bands."""
    words = [model_label(model)] if model == THRESHOLD else [model_label(model), bands_label(bands)]
    return ", ".join([*words, stage] if stage else words)


def sensor_label(sensor: str) -> str:
    """Returns a sensor as people write it: `landsat8` is *Landsat 8*; empty where it is not known."""
    name, number = re.fullmatch(r"([a-z]*)(.*)", sensor).groups()  # type: ignore[union-attr]
    return f"{name.capitalize()}{'-' if name == 'sentinel' else ' '}{number}".strip()


def score_text(value: float | None) -> str:
    """Formats a score with three decimals, a dash when it is missing."""
    return DASH if value is None else f"{value:.3f}"


def difference_text(value: float | None) -> str:
    """Formats a difference of scores with its sign, small ones with four decimals, a dash when missing."""
    if value is None:
        return DASH
    for text in (f"{value:+.3f}", f"{value:+.4f}"):
        if float(text):
            return text.replace("-", "−")
    return "±0.000"


def area_text(area_km2: float | None) -> str:
    """Formats an area in km2 with a sensible number of decimals, a dash when it is missing."""
    if area_km2 is None:
        return DASH
    return (
        f"{area_km2:,.0f}" if area_km2 >= 1000 else f"{area_km2:.1f}" if area_km2 >= 10 else f"{area_km2:.2f}"
    )


def count_text(value: float | None) -> str:
    """Formats a whole number with thin thousands separators, other numbers plainly, a dash when missing."""
    if value is None:
        return DASH
    return f"{value:,.0f}".replace(",", "\u2009") if float(value).is_integer() else f"{value:.4g}"
