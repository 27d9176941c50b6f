"""What scenes of made images must hold, worked out from the ground that they show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray

from tests.catalogues.ground import CLOUD, NOTHING, PLACE, Shot, box_around, cover_of, glacier, reflectance

BANDS = {"blue": "02", "green": "03", "red": "04", "nir": "08", "swir1": "11", "swir2": "12"}
LIGHT = "blue,nir"


def box_option(at: tuple[float, float] = PLACE, side_m: float = 2400) -> str:
    """Returns a box around a place as it is typed."""
    west, south, east, north = box_around(at, side_m).bounds
    return f"{west:.6f},{south:.6f},{(east + 180) % 360 - 180:.6f},{north:.6f}"


def write_glacier(path: Path, at: tuple[float, float] = PLACE) -> Path:
    """Writes the outline of the made glacier."""
    gpd.GeoDataFrame({"name": ["made"]}, geometry=[glacier(at)], crs=4326).to_file(path)
    return path


def read(path: Path) -> tuple[NDArray[Any], Any, Any]:
    """Returns the bands of a raster, its transform and its CRS."""
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.transform, dataset.crs


def seen_by(shot: Shot, band: str) -> NDArray[np.float64]:
    """Returns reflectance x 10000 of a band of an image as whole numbers, NaN where nothing is clear."""
    values = np.floor(reflectance(shot, band, 10))
    values[np.isin(cover_of(shot, 10), (CLOUD, NOTHING))] = np.nan
    return values


def require_numbers(path: Path, shots: Sequence[Shot], bands: Sequence[str] = ("blue", "nir")) -> None:
    """Asserts that each pixel of a scene is that of the first of some images that shows it clearly.

    The images must be of the scene's zone, and their pixels of its lattice.
    """
    values, transform, crs = read(path)
    rows, columns = values.shape[1:]
    for number, name in enumerate(bands):
        wanted = np.full((rows, columns), np.nan)
        for shot in shots:
            assert crs.to_epsg() == shot.epsg
            own = np.full((rows, columns), np.nan)
            left = round((transform.c - shot.corner[0]) / 10)
            top = round((shot.corner[1] - transform.f) / 10)
            seen = seen_by(shot, BANDS[name])
            row, column = np.indices((rows, columns))
            row, column = row + top, column + left
            inside = (row >= 0) & (row < seen.shape[0]) & (column >= 0) & (column < seen.shape[1])
            own[inside] = seen[row[inside], column[inside]]
            wanted = np.where(np.isnan(wanted), own, wanted)
        np.testing.assert_array_equal(values[number], wanted.astype(np.float32))
        assert np.isfinite(values[number]).any()
