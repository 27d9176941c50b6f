"""GDAL's settings for the time of a task."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import rasterio
from rasterio.errors import EnvError

CACHE_MB = 128
"""What GDAL keeps of files by itself would grow to 5 % of the machine's memory."""


@contextmanager
def bounded_gdal(cache_mb: int = CACHE_MB) -> Iterator[None]:
    """Keeps GDAL's block cache small, masks inside their GeoTIFF, and overviews plain until they are written.

    rasterio's environments must end in the reverse order of their beginning. A generator that holds an open
    raster and is given up ends whenever Python collects it, and takes the environment away from whoever works
    by then. The settings are then lost, which costs memory but no pixel; so that is no error.

    Args:
        cache_mb: Size of the cache.
    """
    environment = rasterio.Env(
        GDAL_CACHEMAX=cache_mb,
        GDAL_TIFF_INTERNAL_MASK=True,
        COG_TMP_COMPRESSION="NONE",  # of overviews, which are compressed in the end in any case
    )
    environment.__enter__()
    try:
        yield
    finally:
        with suppress(EnvError):
            environment.__exit__()
