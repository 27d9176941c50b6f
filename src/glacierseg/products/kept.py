"""Scenes of products in a folder of results, named by tiles and day, and made again only after a change."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glacierseg import log
from glacierseg.errors import GlaciersegWarning
from glacierseg.products.beside import layers_beside
from glacierseg.products.product import Product
from glacierseg.products.scene import prepare_scene
from glacierseg.raster.made import Record, digest_of_inputs
from glacierseg.runs.layout import MapFolder
from glacierseg.settings.prepare import ProductInputs, ProductSettings

_log = logging.getLogger(__name__)
_NAMED_TILES = 4


@dataclass(frozen=True)
class KeptScene:
    """A scene that was made of products, now or before.

    Attributes:
        name: Its name (`name_of`).
        path: Its file.
        record: What the files of that name were made of.
        inputs: Digest of what it was made of.
        notes: Warnings from making it, a line each.
    """

    name: str
    path: Path
    record: Record
    inputs: str
    notes: tuple[str, ...]


def keep_scene(
    products: Sequence[Product],
    out_dir: Path,
    settings: ProductSettings,
    inputs: ProductInputs,
    *,
    layers: Mapping[str, Path],
    again: bool = False,
) -> KeptScene:
    """Makes a scene of products unless it is up to date, and logs the warnings of making it either way.

    Args:
        products: One product, or neighbours that become one scene.
        out_dir: Where the scene goes, under its name.
        settings: How it is made.
        inputs: What it is made from besides products.
        layers: Files of the recipe's other bands by name.
        again: Make it even where it is up to date, was changed by hand or has no record.

    Raises:
        DataError: A product or another file cannot be used.
        RequestError: What is asked for does not fit together, or a file of that name has no record.
        OutputError: The scene cannot be written.
    """
    folder, name = MapFolder(out_dir), name_of(products)
    record, path = Record(folder.stages(name), again=again), folder.scene(name)
    # Known glaciers change no pixel, but they do change the notes on snow and cloud.
    more = [inputs.clip, inputs.mask_file, inputs.like, inputs.existing]
    files = [*(_home_of(one) for one in products), *inputs.dem, *layers.values()]
    files += [one for one in more if one]
    how = settings.model_dump(include={*ProductSettings.model_fields})
    parts = [inputs.clip_layer, inputs.mask_layer, inputs.existing_layer, *layers]
    digest = digest_of_inputs(files, how, parts)

    def make() -> list[str]:
        with log.bar(f"preparing {name}") as progress, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GlaciersegWarning)
            sources = [product.source for product in products]
            is_replaced = path.exists()
            prepare_scene(sources, path, settings, inputs, layers=layers, progress=progress)
            for beside, is_written in layers_beside(path, settings):
                if is_replaced and not is_written:  # of an earlier scene, whose days were others
                    beside.unlink(missing_ok=True)
        return [str(one.message) for one in caught if isinstance(one.message, GlaciersegWarning)]

    _log.info(str(path) if record.made("scene", path, digest, make) else f"{path}: is up to date")
    notes = record.notes("scene")
    for line in notes:
        _log.warning(line)
    return KeptScene(name, path, record, digest, notes)


def name_of(products: Sequence[Product]) -> str:
    """Returns the name of a scene of some products: their tiles and the first day, as T45RVL_20240930."""
    tiles = list(dict.fromkeys(product.tile for product in products))
    others = [f"and_{len(tiles) - _NAMED_TILES}_more"] if len(tiles) > _NAMED_TILES else []
    day = min(product.acquired for product in products)
    return "_".join([*tiles[:_NAMED_TILES], *others, f"{day:%Y%m%d}"])


def _home_of(product: Product) -> Path:
    """Returns the folder or archive that holds all of a product."""
    source = product.source
    is_metadata = source.is_file() and source.suffix.lower() in {".xml", ".json", ".txt"}
    return source.parent if is_metadata else source
