"""Virtual rasters (VRT): bands of several files as one raster, and the errors of a mask, both a few lines."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from glacierseg.raster.grid import Grid
from glacierseg.raster.values import Band
from glacierseg.raster.write import write_text
from glacierseg.review.qgs import node, relative

FALSE, MISSED, AGREED = 1, 2, 3
"""Values of `write_errors`: glacier in the mask only, in the truth only, in both."""
_TYPES = {"uint8": "Byte", **{f"{kind}{bits}": f"{name}{bits}" for kind, name in
          (("uint", "UInt"), ("int", "Int"), ("float", "Float")) for bits in (16, 32, 64)}}  # fmt: skip


def write_stack(path: Path, grid: Grid, bands: Sequence[Band]) -> None:
    """Writes a raster that shows bands of several files on one grid, with their scale and nodata.

    Raises:
        OutputError: It cannot be written.
    """
    layers = []
    for band in bands:
        facts = [node("Description", band.name), node("Scale", band.scale), node("Offset", band.offset)]
        if band.nodata is not None:
            facts.insert(0, node("NoDataValue", band.nodata))
        layers.append(_band(band.stored_dtype or band.dtype, *facts, _source(path, band.path, band.index)))
    _write(path, grid, layers)


def write_errors(path: Path, grid: Grid, mask: Path, truth: Path) -> None:
    """Writes a raster that compares a mask with the truth on one grid, whatever becomes of them later.

    It is 0 where neither is glacier and above 3 where one of them is to be ignored, see `FALSE`.

    Raises:
        OutputError: It cannot be written.
    """
    sources = [_source(path, mask, 1, FALSE), _source(path, truth, 1, MISSED)]
    added = _band("uint16", node("PixelFunctionType", "sum"), *sources)
    added.set("subClass", "VRTDerivedRasterBand")
    _write(path, grid, [added])


def _band(dtype: str, *inside: ET.Element) -> ET.Element:
    # What GDAL has no name for is read as the widest number.
    return node("VRTRasterBand", *inside, dataType=_TYPES.get(np.dtype(dtype).name, "Float64"))


def _source(path: Path, file: Path, index: int, times: int = 1) -> ET.Element:
    seen = relative(file, path.parent)
    name = node("SourceFilename", seen, relativeToVRT=int(seen.startswith(".")))
    return node("ComplexSource", name, node("SourceBand", index), node("ScaleRatio", times))


def _write(path: Path, grid: Grid, bands: Sequence[ET.Element]) -> None:
    for number, band in enumerate(bands, start=1):
        band.set("band", str(number))
    root = node(
        "VRTDataset",
        node("SRS", grid.crs.to_wkt()),
        node("GeoTransform", ", ".join(f"{number!r}" for number in grid.transform.to_gdal())),
        *bands,
        rasterXSize=grid.width,
        rasterYSize=grid.height,
    )
    ET.indent(root)
    write_text(path, ET.tostring(root, encoding="unicode") + "\n")
