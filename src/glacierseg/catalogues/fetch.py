"""From a place and days to products and a scene: images are searched, chosen, and read where needed."""

import logging
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from glacierseg.catalogues.looking import ground_of
from glacierseg.catalogues.place import Place, place_of_box
from glacierseg.catalogues.provenance import OUTLINE, Provenance, Request
from glacierseg.catalogues.steps import Steps
from glacierseg.catalogues.web import Web
from glacierseg.errors import BandError, GlaciersegWarning, RequestError
from glacierseg.products.beside import layers_beside
from glacierseg.products.kept import keep_scene
from glacierseg.products.read import read_product
from glacierseg.raster.open import open_raster
from glacierseg.raster.outputs import writes
from glacierseg.raster.prepare.recipes import find_inputs, parse_recipe
from glacierseg.raster.sensors import ROLES, SENSORS
from glacierseg.raster.terrain import TERRAIN
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings

_log = logging.getLogger(__name__)
_RECIPES = {"sentinel2": "sentinel2-18", "landsat": "landsat-18"}


@dataclass(frozen=True)
class Fetched:
    """Products of a place.

    Attributes:
        products: Their folders, the best one first.
        dem: Files of the elevation model; none where none was asked for, or the catalogue has none.
        outline: File with the outline of an area, to which scenes are cut; None for a box.
        provenance: The record of the fetch.
    """

    products: tuple[Path, ...]
    dem: tuple[Path, ...]
    outline: Path | None
    provenance: Provenance = field(repr=False)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Warnings about the chosen images, a line each."""
        return tuple(self.provenance.content["remarks"])

    @property
    def origin(self) -> dict[str, str]:
        """Where the products come from, by label, for people."""
        known = self.provenance.content
        return {
            "catalogue": known["request"]["catalogue"],
            "items of the catalogue": "; ".join(
                f"{one['item']} ({one['collection']}): {one['why']}" for one in known["products"]
            ),
        }

    def scene_settings(self, settings: ProductSettings) -> dict[str, Any]:
        """Returns the settings that a scene of these products needs in place of the given ones, by name."""
        known = self.provenance.content
        days = [date.fromisoformat(one["acquired"][:10]) for one in known["products"]]
        apart = (max(days) - min(days)).days
        dated = bool(settings.write_dates or apart or known["request"]["composite"])
        return {"max_days_apart": max(settings.max_days_apart, apart), "write_dates": dated}

    def scene_inputs(self, inputs: ProductInputs) -> dict[str, Any]:
        """Returns elevation and outline for such a scene where the inputs give none, by name."""
        return {"dem": inputs.dem or self.dem, "clip": inputs.clip or self.outline}

    def record_scene(self, path: Path, settings: ProductSettings) -> None:
        """Adds a scene that was made of these products, and what lies beside it, to the record."""
        self.provenance.add_scene(
            settings.model_dump(mode="json", include={*ProductSettings.model_fields}),
            [
                path,
                *(one for one, is_written in layers_beside(path, settings) if is_written and one.is_file()),
            ],
        )


@dataclass(frozen=True)
class FetchedScene:
    """A scene of a place.

    Attributes:
        path: Its file.
        fetched: What it was made of.
        notes: Warnings from making it, a line each.
    """

    path: Path
    fetched: Fetched
    notes: tuple[str, ...]


@fields_as_keywords(settings=FetchSettings)
@writes(out_dir=None)
def fetch_products(
    place: Place | Sequence[float],
    out_dir: Path | str,
    settings: FetchSettings | None = None,
    *,
    roles: Collection[str] | None = None,
    existing: Path | str | None = None,
    existing_layer: str | None = None,
    elevation: bool | str = True,
    again: bool = False,
) -> Fetched:
    """Fetches the best images of a place as products, which can be used like those of the agency.

    What the same call wrote before stays, and a call that was interrupted is continued.

    Args:
        place: West, south, east and north in degrees, west the greater one across 180 degrees; or a place
            from `catalogues.place.places_in`.
        out_dir: Folder for `products/`, `dem/`, `scenes.csv` with what became of each image of the catalogue,
            and `provenance.json`.
        settings: Where to search, what to take, and how much may be read. Its fields may be given as
            keywords, such as `date`.
        roles: Parts of the spectrum whose bands are wanted, such as `red`; those of `sentinel2-18` or
            `landsat-18` when None.
        existing: Outlines of known glaciers, to judge cloud over them and snow beside them.
        existing_layer: Layer of a file with several.
        elevation: Fetch the Copernicus GLO-30 elevation model too; or the name of a band that needs it, so
            that a catalogue without it is refused.
        again: Search again, also after another request; files that are still as the catalogue has them stay.

    Raises:
        RequestError: What is asked for cannot be done: no image is good enough, more would be read than
            allowed, another request was answered in that folder, ...
        DownloadError: The catalogue or a file cannot be read.
        ProductError: A product cannot be used.
        OutputError: A result cannot be written.
    """
    place = place if isinstance(place, Place) else place_of_box(place)
    settings, out = settings or FetchSettings(), Path(out_dir)
    if settings.date is None:
        raise RequestError(
            "a fetch needs days; give the first and the last one, as --date 2024-08-01/2024-10-31"
        )
    known = None if existing is None else Path(existing)
    wanted = roles_of(_RECIPES[settings.satellite]) if roles is None else tuple(roles)
    request = Request.of(place, settings, wanted, glaciers=(known, existing_layer), elevation=elevation)
    provenance = Provenance(out)
    if not again and provenance.answers(request):
        _log.info(f"{provenance.path}: is up to date")
        for remark in provenance.content["remarks"]:
            warnings.warn(remark, GlaciersegWarning, stacklevel=2)
    else:
        ground = ground_of(place, known, existing_layer)
        request = provenance.begin(request, again=again)
        with Web(settings) as web:
            Steps(web, ground, out, request).run(provenance)
    content = provenance.content
    return Fetched(
        tuple(out / one["folder"] for one in content["products"]),
        tuple(out / one["file"] for one in content["elevation"] or ()) if elevation else (),
        out / OUTLINE if place.is_area else None,
        provenance,
    )


@fields_as_keywords(settings=FetchSettings, scene=ProductSettings, inputs=ProductInputs)
@writes(out_dir=None)
def fetch_scene(
    place: Place | Sequence[float],
    out_dir: Path | str,
    settings: FetchSettings | None = None,
    scene: ProductSettings | None = None,
    inputs: ProductInputs | None = None,
    *,
    layers: Mapping[str, Path] | None = None,
    again: bool = False,
) -> FetchedScene:
    """Fetches the best images of a place and makes a scene of them; see `fetch_products`, `prepare_scene`.

    Args:
        place: As for `fetch_products`.
        out_dir: As for `fetch_products`. The scene is named by its tiles and first day.
        settings: As for `fetch_products`.
        scene: How the scene is made. Its fields may be given as keywords, such as `recipe`.
        inputs: What it is made from besides products; `dem` in place of the catalogue's elevation. Its fields
            may be given as keywords.
        layers: Files of the recipe's other bands by name.
        again: Fetch and make everything again.

    Returns:
        The scene and its products. Where images are of several days, `<scene>_dates.tif` has the day of each
        pixel.

    Raises:
        GlaciersegError: As both of these functions.
    """
    settings, scene, inputs = (
        settings or FetchSettings(),
        scene or ProductSettings(),
        inputs or ProductInputs(),
    )
    layers, out = layers or {}, Path(out_dir)
    recipe = scene.recipe or _RECIPES[settings.satellite]
    fetched = fetch_for_recipe(recipe, place, out, settings, inputs, layers, again=again)
    scene, inputs = (
        scene.replaced(**fetched.scene_settings(scene)),
        inputs.replaced(**fetched.scene_inputs(inputs)),
    )
    found = [read_product(path) for path in fetched.products]
    kept = keep_scene(found, out, scene, inputs, layers=layers, again=again)
    fetched.record_scene(kept.path, scene)
    return FetchedScene(kept.path, fetched, kept.notes)


def fetch_for_recipe(
    recipe: str,
    place: Place | Sequence[float],
    out_dir: Path,
    settings: FetchSettings,
    inputs: ProductInputs,
    layers: Mapping[str, Path],
    *,
    again: bool,
) -> Fetched:
    """Fetches what a scene of a recipe is made of, unless it is among the inputs; see `fetch_products`.

    Args:
        recipe: A recipe's name, or names of bands separated by commas.
        place: As for `fetch_products`.
        out_dir: As for `fetch_products`.
        settings: As for `fetch_products`.
        inputs: What the scene is made of besides products.
        layers: Files of the recipe's other bands by name.
        again: As for `fetch_products`.

    Raises:
        GlaciersegError: As `fetch_products`; or a band is in none of them.
    """
    roles = roles_of(recipe, layers)
    _require_bands(roles, settings, [*inputs.dem, *layers.values()])
    return fetch_products(
        place,
        out_dir,
        settings,
        roles=roles,
        existing=inputs.existing,
        existing_layer=inputs.existing_layer,
        elevation=elevation_for(recipe, inputs),
        again=again,
    )


def roles_of(recipe: str, layers: Mapping[str, Path] | None = None) -> tuple[str, ...]:
    """Returns the parts of the spectrum that the bands of a recipe are made of.

    Args:
        recipe: A recipe's name, or names of bands separated by commas.
        layers: Files of its other bands by name.

    Raises:
        RequestError: There is no such recipe.
        BandError: A band is unknown, or in none of the layers.
    """
    wanted, source = parse_recipe(recipe), f"recipe {recipe}"
    known, given = sorted(ROLES - {*(layers or ())}), [*(layers or ())]
    found = find_inputs(wanted, known, sensor=None, source=source, given=given)
    return tuple(role for role in found if role in ROLES)


def elevation_for(recipe: str, inputs: ProductInputs) -> bool | str:
    """Returns `elevation` for a fetch: False beside the user's own, or the band of a recipe that needs it."""
    return not inputs.dem and next((name for name in parse_recipe(recipe) if name in TERRAIN), True)


def roles_seen(settings: FetchSettings) -> frozenset[str]:
    """Returns the parts of the spectrum for which products of the satellites have bands."""
    names = {name for name in SENSORS if name.startswith(settings.satellite)}
    seen = {role for name in names for role in SENSORS[name].values()}
    return frozenset(seen - {"pan", "cirrus", "thermal_2"})


def _require_bands(roles: Collection[str], settings: FetchSettings, rasters: Iterable[Path]) -> None:
    """Refuses bands that the satellites do not have and files that are no rasters, before a search begins."""
    seen = roles_seen(settings)
    if missing := next((role for role in roles if role not in seen), None):
        raise BandError(
            f"products of {settings.satellite} have no band for {missing} (their bands are "
            f"{', '.join(sorted(seen))}); give its file with --layer {missing}=FILE, or leave it out with "
            "--recipe"
        )
    for path in rasters:
        open_raster(path).close()
