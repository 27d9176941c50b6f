"""Classes of ground as products give them, Sentinel-2 by number (SCL) and Landsat by bits (QA_PIXEL)."""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import ProductError

MISSING, CLEAR, SNOW, CLOUD, CIRRUS, SHADOW, SATURATED, OTHER = range(8)
CLASS_NAMES = ("no data", "clear", "snow", "cloud", "cirrus", "shadow", "saturated", "masked otherwise")
"""By number of the class; the last one is ground of the first two that a mask file or growth covers."""
CLOUDY = {"cloud": CLOUD, "cirrus": CIRRUS, "shadow": SHADOW}
"""Classes that become no data, by the name of an option."""

_SCL = {
    0: MISSING,  # no data
    1: SATURATED,  # saturated or defective
    3: SHADOW,  # cloud shadow; 2 is dark ground, which relief shades
    8: CLOUD,  # medium probability
    9: CLOUD,  # high probability
    10: CIRRUS,  # thin cirrus
    11: SNOW,  # snow or ice
}
# Collection 2. Two bits tell how sure a class is: 3 is high confidence.
_FILL, _DILATED, _CIRRUS, _CLOUD, _SHADOW, _SNOW = range(6)
_CLOUD_CONFIDENCE, _SHADOW_CONFIDENCE, _CIRRUS_CONFIDENCE = 8, 10, 14
_HIGH = 3


def classify(numbers: NDArray[np.unsignedinteger], kind: Literal["scl", "qa_pixel"]) -> NDArray[np.uint8]:
    """Returns the classes of this module for the numbers of a product's raster of classes.

    Raises:
        ProductError: There are numbers that no such raster has.
    """
    table = _table(kind)
    greatest = int(numbers.max(initial=0))
    if greatest >= len(table):
        raise ProductError(f"its raster of classes holds {greatest}, and {kind.upper()} has no such number")
    classes: NDArray[np.uint8] = table[numbers]
    return classes


@cache
def _table(kind: Literal["scl", "qa_pixel"]) -> NDArray[np.uint8]:
    if kind == "scl":
        table = np.full(12, CLEAR, np.uint8)
        table[list(_SCL)] = list(_SCL.values())
        return table
    numbers: NDArray[np.int64] = np.arange(2**16)
    table = np.full(2**16, CLEAR, np.uint8)

    def has(bit: int) -> NDArray[np.bool_]:
        return np.asarray((numbers >> bit) & 1 == 1)

    def is_sure(bit: int) -> NDArray[np.bool_]:
        return np.asarray((numbers >> bit) & 3 == _HIGH)

    # The later, the stronger: what is both shadow and cloud is cloud.
    table[has(_SNOW)] = SNOW
    table[has(_SHADOW) | is_sure(_SHADOW_CONFIDENCE)] = SHADOW
    table[has(_CIRRUS) | is_sure(_CIRRUS_CONFIDENCE)] = CIRRUS
    table[has(_CLOUD) | has(_DILATED) | is_sure(_CLOUD_CONFIDENCE)] = CLOUD
    table[has(_FILL)] = MISSING
    table[0] = MISSING  # of each pixel with data some bit is set
    return table
