"""Spectral indices of snow, ice, water, vegetation and brightness, by name.

Inputs are reflectances or digital numbers without an offset, one array per role (`green`, `swir1`, ...).
Ratios and normalised differences of digital numbers equal those of reflectances only without an offset.
Where an index is undefined the result is NaN: where an input is missing or negative, which no reflectance is
(atmospheric correction makes some in deep shadow), or the denominator is 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SpectralIndex:
    """One index.

    Attributes:
        name: Its name as a band.
        roles: The spectral bands it needs, in the order in which `compute` takes them.
        compute: From one array per role to the index.
        physical_range: Least and greatest value it can have, or None when it has no bounds.
    """

    name: str
    roles: tuple[str, ...]
    compute: Callable[..., Array]
    physical_range: tuple[float, float] | None = None


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divides; NaN where the numerator is negative or the denominator not positive."""
    return _quotient(numerator, denominator, (numerator >= 0) & (denominator > 0))


def normalised_difference(first: Array, second: Array) -> Array:
    """(first - second) / (first + second), -1 to 1; NaN where one is negative or both are 0."""
    return _quotient(first - second, first + second, (first >= 0) & (second >= 0))


def _quotient(numerator: Array, denominator: Array, defined: NDArray[np.bool_]) -> Array:
    undefined = np.full_like(denominator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=defined & (denominator > 0))


def ndsi(green: Array, swir1: Array) -> Array:
    """Normalised difference snow index, (green - SWIR1) / (green + SWIR1).

    Source: Hall, Riggs and Salomonson (1995), Remote Sensing of Environment 54, 127-140.
    """
    return normalised_difference(green, swir1)


def ndwi(green: Array, nir: Array) -> Array:
    """Normalised difference water index of open water, (green - NIR) / (green + NIR).

    Source: McFeeters (1996), International Journal of Remote Sensing 17, 1425-1432.
    """
    return normalised_difference(green, nir)


def ndvi(nir: Array, red: Array) -> Array:
    """Normalised difference vegetation index, (NIR - red) / (NIR + red).

    Source: Rouse, Haas, Schell and Deering (1974), Third ERTS Symposium, NASA SP-351, 309-317.
    """
    return normalised_difference(nir, red)


def ndgi(green: Array, red: Array) -> Array:
    """Normalised difference glacier index, (green - red) / (green + red); parts ice from debris-mixed ice.

    Source: Keshri, Shukla and Gupta (2009), International Journal of Remote Sensing 30, 519-524.
    """
    return normalised_difference(green, red)


def ndmi(nir: Array, swir1: Array) -> Array:
    """Normalised difference moisture index, (NIR - SWIR1) / (NIR + SWIR1).

    Source: Gao (1996), Remote Sensing of Environment 58, 257-266.
    """
    return normalised_difference(nir, swir1)


def red_swir1(red: Array, swir1: Array) -> Array:
    """Band ratio red / SWIR1, high on clean ice and snow, also in shadow.

    Source: Paul et al. (2013), Annals of Glaciology 54(63), 171-182.
    """
    return ratio(red, swir1)


def nir_swir1(nir: Array, swir1: Array) -> Array:
    """Band ratio NIR / SWIR1, high on clean ice and snow.

    Source: Paul et al. (2002), Annals of Glaciology 34, 355-361.
    """
    return ratio(nir, swir1)


def s3(red: Array, nir: Array, swir1: Array) -> Array:
    """Snow index that is low on vegetation, NIR (red - SWIR1) / ((NIR + red) (NIR + SWIR1)).

    Source: Saito and Yamazaki (1999), Journal of Japan Society of Hydrology and Water Resources 12, 28-38.
    """
    none_negative = (red >= 0) & (nir >= 0) & (swir1 >= 0)
    return _quotient(nir * (red - swir1), (nir + red) * (nir + swir1), none_negative)


def brightness(blue: Array, green: Array, red: Array) -> Array:
    """Brightness of the visible bands, their root mean square, sqrt((blue^2 + green^2 + red^2) / 3).

    Source: Mathieu, Pouget, Cervelle and Escadafal (1998), Remote Sensing of Environment 66, 17-28.
    """
    mean_square: Array = (blue**2 + green**2 + red**2) / np.float32(3)
    return np.sqrt(mean_square)


_UNIT = (-1.0, 1.0)
INDICES: Mapping[str, SpectralIndex] = {
    index.name: index
    for index in (
        SpectralIndex("ndsi", ("green", "swir1"), ndsi, _UNIT),
        SpectralIndex("ndwi", ("green", "nir"), ndwi, _UNIT),
        SpectralIndex("ndvi", ("nir", "red"), ndvi, _UNIT),
        SpectralIndex("ndgi", ("green", "red"), ndgi, _UNIT),
        SpectralIndex("ndmi", ("nir", "swir1"), ndmi, _UNIT),
        SpectralIndex("red_swir1", ("red", "swir1"), red_swir1),
        SpectralIndex("nir_swir1", ("nir", "swir1"), nir_swir1),
        SpectralIndex("s3", ("red", "nir", "swir1"), s3, _UNIT),
        SpectralIndex("brightness", ("blue", "green", "red"), brightness),
    )
}
