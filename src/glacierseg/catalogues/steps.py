"""The steps of a fetch: search, look, choose, plan, and only then read and write."""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from glacierseg import log
from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.candidate import Asset
from glacierseg.catalogues.choice import Choice, Chosen, choose, write_choices
from glacierseg.catalogues.delivery import ProductPlan, plan_product, write_product
from glacierseg.catalogues.elevation import fetch_elevation, plan_elevation
from glacierseg.catalogues.looking import Ground, look_at, plan_looks
from glacierseg.catalogues.provenance import FOLDERS, OUTLINE, SCENES, Provenance, Request
from glacierseg.catalogues.rating import Seen, rate
from glacierseg.catalogues.search import elevation_tiles, search
from glacierseg.catalogues.tally import counting
from glacierseg.catalogues.transport import MissingFileError
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window
from glacierseg.errors import GlaciersegWarning, ProductError, RequestError
from glacierseg.products.kept import name_of
from glacierseg.settings.fetch import FetchSettings

_log = logging.getLogger(__name__)
_GB = 1e9


class Steps:
    """The steps from a search to products on this disk, for one place."""

    def __init__(self, web: Web, ground: Ground, out: Path, request: Request) -> None:
        self.web, self.ground, self.out, self.request = web, ground, out, request
        self.settings, self.outline = web.settings, ground.place.outline
        self.remarks: list[str] = []
        self.tiles: Sequence[Asset] = ()

    def run(self, provenance: Provenance) -> None:
        """Searches, chooses, reads and writes, the record last; what it lists stays until then.

        Args:
            provenance: The record.
        """
        seen, left_out, looked = self._look()
        chosen, plans = self._plan(seen, left_out)
        dem = self._plan_elevation()
        why = {one.candidate.name: one.why for one in chosen.choices if one.taken}
        for candidate in chosen.taken:
            _log.info(f"{candidate.name}: {why[candidate.name]}")
        if chosen.remark:
            self._warn(chosen.remark)
        windows = [window for plan in plans for window in plan.windows.values()] + list(dem.values())
        total = sum(window.bytes_needed for window in windows)
        self._require_allowed(looked + total, len(windows))
        with counting("reading", windows) as tally:
            folders = [write_product(self.web, plan, self.out / FOLDERS["products"], tally) for plan in plans]
            tiles = fetch_elevation(self.web, dict(dem), self.out / FOLDERS["elevation"], tally)
        said = f", {_in_words(total)}" if total else ""
        _log.info(f"{self.out / FOLDERS['products']}: {len(windows)} windows{said}")
        products = [
            {
                "folder": self._name(folder),
                "why": why[plan.candidate.name],
                **plan.facts,
                "images": {
                    file: {"address": shown(window.asset.address), "checksum_compared": window.checked}
                    for file, window in plan.windows.items()
                },
            }
            for folder, plan in zip(folders, plans, strict=True)
        ]
        elevation = [
            {"file": self._name(tile), "address": shown(dem[tile.name].asset.address)} for tile in tiles
        ]
        read = [*folders, *({tile.parent for tile in tiles})]
        if self.ground.place.is_area:
            self.ground.place.write(self.out / OUTLINE)
        provenance.tidy(read, name_of([plan.product for plan in plans]))
        files = [path for folder in read for path in folder.rglob("*") if path.is_file()]
        files += [self.out / SCENES]
        files += [self.out / OUTLINE] if self.ground.place.is_area else []
        dem_facts = elevation if self.request.elevation else None
        provenance.write(self.request, products, dem_facts, self.remarks, files)

    def _plan(self, seen: list[Seen], left_out: list[tuple[str, str]]) -> tuple[Chosen, list[ProductPlan]]:
        """Chooses, and plans what is to be read; again where an image turns out to be unusable."""
        plans: dict[str, ProductPlan] = {}
        refused: dict[str, ProductError | MissingFileError] = {}
        while True:
            try:
                chosen = self._choose([one for one in seen if one.candidate.item not in refused], left_out)
            except RequestError as error:
                raise next(iter(refused.values()), error) from None
            known = len(refused)
            with log.bar("planning") as progress:
                for number, one in enumerate(chosen.taken, 1):
                    try:
                        if one.item not in plans:
                            plans[one.item] = plan_product(self.web, one, self.outline, self.request.roles)
                    except (ProductError, MissingFileError) as error:
                        refused[one.item] = error
                        left_out.append((one.item, str(error)))
                    progress(number / len(chosen.taken))
            if len(refused) == known:
                for item, fault in refused.items():
                    self._warn(f"{item}: is left out: {fault}")
                return chosen, [plans[one.item] for one in chosen.taken]

    def _look(self) -> tuple[list[Seen], list[tuple[str, str]], int]:
        """Returns what candidates show, what was left out, and how many bytes it took to look."""
        offered = search(self.settings, self.outline)
        if self.request.elevation:
            self.tiles = elevation_tiles(self.settings, self.outline)
            if not self.tiles and isinstance(self.request.elevation, str):
                raise RequestError(self._no_elevation(f", which {self.request.elevation} needs"))
        with log.bar(f"looking for {len(offered.candidates)} images"):
            looks = plan_looks(self.web, offered.candidates, self.ground)
        if looks.bytes_needed > self.settings.max_gb * _GB:
            raise RequestError(
                f"to look at {len(looks.windows)} images takes {_in_words(looks.bytes_needed)} alone, and "
                f"--max-gb is {self.settings.max_gb:g}; give fewer days, a smaller place, or a greater "
                "--max-gb"
            )
        with counting("looking at images", [window for _, window in looks.windows]) as tally:
            seen, more = look_at(self.web, looks, self.ground, tally)
        return seen, [*offered.left_out, *more], looks.bytes_needed

    def _choose(self, seen: Sequence[Seen], left_out: Sequence[tuple[str, str]]) -> Chosen:
        table = self.out / SCENES
        if not seen:
            write_choices(table, Chosen((), 0.0), left_out)
            item, reason = left_out[0]
            raise RequestError(
                f"{self.settings.catalogue}: no image can be used ({item}: {reason}); see {table}, and ask "
                "for other days with --date"
            )
        try:
            chosen = choose(seen, self.ground.wanted, self.settings)
        except RequestError:
            write_choices(table, Chosen(_none_taken(seen, self.settings), 0.0), left_out)
            _log.info(str(table))
            raise
        write_choices(table, chosen, left_out)
        return chosen

    def _plan_elevation(self) -> Mapping[str, Window]:
        if self.request.elevation and not self.tiles:
            self._warn(self._no_elevation())
        return plan_elevation(self.web, self.tiles, self.outline)

    def _no_elevation(self, what_for: str = "") -> str:
        return (
            f"{self.settings.catalogue}: has no elevation model (Copernicus GLO-30) of this place{what_for}; "
            "give one with --dem"
        )

    def _require_allowed(self, total: int, windows: int) -> None:
        """Refuses to read more than is allowed, before it begins."""
        limit = self.settings.max_gb
        if total > limit * _GB:
            raise RequestError(
                f"to read {windows} windows takes {_in_words(total)}, and --max-gb is {limit:g}; give "
                f"--max-gb {_rounded_up(total / _GB):g}, a smaller place, or fewer days"
            )

    def _warn(self, remark: str) -> None:
        self.remarks.append(remark)
        warnings.warn(remark, GlaciersegWarning, stacklevel=3)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()


def _none_taken(seen: Sequence[Seen], settings: FetchSettings) -> tuple[Choice, ...]:
    """Returns candidates of which none is good enough, the best one first."""
    rated = sorted(
        zip(seen, rate(seen, settings), strict=True), key=lambda one: (-one[1].score, one[0].candidate.name)
    )
    return tuple(
        Choice(one, rating, taken=False, rank=rank, why=rating.refused or "shows too little of the glaciers")
        for rank, (one, rating) in enumerate(rated, 1)
    )


def _in_words(size_bytes: int) -> str:
    unit, factor = ("GB", 1e-9) if size_bytes >= 1e9 else ("MB", 1e-6)
    return f"{size_bytes * factor:.3g} {unit}"


def _rounded_up(value: float) -> float:
    """Returns a value rounded up to two digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step
