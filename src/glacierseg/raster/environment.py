"""GDAL's settings for the time of a task."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import rasterio
from rasterio.env import hasenv
from rasterio.errors import EnvError

CACHE_MB = 32
"""Size of GDAL's block cache, whose default is 5 % of the machine's memory."""

# Where GDAL decodes several tiles of JPEG 2000 at once, it loses their errors, and a damaged image shows
# numbers without a word. Threads within a tile, which are those of OpenJPEG, report theirs.
_ONE_THREAD = {"GDAL_NUM_THREADS": "1"}
_VARIABLES = {
    **_ONE_THREAD,
    "OPJ_NUM_THREADS": "ALL_CPUS",
    # Else GDAL leaves a file beside each archive that it reads.
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",
}


def keep_environment() -> None:
    """Begins an environment of rasterio in this thread that does not end.

    An open raster begins one where there is none, and takes it along when it is closed. One that a given-up
    generator holds is closed whenever Python collects it, also while another raster is being opened or
    written, which then fails for want of an environment. Under one that stays nothing is missing.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    if not hasenv():
        rasterio.Env.from_defaults(**_ONE_THREAD).__enter__()


@contextmanager
def bounded_gdal(cache_mb: int = CACHE_MB) -> Iterator[None]:
    """Keeps GDAL's block cache small, masks inside their GeoTIFF, and overviews plain until they are written.

    rasterio's environments must end in the reverse order of their beginning. A generator that holds an open
    raster and is given up ends whenever Python collects it, and takes the environment away from the code that
    runs then. The settings are then lost, which costs memory but no pixel; so that is no error.

    Args:
        cache_mb: Size of the cache.
    """
    keep_environment()
    environment = rasterio.Env(
        GDAL_CACHEMAX=cache_mb * 2**20,  # rasterio takes bytes, also where GDAL itself would take MB
        **_ONE_THREAD,
        GDAL_TIFF_INTERNAL_MASK=True,
        COG_TMP_COMPRESSION="NONE",  # of overviews, which are compressed in the end in any case
    )
    environment.__enter__()
    try:
        yield
    finally:
        with suppress(EnvError):
            environment.__exit__()
