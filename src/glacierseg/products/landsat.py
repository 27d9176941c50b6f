"""Landsat 4-9 Collection 2 Level-2, by the `_MTL` of a product in any of its three formats.

Multipliers and addends are those of Level-2 alone: under the same keys, other groups of the metadata have
those of the Level-1 product that it was made from.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path, PurePosixPath

from glacierseg.errors import ProductError
from glacierseg.products.contents import AGAIN, Contents, leads_out
from glacierseg.products.headers import check_headers
from glacierseg.products.metadata import (
    Groups,
    agree,
    is_same,
    number,
    positive,
    read_groups,
    require_possible,
)
from glacierseg.products.product import Product, ProductBand
from glacierseg.raster.sensors import SENSORS

# Landsat 4 and 5 carry the same instrument.
_SENSOR_OF = {
    "LANDSAT_4": "landsat5",
    "LANDSAT_5": "landsat5",
    "LANDSAT_7": "landsat7",
    "LANDSAT_8": "landsat8",
    "LANDSAT_9": "landsat9",
}
_LEVELS = ("L2SP", "L2SR")
# No recipe needs it, so it may stay behind when somebody copies a product in part.
_OPTIONAL = frozenset({"coastal"})
# Of the metadata, what is read here.
_READ = re.compile(
    r"PRODUCT_CONTENTS/(LANDSAT_PRODUCT_ID|PROCESSING_LEVEL|COLLECTION_NUMBER|FILE_NAME_(BAND|QUALITY)_\w+)"
    r"|IMAGE_ATTRIBUTES/(SPACECRAFT_ID|WRS_PATH|WRS_ROW|DATE_ACQUIRED)"
    r"|PROJECTION_ATTRIBUTES/UTM_ZONE"
    r"|LEVEL2_SURFACE_(REFLECTANCE|TEMPERATURE)_PARAMETERS/\w+_(MULT|ADD)_BAND_\w+"
)
_FORMATS = frozenset({".json", ".xml", ".txt"})
_NAME = re.compile(r"L[CEOT]0(\d)_(L\w{3})_(\d{6})_(\d{4})(\d\d)(\d\d)_\d{8}_(\d\d)_(?:T1|T2|RT)")


def read_landsat(contents: Contents, metadata: str, given: Path) -> Product:
    """Reads what a product says of itself, and opens its images.

    Args:
        contents: Its files.
        metadata: Which of them are the metadata.
        given: The path that was given.

    Raises:
        ProductError: It cannot be used; the message says why and what to do.
    """
    product, zone = describe_landsat(contents, metadata, given)
    check_headers(product, zone)
    return product


def describe_landsat(contents: Contents, metadata: str, given: Path) -> tuple[Product, str | None]:
    """Reads what a product says of itself and finds its images, which stay closed.

    Arguments and errors are those of `read_landsat`.

    Returns:
        The product, and the UTM zone that the metadata say.
    """
    folder, _, file = metadata.rpartition("/")
    where = f"{contents.source}: {file}"
    groups = read_groups(contents.read(metadata), where)
    _refuse_other_products(contents.source, groups)
    _require_same_in_all_formats(contents, metadata, groups)
    identity = _identity(
        contents.source, [contents.source.absolute().name, folder.rpartition("/")[2], file], groups
    )
    files = _Files(contents, folder, identity["name"], groups.get("PRODUCT_CONTENTS", {}))
    sensor = _SENSOR_OF.get(identity["spacecraft"])
    if sensor is None:
        raise ProductError(
            f"{where} is of {identity['spacecraft']}; take a product of Landsat 4, 5, 7, 8 or 9"
        )
    classes = files.find("QA_PIXEL", "FILE_NAME_QUALITY_L1_PIXEL")
    if classes is None:
        raise files.missing("QA_PIXEL", "the classes of pixels")
    product = Product(
        source=given,
        name=identity["name"],
        sensor=sensor,
        acquired=_date(identity["date"], where),
        baseline=identity["collection"],
        tile=identity["tile"],
        bands=tuple(_bands(files, sensor, identity["level"], groups, where)),
        classes=classes,
        classes_kind="qa_pixel",
        require_whole=files.require_whole,
        saturation=files.find("QA_RADSAT", "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION"),
    )
    require_possible(product.bands, where)
    zone = groups.get("PROJECTION_ATTRIBUTES", {}).get("UTM_ZONE")
    return product, zone and zone.lstrip("0")


class _Files:
    """The images of a product by what they show."""

    def __init__(self, contents: Contents, folder: str, name: str, named: Mapping[str, str]) -> None:
        self._contents = contents
        self._files = contents.below(folder)
        self._of_any_case = {file.upper(): name for file, name in self._files.items()}
        self._name = name
        self._named = named
        self._found: dict[str, str] = {}

    def find(self, what: str, key: str) -> str | None:
        """Returns the name by which GDAL opens an image, or None where there is none."""
        expected = f"{self._name}_{what}.TIF"
        named = self._named.get(key, expected)
        if leads_out(named):
            raise ProductError(
                f"{self._contents.source}: {key} names a file outside the product, {named[:80]!r}; {AGAIN}"
            )
        agree(self._contents.source, f"file of {what}", [("the product's name", expected), (key, named)])
        # Some tools turn the suffix, or all of a name, to small letters.
        file = self._files.get(expected, self._of_any_case.get(expected.upper()))
        if file is None:
            return None
        path = self._contents.gdal_name(file)
        self._found[path] = file
        return path

    def require_whole(self, path: str) -> None:
        """Refuses an image that a checksum shows to be damaged, by GDAL's name of it."""
        self._contents.require_whole(self._found[path])

    def missing(self, what: str, role: str) -> ProductError:
        """The error that an image is missing."""
        return ProductError(
            f"{self._contents.source}: lacks {self._name}_{what}.TIF, the image of {role}; {AGAIN}, whole"
        )


def _refuse_other_products(source: Path, groups: Groups) -> None:
    own = groups.get("PRODUCT_CONTENTS", {})
    level = own.get("PROCESSING_LEVEL", "")
    cure = "take the Collection 2 Level-2 Science Product of the same scene (L2SP)"
    if "LANDSAT_METADATA_FILE" not in groups:
        what = "of Collection 1" if "L1_METADATA_FILE" in groups else "no metadata of Landsat Collection 2"
        raise ProductError(f"{source}: its _MTL is {what}; {cure}")
    if level.startswith("L1"):
        raise ProductError(
            f"{source}: is Level-1 ({level}), reflectance at the top of the atmosphere; {cure}"
        )
    if level not in {"", *_LEVELS}:
        raise ProductError(f"{source}: is a product of level {level}; {cure}")


def _require_same_in_all_formats(contents: Contents, metadata: str, groups: Groups) -> None:
    """Refuses metadata that another of their formats contradicts."""
    own = PurePosixPath(metadata)
    for name in contents.names:
        other = PurePosixPath(name)
        is_other = other != own and other.with_suffix("") == own.with_suffix("")
        if not is_other or other.suffix.lower() not in _FORMATS:
            continue
        for group, values in read_groups(contents.read(name), f"{contents.source}: {other.name}").items():
            for key, value in values.items():
                said = groups.get(group, {}).get(key, value)
                if _READ.fullmatch(f"{group}/{key}") and not is_same(said, value):
                    agree(contents.source, f"{group}/{key}", [(own.name, said), (other.name, value)])


def _identity(source: Path, named: Sequence[str], groups: Groups) -> dict[str, str]:
    """What metadata, folders and files agree on: name, spacecraft, level, tile, date and collection."""
    own, image = groups.get("PRODUCT_CONTENTS", {}), groups.get("IMAGE_ATTRIBUTES", {})
    who = ("its name", "the folder's name within it", "the name of its metadata", "LANDSAT_PRODUCT_ID")
    texts = (*named, own.get("LANDSAT_PRODUCT_ID", ""))
    names = {one: match for one, text in zip(who, texts, strict=True) if (match := _NAME.match(text))}
    path_row = image.get("WRS_PATH", "").zfill(3) + image.get("WRS_ROW", "").zfill(3)
    collection = own.get("COLLECTION_NUMBER")
    said = {
        "spacecraft": (
            {one: f"LANDSAT_{match[1]}" for one, match in names.items()},
            image.get("SPACECRAFT_ID"),
            "SPACECRAFT_ID",
        ),
        "level": (
            {one: match[2] for one, match in names.items()},
            own.get("PROCESSING_LEVEL"),
            "PROCESSING_LEVEL",
        ),
        "tile": (
            {one: match[3] for one, match in names.items()},
            path_row if path_row != "000000" else None,
            "WRS_PATH and WRS_ROW",
        ),
        "date": (
            {one: f"{match[4]}-{match[5]}-{match[6]}" for one, match in names.items()},
            image.get("DATE_ACQUIRED"),
            "DATE_ACQUIRED",
        ),
        "collection": (
            {one: match[7] for one, match in names.items()},
            collection.zfill(2) if collection else None,
            "COLLECTION_NUMBER",
        ),
        "name": ({one: match[0] for one, match in names.items()}, None, ""),
    }
    found = {
        what: agree(source, what, [*by_name.items(), (key, value)])
        for what, (by_name, value, key) in said.items()
    }
    if found["collection"] != "02" or found["level"] not in _LEVELS:
        raise ProductError(
            f"{source}: is of Collection {found['collection']}, {found['level']}; take the Collection 2 "
            "Level-2 Science Product of the same scene (L2SP)"
        )
    return found


def _bands(files: _Files, sensor: str, level: str, groups: Groups, where: str) -> list[ProductBand]:
    bands = []
    for band, role in SENSORS[sensor].items():
        is_heat = role == "thermal"
        if role in {"pan", "cirrus", "thermal_2"} or (is_heat and level == "L2SR"):
            continue
        what, suffix = (f"ST_B{band}", f"ST_B{band}") if is_heat else (f"SR_B{band}", band)
        path = files.find(what, f"FILE_NAME_BAND_{suffix}")
        if path is None and role in _OPTIONAL:
            continue
        if path is None:
            raise files.missing(what, role)
        quantity = "TEMPERATURE" if is_heat else "REFLECTANCE"
        group = f"LEVEL2_SURFACE_{quantity}_PARAMETERS"
        values = groups.get(group, {})
        multiplier, addend = f"{quantity}_MULT_BAND_{suffix}", f"{quantity}_ADD_BAND_{suffix}"
        unit = 1 if is_heat else 10_000
        bands.append(
            ProductBand(
                role=role,
                path=path,
                scale=unit * positive(values.get(multiplier), f"{group}/{multiplier}", where),
                offset=unit * number(values.get(addend), f"{group}/{addend}", where),
            )
        )
    return bands


def _date(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ProductError(f"{where}: {text[:40]!r} is no date; {AGAIN}") from error
