"""The record of a fetch: what was asked for, where it comes from, and the sums of all files.

It holds no time of the run, no path of the machine but that of a catalogue that is a folder, and no token of
an address, so the same call gives the same bytes. By it the same call also knows that nothing is left to do.
"""

import importlib.metadata
import json
import shutil
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glacierseg._version import __version__
from glacierseg.catalogues.folders import RECORD
from glacierseg.catalogues.place import Place
from glacierseg.errors import DataError, GlaciersegWarning, RequestError
from glacierseg.raster.made import digest_of_inputs
from glacierseg.raster.write import digest_of, read_json, write_json
from glacierseg.runs.layout import MapFolder
from glacierseg.settings.fetch import FetchSettings

FILE, SCENES, OUTLINE = "provenance.json", "scenes.csv", "area.geojson"
"""Files of a folder of results: the record, what became of each image, and the outline of an area."""
FOLDERS = {"products": "products", "elevation": "dem"}
"""Where products and elevation lie in a folder of results."""
_PACKAGES = ("numpy", "rasterio", "shapely", "pystac-client")
# Settings that change how bytes are read, and not which.
_OF_THE_WAY = frozenset({"max_gb", "cache_gb", "timeout_s", "retries", "connections"})


@dataclass(frozen=True)
class Request:
    """What a fetch was asked for.

    Attributes:
        facts: The place, the settings and the known glaciers that decide which images are chosen.
        roles: Parts of the spectrum whose bands are wanted.
        elevation: Whether an elevation model is wanted; name of a band that cannot be made without it.
    """

    facts: Mapping[str, Any]
    roles: tuple[str, ...]
    elevation: bool | str

    @classmethod
    def of(
        cls,
        place: Place,
        settings: FetchSettings,
        roles: Collection[str],
        *,
        glaciers: tuple[Path | None, str | None],
        elevation: bool | str,
    ) -> "Request":
        """Describes a request.

        Args:
            place: Where.
            settings: How products are chosen.
            roles: Of the bands.
            glaciers: Outlines of known ones, with their layer.
            elevation: Whether an elevation model is wanted, or what needs it.
        """
        path, layer = glaciers
        facts = {
            "area": place.name,
            "outline": place.geometry,
            **settings.model_dump(mode="json", exclude={*_OF_THE_WAY}),
            "catalogue": _from_anywhere(settings.catalogue),
            "glaciers": digest_of_inputs([path], layer) if path else None,
        }
        return cls(json.loads(json.dumps(facts)), tuple(sorted(roles)), elevation)


class Provenance:
    """The record in a folder of results; a damaged file, or one that no fetch wrote, counts as none."""

    def __init__(self, folder: Path) -> None:
        self.path, self._folder = folder / FILE, folder
        try:
            found = _dict(read_json(self.path)) if self.path.is_file() else {}
        except DataError:
            found = {}
        self.content = found if isinstance(found.get("request"), dict) else {}

    def answers(self, request: Request) -> bool:
        """Whether all that is asked for is there, as it was written."""
        known = self.content
        try:
            return (
                known["request"] == request.facts
                and {*known["bands"]} >= {*request.roles}
                and (known["elevation"] is not None or not request.elevation)
                and all(self._is_as_written(name, facts) for name, facts in known["files"].items())
            )
        except (KeyError, TypeError, AttributeError):
            return False

    def begin(self, request: Request, *, again: bool) -> Request:
        """Makes sure that the folder is free for a request, or holds a part of its answer.

        Args:
            request: What is asked for.
            again: Whether what an earlier call fetched may go.

        Returns:
            The request, with the bands and the elevation of an earlier one that was the same otherwise.

        Raises:
            RequestError: Another request was answered there, or files of these names are of no fetch.
            OutputError: It cannot be written there.
        """
        known = self.content
        if "files" not in known:
            if not (known or again):
                self._require_free([FILE, SCENES, *([OUTLINE] if request.facts["area"] else [])])
            # From here on the folder is this command's, whenever it ends.
            write_json(self.path, {"request": request.facts})
        if again or "files" not in known:
            return request
        if known["request"] != request.facts:
            raise RequestError(
                f"{self.path}: is of another request ({_difference(known['request'], request.facts)}); give "
                "another --out, or --again to replace what it lists"
            )
        roles = {*known.get("bands", ()), *request.roles}
        elevation = request.elevation or known.get("elevation") is not None
        return Request(request.facts, tuple(sorted(roles)), elevation)

    def _require_free(self, names: Iterable[str]) -> None:
        """Refuses to replace what no fetch wrote, which would have left its request there before."""
        if taken := next((name for name in names if (self._folder / name).exists()), None):
            raise RequestError(
                f"{self._folder / taken}: exists already and is not from this command; give another --out, "
                "or --again to replace it"
            )

    def tidy(self, folders: Collection[Path], scene: str) -> None:
        """Removes what earlier calls fetched, also those that were ended before their record, and its scene.

        A scene that was changed by hand stays.

        Args:
            folders: The ones to stay, with their parents.
            scene: Name of the scene of what they hold, which is replaced when it is made.
        """
        for pattern in (f"{FOLDERS['products']}/*/{RECORD}", f"*{FOLDERS['elevation']}*/{RECORD}"):
            for record in self._folder.glob(pattern):
                if record.parent not in folders:
                    shutil.rmtree(record.parent, ignore_errors=True)
        listed = _dict(_dict(self.content.get("scene")).get("files"))
        own = {self._folder / name: facts for name, facts in listed.items() if not name.startswith(scene)}
        # A record that somebody changed must not lead to the files of others.
        there = {path: facts for path, facts in own.items() if path.parent == self._folder and path.is_file()}
        if changed := next((path for path, facts in there.items() if facts != _sum_of(path)), None):
            said = f"{changed}: stays, since it was changed by hand; its products were replaced by others"
            warnings.warn(said, GlaciersegWarning, stacklevel=3)
            return
        for path in there:
            stages = MapFolder(self._folder).stages(path.stem)
            if stages.is_file() and _stages_in(stages) == {"scene"}:  # not of a map
                stages.unlink()
            path.unlink()

    def write(
        self,
        request: Request,
        products: list[dict[str, Any]],
        elevation: list[dict[str, Any]] | None,
        remarks: list[str],
        files: Iterable[Path],
    ) -> None:
        """Writes the record.

        Args:
            request: What was asked for.
            products: What is known of each product.
            elevation: What is known of each tile of elevation; None where none was asked for.
            remarks: What the choice leaves open.
            files: All that were written.

        Raises:
            OutputError: It cannot be written.
        """
        self.content = {
            "made_with": made_with(),
            "request": request.facts,
            "bands": list(request.roles),
            "products": products,
            "elevation": elevation,
            "remarks": remarks,
            "files": self._sums(files),
        }
        write_json(self.path, self.content)

    def add_scene(self, settings: Mapping[str, Any], files: Iterable[Path]) -> None:
        """Adds a scene that was made of the products.

        Args:
            settings: How it was made.
            files: Its own.

        Raises:
            OutputError: The record cannot be written.
        """
        scene = {"settings": json.loads(json.dumps(settings, default=str)), "files": self._sums(files)}
        if self.content.get("scene") != scene:
            self.content["scene"] = scene
            write_json(self.path, self.content)

    def _sums(self, files: Iterable[Path]) -> dict[str, dict[str, Any]]:
        return {path.relative_to(self._folder).as_posix(): _sum_of(path) for path in sorted(files)}

    def _is_as_written(self, name: str, facts: Any) -> bool:
        path = self._folder / name
        return path.is_file() and facts == _sum_of(path)


def _sum_of(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest_of(path)}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _stages_in(path: Path) -> set[str]:
    try:
        return {*_dict(read_json(path))}
    except DataError:
        return set()


def made_with() -> dict[str, Any]:
    """Returns the versions that a result may depend on."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"glacierseg": __version__, "packages": found}


def _from_anywhere(catalogue: str) -> str:
    """The name of a catalogue; of one that is a folder or file its whole path."""
    path = Path(catalogue)
    return str(path.resolve()) if path.exists() else catalogue


def _difference(known: Any, asked: Mapping[str, Any]) -> str:
    if not isinstance(known, dict):
        return "unknown"
    name = next((name for name in asked if known.get(name) != asked[name]), "")
    if name in {"outline", "area"}:
        return "another place"
    return f"{name} {_short(known.get(name))}, not {_short(asked[name])}"


def _short(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)
