"""From a place and days to products and a scene: searched, looked at, chosen, and read no further than needed."""

import logging
import math
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from glacierseg import log
from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.choice import Choice, Chosen, choose, write_choices
from glacierseg.catalogues.delivery import plan_product, write_product
from glacierseg.catalogues.elevation import ElevationPlan, plan_elevation, write_elevation
from glacierseg.catalogues.looking import Ground, ground_of, look_at, plan_looks
from glacierseg.catalogues.place import Place, place_of_box
from glacierseg.catalogues.provenance import Provenance, Request
from glacierseg.catalogues.rating import Seen, rate
from glacierseg.catalogues.search import elevation_tiles, search
from glacierseg.catalogues.web import Web
from glacierseg.errors import BandError, GlaciersegWarning, RequestError
from glacierseg.products.kept import keep_scene
from glacierseg.products.read import read_product
from glacierseg.raster.indices import INDICES
from glacierseg.raster.outputs import writes
from glacierseg.raster.prepare.recipes import parse_recipe
from glacierseg.raster.sensors import ROLES, SENSORS
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.fetch import FetchSettings
from glacierseg.settings.prepare import ProductInputs, ProductSettings

_log = logging.getLogger(__name__)
_RECIPES = {"sentinel2": "sentinel2-18", "landsat": "landsat-18"}
SCENES = "scenes.csv"
_OUTLINE = "area.geojson"
_GB = 1e9


@dataclass(frozen=True)
class Fetched:
    """Products of a place.

    Attributes:
        products: Their folders, the best one first.
        dem: Files of the elevation model; none where none was asked for, or the catalogue has none.
        outline: File with the outline of an area, which scenes are cut to; None of a box.
        provenance: The record of the fetch.
    """

    products: tuple[Path, ...]
    dem: tuple[Path, ...]
    outline: Path | None
    provenance: Provenance = field(repr=False)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each product was taken, by its name."""
        return {one["product"]: one["why"] for one in self.provenance.content["products"]}

    @property
    def origin(self) -> dict[str, str]:
        """Where the products come from, by label, for people."""
        known = self.provenance.content
        return {
            "catalogue": known["request"]["catalogue"],
            "catalogue items": "; ".join(
                f"{one['item']} ({one['collection']}): {one['why']}" for one in known["products"]
            ),
            "elevation from": "; ".join(one["address"] for one in known["elevation"] or ()),
        }

    def how(self, settings: ProductSettings) -> dict[str, Any]:
        """Returns the settings that a scene of these products needs beside the given ones, by name."""
        known = self.provenance.content
        days = [date.fromisoformat(one["acquired"][:10]) for one in known["products"]]
        apart = (max(days) - min(days)).days
        dated = bool(settings.write_dates or apart or known["request"]["composite"])
        return {"max_days_apart": max(settings.max_days_apart, apart), "write_dates": dated}

    def beside(self, inputs: ProductInputs) -> dict[str, Any]:
        """Returns the inputs that such a scene has beside the given ones, by name."""
        return {"dem": inputs.dem or self.dem, "clip": inputs.clip or self.outline}


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
    elevation: bool = True,
    again: bool = False,
) -> Fetched:
    """Fetches the best images of a place as products, which all commands take that take an agency's own.

    What is there as the same call wrote it stays, and a call that was interrupted goes on.

    Args:
        place: West, south, east and north in degrees, west the greater one across 180 degrees; or a place
            from `catalogues.place.places_in`.
        out_dir: Folder for `products/`, `dem/`, `scenes.csv` with what became of each image of the catalogue,
            and `provenance.json`.
        settings: Where to search, what to take, and how much may be read. Its fields may be given as keywords,
            such as `date`.
        roles: Parts of the spectrum whose bands are wanted, such as `red`; those of `sentinel2-18` or
            `landsat-18` when None.
        existing: Outlines of known glaciers, which cloud over and snow beside them is judged by.
        existing_layer: Of a file with several.
        elevation: Fetch the Copernicus GLO-30 elevation model too.
        again: Fetch everything again, also after another request.

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
    else:
        ground = ground_of(place, known, existing_layer)
        request = provenance.begin(request, again=again)
        if place.is_area:
            place.write(out / _OUTLINE)
        with Web(settings) as web:
            _Fetch(web, ground, out, request).run(provenance)
    content = provenance.content
    return Fetched(
        tuple(out / one["folder"] for one in content["products"]),
        tuple(out / one["file"] for one in content["elevation"] or ()) if elevation else (),
        out / _OUTLINE if place.is_area else None,
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
        out_dir: As for `fetch_products`. The scene is called by its tiles and first day.
        settings: As for `fetch_products`.
        scene: How the scene is made. Its fields may be given as keywords, such as `recipe`.
        inputs: What it is made from besides products; `dem` in place of the catalogue's elevation. Its fields
            may be given as keywords.
        layers: Files of the recipe's other bands by name.
        again: Fetch and make everything again.

    Returns:
        The scene and its products. Where images are of several days, `<scene>_dates.tif` has that of each pixel.

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
    roles = roles_of(recipe, layers)
    _require_bands(roles, settings)
    fetched = fetch_products(
        place,
        out,
        settings,
        roles=roles,
        existing=inputs.existing,
        existing_layer=inputs.existing_layer,
        elevation=not inputs.dem,
        again=again,
    )
    scene, inputs = scene.replaced(**fetched.how(scene)), inputs.replaced(**fetched.beside(inputs))
    found = [read_product(path) for path in fetched.products]
    kept = keep_scene(found, out, scene, inputs, layers=layers, again=again)
    files = [kept.path, *(kept.path.with_name(f"{kept.name}_{more}.tif") for more in ("classes", "dates"))]
    fetched.provenance.add_scene(
        scene.model_dump(mode="json", include={*ProductSettings.model_fields}),
        [path for path in files if path.is_file()],
    )
    return FetchedScene(kept.path, fetched, kept.notes)


def roles_of(recipe: str, layers: Collection[str] = ()) -> tuple[str, ...]:
    """Returns the parts of the spectrum that the bands of a recipe are made of.

    Args:
        recipe: A recipe's name, or names of bands separated by commas.
        layers: Bands that files of their own give.

    Raises:
        RequestError: There is no such recipe.
    """
    needs = [
        role
        for name in parse_recipe(recipe)
        if name not in layers
        for role in (INDICES[name].roles if name in INDICES else (name,))
        if role in ROLES
    ]
    return tuple(dict.fromkeys(needs))


def roles_seen(settings: FetchSettings) -> frozenset[str]:
    """Returns the parts of the spectrum that products of the asked satellites have bands for."""
    names = {name for name in SENSORS if name.startswith(settings.satellite)}
    seen = {role for name in names for role in SENSORS[name].values()}
    return frozenset(seen - {"pan", "cirrus", "thermal_2"})


def _require_bands(roles: Collection[str], settings: FetchSettings) -> None:
    """Refuses, before anything is read, what the satellites do not see."""
    seen = roles_seen(settings)
    if missing := next((role for role in roles if role not in seen), None):
        raise BandError(
            f"products of {settings.satellite} have no band for {missing} (their bands are "
            f"{', '.join(sorted(seen))}); give its file with --layer {missing}=FILE, or leave it out with --recipe"
        )


class _Fetch:
    """Fetches the products of one place."""

    def __init__(self, web: Web, ground: Ground, out: Path, request: Request) -> None:
        self.web, self.ground, self.out, self.request = web, ground, out, request
        self.settings, self.outline = web.settings, ground.place.outline

    def run(self, provenance: Provenance) -> None:
        """Searches, chooses, reads and writes, the record last."""
        chosen, looked = self._choose()
        why = {one.candidate.item: one.why for one in chosen.choices if one.taken}
        for candidate in chosen.taken:
            _log.info(f"{candidate.name}: {why[candidate.item]}")
        if chosen.remark:
            warnings.warn(chosen.remark, GlaciersegWarning, stacklevel=2)
        with log.bar("planning"):
            plans = [plan_product(self.web, one, self.outline, self.request.roles) for one in chosen.taken]
            dem = self._plan_elevation()
        total = sum(plan.bytes_needed for plan in plans) + sum(one.bytes_needed for one in dem)
        self._require_allowed(looked + total, "reading")
        windows = sum(len(plan.windows) for plan in plans) + len(dem)
        with self._reading(f"reading {windows} windows", total) as read:
            folders = [write_product(self.web, plan, self.out / "products", read) for plan in plans]
            tiles = [write_elevation(self.web, one, self.out / "dem", read) for one in dem]
        _log.info(f"{self.out / 'products'}: {windows} windows, {_in_words(total)}")
        provenance.write(
            self.request,
            [
                {"folder": self._name(folder), "why": why[plan.candidate.item], **plan.facts}
                for folder, plan in zip(folders, plans, strict=True)
            ],
            [
                {"file": self._name(tile), "address": shown(one.asset.address)}
                for tile, one in zip(tiles, dem, strict=True)
            ]
            if self.request.elevation
            else None,
            self._files(folders, tiles),
        )

    def _choose(self) -> tuple[Chosen, int]:
        """Returns what became of the candidates, and how many bytes it took to look at them."""
        offered = search(self.settings, self.outline)
        left_out = list(offered.left_out)
        with log.bar(f"looking for {len(offered.candidates)} images"):
            looks = plan_looks(self.web, offered.candidates, self.ground)
        self._require_allowed(looks.bytes_needed, f"looking at {len(looks.windows)} images alone")
        with self._reading(f"looking at {len(looks.windows)} images", looks.bytes_needed) as read:
            seen, more = look_at(self.web, looks, self.ground, read)
        left_out += more
        table = self.out / SCENES
        if not seen:
            write_choices(table, Chosen((), 0.0), left_out)
            item, reason = left_out[0]
            raise RequestError(
                f"{self.settings.catalogue}: no image can be used ({item}: {reason}); see {table}, and ask for "
                "other days with --date"
            )
        try:
            chosen = choose(seen, self.ground.wanted, self.settings)
        except RequestError:
            write_choices(table, Chosen(_none_taken(seen, self.settings), 0.0), left_out)
            _log.info(str(table))
            raise
        write_choices(table, chosen, left_out)
        return chosen, looks.bytes_needed

    def _plan_elevation(self) -> tuple[ElevationPlan, ...]:
        if not self.request.elevation:
            return ()
        tiles = elevation_tiles(self.settings, self.outline)
        if not tiles:
            warnings.warn(
                f"{self.settings.catalogue}: has no Copernicus GLO-30 elevation model of this place; give one with "
                "--dem",
                GlaciersegWarning,
                stacklevel=2,
            )
        return plan_elevation(self.web, tiles, self.outline)

    def _require_allowed(self, total: int, what: str) -> None:
        """Refuses to read more than is allowed, before it begins."""
        limit = self.settings.max_gb
        if total > limit * _GB:
            raise RequestError(
                f"{what} takes {_in_words(total)}, and --max-gb is {limit:g}; give --max-gb "
                f"{_rounded_up(total / _GB):g}, a smaller place, or fewer days"
            )

    @contextmanager
    def _reading(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows how much of some bytes came; what gives it may be called by several threads."""
        lock, came = threading.Lock(), 0
        with log.bar(f"{label}, {_in_words(total)}", total, "B") as progress:

            def count(number: int) -> None:
                nonlocal came
                with lock:
                    came += number
                    progress(min(came / max(total, 1), 1.0))

            yield count

    def _name(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()

    def _files(self, folders: Sequence[Path], tiles: Sequence[Path]) -> list[Path]:
        found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        found += [*tiles, self.out / SCENES]
        return found + ([self.out / _OUTLINE] if self.ground.place.is_area else [])


def _none_taken(seen: Sequence[Seen], settings: FetchSettings) -> tuple[Choice, ...]:
    """What becomes of candidates of which none is good enough, the best one first."""
    rated = sorted(
        zip(seen, rate(seen, settings), strict=True), key=lambda one: (-one[1].score, one[0].candidate.name)
    )
    return tuple(
        Choice(one, rating, taken=False, rank=rank, why=rating.refused or "shows too little of the glaciers")
        for rank, (one, rating) in enumerate(rated, 1)
    )


def _in_words(size_bytes: int) -> str:
    return f"{size_bytes / _GB:.3g} GB" if size_bytes >= _GB else f"{size_bytes / 1e6:.3g} MB"


def _rounded_up(value: float) -> float:
    """The least number of two digits that is no less."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step
