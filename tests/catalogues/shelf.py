"""Small catalogues: made images with their agency's metadata, and items (STAC).

Items are in the style of Earth Search, whose older collection took the offset off the numbers, and of the
Planetary Computer. `tests.catalogues.ground` says what images show.
"""

import hashlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.transform import from_origin

from tests.catalogues.ground import (
    LANDSAT57,
    LANDSAT89,
    PLACE,
    Shot,
    Style,
    classes,
    is_shifted,
    landsat_numbers,
    numbers,
    write_cog,
)
from tests.products import shelves
from tests.products.shelves import PIXEL_M, LandsatFacts, SafeFacts

COLLECTIONS = {"c1": "sentinel-2-c1-l2a", "l2a": "sentinel-2-l2a", "planetary": "sentinel-2-l2a"}
_EARTH_SEARCH = {
    "01": "coastal", "02": "blue", "03": "green", "04": "red", "05": "rededge1", "06": "rededge2",
    "07": "rededge3", "08": "nir", "8A": "nir08", "09": "nir09", "11": "swir16", "12": "swir22",
}  # fmt: skip


def multihash(path: Path) -> str:
    """Returns the checksum of a file as items have it."""
    return f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"


class Shelf:
    """Items and their files, which lie in a folder.

    Attributes:
        folder: The folder; files lie in its folder `files`.
        items: With `{files}` where the address of that folder must stand.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[dict[str, Any]] = []

    def add(self, shot: Shot | None = None, style: Style = "c1", **changes: Any) -> dict[str, Any]:
        """Makes an image, and returns its item, which may be changed before the catalogue is made.

        Args:
            shot: The image.
            style: Of its item, files and numbers.
            **changes: Attributes of the image, or of the facts of its product.
        """
        shot = shot or Shot()
        own = {key: value for key, value in changes.items() if hasattr(shot, key)}
        rest = {key: value for key, value in changes.items() if key not in own}
        shot = replace(shot, **own)
        shot = replace(shot, facts=replace(shot.facts, **rest))
        item = (
            self._add_landsat(shot) if isinstance(shot.facts, LandsatFacts) else self._add_safe(shot, style)
        )
        self.items.append(item)
        return item

    def add_elevation(self, at: tuple[float, float] = PLACE) -> dict[str, Any]:
        """Makes the tile of the elevation model that holds a place, in pixels of ten seconds of arc."""
        west, south = math.floor(at[0]), math.floor(at[1])
        name = (
            f"Copernicus_DSM_COG_10_{'N' if south >= 0 else 'S'}{abs(south):02}_00_"
            f"{'E' if west >= 0 else 'W'}{abs(west):03}_00_DEM"
        )
        path = self.folder / "files" / name / f"{name}.tif"
        steps = (np.arange(360) + 0.5) / 360
        lon, lat = np.meshgrid(west + steps, south + 1 - steps)
        heights = (5000 + 400 * np.sin(40 * lon) * np.cos(40 * lat)).astype(np.float32)
        write_cog(path, heights, from_origin(west, south + 1, 1 / 360, 1 / 360), 4326)
        item = _item(
            name,
            "cop-dem-glo-30",
            dict(shapely.geometry.mapping(shapely.box(west, south, west + 1, south + 1))),
            {"datetime": "2021-04-22T00:00:00Z", "gsd": 30},
            {"data": {"href": f"{{files}}/{name}/{name}.tif", "type": "image/tiff"}},
        )
        self.items.append(item)
        return item

    def with_files_at(self, base: str) -> list[dict[str, Any]]:
        """Returns the items with an address in front of the paths of their files."""
        return [json.loads(json.dumps(item).replace("{files}", base.rstrip("/"))) for item in self.items]

    def catalogue(self) -> Path:
        """Writes a static catalogue of the items, and returns its root."""
        items = self.with_files_at("../../files")
        names = sorted({item["collection"] for item in items})
        for name in names:
            own = [item for item in items if item["collection"] == name]
            links = [{"rel": "item", "href": f"./{item['id']}/{item['id']}.json"} for item in own]
            _write(self.folder / name / "collection.json", {**collection(name), "links": links})
            for item in own:
                _write(self.folder / name / item["id"] / f"{item['id']}.json", item)
        root = {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "shelf",
            "description": "Made up",
            "links": [{"rel": "child", "href": f"./{name}/collection.json"} for name in names],
        }
        return _write(self.folder / "catalog.json", root)

    def folder_of_items(self) -> Path:
        """Writes the items into a folder without any catalogue, and returns it."""
        folder = self.folder / "items"
        for number, item in enumerate(self.with_files_at("../files")):
            _write(folder / f"{number}.json", item)
        return folder

    def _add_safe(self, shot: Shot, style: Style) -> dict[str, Any]:
        facts = shot.facts
        assert isinstance(facts, SafeFacts)
        is_planetary = style == "planetary"
        tile, day = facts.tile, facts.date.replace("-", "")
        part = f"{facts.baseline.replace('.', '')}_{facts.name[-15:]}"
        # Files of versions must not lie in one folder.
        top = (
            f"{facts.name}.SAFE"
            if is_planetary
            else f"{COLLECTIONS[style]}/{tile}/S2{facts.spacecraft}_{day}_{part}"
        )
        images: dict[str, tuple[str, NDArray[Any], int]] = {}
        listed = []
        for band in facts.bands:
            pixel_m = PIXEL_M[band]
            listed.append(facts.image(f"B{band}", pixel_m).removesuffix(".jp2"))
            key = f"B{band}" if is_planetary else _EARTH_SEARCH[band]
            images[key] = f"B{band}", numbers(shot, band, pixel_m, style), pixel_m
        listed.append(facts.image("SCL", 20).removesuffix(".jp2"))
        images["SCL" if is_planetary else "scl"] = "SCL", classes(shot), 20
        assets = {}
        for key, (name, values, pixel_m) in images.items():
            file = facts.image(name, pixel_m).replace(".jp2", ".tif") if is_planetary else f"{name}.tif"
            assets[key] = self._image(f"{top}/{file}", values, pixel_m, shot)
        metadata = (
            self.folder / "files" / top / ("MTD_MSIL2A.xml" if is_planetary else "product_metadata.xml")
        )
        metadata.write_text(shelves._metadata(facts, listed))
        key = "product-metadata" if is_planetary else "product_metadata"
        assets[key] = {"href": f"{{files}}/{top}/{metadata.name}", "type": "application/xml"}
        if style == "c1":
            for asset in assets.values():
                path = self.folder / "files" / asset["href"].removeprefix("{files}/")
                asset |= {"file:checksum": multihash(path), "file:size": path.stat().st_size}
        return _item(
            _safe_identifier(facts, style),
            COLLECTIONS[style],
            shot.footprint,
            {**_safe_properties(shot, style), **shot.properties},
            assets,
        )

    def _add_landsat(self, shot: Shot) -> dict[str, Any]:
        facts = shot.facts
        assert isinstance(facts, LandsatFacts)
        keys = LANDSAT57 if facts.number < 8 else LANDSAT89
        assets = {
            key: self._image(f"{facts.name}/{facts.name}_{what}.TIF", landsat_numbers(shot, what), 30, shot)
            for what, key in keys.items()
            if facts.level == "L2SP" or not what.startswith("ST")
        }
        for kind in facts.formats:
            path = self.folder / "files" / facts.name / f"{facts.name}_MTL.{kind}"
            path.write_text(shelves._mtl(_own_zone(facts, shot.epsg), kind))
            assets[f"mtl.{kind}"] = {"href": f"{{files}}/{facts.name}/{path.name}"}
        properties = {
            "datetime": f"{facts.date}T04:51:00.123456Z",
            "platform": f"landsat-{facts.number}",
            "landsat:correction": facts.level,
            "landsat:collection_number": "02",
            "eo:cloud_cover": _cloud_said(shot),
            **shot.properties,
        }
        # Without the day of processing, as the Planetary Computer has it.
        identifier = re.sub(r"_(\d{8})_\d{8}_", r"_\1_", facts.name)
        return _item(identifier, "landsat-c2-l2", shot.footprint, properties, assets)

    def _image(self, path: str, values: NDArray[Any], pixel_m: int, shot: Shot) -> dict[str, Any]:
        write_cog(
            self.folder / "files" / path,
            values,
            from_origin(*shot.corner, pixel_m, pixel_m),
            shot.epsg,
            has_overviews=shot.has_overviews,
        )
        return {
            "href": f"{{files}}/{path}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        }


def _own_zone(facts: LandsatFacts, epsg: int) -> dict[str, dict[str, str]]:
    groups = {name: dict(group) for name, group in facts.groups.items()}
    groups["PROJECTION_ATTRIBUTES"]["UTM_ZONE"] = str(epsg % 100)
    return groups


def _cloud_said(shot: Shot) -> float:
    return 100 * shot.cloud if shot.cloud_said is None else shot.cloud_said


def _safe_identifier(facts: SafeFacts, style: Style) -> str:
    day = facts.date.replace("-", "")
    if style == "planetary":
        return re.sub(r"_N\d{4}", "", facts.name)
    if style == "c1":
        return f"S2{facts.spacecraft}_{facts.tile}_{facts.time}_{facts.baseline}_{facts.name[-15:]}_L2A"
    return f"S2{facts.spacecraft}_{facts.tile[1:]}_{day}_{facts.baseline}_{facts.name[-15:]}_L2A"


def _safe_properties(shot: Shot, style: Style) -> dict[str, Any]:
    facts = shot.facts
    assert isinstance(facts, SafeFacts)
    properties: dict[str, Any] = {
        "datetime": f"{facts.date}T05:08:02.123000Z",
        "platform": f"{'S' if style == 'planetary' else 's'}entinel-2{facts.spacecraft.lower()}",
        "constellation": "sentinel-2",
        "eo:cloud_cover": _cloud_said(shot),
        "s2:processing_baseline": facts.baseline,
        "s2:product_uri": f"{facts.name}.SAFE",
    }
    if style == "planetary":
        return {**properties, "proj:epsg": shot.epsg, "s2:mgrs_tile": facts.tile[1:]}
    properties |= {"proj:code": f"EPSG:{shot.epsg}", "grid:code": f"MGRS-{facts.tile[1:]}"}
    if style == "l2a":
        flag = is_shifted(shot, style) if shot.flag is None else shot.flag
        properties["earthsearch:boa_offset_applied"] = flag
    return properties


def collection(name: str) -> dict[str, Any]:
    """Returns a collection without links."""
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": "Made up",
        "license": "other",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [],
    }


def _item(
    identifier: str,
    collection: str,
    footprint: dict[str, Any],
    properties: dict[str, Any],
    assets: dict[str, Any],
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identifier,
        "collection": collection,
        "geometry": json.loads(json.dumps(footprint)),
        "bbox": list(shapely.geometry.shape(footprint).bounds),
        "properties": properties,
        "assets": assets,
        "links": [],
    }


def _write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))
    return path
