"""What a file or folder is, by a short look: for messages about arguments that do not fit.

Nothing is decided by it: a reader that refuses a file knows why, and this only knows what else the file is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rasterio.enums import Resampling

from glacierseg.errors import GlaciersegError
from glacierseg.raster.open import open_raster
from glacierseg.runs.layout import ModelFolder, RunFolder

_VECTORS = {".shp", ".gpkg", ".geojson", ".fgb", ".kml", ".kmz", ".gml", ".parquet", ".tab", ".gpx"}
_WORDS = {
    "model": "the folder of a trained model",
    "run": "the folder of a run",
    "folder": "a folder",
    "configuration": "a configuration",
    "outlines": "a file of outlines",
    "mask": "a mask",
    "probability": "a raster of probability",
    "values": "a raster of values",
    "scene": "a scene",
}
_CURES = {
    ("outlines", "mask"): ", which `glacierseg prepare rasterize` makes of outlines",
    ("scene", "mask"): ", which `glacierseg predict` makes of a scene",
    ("probability", "mask"): ", which `glacierseg predict` writes beside it",
}
_ONE_BAND = {"values", "mask"}
_LOOK_PX = 256


def kind_of(path: Path) -> str | None:
    """Returns a key of what a path leads to; None when it is unknown.

    Args:
        path: A file or folder. Of a raster some 256 x 256 pixels are read.
    """
    if path.is_dir():
        folders = {ModelFolder.card.name: "model", RunFolder.config.name: "run"}
        return next((kind for name, kind in folders.items() if (path / name).exists()), "folder")
    suffix = path.suffix.lower()
    if not path.is_file() or suffix in _VECTORS or suffix in {".yaml", ".yml"}:
        known = "outlines" if suffix in _VECTORS else "configuration"
        return known if path.is_file() else None
    try:
        with open_raster(path) as dataset:
            if dataset.count > 2:
                return "scene"
            shape = min(_LOOK_PX, dataset.height), min(_LOOK_PX, dataset.width)
            seen = dataset.read(1, out_shape=shape, resampling=Resampling.nearest, masked=True).compressed()
    except (GlaciersegError, OSError, ValueError):
        return None
    if np.isin(seen, (0, 1, 255)).all():
        return "mask"
    return "probability" if seen.dtype.kind == "f" and ((seen >= 0) & (seen <= 1)).all() else "values"


def misfit(
    given: Sequence[tuple[str, Path]], wanted: Mapping[str, Sequence[str]]
) -> tuple[str, tuple[Path, Path] | None] | None:
    """Returns what is wrong with the kinds of some files; None where nothing plainly is.

    Args:
        given: Parameters and what they were given, each parameter as often as it was.
        wanted: By parameter, the kinds that it takes, the usual one first.

    Returns:
        The first file that does not belong where it was given, in words; and two that would each belong where
        the other was given.
    """
    kinds = {path: kind_of(path) for _, path in given}
    for number, (name, path) in enumerate(given):
        kind = kinds[path]
        if kind is None or kind in {"folder", *wanted[name]}:
            continue
        usual = [_WORDS[one] for one in wanted[name] if one != "probability"]
        said = f"{path}: is {_WORDS[kind]}; {' or '.join(usual[:2])} belongs there"
        for other, (other_name, other_path) in enumerate(given):
            fits = kinds[other_path] in wanted[name] and kind in wanted[other_name]
            if other != number and other_path != path and fits:
                return said, (path, other_path)
        # Of a raster with one band its reader says more: which values it found, and what to do.
        if kind not in _ONE_BAND or not _ONE_BAND & set(wanted[name]):
            return said + _CURES.get((kind, wanted[name][0]), ""), None
    return None
