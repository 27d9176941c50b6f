"""Whether a scene's values are in the unit that weights were trained on."""

import math
from collections.abc import Sequence

import numpy as np

from glacierseg.raster.samples import BandValues, short
from glacierseg.weights.card import WeightsBand, WeightsCard

_SENTINEL2_OFFSET = 1000.0


def strangeness(card: WeightsCard, found: Sequence[BandValues]) -> str | None:
    """Says in words how a scene's values are unlike those of the training, or None when they may be alike.

    Ground differs from scene to scene: forest is dark, firn is bright. So only what no ground explains
    counts: a band whose median is outside of nearly everything (0.1 to 99.9 %) that it was in training, or
    all bands of reflected light together darker (95 % of the scene below the darkest quarter of the training)
    or brighter (95 % of the scene above 95 % of the training: an ice cap may be firn all over).

    Args:
        card: Of the weights.
        found: Of the scene, in the card's order of bands.
    """
    pairs = list(zip(card.bands, found, strict=True))
    outside = [(band, own) for band, own in pairs if not band.values.low <= own.median <= band.values.high]
    if outside:
        return _of_band(*max(outside, key=lambda pair: _distance(*pair)))
    reflected = [(band, own) for band, own in pairs if band.is_reflected_light] or pairs
    if all(own.p95 < band.values.p25 for band, own in reflected):
        return f"every band is darker: {_of_band(*reflected[0])}"
    if all(own.p5 > band.values.p95 for band, own in reflected):
        return f"every band is brighter: {_of_band(*reflected[0])}"
    return None


def likely_unit(card: WeightsCard, found: Sequence[BandValues], dtypes: Sequence[str]) -> str:
    """Guesses what to do about strange values, as the end of a sentence; empty without a guess."""
    if set(dtypes) == {"uint8"} and max(band.values.high for band in card.bands) > 255:
        return "; they look like 8-bit levels"
    ratios = [
        band.values.median / own.median
        for band, own in zip(card.bands, found, strict=True)
        if own.median > 0 and band.values.median > 0
    ]
    if not ratios:
        return ""
    power = round(float(np.mean(np.log10(ratios))))
    return f"; --scale {10.0**power:g} would make them alike" if abs(power) >= 2 else ""


def offset_warning(card: WeightsCard, found: Sequence[BandValues]) -> str | None:
    """Warns of Sentinel-2 products since January 2022, whose digital numbers have an offset of 1000."""
    spectral = [(band, own) for band, own in zip(card.bands, found, strict=True) if band.is_reflected_light]
    if card.sensor != "sentinel2" or not spectral or spectral[0][0].values.high < 5000:
        return None
    if all(
        own.low >= 0.95 * _SENTINEL2_OFFSET and own.p5 - band.values.p5 > 0.5 * _SENTINEL2_OFFSET
        for band, own in spectral
    ):
        return (
            "no pixel of any band is below 1000 or so: Sentinel-2 products since January 2022 have an offset "
            "of 1000 that the training scenes lack; take it off with --offset=-1000"
        )
    return None


def _of_band(band: WeightsBand, own: BandValues) -> str:
    known = band.values
    return (
        f"{band.in_words} has a median of {short(own.median)}, and {short(known.median)} in training "
        f"(nearly all from {short(known.low)} to {short(known.high)}, {band.unit})"
    )


def _distance(band: WeightsBand, own: BandValues) -> float:
    known = band.values
    return abs(own.median - known.median) / max(known.high - known.low, math.ulp(1.0))
