"""From products to a scene: bands in one unit on one grid, without clouds, with indices and terrain."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, GlaciersegWarning, GridMismatchError, RequestError
from glacierseg.log import Progress
from glacierseg.products.beside import NO_DAY, LayersBeside
from glacierseg.products.classes import CLOUDY, MISSING
from glacierseg.products.contents import AGAIN
from glacierseg.products.masks import Masks
from glacierseg.products.pixels import (
    MASKED,
    Layout,
    ProductReader,
    layout_of,
    open_pixels,
    read_pixels,
)
from glacierseg.products.place import cut_to, inside, scene_grid
from glacierseg.products.product import Product, ProductBand
from glacierseg.products.read import read_product
from glacierseg.products.shares import ProductShares, remarks_on, shares_of, table_of
from glacierseg.raster.blocks import Block, iterate_blocks, open_writer
from glacierseg.raster.bounds import footprint_on_grid, may_meet
from glacierseg.raster.elevation import open_terrain
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.grid import Grid
from glacierseg.raster.indices import INDICES
from glacierseg.raster.outlines import outlines_near, read_outlines, read_shapes
from glacierseg.raster.outputs import TIFF, keeping, require_output, writes
from glacierseg.raster.prepare.layers import names_given, open_given_layers
from glacierseg.raster.prepare.recipes import RECIPES, find_inputs, make_bands, parse_recipe, terrain_to_make
from glacierseg.raster.sensors import ROLES
from glacierseg.raster.units import UNITS
from glacierseg.raster.write import full_disk_refused
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.prepare import ProductInputs, ProductSettings

UNIT = UNITS[1].name
# Reading takes about so much of the time.
_READING = 0.4
# A larger share of pixels without elevation is said.
_MUCH_WITHOUT_HEIGHT = 0.01

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedScene:
    """A scene that was made of products.

    Attributes:
        path: Its file.
        classes: The raster of classes; None where none is asked for.
        dates: The raster of the days of its pixels; None where none is asked for.
        grid: Where its pixels lie.
        facts: What its tags say.
        products: What each product holds on its ground.
        no_data: Share of the pixels on the wanted ground that have no data, 0-1.
    """

    path: Path
    classes: Path | None
    dates: Path | None
    grid: Grid
    facts: SceneFacts
    products: tuple[ProductShares, ...] = field(repr=False)
    no_data: float


@fields_as_keywords(settings=ProductSettings, inputs=ProductInputs)
@writes(out=TIFF)
def prepare_scene(
    products: Path | str | Sequence[Path | str],
    out: Path | str,
    settings: ProductSettings | None = None,
    inputs: ProductInputs | None = None,
    *,
    layers: Mapping[str, Path | str] | None = None,
    progress: Progress | None = None,
) -> PreparedScene:
    """Makes a scene of products as agencies deliver them.

    Reflected light becomes reflectance x 10000 and heat kelvin, by what each product's metadata say; indices
    are of reflectance, and NaN where an input is negative or the sum is 0. A pixel without data in any band
    has none in all, terrain among them, and nothing is interpolated from ground that is masked or missing.
    Where products overlap, each pixel is of the first one that has data there.

    Args:
        products: Sentinel-2 Level-2A or Landsat Collection 2 Level-2 products, see `products.read`.
        out: The GeoTIFF to write.
        settings: Or its fields as keywords.
        inputs: Or its fields as keywords, such as `dem`.
        layers: Files of the recipe's other bands by name, see `raster.prepare.layers`, on any grid.
        progress: Called with the share done, 0-1.

    Returns:
        The scene, and what the products hold.

    Raises:
        ProductError: A product cannot be used.
        RequestError: Products are of different sensors, too many days apart or the same, or what is asked for
            needs an elevation model.
        BandError: The recipe needs a band that a product lacks.
        DataError: An input cannot be read, or does not meet the products.
        OutputError: The result cannot be written.
    """
    paths = [products] if isinstance(products, Path | str) else list(products)
    if not paths:
        raise RequestError("a scene needs at least one product")
    settings, inputs, out = settings or ProductSettings(), inputs or ProductInputs(), Path(out)
    found = [read_product(Path(path)) for path in paths]
    _require_one_image(found, settings)
    _require_apart(found, out)
    with keeping([path for product in found for path in _rasters_of(product)]), bounded_gdal():
        require_output(out, TIFF)
        return _SceneMaker(found, out, settings, inputs, layers or {}).run(progress)


def _rasters_of(product: Product) -> list[str]:
    others = [path for path in (product.classes, product.saturation) if path]
    return [*(band.path for band in product.bands), *others]


def _require_one_image(products: Sequence[Product], settings: ProductSettings) -> None:
    """Refuses products that do not go together, or cannot say what is asked for."""
    first, max_days = products[0], settings.max_days_apart
    for number, product in enumerate(products):
        if any(product.name == other.name for other in products[:number]):
            raise RequestError(f"{product.source}: {product.name} is given twice; leave it out once")
        if twin := next((other for other in products[:number] if product.is_reprocessed(other)), None):
            raise RequestError(
                f"{product.source}: is of the same image as {twin.name}, and would show what that one masks; "
                "give the newer of the two"
            )
        if product.sensor != first.sensor:
            raise RequestError(
                f"{product.source}: is of {product.sensor}, and {first.name} of {first.sensor}; make a scene "
                "of each sensor"
            )
        if settings.mask_saturated and not product.tells_saturation:
            raise RequestError(
                f"{product.source}: lacks QA_RADSAT, which tells saturated pixels; {AGAIN}, whole, or leave "
                "--mask-saturated out"
            )
    early, late = min(products, key=lambda one: one.acquired), max(products, key=lambda one: one.acquired)
    days = (late.acquired - early.acquired).days
    if days > max_days:
        raise RequestError(
            f"{late.source}: is of {late.acquired}, and {early.name} of {early.acquired}; make a scene of "
            f"each day, or allow it with --max-days-apart {days}"
        )


def _require_apart(products: Sequence[Product], out: Path) -> None:
    """Refuses a result in a SAFE folder, which holds nothing but what the agency put there."""
    end = out.absolute().parent.resolve()
    for product in products:
        folder = product.source if product.source.is_dir() else product.source.parent
        is_safe = product.sensor == "sentinel2" and folder.joinpath("GRANULE").is_dir()
        if is_safe and end.is_relative_to(folder.resolve()):
            raise RequestError(f"{out}: lies in the folder of a product; write the scene to another folder")


def _sources_of(wanted: Sequence[str], product: Product, given: Sequence[str]) -> dict[str, ProductBand]:
    """Returns the bands of a product that others are made from, by role; layers give some."""
    bands = {band.role: band for band in product.bands}

    def missing(name: str) -> list[str]:
        roles = INDICES[name].roles if name in INDICES else (name,)
        return [] if name in given else [role for role in roles if role in ROLES and role not in bands]

    for name in wanted:
        for role in missing(name):
            rest = "".join(f"{one}," for one in wanted if not missing(one))
            raise BandError(
                product.lack_of(
                    role,
                    name,
                    f"leave it out with --recipe {rest}" if rest else "name other bands in --recipe",
                )
            )
    needed = find_inputs(wanted, list(bands), sensor=None, source=str(product.source), given=given)
    return {role: bands[role] for role in needed}


class _SceneMaker:
    """Makes one scene of its products."""

    def __init__(
        self,
        products: Sequence[Product],
        out: Path,
        settings: ProductSettings,
        inputs: ProductInputs,
        layers: Mapping[str, Path | str],
    ) -> None:
        self.out, self.settings, self.inputs, self.layers = out, settings, inputs, layers
        usual = "sentinel2-18" if products[0].sensor == "sentinel2" else "landsat-18"
        self.recipe = settings.recipe or usual
        self.wanted = parse_recipe(self.recipe)
        self.given = names_given(layers, self.wanted, [band.role for band in products[0].bands])
        self.sources = {product: _sources_of(self.wanted, product, self.given) for product in products}
        self.roles = list(self.sources[products[0]])
        if not self.roles:
            raise RequestError(f"{out}: the recipe needs no band of a product; name some in --recipe")
        self.terrain = terrain_to_make(self.wanted, {}, out, has_dem=bool(inputs.dem))
        self.offered = {product: layout_of(product, self._bands(product)) for product in products}
        self.basin: Any = None
        self._place([layout.grid for layout in self.offered.values()])
        # Products beside the wanted ground are not read.
        self.layouts = {
            product: layout for product, layout in self.offered.items() if may_meet(layout.grid, self.grid)
        }

    def _bands(self, product: Product) -> list[ProductBand]:
        return [self.sources[product][role] for role in self.roles]

    def _place(self, grids: Sequence[Grid]) -> None:
        """Finds the grid, cut to the basin."""
        inputs, basin = self.inputs, None
        if inputs.clip:
            basin = read_shapes(
                inputs.clip, layer=inputs.clip_layer, shapes="polygons", option="--clip-layer"
            )
        self.grid = scene_grid(grids, like=inputs.like, pixel_size_m=self.settings.pixel_size_m, basin=basin)
        if inputs.clip:
            self.basin = outlines_near(basin, self.grid, inputs.clip)
            self.grid = cut_to(self.grid, self.basin)
            if not any(may_meet(grid, self.grid) for grid in grids):
                raise GridMismatchError(
                    f"{inputs.clip}: lies beyond the products; give those of its own ground"
                )

    @property
    def facts(self) -> SceneFacts:
        """What is written in the file about where it comes from."""
        products, settings = list(self.layouts), self.settings
        days = [product.acquired for product in products]
        masked = [name for name in CLOUDY if settings.mask and name not in settings.keep]
        masked += ["saturated"] if settings.mask_saturated else []
        masked += ["mask_file"] if self.inputs.mask_file else []
        return SceneFacts(
            first_date=min(days),
            last_date=max(days),
            sensor=products[0].sensor,
            products=tuple(product.name for product in products),
            baseline=", ".join(dict.fromkeys(product.baseline for product in products)),
            unit=UNIT,
            recipe=self.recipe if self.recipe in RECIPES else "",
            masked=tuple(masked),
        )

    def run(self, progress: Progress | None) -> PreparedScene:
        """Reads the products, writes the scene and logs the table of shares."""
        settings, facts = self.settings, self.facts
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="glacierseg-")))
            terrain = None
            if self.terrain:
                terrain = stack.enter_context(open_terrain(self.inputs.dem, self.grid))
            others = stack.enter_context(open_given_layers(self.layers, self.given, self.grid))
            mosaic, shares = self._read(stack, folder, progress)
            writer = stack.enter_context(
                open_writer(
                    self.out,
                    self.grid,
                    self.wanted,
                    "float32",
                    np.nan,
                    compress=settings.compress,
                    tags=facts.tags,
                )
            )
            beside = LayersBeside(stack, self.out, self.grid, facts, settings)
            wanted = with_data = without_height = 0
            writing = _part_of(progress, _READING, 1.0)
            for block in iterate_blocks(self.grid.shape, writing):
                numbers, valid, state, days = mosaic.read(block)
                asked = self._asked(block)
                layers = dict(zip(self.roles, numbers, strict=True)) | others.read(block)
                if terrain:
                    layers |= terrain.read(block, self.terrain)
                values = make_bands(self.wanted, layers)
                valid &= asked
                if terrain:
                    without_height += int((valid & np.isnan(layers[self.terrain[0]])).sum())
                writer.write(block, values, valid & np.isfinite(values))
                beside.write(block, state, days, asked, valid)
                wanted, with_data = wanted + int(asked.sum()), with_data + int(valid.sum())
        _log.info(table_of(shares))
        for remark in remarks_on(shares):
            _warn(remark)
        if without_height > _MUCH_WITHOUT_HEIGHT * with_data:
            _warn(
                f"{self.out}: {without_height / with_data:.1%} of the pixels with data have no terrain, "
                "since the elevation model has none there; give one of the whole ground (--dem for each tile)"
            )
        no_data = 1 - with_data / max(wanted, 1)
        if not with_data:
            _warn(
                f"{self.out}: no pixel has data; the products have none on this ground, or all of it is "
                "masked"
            )
        return PreparedScene(self.out, beside.classes, beside.dates, self.grid, facts, tuple(shares), no_data)

    def _asked(self, block: Block) -> NDArray[np.bool_]:
        """Returns which pixels of a block lie in the basin."""
        part = self.grid.crop(block.row, block.column, block.height, block.width)
        if self.basin is None:
            return np.ones(part.shape, bool)
        return inside(self.basin, part, self.out)

    def _read(
        self, stack: ExitStack, folder: Path, progress: Progress | None
    ) -> tuple["_Mosaic", list[ProductShares]]:
        """Reads all products, masks them and counts what they hold."""
        inputs, readers, shares = self.inputs, [], []
        known, masks = None, Masks(self.settings, self.grid)
        if inputs.existing:
            known = read_outlines(
                inputs.existing, self.grid, layer=inputs.existing_layer, option="--existing-layer"
            )
        with full_disk_refused(folder):
            masks.open(stack, inputs, self.offered, folder)
        for number, (product, layout) in enumerate(self.layouts.items()):
            own = folder / str(number)
            own.mkdir()
            with full_disk_refused(own):
                pixels = read_pixels(product, self._bands(product), layout, masks.ground)
                glaciers = None if known is None else inside(known, pixels.grid, self.out)
                shares.append(shares_of(pixels, self._asked_of(pixels.grid, layout), glaciers))
                readers.append(open_pixels(stack, pixels, masks.of(pixels), self.grid, own))
            if progress:
                progress(_READING * (number + 1) / len(self.layouts))
        return _Mosaic(readers, self.grid, len(self.roles)), shares

    def _asked_of(self, grid: Grid, layout: Layout) -> NDArray[np.bool_] | None:
        """Returns which pixels of a product are wanted; None for all."""
        if self.basin is not None:
            return inside(self.basin, grid, self.out)
        is_whole = self.inputs.like is None and grid.shape == layout.grid.shape
        return None if is_whole else footprint_on_grid(self.grid, grid)


class _Mosaic:
    """Reads blocks of several products as one: of the first that has data there."""

    def __init__(self, readers: Sequence[ProductReader], grid: Grid, count: int) -> None:
        self._readers, self._grid, self._count = readers, grid, count

    def read(
        self, block: Block
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.int32]]:
        """Reads bands `(C, h, w)` and where they have data `(h, w)`.

        Returns:
            These, classes as in `ProductReader.state`, and the day of each pixel as YYYYMMDD.
        """
        shape = block.height, block.width
        part = self._grid.crop(block.row, block.column, *shape)
        values = np.full((self._count, *shape), np.nan, np.float32)
        have, state = np.zeros(shape, bool), np.full(shape, MISSING, np.uint8)
        days = np.full(shape, NO_DAY, np.int32)
        for reader in self._readers:
            if have.all() or not may_meet(reader.grid, part):
                continue
            own = reader.state(block)
            state = np.where(state == MISSING, own, state)
            take = (own != MISSING) & (own < MASKED) & ~have
            if not take.any():
                continue
            numbers, valid = reader.read(block)
            take &= valid
            values[:, take] = numbers[:, take]
            state[take] = own[take]
            days[take] = reader.day
            have |= take
        return values, have, state, days


def _part_of(progress: Progress | None, start: float, end: float) -> Progress | None:
    return None if progress is None else lambda share: progress(start + share * (end - start))


def _warn(line: str) -> None:
    warnings.warn(line, GlaciersegWarning, stacklevel=3)
