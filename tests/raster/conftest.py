"""Small rasters for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from glacierseg.raster.grid import Grid

UTM = "EPSG:32644"


def utm_grid(
    height: int, width: int, *, size: float = 10.0, left: float = 300000, top: float = 3400000
) -> Grid:
    """A north-up grid in metres."""
    return Grid(rasterio.CRS.from_string(UTM), Affine(size, 0, left, 0, -size, top), height, width)


@pytest.fixture
def make_grid() -> Callable[..., Grid]:
    return utm_grid


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., Path]:
    """Writes an array `(H, W)` or `(C, H, W)` to a file of the given name in the test's folder."""

    def make(
        name: str,
        values: NDArray[Any],
        grid: Grid | None = None,
        *,
        nodata: float | None = None,
        names: list[str | None] | tuple[str, ...] | None = None,
        mask: NDArray[np.bool_] | None = None,
        crs: bool = True,
        **options: Any,
    ) -> Path:
        stack = values if values.ndim == 3 else values[None]
        grid = grid or utm_grid(*stack.shape[1:])
        path = tmp_path / name
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path,
                "w",
                driver="GTiff",
                crs=grid.crs if crs else None,
                transform=grid.transform,
                height=grid.height,
                width=grid.width,
                count=len(stack),
                dtype=stack.dtype,
                nodata=nodata,
                **({"photometric": "MINISBLACK"} | options),
            ) as dataset,
        ):
            dataset.write(stack)
            if names:
                dataset.descriptions = tuple(names)
            if mask is not None:
                dataset.write_mask(np.where(mask, 255, 0).astype(np.uint8))
        return path

    return make


@pytest.fixture
def reflectance() -> Callable[..., np.ndarray]:
    """Blue, green, red, nir, swir1, swir2 of rock and ice `(6, H, W)`, with shadow in every band."""

    def make(height: int = 40, width: int = 50) -> NDArray[np.float64]:
        rng = np.random.default_rng(3)
        ice = rng.random((height, width)) < 0.4
        means = np.array([(0.15, 0.7), (0.18, 0.72), (0.2, 0.7), (0.3, 0.6), (0.3, 0.06), (0.25, 0.05)])
        values = np.where(ice, means[:, 1, None, None], means[:, 0, None, None])
        values *= rng.uniform(0.7, 1.3, values.shape)
        values[:, rng.random((height, width)) < 0.05] *= 0.1
        return values

    return make
