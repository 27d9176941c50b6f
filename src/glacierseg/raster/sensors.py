"""What the bands of a sensor are called, and which part of the spectrum each one sees."""

import re
from collections.abc import Mapping

from glacierseg.errors import RequestError, did_you_mean
from glacierseg.raster.indices import INDICES
from glacierseg.raster.terrain import TERRAIN

_SENTINEL2 = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "red_edge_1",
    "6": "red_edge_2",
    "7": "red_edge_3",
    "8": "nir",
    "8A": "nir_narrow",
    "9": "water_vapour",
    "10": "cirrus",
    "11": "swir1",
    "12": "swir2",
}
_LANDSAT57 = {
    "1": "blue",
    "2": "green",
    "3": "red",
    "4": "nir",
    "5": "swir1",
    "6": "thermal",
    "7": "swir2",
    "8": "pan",
}
_LANDSAT89 = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "nir",
    "6": "swir1",
    "7": "swir2",
    "8": "pan",
    "9": "cirrus",
    "10": "thermal",
    "11": "thermal_2",
}

SENSORS: Mapping[str, Mapping[str, str]] = {
    "sentinel2": _SENTINEL2,
    "landsat5": _LANDSAT57,
    "landsat7": _LANDSAT57,
    "landsat8": _LANDSAT89,
    "landsat9": _LANDSAT89,
}
"""By sensor: from the number of a band (`2`, `8A`) to its role (`blue`, `nir_narrow`)."""

ROLES = frozenset(role for numbers in SENSORS.values() for role in numbers.values())
"""Every role that a spectral band can have."""

HEAT_NUMBERS = frozenset({"6", "10", "11"})
"""Numbers of bands that measure heat on one sensor or another."""

# B02, B2, b8a, SR_B4, ST_B10, B6_VCID_1 (low gain; the high-gain copy has no role of its own).
_NUMBER = r"(?:S[RT]_)?B(?:AND)?_?0*(\d{1,2}A?)(?:_VCID_1)?"
_NUMBERED = re.compile(_NUMBER, re.IGNORECASE)
# The same at the end of a product's file name, before the pixel size that Sentinel-2 adds.
_IN_FILE_NAME = re.compile(rf"(?:^|.*[_.\- ]){_NUMBER}(?:_\d{{2}}m)?", re.IGNORECASE)
_PRODUCTS = (
    (
        re.compile(r"(?:L\dA_)?T\d{2}[A-Z]{3}_\d{8}T\d{6}_|S(?:ENTINEL)?2[A-D]_|HLS\.S30\.", re.IGNORECASE),
        "sentinel2",
    ),
    (re.compile(r"LT0?[45]_?\w", re.IGNORECASE), "landsat5"),
    (re.compile(r"LE0?7_?\w", re.IGNORECASE), "landsat7"),
    (re.compile(r"L[CO]0?8_?\w|HLS\.L30\.", re.IGNORECASE), "landsat8"),
    (re.compile(r"L[CO]0?9_?\w", re.IGNORECASE), "landsat9"),
)
_SURFACE_TEMPERATURE = re.compile(r"(?:^|.*[_.\- ])ST_B\d{1,2}", re.IGNORECASE)
# What a name calls that is made of bands: a ratio of red and swir1 is neither.
_MADE = frozenset({"ratio", "index", "texture", "minus"})


_UNNAMED = re.compile(r"band_\d+")


def is_unnamed(band: str) -> bool:
    """Whether `open_scene` calls a band so that its file gives no name: `band_2` is second, and not B2."""
    return _UNNAMED.fullmatch(band) is not None


def parse_sensor(name: str) -> str:
    """Returns the sensor that a name means, however it is written (`Sentinel-2`, `landsat 8`).

    Raises:
        RequestError: It is unknown.
    """
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    if key not in SENSORS:
        raise RequestError(
            f"sensor {name!r} is unknown{did_you_mean(key, SENSORS)}; choose one of {', '.join(SENSORS)}"
        )
    return key


def sensor_of(name: str) -> str | None:
    """Returns the sensor by the name of a product's file, or None.

    Sentinel-2 (`T45RVL_20240930T045659_B02_10m`, `S2A_...`), Landsat (`LC08_L2SP_...`) and both of HLS.
    """
    return next((sensor for pattern, sensor in _PRODUCTS if pattern.match(name)), None)


def band_number(name: str) -> str | None:
    """Returns the number of a band (`2`, `8A`) from its name or that of its file; None where there is none.

    A name that is more than a number counts only where it is a product's: `B2` and `LC08_..._SR_B2` have one,
    `basin_B2` has none.
    """
    pattern = _IN_FILE_NAME if sensor_of(name) else _NUMBERED
    found = pattern.fullmatch(name.strip())
    return found[1].upper() if found else None


def is_surface_temperature(name: str) -> bool:
    """Whether a name is that of a band of Landsat's surface temperature (`ST_B10`)."""
    return _SURFACE_TEMPERATURE.fullmatch(name) is not None


def role_of(band: str, sensor: str | None = None) -> str | None:
    """Returns the role of a band by its name, or None.

    The file name of a product says it. Of other names, a word that is a role decides (`B2 blue`, `Red`);
    names of indices and terrain, and those with the words of two roles, are no role (`red_swir1`). Otherwise
    the band's number does, if the sensor is known; `B02` with its zero is written for Sentinel-2 only.

    Args:
        band: The name of the band.
        sensor: A key of `SENSORS`.
    """
    own, number = sensor_of(band), band_number(band)
    if own and number:
        return SENSORS[own].get(number)
    words = re.sub(r"[^a-z0-9]+", " ", band.lower()).split()
    roles, made = [], bool(_MADE & set(words))
    while words:
        for width in (3, 2, 1):
            word = "_".join(words[:width])
            made |= word in INDICES or word in TERRAIN
            if word in ROLES or word == "red_edge":
                # There are three of it: which one only a number tells.
                roles += [word] if word in ROLES else []
                break
        del words[:width]
    if made or len(set(roles)) > 1:
        return None
    if roles:
        return roles[0]
    if sensor is None and re.fullmatch(r"B0\d|B8A", band.strip(), re.IGNORECASE):
        sensor = "sentinel2"
    return SENSORS[sensor].get(number) if sensor and number else None


def contradiction(given: str, own: str, sensor: str | None = None) -> str | None:
    """Says in words how a name given by hand contradicts a band's own, or returns None.

    Args:
        given: By hand.
        own: Of the band, or of the file that holds it alone.
        sensor: A key of `SENSORS`, for names by number.
    """
    sensor = sensor_of(own) or sensor
    numbers = band_number(own), band_number(given)
    roles = role_of(own, sensor), role_of(given, sensor)
    alike = numbers[0] == numbers[1] if all(numbers) else roles[0] == roles[1] or None in roles
    if alike:
        return None
    named = f"B{numbers[0]}" if numbers[0] else own
    named += f" ({roles[0]})" if roles[0] and roles[0] != own else ""
    return f"is {named} by its own name, and is given as {given!r}"
