"""Products of a catalogue as the agency delivers them, cut to a place: metadata, and windows of images.

What such a folder holds, `products.read` understands like any other, so nothing on units, classes or missing
bands is decided here. The metadata are those of the product byte for byte, images have the agency's names,
and all windows of a product show the same ground. What the reader would refuse is refused before an image
is touched.
"""

import hashlib
import io
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.kept import Wanted, write_windows
from glacierseg.catalogues.offsets import INSTEAD, TELLING_ROLES, judge_offset
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, plan_window, read_window
from glacierseg.errors import ProductError
from glacierseg.products.contents import AGAIN, Contents
from glacierseg.products.landsat import describe_landsat
from glacierseg.products.product import Product
from glacierseg.products.read import read_product
from glacierseg.products.sentinel2 import NEEDED, describe_sentinel2, images_listed
from glacierseg.raster.outputs import writes
from glacierseg.raster.sensors import ROLES, SENSORS

# So far beyond the place, or farther, each window reaches: two of the coarsest pixels, which interpolation
# needs at its rim.
_MARGIN_M = 120
# On this lattice windows of 10, 20 and 60 m hold whole pixels of one another.
_STEP_M = 60
_LANDSAT_PX_M = 30
# How much coarser the image is looked at to see whether its numbers are those of the metadata, and how much
# of it may be read for that: what has no coarser copy is looked at in the windows.
_COARSER = 16
_MAX_LOOK_BYTES, _MAX_LOOK_PX = 8 * 2**20, 2**22
_CLASSES_OF_LANDSAT = ("QA_PIXEL", "QA_RADSAT")
_CLASSES = {"SCL", *_CLASSES_OF_LANDSAT}
# What no recipe can use of Landsat, and what it may lack.
_NOT_TAKEN, _OPTIONAL = {"pan", "cirrus", "thermal_2"}, {"coastal"}


@dataclass(frozen=True)
class ProductPlan:
    """What is to be written of a product.

    Attributes:
        candidate: As the catalogue offers it.
        product: As its metadata describe it.
        folder_name: Of its folder.
        metadata_file: Name of the metadata in it.
        metadata: These, as they came.
        windows: Of images, by their path in the folder.
        add: What is added to digital numbers of bands, so that they are those of the metadata.
        note: What its numbers show of their offset where the catalogue says otherwise; None where all agree.
    """

    candidate: Candidate
    product: Product
    folder_name: str
    metadata_file: str
    metadata: bytes = field(repr=False)
    windows: Mapping[str, Window] = field(repr=False)
    add: int = 0
    note: str | None = None

    @property
    def bytes_needed(self) -> int:
        """How much is still to be read."""
        return sum(window.bytes_needed for window in self.windows.values())

    @property
    def facts(self) -> dict[str, Any]:
        """Where it comes from and what its numbers mean, for the record."""
        one = self.candidate
        bands = {band.role: [band.scale, band.offset] for band in self.product.bands}
        return {
            "product": self.product.name,
            "item": one.item,
            "item_address": shown(one.address),
            "collection": one.collection,
            "sensor": self.product.sensor,
            "tile": self.product.tile,
            "acquired": one.acquired.isoformat(),
            "baseline": self.product.baseline,
            "scale_and_offset": bands,
            "offset_applied_by_catalogue": one.offset_applied,
            "added_to_numbers": self.add,
            "note": self.note,
            "metadata": {
                "file": self.metadata_file,
                "address": shown(one.metadata.address) if one.metadata else None,
                "sha256": hashlib.sha256(self.metadata).hexdigest(),
            },
        }


@dataclass(frozen=True)
class _PlannedContents(Contents):
    """The files of a product that are yet to be written, of which only the metadata are here."""

    metadata: bytes = field(repr=False)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:  # noqa: ARG002
        yield io.BytesIO(self.metadata)

    def gdal_name(self, name: str) -> str:
        """Returns the name itself."""
        return name


def plan_product(web: Web, candidate: Candidate, outline: Any, roles: Collection[str]) -> ProductPlan:
    """Finds out what is to be read of a product, of which its metadata are read, headers, and a coarse look.

    Args:
        web: Reads it.
        candidate: The product.
        outline: Shapes in degrees whose ground is wanted.
        roles: Bands that are wanted, by role; those that every product must have come too.

    Raises:
        ProductError: It cannot be used: it has no metadata, or those of another one, lacks a band, does not
            meet the place, or its numbers are not those of its metadata.
        DownloadError: It cannot be read.
    """
    name = candidate.name
    if candidate.metadata is None:
        raise ProductError(
            f"{name}: the catalogue offers no metadata of it, without which its numbers have no unit; "
            f"{INSTEAD}"
        )
    metadata = web.read(candidate.metadata)
    describe = _describe_sentinel2 if candidate.sensor == "sentinel2" else _describe_landsat
    with _worded():
        product, metadata_file, images = describe(candidate, metadata, roles)
    _require_same(candidate, product)
    windows = {}
    for number, (file, pixel_m) in images.items():
        window = plan_window(
            web,
            candidate.images[number],
            outline,
            step_px=_STEP_M // pixel_m if candidate.sensor == "sentinel2" else 1,
            margin_px=_MARGIN_M // pixel_m,
        )
        if window is None:
            raise ProductError(f"{name}: its images lie beside the place; {INSTEAD}")
        found_m = abs(window.grid.transform.a)
        if abs(found_m - pixel_m) > 1e-6:
            raise ProductError(
                f"{name}: its image of {_shown(number, candidate.sensor)} has pixels of {found_m:g} m in the "
                f"catalogue, and {pixel_m} m by its metadata; {INSTEAD}"
            )
        windows[file] = window
    _require_same_ground(windows, name)
    add, note = 0, None
    if candidate.sensor == "sentinel2":
        views = _views(web, candidate, {number: windows[file] for number, (file, _) in images.items()})
        judgement = judge_offset(product, views, said=candidate.offset_applied, name=name)
        add, note = judgement.add, judgement.note
    folder_name = f"{product.name}.SAFE" if candidate.sensor == "sentinel2" else product.name
    return ProductPlan(candidate, product, folder_name, metadata_file, metadata, windows, add, note)


@contextmanager
def _worded() -> Iterator[None]:
    """Gives what the reader of products refuses the cure that helps here."""
    try:
        yield
    except ProductError as error:
        fault, _, cure = str(error).rpartition("; ")
        is_of_files = cure.startswith((AGAIN, "give the product as it was delivered"))
        raise ProductError(f"{fault}; {INSTEAD}" if is_of_files else str(error)) from error


def _shown(number: str, sensor: str) -> str:
    if number in _CLASSES:
        return number
    return f"B{number:0>2}" if sensor == "sentinel2" else f"B{number}"


def _require_offered(candidate: Candidate, needed: Collection[str], name: str) -> None:
    for number in sorted(needed):
        if number not in candidate.images:
            role = SENSORS[candidate.sensor].get(number)
            what = (
                f"{_shown(number, candidate.sensor)} ({role})" if role else f"{number}, the classes of pixels"
            )
            raise ProductError(f"{name}: the catalogue offers no image of {what}; {INSTEAD}")


Description = tuple[Product, str, dict[str, tuple[str, int]]]
"""A product, the file of its metadata, and its images' path and pixel size by number."""


def _describe_sentinel2(candidate: Candidate, metadata: bytes, roles: Collection[str]) -> Description:
    name, file = candidate.name, "MTD_MSIL2A.xml"
    wanted = {number for number, role in SENSORS["sentinel2"].items() if role in set(roles) & ROLES}
    _require_offered(candidate, wanted | set(NEEDED), name)
    listed = images_listed(metadata, f"{name}: {file}")
    images = {}
    for number in (*SENSORS["sentinel2"], "SCL"):
        if number in wanted or number in NEEDED:
            path = listed.get(number)
            if path is None:
                raise ProductError(
                    f"{name}: its metadata list no image of {_shown(number, candidate.sensor)}; {INSTEAD}"
                )
            images[number] = f"{path}.tif", int(path[-3:-1])
    # Its name is that which the metadata say.
    source = Path(f"metadata of {name}")
    contents = _PlannedContents(source, (file, *(one for one, _ in images.values())), metadata)
    return describe_sentinel2(contents, file, source), file, images


def _describe_landsat(candidate: Candidate, metadata: bytes, roles: Collection[str]) -> Description:
    name, sensor = candidate.name, SENSORS[candidate.sensor]
    start = metadata.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    file = f"{name}_MTL.{({b'{': 'json', b'<': 'xml'}).get(start, 'txt')}"
    wanted = {number for number, role in sensor.items() if role in set(roles) & ROLES}
    _require_offered(candidate, {*wanted, "QA_PIXEL"}, name)
    images = {}
    for number in (*sensor, *_CLASSES_OF_LANDSAT):
        role = sensor.get(number, number)
        is_taken = role not in _NOT_TAKEN and (role not in _OPTIONAL or number in wanted)
        if is_taken and number in candidate.images:
            level = "ST" if role == "thermal" else "SR"
            what = number if number in _CLASSES else f"{level}_B{number}"
            images[number] = f"{name}_{what}.TIF", _LANDSAT_PX_M
    source = Path(f"metadata of {name}")
    contents = _PlannedContents(source, (file, *(one for one, _ in images.values())), metadata)
    product, _ = describe_landsat(contents, file, source)
    return product, file, images


def _require_same(candidate: Candidate, product: Product) -> None:
    """Refuses metadata of another product than the item's; day, tile and baseline are part of the name."""
    if product.name != candidate.name:
        said = f"are those of {product.name}" if product.name.isidentifier() else "do not say its name"
        raise ProductError(
            f"{candidate.name}: is so named in the catalogue, and its metadata {said}; {INSTEAD}"
        )


def _require_same_ground(windows: Mapping[str, Window], name: str) -> None:
    """Refuses images of which one begins elsewhere, such as that of another tile, or shows less."""
    (first, window), *others = windows.items()
    for file, other in others:
        apart = [abs(a - b) for a, b in zip(_corners(other), _corners(window), strict=True)]
        if other.grid.crs != window.grid.crs or max(apart) > 1e-6:
            raise ProductError(
                f"{name}: its image {PurePosixPath(file).name} covers other ground than "
                f"{PurePosixPath(first).name}; {INSTEAD}"
            )


def _corners(window: Window) -> tuple[float, ...]:
    """The upper left corner of the whole image, and the sides of the window."""
    return *(window.grid.transform * (-window.column, -window.row)), *window.grid.bounds


def _views(web: Web, candidate: Candidate, windows: Mapping[str, Window]) -> dict[str, Any]:
    """Reads a coarse copy of the whole image in the bands that tell, or the windows where there is none."""
    views = {}
    for number, window in windows.items():
        role = SENSORS["sentinel2"].get(number)
        if role in TELLING_ROLES:
            whole = plan_window(web, candidate.images[number], candidate.footprint, coarser=_COARSER)
            is_small = (
                whole
                and whole.bytes_needed <= _MAX_LOOK_BYTES
                and math.prod(whole.grid.shape) <= _MAX_LOOK_PX
            )
            views[role] = read_window(web, whole if whole and is_small else window)
    return views


@writes(folder=None)
def write_product(web: Web, plan: ProductPlan, folder: Path, tally: Tally | None = None) -> Path:
    """Writes the folder of a product, which stands under its name when it is whole.

    Windows that an earlier try finished are kept, so that a fetch goes on where it ended.

    Args:
        web: Reads its windows.
        plan: From `plan_product`.
        folder: In which the product's folder is made.
        tally: Of what is read.

    Returns:
        The product's folder, for `products.read`.

    Raises:
        ProductError: An image is damaged, or the product is none that can be used.
        DownloadError: It cannot be read.
        OutputError: It cannot be written.
        RequestError: Something that no fetch wrote has its name.
    """
    add = {band.path: plan.add for band in plan.product.bands if plan.add}
    wanted = Wanted(plan.facts, {plan.metadata_file: plan.metadata}, plan.windows, add)
    return write_windows(web, Path(folder) / plan.folder_name, wanted, check=_require_read, tally=tally)


def _require_read(folder: Path) -> None:
    with _worded():
        read_product(folder)
