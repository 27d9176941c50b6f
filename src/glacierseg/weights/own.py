"""What a network of one's own expects of a scene: its card keeps what the training scenes held."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from glacierseg.errors import GlaciersegWarning, RequestError, ValuesError
from glacierseg.models.card import ModelCard
from glacierseg.raster.bounds import middle_of
from glacierseg.raster.facts import facts_of_bands, ranges_of
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import role_of
from glacierseg.raster.units import (
    BRIGHTEST,
    DARKEST,
    LEVELS_UNIT,
    find_left_offset,
    reflected_bands,
    unit_of,
)
from glacierseg.raster.values import BandValues, measure_values, sample_values, short
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.expectation import WeightsBand, ends_of, has_its_unit, look_at_facts, strangeness
from glacierseg.weights.fitting import Fitted, look


@dataclass(frozen=True)
class OwnExpectation:
    """See `glacierseg.weights.expectation.Expectation`."""

    name: str
    bands: tuple[WeightsBand, ...]
    pixel_m: float | None
    training_dates: tuple[date, ...] = ()
    training_latitudes: tuple[float, ...] = ()
    sensor: None = None


def expectation_of(card: ModelCard, name: str) -> OwnExpectation | None:
    """Returns what a network expects of a scene; None of a card that an earlier version wrote.

    Args:
        card: Its card.
        name: What users call it by: its folder.
    """
    if not card.band_values:
        return None
    light = reflected_bands(card.bands)
    bands = (
        WeightsBand(
            name=band,
            role=role_of(band),
            unit=(card.unit if band in light or card.unit == LEVELS_UNIT else "") or "its own unit",
            values=values,
        )
        for band, values in zip(card.bands, card.band_values, strict=True)
    )
    return OwnExpectation(name, tuple(bands), card.pixel_m, card.training_dates, card.training_latitudes)


def facts_of_scenes(scenes: Sequence[Scene], values: Sequence[BandValues]) -> dict[str, Any]:
    """Returns what a model card keeps of the training scenes.

    Args:
        scenes: That were trained on, with the bands of the network.
        values: Of each band, over the training pixels.
    """
    names = scenes[0].band_names
    light = reflected_bands(names)
    levels = all(scene.dtype == "uint8" for scene in scenes)
    found = [own for name, own in zip(names, values, strict=False) if name in light]
    sides_m = [float(np.sqrt(np.prod(scene.grid.pixel_size_m))) for scene in scenes]
    facts = [facts_of_bands(scene.bands) for scene in scenes]
    said = {own.unit for own in facts}
    unit = said.pop() if len(said) == 1 else ""
    recipes = {own.recipe for own in facts}
    return {
        "recipe": recipes.pop() if len(recipes) == 1 else "",
        "unit": LEVELS_UNIT if levels else unit or unit_of(found),
        "band_values": tuple(values),
        "ranges": _common_ranges(scenes) or {},
        "pixel_m": round(float(np.median(sides_m)), 2),
        "training_dates": tuple(sorted({day for own in facts for day in own.dates})),
        "training_latitudes": ends_of(
            middle_of(scene.grid)[1] for scene, own in zip(scenes, facts, strict=True) if own.dates
        ),
    }


@fields_as_keywords(settings=InputSettings)
def fit_own(
    models: Sequence[tuple[Path | str, ModelCard]], scene: Scene, settings: InputSettings | None = None
) -> Fitted:
    """Looks whether a scene's values are like those that networks of one's own were trained on.

    Args:
        models: Their folders and cards.
        scene: With their bands, and perhaps others.
        settings: Scale and offset that bring its reflected light to the unit of the training, and whether to
            turn a refusal into a warning.

    Raises:
        RequestError: No band is known as reflected light, and there is a scale or offset.
        ValuesError: Values are in another unit or range, or were normalized by other ranges.
        RasterError: Pixels cannot be read.
    """
    settings, facts = settings or InputSettings(), facts_of_bands(scene.bands)
    if (settings.scale, settings.offset) != (1.0, 0.0):
        light = reflected_bands(scene.band_names)
        if not light:
            raise RequestError(
                f"{scene.paths[0]}: none of its bands ({', '.join(scene.band_names)}) is known as reflected "
                "light, which scale and offset are for; leave them out"
            )
        scene = scene.rescaled(light, settings.scale, settings.offset)
    told: list[str] = []
    for folder, card in models:
        expected = expectation_of(card, str(folder))
        if expected is None:
            continue
        told += look_at_facts(expected, facts, scene, settings)
        present = [band.name for band in scene.select(card.bands).bands if not band.is_constant]
        expected = replace(expected, bands=tuple(band for band in expected.bands if band.name in present))
        own = scene.select(present)
        if others := _of_ranges(card, expected, own):
            if not settings.force:
                raise ValuesError(f"{others}; or go on all the same with --force")
            told.append(others)
        elif lifted := _lifted_levels(card, own):
            told.append(lifted)
        unit_is_known = has_its_unit(expected, facts, settings)
        told += look(expected, own, unit_is_known=unit_is_known, force=settings.force)
    return Fitted(scene, tuple(dict.fromkeys(told)))


def warn_of_values(folder: Path | str, card: ModelCard, scene: Scene) -> None:
    """Warns where a scene's values are unlike those that a network was trained on.

    Args:
        folder: Of the network.
        card: Its card.
        scene: With its bands.
    """
    for line in fit_own([(folder, card)], scene, InputSettings(force=True)).warnings:
        warnings.warn(line, GlaciersegWarning, stacklevel=3)


def unlike_training(
    card: ModelCard, bands: Sequence[str], values: Sequence[BandValues], name: str
) -> str | None:
    """Says in words how training scenes are unlike those of an earlier training that shall be gone on from.

    Args:
        card: Of the earlier training.
        bands: Names of the bands now.
        values: Of each.
        name: What to call the earlier network.
    """
    expected = expectation_of(card, name)
    found = dict(zip(bands, values, strict=False))
    if expected is None:
        return None
    common = tuple(band for band in expected.bands if band.name in found)
    own = [found[band.name] for band in common]
    return strangeness(OwnExpectation(name, common, None), own) if common else None


def _common_ranges(scenes: Sequence[Scene]) -> dict[str, tuple[float, float]] | None:
    """Returns the ranges by which all scenes were normalized, by band; None without or with several."""
    known = [ranges_of(scene.bands) for scene in scenes]
    return known[0] if all(own == known[0] for own in known) else None


def _of_ranges(card: ModelCard, expected: OwnExpectation, scene: Scene) -> str | None:
    """Says which band was normalized by other ranges than in training."""
    own = ranges_of(scene.bands) or {}
    for band, known in card.ranges.items():
        if band in own and own[band] != known:
            low, high = map(short, own[band])
            return (
                f"{scene.paths[0]}: was normalized by other ranges than what {expected.name} was trained on: "
                f"{band} by {low} to {high}, and by {short(known[0])} to {short(known[1])} in training; "
                "normalize it again with the --ranges of the training"
            )
    return None


def _lifted_levels(card: ModelCard, scene: Scene) -> str | None:
    """Warns of levels that were made of values with an offset, by ranges of values without."""
    light = [band for band in reflected_bands(scene.band_names) if band in card.ranges]
    own = ranges_of(scene.bands)
    if not light or own is None:
        return None
    found = measure_values(sample_values(scene.select(light)))
    known = dict(zip(card.bands, card.band_values, strict=True))
    if not found:
        return None
    left = find_left_offset([_measured(values, own[band]) for band, values in zip(light, found, strict=True)])
    if left is None or find_left_offset([_measured(known[band], card.ranges[band]) for band in light]):
        return None
    return (
        f"{scene.paths[0]}: before it was normalized, {left.in_words}, which the training scenes lack; "
        f"stack it again with {left.unit.cures[0]} and normalize that"
    )


def _measured(levels: BandValues, bounds: tuple[float, float]) -> BandValues:
    """Returns the values that levels were made of."""
    scale = (bounds[1] - bounds[0]) / (BRIGHTEST - DARKEST)
    return levels.rescaled(scale, bounds[0] - DARKEST * scale)
