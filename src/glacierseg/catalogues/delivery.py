"""Products of a catalogue as the agency delivers them, cut to a place: metadata, and windows of images.

`products.read` reads such a folder like any other, so units, classes and missing bands are not decided here.
The metadata are those of the product byte for byte, images have the agency's names, and all windows of a
product show the same ground. What the reader would refuse is an error before any image is read.
"""

import hashlib
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from glacierseg.catalogues.addresses import shown
from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.folders import write_windows
from glacierseg.catalogues.offsets import INSTEAD, TELLING_ROLES, judge_offset, require_taken_off
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, plan_window, read_window
from glacierseg.errors import ProductError
from glacierseg.products.contents import AGAIN, Contents
from glacierseg.products.landsat import describe_landsat
from glacierseg.products.product import Product
from glacierseg.products.sentinel2 import NEEDED, describe_sentinel2, images_listed
from glacierseg.raster.outputs import writes
from glacierseg.raster.sensors import ROLES, SENSORS

# How far each window extends beyond the place at least: two of the coarsest pixels, for interpolation.
_MARGIN_M = 120
# Windows of 10, 20 and 60 m pixels have corners on this lattice, so that they cover the same ground.
_STEP_M = 60
_LANDSAT_PX_M = 30
# Offsets are judged on an overview of the whole image this many times coarser, and of at most this size;
# otherwise on the windows.
_COARSER = 16
_MAX_LOOK_BYTES, _MAX_LOOK_PX = 8 * 2**20, 2**22
# Bands of Landsat that no recipe uses, and one that products may lack.
_NOT_TAKEN, _OPTIONAL = {"pan", "cirrus", "thermal_2"}, {"coastal"}


@dataclass(frozen=True)
class ProductPlan:
    """What is to be written of a product.

    Attributes:
        candidate: As the catalogue offers it.
        product: As its metadata describe it.
        folder_name: Name of its folder.
        metadata_file: Name of the metadata in it.
        metadata: Content of that file, byte for byte.
        windows: Windows of its images, by path in the folder.
        add: What is added to the bands' digital numbers, so that they are those of the metadata.
        note: What the numbers show of their offset if the catalogue says otherwise; None if all agree.
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
                "address": shown(one.metadata.address),
                "sha256": hashlib.sha256(self.metadata).hexdigest(),
            },
        }


@dataclass(frozen=True)
class _PlannedContents(Contents):
    """The files of a product that is not written yet, of which only the metadata are here."""

    metadata: bytes = field(repr=False)

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:  # noqa: ARG002
        yield io.BytesIO(self.metadata)

    def gdal_name(self, name: str) -> str:
        """Returns the name itself."""
        return name


def plan_product(web: Web, candidate: Candidate, outline: Any, roles: Collection[str]) -> ProductPlan:
    """Plans what to read of a product; reads its metadata, headers and overviews.

    Args:
        web: Reads it.
        candidate: The product.
        outline: Shapes in degrees whose ground is wanted.
        roles: Wanted bands by role, beside those that every product must have.

    Raises:
        ProductError: It cannot be used: it has metadata of another one, lacks a band, does not meet the
            place, or its numbers are not those of its metadata.
        DownloadError: It cannot be read.
    """
    name = candidate.name
    is_sentinel2 = candidate.sensor == "sentinel2"
    metadata = web.read(candidate.metadata)
    wanted = {number for number, role in SENSORS[candidate.sensor].items() if role in set(roles) & ROLES}
    metadata_file, images = (_sentinel2_files if is_sentinel2 else _landsat_files)(
        candidate, metadata, wanted
    )
    product = _described(candidate, metadata_file, [file for file, _ in images.values()], metadata)
    windows = {}
    for number, (file, pixel_m) in images.items():
        window = plan_window(
            web,
            candidate.images[number],
            outline,
            step_px=_STEP_M // pixel_m if is_sentinel2 else 1,
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
    if is_sentinel2:
        by_role = {
            SENSORS["sentinel2"].get(one, ""): (one, windows[file]) for one, (file, _) in images.items()
        }
        telling = {role: by_role[role] for role in TELLING_ROLES}
        views = _views(web, candidate, telling)
        judgement = judge_offset(product, views, said=candidate.offset_applied, name=name)
        if judgement.add:
            others = {role: one for role, one in by_role.items() if role and role not in telling}
            require_taken_off(views, _views(web, candidate, others), judgement, product.nodata, name)
        add, note = judgement.add, judgement.note
        for band in product.bands:
            least = 0 if band.role in views else judgement.least
            windows[band.path] = replace(windows[band.path], add=add, least=least)
    folder_name = f"{product.name}.SAFE" if is_sentinel2 else product.name
    return ProductPlan(candidate, product, folder_name, metadata_file, metadata, windows, add, note)


def _described(candidate: Candidate, file: str, images: Sequence[str], metadata: bytes) -> Product:
    """Reads metadata, and refuses those of another product; day, tile and baseline are part of the name."""
    source = Path(f"metadata of {candidate.name}")
    contents = _PlannedContents(source, (file, *images), metadata)
    try:
        if candidate.sensor == "sentinel2":
            product = describe_sentinel2(contents, file, source)
        else:
            product, _ = describe_landsat(contents, file, source)
    except ProductError as error:
        raise _with_cure(error) from error
    if product.name != candidate.name:
        said = f"are those of {product.name}" if product.name.isidentifier() else "do not say its name"
        raise ProductError(
            f"{candidate.name}: is so named in the catalogue, and its metadata {said}; {INSTEAD}"
        )
    return product


def _with_cure(error: ProductError) -> ProductError:
    """Returns an error of the reader of products with the cure that helps here."""
    fault, _, cure = str(error).rpartition("; ")
    is_of_files = cure.startswith((AGAIN, "give the product as it was delivered"))
    return ProductError(f"{fault}; {INSTEAD}" if is_of_files else str(error))


def _shown(number: str, sensor: str) -> str:
    role = SENSORS[sensor].get(number)
    return f"B{number.rjust(2 if sensor == 'sentinel2' else 1, '0')} ({role})" if role else number


def _require_offered(candidate: Candidate, needed: Collection[str]) -> None:
    for number in sorted(needed):
        if number not in candidate.images:
            what = _shown(number, candidate.sensor)
            raise ProductError(f"{candidate.name}: the catalogue offers no image of {what}; {INSTEAD}")


Files = tuple[str, dict[str, tuple[str, int]]]
"""The file of a product's metadata, and by number the file of each image and the size of its pixels in m."""


def _sentinel2_files(candidate: Candidate, metadata: bytes, wanted: set[str]) -> Files:
    name, file = candidate.name, "MTD_MSIL2A.xml"
    _require_offered(candidate, wanted | set(NEEDED))
    try:
        listed = images_listed(metadata, f"{name}: {file}")
    except ProductError as error:
        raise _with_cure(error) from error
    images = {}
    for number in (*SENSORS["sentinel2"], "SCL"):
        if number in wanted or number in NEEDED:
            path = listed.get(number)
            if path is None:
                raise ProductError(
                    f"{name}: its metadata list no image of {_shown(number, 'sentinel2')}; {INSTEAD}"
                )
            images[number] = f"{path}.tif", int(path[-3:-1])
    return file, images


def _landsat_files(candidate: Candidate, metadata: bytes, wanted: set[str]) -> Files:
    name, sensor = candidate.name, SENSORS[candidate.sensor]
    start = metadata.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    file = f"{name}_MTL.{({b'{': 'json', b'<': 'xml'}).get(start, 'txt')}"
    _require_offered(candidate, {*wanted, "QA_PIXEL"})
    images = {}
    for number in (*sensor, "QA_PIXEL", "QA_RADSAT"):
        role = sensor.get(number)
        is_taken = role not in _NOT_TAKEN and (role not in _OPTIONAL or number in wanted)
        if is_taken and number in candidate.images:
            what = f"{'ST' if role == 'thermal' else 'SR'}_B{number}" if role else number
            images[number] = f"{name}_{what}.TIF", _LANDSAT_PX_M
    return file, images


def _require_same_ground(windows: Mapping[str, Window], name: str) -> None:
    """Refuses images that do not cover the same ground, such as one of another tile."""
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


def _views(web: Web, candidate: Candidate, bands: Mapping[str, tuple[str, Window]]) -> dict[str, Any]:
    """Reads bands on which offsets are judged, by role: an overview of the whole image, or the window."""
    views = {}
    for role, (number, window) in bands.items():
        whole = plan_window(web, candidate.images[number], candidate.footprint, coarser=_COARSER)
        is_small = (
            whole and whole.bytes_needed <= _MAX_LOOK_BYTES and math.prod(whole.grid.shape) <= _MAX_LOOK_PX
        )
        views[role] = read_window(web, whole if whole and is_small else window)
    return views


@writes(folder=None)
def write_product(web: Web, plan: ProductPlan, folder: Path, tally: Tally | None = None) -> Path:
    """Writes the folder of a product, which gets its name when it is complete.

    Windows that an interrupted fetch finished are kept.

    Args:
        web: Reads its windows.
        plan: From `plan_product`.
        folder: In which the product's folder is made.
        tally: Counts what is read.

    Returns:
        The product's folder, for `products.read`.

    Raises:
        ProductError: An image is damaged.
        DownloadError: It cannot be read.
        OutputError: It cannot be written.
        RequestError: A folder of that name exists and no fetch wrote it.
    """
    files = {plan.metadata_file: plan.metadata}
    return write_windows(web, Path(folder) / plan.folder_name, plan.windows, files, tally)
