"""Scenes made from agencies' products as networks need them, and kept beside their maps."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glacierseg import log
from glacierseg.errors import BandError, RequestError
from glacierseg.predict.ensemble import Ensemble
from glacierseg.products.kept import KeptScene, keep_scene
from glacierseg.products.product import Product
from glacierseg.products.read import read_product
from glacierseg.products.scene import UNIT
from glacierseg.raster.indices import INDICES
from glacierseg.raster.made import digest_of_inputs
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.prepare.layers import COMPONENTS, LAYERS, parse_layers
from glacierseg.raster.prepare.normalize import normalize_scene
from glacierseg.raster.prepare.ranges import BandRange, Ranges
from glacierseg.raster.prepare.recipes import parse_recipe
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.sensors import ROLES
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.units import LEVELS_UNIT, conversion_between
from glacierseg.runs.layout import MapFolder
from glacierseg.settings.scene import SourceSettings
from glacierseg.weights.fitting import RESOLUTION_FACTOR

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A scene that was made of products.

    Attributes:
        whole: The scene with all its bands.
        levels: The bands of the networks as 8-bit levels, where they were trained on such; else the whole
            scene.
        reading: Settings that bring it to the unit of the training.
        notes: Warnings from making it, a line each.
    """

    whole: Scene
    levels: Scene
    reading: SourceSettings
    notes: tuple[str, ...]


def prepare_for(
    ensemble: Ensemble,
    products: Sequence[Path],
    out_dir: Path,
    settings: SourceSettings,
    *,
    again: bool = False,
) -> Prepared:
    """Makes a scene of products as the training scenes of some networks were made, unless it is up to date.

    Args:
        ensemble: The networks, whose cards say by which recipe, at which pixel size and in which unit.
        products: Of one image: one, or neighbours.
        out_dir: Where the scene goes, under its name (`name_of`).
        settings: How products become a scene; these win over the cards.
        again: Make it even where it is up to date, was changed by hand or has no record.

    Returns:
        The scene.

    Raises:
        DataError: A product or another file cannot be used, or lacks a band that the networks need.
        RequestError: The networks were trained on levels by unknown ranges, or a file of that name has no
            record.
        OutputError: The scene cannot be written.
    """
    found = [read_product(path) for path in products]
    layers = parse_layers(settings.layer)
    seen = {band.role for band in found[0].bands}
    recipe = settings.recipe or recipe_for(ensemble, seen, layers, has_dem=bool(settings.dem))
    for name in () if settings.recipe else parse_recipe(recipe):
        if name in ROLES and name not in {*seen, *layers}:
            raise BandError(found[0].lack_of(name, name, "take networks that do without it"))
    settings = settings.replaced(
        recipe=recipe,
        pixel_size_m=settings.pixel_size_m or (None if settings.like else _pixel_size_m(ensemble, found)),
    )
    kept = keep_scene(found, out_dir, settings, settings, layers=layers, again=again)
    whole = replace(open_scene(kept.path), name=kept.name)
    return Prepared(
        whole,
        _levels(ensemble, whole, MapFolder(out_dir), kept) or whole,
        _in_unit_of_training(ensemble, settings),
        kept.notes,
    )


def recipe_for(
    ensemble: Ensemble, seen: Collection[str], layers: Mapping[str, Path], *, has_dem: bool
) -> str:
    """Returns the recipe of some networks without bands that cannot be made and that none of them needs.

    Args:
        ensemble: The networks.
        seen: Parts of the spectrum that the products have bands for.
        layers: Files of further bands by name.
        has_dem: Whether there is an elevation model.
    """
    recipe = _recipe_of(ensemble)
    names = parse_recipe(recipe)
    roles = {band.name: band.role for band in ensemble.weights.card.bands} if ensemble.weights else {}
    needed = {
        roles.get(band) or band
        for card in ensemble.cards
        if card
        for band in card.bands
        if band not in card.may_miss
    }
    given = {*layers, *(("velocity", "divergence") if set(COMPONENTS) <= set(layers) else ())}

    def can_be_made(name: str) -> bool:
        if name in TERRAIN:
            return has_dem
        if name in INDICES:
            return {*seen}.issuperset(INDICES[name].roles)
        return name in given or not (name in LAYERS or (name in ROLES and name not in seen))

    kept = [name for name in names if name in needed or can_be_made(name)]
    return recipe if len(kept) == len(names) else "".join(f"{name}," for name in kept)


def _recipe_of(ensemble: Ensemble) -> str:
    """Returns the recipe that some networks have in common; without one, their own bands."""
    known = {card.recipe for card in ensemble.cards if card} - {""}
    if len(known) == 1 and ensemble.weights is None:
        return known.pop()
    weights = ensemble.weights
    bands = (
        [band.role or band.name for band in weights.card.bands]
        if weights
        else [band for card in ensemble.cards if card for band in card.bands]
    )
    return "".join(f"{band}," for band in dict.fromkeys(bands))


def _pixel_size_m(ensemble: Ensemble, products: Sequence[Product]) -> float | None:
    """Returns the pixel size of the training, where that of the products is plainly another one."""
    weights = ensemble.weights
    sizes = [weights.card.pixel_m] if weights else [card.pixel_m for card in ensemble.cards if card]
    wanted = next((size for size in sizes if size), None)
    if wanted is None:
        return None
    finest = min(_side_m(band.path) for product in products for band in product.bands)
    return round(wanted, 1) if wanted > finest * RESOLUTION_FACTOR else None


def _side_m(path: str) -> float:
    with open_raster(path) as dataset:
        return min(grid_of(dataset).pixel_size_m)


def _levels(ensemble: Ensemble, whole: Scene, folder: MapFolder, kept: KeptScene) -> Scene | None:
    """Returns the bands of the networks as levels by the training's ranges; None where none are wanted."""
    cards = [card for card in ensemble.cards if card]
    if ensemble.weights or not any(card.unit == LEVELS_UNIT for card in cards):
        return None
    names = ", ".join(map(str, ensemble.folders))
    known: dict[str, tuple[float, float]] = {}
    for card in cards:
        if any(known.setdefault(band, bounds) != bounds for band, bounds in card.ranges.items()):
            raise RequestError(f"{names}: were trained on levels by different ranges; predict with one alone")
    bands = [band for band in whole.band_names if any(band in card.bands for card in cards)]
    if missing := [band for band in bands if band not in known]:
        raise RequestError(
            f"{names}: was trained on 8-bit levels, and its card does not know by which range {missing[0]} "
            "became levels; make a scene as that of the training, and give that in place of the product"
        )
    path = folder.levels(whole.name)
    inputs = digest_of_inputs([], kept.inputs, known, bands)

    def make() -> list[str]:
        ranges = Ranges({band: BandRange(*bounds) for band, bounds in known.items()})
        with log.bar(f"normalizing {whole.name}") as progress:
            normalize_scene(whole.select(bands), path, ranges, progress=progress)
        return []

    _log.info(str(path) if kept.record.made("levels", path, inputs, make) else f"{path}: is up to date")
    return replace(open_scene(path), name=whole.name)


def _in_unit_of_training(ensemble: Ensemble, settings: SourceSettings) -> SourceSettings:
    """Returns the scale and offset to the unit that networks were trained on, where both units are known."""
    units = {card.unit for card in ensemble.cards if card and not ensemble.weights}
    if {"scale", "offset"} & settings.model_fields_set or len(units) != 1:
        return settings
    found = conversion_between(UNIT, units.pop())
    return settings.replaced(scale=found.scale, offset=found.offset) if found else settings
