"""Reading probability rasters, 8-bit ones with their scale too."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from glacierseg.errors import RasterError
from glacierseg.raster.open import open_raster


def probability_strips(path: Path, rows: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Reads the first band of a probability raster from top to bottom.

    Args:
        path: Floats, or 8-bit numbers with a scale, as `predict` writes them.
        rows: How many rows to read at once.

    Yields:
        Which rows, and `(h, W)` probabilities, NaN where there are none.

    Raises:
        RasterError: The raster is missing, damaged, or holds no probabilities.
    """
    with open_raster(path) as dataset:
        nodata, scale = dataset.nodata, np.float32(dataset.scales[0])
        for top in range(0, dataset.height, rows):
            part = slice(top, min(top + rows, dataset.height))
            try:
                stored = dataset.read(1, window=((part.start, part.stop), (0, dataset.width)))
            except (RasterioError, OSError) as error:
                raise RasterError(f"{path}: is damaged; remove it and run again") from error
            probability = stored.astype(np.float32) * scale
            if nodata is not None:
                probability[stored == nodata] = np.nan
            highest = np.nanmax(probability, initial=0)
            if highest > 1.01 or np.nanmin(probability, initial=0) < -0.01:
                raise RasterError(
                    f"{path}: holds {highest:g}, but probabilities lie between 0 and 1; give the "
                    "`_probability.tif` that `glacierseg predict` wrote"
                )
            yield part, probability
