"""The stage that calibrates probabilities on validation pixels, and their scores in a run."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.data.regions import Region
from glacierseg.errors import TruthError
from glacierseg.evaluate.area_bounds import (
    ENOUGH_BLOCKS,
    BlockErrors,
    block_errors,
    measure_dispersion,
)
from glacierseg.evaluate.glacier_bounds import MappedGlaciers, find_glaciers, measure_glaciers
from glacierseg.evaluate.reliability import (
    BIN_LOGITS,
    ReliabilityCounts,
    count_reliability,
    evaluate_probability,
    known_pixels,
    reliability_of,
)
from glacierseg.predict.calibrated import STRIP_PX
from glacierseg.predict.calibration import (
    Calibration,
    LogitScale,
    fit_logit_scale,
    read_calibration,
    store_calibration,
)
from glacierseg.raster.probability import probability_strips
from glacierseg.runs.layout import ModelFolder

_log = logging.getLogger(__name__)

PROBABILITY_COLUMNS = (
    "ece", "brier", "ece_calibrated", "brier_calibrated",
    "area_km2_expected", "area_km2_lower", "area_km2_upper",
)  # fmt: skip
"""What `probability_scores` gives; bounds at 90 % confidence."""
RELIABILITY_COLUMNS = ("region", "role", "kind", "lower", "upper", "pixels", "confidence", "glacier_share")
"""Of `reliability.csv`: one row per bar of a diagram that holds pixels; kind is `raw` or `calibrated`."""


def calibrate(truths: Mapping[str, NDArray[np.uint8]], folder: ModelFolder, *, symmetries: bool) -> None:
    """Calibrates a network's probabilities on validation pixels.

    The calibration goes into the model's card. The probability rasters stay as the network gives them, so
    that masks, their threshold and refinement mean the same with and without it.

    Args:
        truths: By region, `(H, W)` truth that is 255 where it must not be used, see `tuning_truths`.
        folder: Holds the network and its probabilities.
        symmetries: Whether the probabilities are means over the eight symmetries.
    """
    try:
        found = measure_calibration(
            {name: (folder.probability(name), own) for name, own in truths.items()}, symmetries=symmetries
        )
    except TruthError as error:
        _log.info(f"not calibrated: {error}")
        return
    store_calibration(folder.path, found)
    _log.info(
        f"calibration: temperature {found.scale.temperature:.2f}, bias {found.scale.bias:+.2f}, "
        f"validation ECE {found.ece_before:.4f} -> {found.ece_after:.4f}"
    )
    if found.scale.at_bound:
        _log.info("the temperature is at the end of its range, so there are no area bounds")
    if found.dispersion.blocks < ENOUGH_BLOCKS:
        _log.info(
            f"area bounds are wide, for they rest on {found.dispersion.blocks:.1f} effective blocks; "
            f"give the role validate to more ground ({ENOUGH_BLOCKS} blocks or more)"
        )
    if lacking := found.without_glaciers:
        _log.info(lacking)


def measure_calibration(
    rasters: Mapping[str, tuple[Path, NDArray[np.uint8]]], *, symmetries: bool = False
) -> Calibration:
    """Fits temperature and bias, and measures the dispersion of area errors.

    Args:
        rasters: By region, its probability raster and `(H, W)` truth that is 255 where it must not be used.
        symmetries: Whether the probabilities are means over the eight symmetries.

    Raises:
        TruthError: A class is missing among the pixels, or none of them is uncertain.
        RasterError: A raster is damaged.
    """
    before = _count(rasters)
    scale = fit_logit_scale(BIN_LOGITS, before.background, before.glacier)
    was, now = reliability_of(before), reliability_of(_count(rasters, scale))
    blocks = [_blocks(path, truth, scale) for path, truth in rasters.values()]
    glaciers = MappedGlaciers.joined(
        [one.measured(scale) for path, truth in rasters.values() for one in find_glaciers(path, truth)]
    )
    return Calibration(
        scale=scale,
        pixels=was.pixels,
        regions=tuple(rasters),
        nll_before=was.nll,
        nll_after=now.nll,
        ece_before=was.ece,
        ece_after=now.ece,
        dispersion=measure_dispersion(blocks),
        symmetries=symmetries,
        glaciers=measure_glaciers(glaciers),
        massifs=len(np.unique(glaciers.massif)),
    )


def probability_scores(
    region: Region, folder: ModelFolder
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Scores a region's probabilities under each of its roles.

    Returns:
        `PROBABILITY_COLUMNS` by role, without those of a calibration where the network has none, and
        without area where its temperature is at a bound; and the rows of its reliability diagrams, see
        `RELIABILITY_COLUMNS`. Both empty when there is no probability, as of the threshold rule.
    """
    path = folder.probability(region.name)
    if not path.exists():
        return {}, []
    # The mean of teachers has no card.
    calibration = read_calibration(folder.path) if folder.card.exists() else None
    grid = region.scene.grid
    records: dict[str, dict[str, Any]] = {}
    diagrams: list[dict[str, Any]] = []
    for role in region.areas:
        found = evaluate_probability(path, region.truth_of(role), grid, calibration)
        for kind, bars in (("raw", found.bars), ("calibrated", found.calibrated_bars)):
            head = {"region": region.name, "role": role, "kind": kind}
            diagrams += [head | asdict(bar) for bar in bars if bar.pixels]
        if not found.scores.pixels:
            continue
        row = {"ece": found.scores.ece, "brier": found.scores.brier}
        if found.calibrated is not None:
            row |= {"ece_calibrated": found.calibrated.ece, "brier_calibrated": found.calibrated.brier}
        if found.area is not None:
            row |= {
                "area_km2_expected": found.area.expected_km2,
                "area_km2_lower": found.area.lower_km2,
                "area_km2_upper": found.area.upper_km2,
            }
        records[role] = row
    return records, diagrams


def _count(
    rasters: Mapping[str, tuple[Path, NDArray[np.uint8]]], scale: LogitScale | None = None
) -> ReliabilityCounts:
    counts = ReliabilityCounts.none()
    for path, truth in rasters.values():
        for rows, probability in probability_strips(path, STRIP_PX):
            counts += count_reliability(scale.apply(probability) if scale else probability, truth[rows])
    return counts


def _blocks(path: Path, truth: NDArray[np.uint8], scale: LogitScale) -> BlockErrors:
    strips = []
    for rows, probability in probability_strips(path, STRIP_PX):
        scaled = scale.apply(probability)
        strips.append(block_errors(scaled, truth[rows], known_pixels(scaled, truth[rows])))
    return BlockErrors(
        np.concatenate([strip.error_px for strip in strips]),
        np.concatenate([strip.variance_px for strip in strips]),
    )
