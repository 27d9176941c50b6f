"""What the bands of a sensor are called, and which part of the spectrum each one sees."""

import re
from collections.abc import Mapping

from glacierseg.errors import RequestError, did_you_mean

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

# B02, B2, b8a, SR_B4, ST_B10, B6_VCID_1 (low gain; the high-gain copy has no role of its own).
_NUMBERED = re.compile(r"(?:S[RT]_)?B(?:AND)?_?0*(\d{1,2}A?)(?:_VCID_1)?", re.IGNORECASE)


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


def role_of(band: str, sensor: str | None = None) -> str | None:
    """Returns the role of a band by its name, or None.

    A word of the name that is a role itself decides (`B2 blue`, `Red`). Otherwise the band's number does, if
    the sensor is known; `B02` with its zero is written for Sentinel-2 only.

    Args:
        band: The name of the band.
        sensor: A key of `SENSORS`.
    """
    words = re.sub(r"[^a-z0-9]+", " ", band.lower()).split()
    for width in (3, 2, 1):
        for start in range(len(words) - width + 1):
            if (role := "_".join(words[start : start + width])) in ROLES:
                return role
    numbered = _NUMBERED.fullmatch(words[0].upper() if len(words) == 1 else band.strip())
    if numbered is None:
        return None
    if sensor is None and re.fullmatch(r"B0\d|B8A", band.strip(), re.IGNORECASE):
        sensor = "sentinel2"
    return SENSORS[sensor].get(numbered[1].upper()) if sensor else None
