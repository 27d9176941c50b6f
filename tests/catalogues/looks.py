"""Candidates, and what they show, without any catalogue or raster."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.catalogues.candidate import Asset, Candidate
from glacierseg.catalogues.rating import Seen
from glacierseg.raster.grid import Grid

# At 28 degrees north and 87 degrees east, the middle of zone 45.
CORNER = (500_000.0, 3_097_000.0)
AUTUMN = datetime(2024, 9, 30, 4, 57, tzinfo=UTC)


def grid(height: int, width: int, pixel_m: float = 20, epsg: int = 32645) -> Grid:
    return Grid(CRS.from_epsg(epsg), Affine(pixel_m, 0, CORNER[0], 0, -pixel_m, CORNER[1]), height, width)


def candidate(
    time: datetime = AUTUMN,
    tile: str = "T45RVL",
    *,
    letter: str = "B",
    part: int = 0,
    sensor: str = "sentinel2",
    cloud_said: float | None = None,
) -> Candidate:
    """An image, named as the agency does; `letter` and `part` make names differ."""
    start = time.strftime("%Y%m%dT%H%M%S")
    name = f"S2{letter}_MSIL2A_{start}_N0511_R119_{tile}_{start[:8]}T{83000 + part:06}"
    if sensor != "sentinel2":
        name = f"LC0{sensor[-1]}_L2SP_{tile}_{start[:8]}_{start[:8]}_02_T{letter}"
    return Candidate(
        name=name,
        item=f"item of {name}",
        address=f"https://example.org/{name}.json",
        collection="sentinel-2-c1-l2a",
        sensor=sensor,
        tile=tile,
        acquired=time,
        processed="2024-10-01T08:30:00Z",
        baseline="05.11",
        footprint=None,
        cloud_said=cloud_said,
        offset_applied=None,
        metadata=Asset("MTD_MSIL2A.xml"),
        images={},
    )


def seen(own: Candidate | None = None, cells: Any = (2, 2, 2, 2), **values: Any) -> Seen:
    """What an image shows: a place without cloud or snow under a high sun, but for `values`."""
    shown: NDArray[np.uint8] = np.atleast_2d(np.asarray(cells, np.uint8))
    usual: dict[str, Any] = {
        "glaciers": None,
        "no_data": 0.0,
        "cloud": 0.0,
        "cloud_beside": None,
        "snow": 0.0,
        "sun_deg": 55.0,
        "off_season_days": 0,
        "age_days": 0,
    }
    return Seen(candidate=own or candidate(), cells=shown, **{**usual, **values})
