"""Whether a scene is one that weights can be applied to: its bands, its values, its pixels."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, ValuesError
from glacierseg.raster.facts import facts_of_bands
from glacierseg.raster.indices import INDICES
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import SENSORS, is_unnamed, parse_sensor, role_of
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.units import HEAT_OFFSET, HEAT_SCALE, HOTTEST_K
from glacierseg.raster.values import Band, measure_values, sample_values
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.card import WeightsCard
from glacierseg.weights.expectation import (
    Expectation,
    WeightsBand,
    doubts,
    has_its_unit,
    likely_unit,
    look_at_facts,
    offset_warning,
    strangeness,
)

RESOLUTION_FACTOR = 1.5
"""How many times larger or smaller pixels may be than those of the training before a warning."""
_MANY_ZEROS = 0.05
_SAME_BANDS = {"landsat5": "landsat7", "landsat9": "landsat8"}


@dataclass(frozen=True)
class Fitted:
    """A scene as weights want it.

    Attributes:
        scene: Their bands in their order, under their names.
        warnings: What a user should know before believing the result, a line each.
    """

    scene: Scene
    warnings: tuple[str, ...] = ()


@fields_as_keywords(settings=InputSettings)
def fit_scene(card: WeightsCard, scene: Scene, settings: InputSettings | None = None) -> Fitted:
    """Finds the bands that weights want in a scene, and looks whether its values are like the training's.

    Args:
        card: Of the weights.
        scene: The scene, bands in any order.
        settings: Its sensor, where its bands go by numbers and it is another one than that of the training;
            scale and offset that bring its reflected light to the unit of the weights; and whether to turn a
            refusal for values into a warning.

    Returns:
        The scene's bands under the names that the networks know, and warnings.

    Raises:
        BandError: The scene lacks bands, or has two for one.
        RequestError: The sensor is unknown.
        ValuesError: Values are in another unit or range than in training.
        RasterError: Pixels cannot be read.
    """
    settings = settings or InputSettings()
    facts = facts_of_bands(scene.bands)
    known = facts.sensor if facts.sensor in SENSORS else None
    sensor = parse_sensor(settings.sensor) if settings.sensor else known
    chosen = match_bands(card, scene, sensor)
    fitted = replace(
        scene,
        bands=tuple(replace(own, name=band.name) for own, band in zip(chosen, card.bands, strict=True)),
    )
    if (settings.scale, settings.offset) != (1.0, 0.0):
        reflected = [band.name for band in card.bands if band.is_reflected_light]
        fitted = fitted.rescaled(reflected, settings.scale, settings.offset)
    warm, told = _heat_of_training(card, fitted)
    return Fitted(
        warm,
        (
            *_sensor_warnings(card, scene, sensor),
            *told,
            *look_at_facts(card, facts, scene, settings),
            *look(
                card,
                warm,
                sensor=sensor,
                unit_is_known=has_its_unit(card, facts, settings),
                force=settings.force,
            ),
        ),
    )


def look(
    expected: Expectation,
    fitted: Scene,
    *,
    sensor: str | None = None,
    unit_is_known: bool = False,
    force: bool = False,
) -> tuple[str, ...]:
    """Looks whether the values and pixels of a scene are like those of a training.

    Args:
        expected: Of the training.
        fitted: The scene, with the bands that are expected, in that order.
        sensor: Its sensor, where it is known.
        unit_is_known: Whether its tags say the unit of the training, so that a conversion may be wrong.
        force: Turn a refusal into a warning.

    Returns:
        What a user should know, a line each.

    Raises:
        ValuesError: Values are in another unit or range.
        RasterError: Pixels cannot be read.
    """
    path = fitted.paths[0]
    warnings = [*_pixel_warnings(expected, fitted, sensor)]
    samples = sample_values(fitted)
    found = measure_values(samples)
    if found is None:
        return tuple(warnings)
    if strange := strangeness(expected, found):
        line = f"{path}: is unlike what {expected.name} was trained on: {strange}"
        line += _remedy_of_values(expected, fitted, samples)
        if unit_is_known:
            line += "; its tags say the unit of the training, so if they are right take another image instead"
        if not force:
            raise ValuesError(f"{line}; or go on all the same with --force")
        warnings.append(line)
    elif lifted := offset_warning(expected, found):
        warnings.append(f"{path}: {lifted}")
    return (*warnings, *(f"{path}: {line}" for line in doubts(expected, found)))


def _remedy_of_values(expected: Expectation, fitted: Scene, samples: NDArray[np.float32]) -> str:
    """Returns what to do about strange values, as the end of a sentence."""
    line, shown = "", samples[:, (samples != 0).any(axis=0)]
    share = 1 - shown.shape[1] / samples.shape[1]
    if share >= _MANY_ZEROS and all(band.nodata is None for band in fitted.bands):
        line = f"; {share:.0%} of its pixels are 0 in every band: if they have no data, say --nodata 0"
        rest = measure_values(shown)
        if rest is None or strangeness(expected, rest) is None:
            return line
        samples = shown
    found = measure_values(samples)
    likely = likely_unit(expected, found, [band.dtype for band in fitted.bands]) if found else ""
    return line + (likely or "; bring it to that unit first")


def _heat_of_training(card: WeightsCard, fitted: Scene) -> tuple[Scene, list[str]]:
    """Brings heat in kelvin to the digital numbers of the training, and the other way round."""
    told = []
    for band in card.bands:
        if band.role is None or band.is_reflected_light:
            continue
        found = measure_values(sample_values(fitted.select([band.name])))
        if not found or (found[0].median > HOTTEST_K) == (band.values.median > HOTTEST_K):
            continue
        scale, offset, units = HEAT_SCALE, HEAT_OFFSET, "digital numbers to kelvin"
        if band.values.median > HOTTEST_K:
            scale, offset, units = 1 / HEAT_SCALE, -HEAT_OFFSET / HEAT_SCALE, "kelvin to digital numbers"
        changed = fitted.rescaled([band.name], scale, offset)
        after = found[0].rescaled(scale, offset)
        if band.values.low <= after.median <= band.values.high:
            fitted = changed
            told.append(
                f"{fitted.paths[0]}: {band.in_words} is brought from {units} of Landsat Collection 2, as it "
                "was in training"
            )
    return fitted, told


def match_bands(card: WeightsCard, scene: Scene, sensor: str | None = None) -> tuple[Band, ...]:
    """Finds the bands that weights want, by name or by what part of the spectrum a name means.

    `B2`, `B02` and `blue` are one band of Sentinel-2. A number alone is read as one of the scene's sensor
    where that is given, else as one of the training's.

    Args:
        card: Of the weights.
        scene: The scene.
        sensor: A key of `glacierseg.raster.sensors.SENSORS`.

    Raises:
        BandError: Bands are missing, or two answer to one.
    """
    roles = [_role(name, card, sensor) for name in scene.band_names]
    found = [_places(band, scene.band_names, roles) for band in card.bands]
    missing = [band for band, places in zip(card.bands, found, strict=True) if not places]
    if missing:
        raise BandError(
            f"{scene.paths[0]}: lacks {', '.join(band.in_words for band in missing)}, which {card.name} "
            f"needs; it has {', '.join(scene.band_names)}: {_remedy(card, found, scene)}"
        )
    for band, places in zip(card.bands, found, strict=True):
        if len(places) > 1:
            *others, last = (scene.band_names[place] for place in places)
            raise BandError(
                f"{scene.paths[0]}: {', '.join(others)} and {last} may each be {band.in_words}, which "
                f"{card.name} needs; name its bands in file order with --band-names"
            )
    return tuple(scene.bands[places[0]] for places in found)


def _role(name: str, card: WeightsCard, sensor: str | None) -> str | None:
    if is_unnamed(name):
        return None
    if sensor:
        return role_of(name, sensor)
    # B02 with its zero is Sentinel-2's, whatever the weights are for.
    return role_of(name) or role_of(name, card.sensor)


def _places(band: WeightsBand, names: Sequence[str], roles: Sequence[str | None]) -> list[int]:
    alike = [place for place, name in enumerate(names) if name.casefold() == band.name.casefold()]
    # B4 is red on Sentinel-2 and near infrared on Landsat 7.
    same = [place for place in alike if band.role is None or roles[place] in {None, band.role}]
    if same or band.role is None:
        return same
    exact = [place for place, name in enumerate(names) if name.casefold() == band.role]
    return exact or [place for place, role in enumerate(roles) if role == band.role]


def _remedy(card: WeightsCard, found: Sequence[Sequence[int]], scene: Scene) -> str:
    names = [band.name for band in card.bands]
    lacking = [name for name, places in zip(names, found, strict=True) if not places]
    if all(name in INDICES or name in TERRAIN for name in lacking):
        recipe = [
            scene.band_names[places[0]] if places else name for name, places in zip(names, found, strict=True)
        ]
        dem = " --dem DEM.tif" if any(name in TERRAIN for name in lacking) else ""
        source = shlex.quote(str(scene.paths[0]))
        return (
            f"make them with `glacierseg prepare stack {source} --recipe {','.join(recipe)} "
            f"--sensor {card.sensor}{dem} --out STACK.tif`"
        )
    if len(scene.bands) < len(card.bands):
        return "stack the bands into one file with `glacierseg prepare stack`"
    unnamed = all(map(is_unnamed, scene.band_names))
    what = "the bands have no names" if unnamed else "if they are there under other names"
    return f"{what}: say which they are in file order, such as --band-names {shlex.quote(','.join(names))}"


def _sensor_warnings(card: WeightsCard, scene: Scene, sensor: str | None) -> list[str]:
    if sensor is None or _SAME_BANDS.get(sensor, sensor) == _SAME_BANDS.get(card.sensor, card.sensor):
        return []
    line = (
        f"{scene.paths[0]}: is of {sensor}, and {card.name} was trained on {card.sensor}; "
        "their bands see somewhat other parts of the spectrum"
    )
    return [line]


def _pixel_warnings(card: Expectation, scene: Scene, sensor: str | None) -> list[str]:
    if card.pixel_m is None:
        return []
    width_m, height_m = scene.grid.pixel_size_m
    side_m = float(np.sqrt(width_m * height_m))
    factor = max(side_m / card.pixel_m, card.pixel_m / side_m)
    if factor <= RESOLUTION_FACTOR:
        return []
    line = (
        f"{scene.paths[0]}: its pixels are {side_m:.3g} m wide on the ground, and {card.name} was trained on "
        f"{card.pixel_m:.3g} m; everything looks {factor:.2g} times too "
        f"{'small' if side_m > card.pixel_m else 'large'} to it"
    )
    if sensor is None and card.sensor and card.bands[0].role and role_of(scene.band_names[0]) is None:
        line += f"; bands that go by number are taken for those of {card.sensor}, else say --sensor"
    return [line]
