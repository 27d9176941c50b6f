"""Sentinel-2 Level-2A: the SAFE folder, by its `MTD_MSIL2A.xml`.

What numbers mean is what the metadata say, band by band: `BOA_QUANTIFICATION_VALUE` and, since processing
baseline 04.00, `BOA_ADD_OFFSET`. The date says nothing, since ESA reprocesses old images. Images are found in
the folder, in the layout of today and in that of 2017 (`L2A_T..._B02_10m.jp2`), each band at the finest
resolution that the metadata list; catalogues deliver the same images as `.tif`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from glacierseg.errors import ProductError
from glacierseg.products.contents import AGAIN, Checksum, Contents, leads_out
from glacierseg.products.headers import check_headers
from glacierseg.products.metadata import Element, agree, number, positive, read_xml, require_possible
from glacierseg.products.product import Product, ProductBand
from glacierseg.raster.sensors import SENSORS

_ROLES = SENSORS["sentinel2"]
_CLASSES = "SCL"
# In the order of `band_id`, for metadata that do not list it themselves.
_ORDER = ("1", "2", "3", "4", "5", "6", "7", "8", "8A", "9", "10", "11", "12")
# Every recipe needs these; the others may stay behind when somebody copies a product in part.
NEEDED = ("2", "3", "4", "8", "11", "12", _CLASSES)
_FIRST_WITH_OFFSET = "04.00"
# What users make with Sen2Cor; whether it has an offset, only the list of offsets says.
_SEN2COR = "99.99"
_NAME = re.compile(r"S2([A-D])_MSIL2A_(\d{8})T\d{6}_N(\d{2})(\d{2})_R\d{3}_(T\d{2}[A-Z]{3})_\d{8}T\d{6}")
_IMAGE = re.compile(
    r"(?:L2A_)?(T\d{2}[A-Z]{3})_(\d{8})T\d{6}_(?:B0?(\d{1,2}A?)|(SCL))_(\d{2})m(\.jp2|\.tif)?"
)
_MANIFEST = re.compile(
    r'href="([^"<>]+\.jp2)"\s*(?:/>|>\s*</fileLocation>)\s*'
    r'<checksum checksumName="([\w-]+)">\s*([0-9A-Fa-f]+)\s*<'
)
_ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA3-256": "sha3_256"}


class _Image(NamedTuple):
    file: str
    tile: str
    day: str
    number: str
    pixel_m: int


def read_sentinel2(contents: Contents, metadata: str, given: Path) -> Product:
    """Reads what a product says of itself, and opens its images.

    Args:
        contents: Its files.
        metadata: Which of them are the metadata.
        given: The path that was given.

    Raises:
        ProductError: It cannot be used; the message says why and what to do.
    """
    product = describe_sentinel2(contents, metadata, given)
    check_headers(product, _utm_zone(product.tile))
    return product


def describe_sentinel2(contents: Contents, metadata: str, given: Path) -> Product:
    """Reads what a product says of itself and finds its images, which stay closed.

    Arguments and errors are those of `read_sentinel2`.
    """
    root = metadata.rpartition("/")[0]
    where = f"{contents.source}: {PurePosixPath(metadata).name}"
    elements = read_xml(contents.read(metadata), where)
    _refuse_other_levels(contents.source, elements, where)
    images = _images(contents, root, elements, where)
    identity = _identity(contents, root, elements, images)
    scale = 10_000 / positive(
        _one(elements, "BOA_QUANTIFICATION_VALUE", where), "BOA_QUANTIFICATION_VALUE", where
    )
    offsets = _offsets(elements, identity["baseline"], [image.number for image in images], where)
    special = _special_values(elements, where)
    files = {contents.gdal_name(image.file): image.file for image in images}
    promised = _checksums(contents, root)
    product = Product(
        source=given,
        name=identity["name"],
        sensor="sentinel2",
        acquired=date.fromisoformat(identity["date"]),
        baseline=identity["baseline"],
        tile=identity["tile"],
        bands=tuple(
            ProductBand(
                role=_ROLES[image.number],
                path=contents.gdal_name(image.file),
                scale=scale,
                offset=scale * offsets[image.number],
                saturated=special.get("SATURATED"),
            )
            for image in images
            if image.number != _CLASSES
        ),
        classes=next(contents.gdal_name(image.file) for image in images if image.number == _CLASSES),
        classes_kind="scl",
        require_whole=lambda path: contents.require_whole(
            files[path], promised.get(PurePosixPath(path).name)
        ),
        nodata=special.get("NODATA", 0),
    )
    require_possible(product.bands, where)
    return product


def _utm_zone(tile: str) -> str:
    """Returns the UTM zone of a tile: `45N` of `T45RVL`."""
    return f"{int(tile[1:3])}{'N' if tile[3] >= 'N' else 'S'}"


def _refuse_other_levels(source: Path, elements: Sequence[Element], where: str) -> None:
    root = elements[-1].name
    level = _one(elements, "PROCESSING_LEVEL", where) or root
    if "1C" in root or "1C" in level:
        raise ProductError(
            f"{source}: is Level-1C, reflectance at the top of the atmosphere; take the Level-2A product of "
            "the same day"
        )
    if "2A" not in root or "2A" not in level:
        raise ProductError(f"{where} is not that of Level-2A, but of {level}; take the Level-2A product")


def _checksums(contents: Contents, root: str) -> dict[str, Checksum]:
    """Returns the checksums of images by their file names, of the manifest where there is one that has some.

    Manifests of baseline 02.08 are no whole XML and give paths of ESA's own machines.
    """
    name = contents.below(root).get("manifest.safe")
    text = contents.read(name).decode("utf-8", errors="replace") if name else ""
    return {
        PurePosixPath(path).name: Checksum(_ALGORITHMS[algorithm.upper()], digest)
        for path, algorithm, digest in _MANIFEST.findall(text)
        if algorithm.upper() in _ALGORITHMS
    }


def _one(elements: Iterable[Element], name: str, where: str) -> str | None:
    """Returns what the elements of a name say, or None where there are none."""
    texts = sorted({element.text for element in elements if element.name == name and element.text})
    if len(texts) > 1:
        raise ProductError(f"{where} gives {name} as {texts[0]} and as {texts[1]}; {AGAIN}")
    return texts[0] if texts else None


def _images(contents: Contents, root: str, elements: Sequence[Element], where: str) -> list[_Image]:
    """Finds the finest image of each band, in the order of bands, and that of the classes."""
    files = contents.below(root)
    granules = sorted({parts[1] for path in files if "IMG_DATA" in (parts := path.split("/"))[:3][2:]})
    if len(granules) > 1:
        raise ProductError(
            f"{contents.source}: holds {len(granules)} tiles ({', '.join(granules[:3])}); give products of "
            "one tile each"
        )
    found = _finest(
        _parse(file) for path, file in files.items() if path.startswith("GRANULE/") and "/IMG_DATA/" in path
    )
    listed = _finest(_listed(elements, where))
    for band in (*_ORDER, _CLASSES):
        have, promised = found.get(band), listed.get(band)
        is_coarse = bool(have and promised and have.pixel_m > promised.pixel_m)
        if is_coarse or (have is None and band in NEEDED):
            what = "the scene classification" if band == _CLASSES else f"B{band:0>2} ({_ROLES[band]})"
            file = f" {PurePosixPath(promised.file).name}," if promised else ""
            raise ProductError(f"{contents.source}: lacks{file} the image of {what}; {AGAIN}, whole")
    return [found[band] for band in (*_ORDER, _CLASSES) if band in found]


def images_listed(metadata: bytes, where: str) -> dict[str, str]:
    """Returns the finest image of each band that metadata list: its path, without suffix, by band number.

    Args:
        metadata: `MTD_MSIL2A.xml`.
        where: What messages call it.

    Raises:
        ProductError: It is not whole, or names a file outside the product.
    """
    found = _finest(_listed(read_xml(metadata, where), where))
    return {number: image.file.removesuffix(".jp2") for number, image in found.items()}


def _listed(elements: Iterable[Element], where: str) -> list[_Image | None]:
    names = [one.text for one in elements if re.fullmatch(r"IMAGE_(FILE|ID)(_2A)?", one.name) and one.text]
    for name in names:
        if leads_out(name):
            raise ProductError(f"{where} names a file outside the product, {name[:80]!r}; {AGAIN}")
    return [_parse(f"{name.removesuffix('.jp2')}.jp2") for name in names]


def _parse(file: str) -> _Image | None:
    match = _IMAGE.fullmatch(PurePosixPath(file).name)
    if match is None or not match[6]:
        return None
    number_ = match[3] or match[4]
    return (
        _Image(file, match[1], match[2], number_, int(match[5])) if number_ in {*_ROLES, _CLASSES} else None
    )


def _finest(images: Iterable[_Image | None]) -> dict[str, _Image]:
    found: dict[str, _Image] = {}
    for image in images:
        if image and (image.number not in found or image.pixel_m < found[image.number].pixel_m):
            found[image.number] = image
    return found


def _identity(
    contents: Contents, root: str, elements: Sequence[Element], images: Sequence[_Image]
) -> dict[str, str]:
    """What metadata, folders and files say in agreement: name, date, tile and baseline."""
    source = contents.source
    where = f"{source}: MTD_MSIL2A.xml"
    uri = _one(elements, "PRODUCT_URI", where) or _one(elements, "PRODUCT_URI_2A", where)
    named = {
        "its name": source.absolute().name,
        "the folder's name within it": PurePosixPath(root).name,
        "PRODUCT_URI": uri or "",
    }
    names = {who: match for who, text in named.items() if (match := _NAME.match(text))}
    granules = [
        one.attributes.get("granuleIdentifier", "") for one in elements if one.name.startswith("Granule")
    ]
    tiles = [match[1] for text in granules if (match := re.search(r"_(T\d{2}[A-Z]{3})(?:_|$)", text))]
    spacecraft = _one(elements, "SPACECRAFT_NAME", where)
    start = _one(elements, "PRODUCT_START_TIME", where)
    agree(
        source,
        "spacecraft",
        [
            *((who, f"Sentinel-2{match[1]}") for who, match in names.items()),
            ("SPACECRAFT_NAME in its metadata", spacecraft),
        ],
    )
    day = agree(
        source,
        "date",
        [
            *((who, _day(match[2], where)) for who, match in names.items()),
            ("PRODUCT_START_TIME in its metadata", _day(start, where) if start else None),
            *((PurePosixPath(image.file).name, _day(image.day, where)) for image in images),
        ],
    )
    tile = agree(
        source,
        "tile",
        [
            *((who, match[5]) for who, match in names.items()),
            *(("granuleIdentifier in its metadata", tile) for tile in tiles),
            *((PurePosixPath(image.file).name, image.tile) for image in images),
        ],
    )
    baseline = agree(
        source,
        "processing baseline",
        [
            *((who, f"{match[3]}.{match[4]}") for who, match in names.items()),
            ("PROCESSING_BASELINE in its metadata", _one(elements, "PROCESSING_BASELINE", where)),
        ],
    )
    if not re.fullmatch(r"\d{2}\.\d{2}", baseline):
        raise ProductError(
            f"{where}: PROCESSING_BASELINE is {baseline[:20]!r}, and must be as 05.11; {AGAIN}"
        )
    own = next((match[0] for match in names.values()), source.absolute().name.removesuffix(".SAFE"))
    return {"name": own, "date": day, "tile": tile, "baseline": baseline}


def _day(text: str, where: str) -> str:
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError as error:
        raise ProductError(f"{where}: {text[:40]!r} is no date; {AGAIN}") from error


def _offsets(
    elements: Sequence[Element], baseline: str, wanted: Iterable[str], where: str
) -> Mapping[str, float]:
    """Returns what is to be added to the digital numbers of each band; absent before baseline 04.00."""
    order = {str(i): band for i, band in enumerate(_ORDER)}
    listed = [one.attributes for one in elements if one.name == "Spectral_Information"]
    if listed:
        order = {one.get("bandId", ""): re.sub("^B0?", "", one.get("physicalBand", "")) for one in listed}
    found: dict[str, float] = {}
    for element in elements:
        if element.name != "BOA_ADD_OFFSET":
            continue
        band_id = element.attributes.get("band_id", "")
        band = order.get(band_id, "")
        value = number(element.text or None, f"BOA_ADD_OFFSET of B{band}", where)
        if band not in _ORDER or found.setdefault(band, value) != value:
            raise ProductError(
                f"{where}: BOA_ADD_OFFSET of band_id {band_id[:20]!r} is that of no band, or has two values; "
                f"{AGAIN}"
            )
    has_rule = baseline != _SEN2COR
    if has_rule and not found and baseline >= _FIRST_WITH_OFFSET:
        raise ProductError(
            f"{where} gives processing baseline {baseline} and no BOA_ADD_OFFSET, which each product since "
            f"{_FIRST_WITH_OFFSET} has; {AGAIN}"
        )
    if has_rule and any(found.values()) and baseline < _FIRST_WITH_OFFSET:
        raise ProductError(
            f"{where} gives processing baseline {baseline} and BOA_ADD_OFFSET {min(found.values()):g}, which "
            f"no product before {_FIRST_WITH_OFFSET} has; {AGAIN}"
        )
    for band in wanted:
        if found and band != _CLASSES and band not in found:
            raise ProductError(
                f"{where} gives no BOA_ADD_OFFSET for B{band}, and some for other bands; {AGAIN}"
            )
    return found or dict.fromkeys(_ORDER, 0.0)


def _special_values(elements: Sequence[Element], where: str) -> Mapping[str, int]:
    texts = [one.text for one in elements if one.name == "SPECIAL_VALUE_TEXT"]
    values = [one.text or None for one in elements if one.name == "SPECIAL_VALUE_INDEX"]
    found = {
        text: number(value, f"the special value {text}", where)
        for text, value in zip(texts, values, strict=False)
    }
    for text, value in found.items():
        if value != int(value) or not 0 <= value <= 65535:
            raise ProductError(
                f"{where}: the special value {text} is {value:g}, and must be from 0 to 65535; {AGAIN}"
            )
    return {text: int(value) for text, value in found.items()}
