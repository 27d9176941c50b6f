"""In which unit bands are, by their values: offsets and scales of products that are still in them."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from glacierseg.errors import RequestError, ValuesError
from glacierseg.raster.indices import INDICES
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import HEAT_NUMBERS, ROLES, band_number, is_unnamed, role_of
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.values import BandValues, measure_values, sample_values, short

DARKEST, BRIGHTEST = 1, 255
"""Least and greatest of 8-bit levels, which have no unit; 0 is no data."""
LEVELS_UNIT = "8-bit levels"
"""What stands for the unit of levels."""
HOTTEST_K = 400.0
"""No ground is hotter, in kelvin; heat above it is in digital numbers."""
_GREATEST_REFLECTANCE = 3.2768


@dataclass(frozen=True)
class ReflectanceUnit:
    """A unit in which products give reflected light.

    Attributes:
        name: In words.
        scale: Values times this ...
        offset: ... plus this are reflectance.
        darkest: From where to where the darkest pixels of all bands lie, if the offset is still in them.
        greatest: From where to where the brightest pixels lie.
        cures: Options that take the offset off.
    """

    name: str
    scale: float
    offset: float = 0.0
    darkest: tuple[float, float] | None = None
    greatest: tuple[float, float] = (0.0, 0.0)
    cures: tuple[str, ...] = ()

    @property
    def zero(self) -> float:
        """The value of a surface that reflects nothing."""
        return -self.offset / self.scale


_SENTINEL2 = "Sentinel-2 since processing baseline 04.00 (January 2022)"
# Deep shadow, water, and snow or ice in the shortwave infrared reflect less than 0.05, so the darkest pixels
# of the darkest band lie near the zero of a unit, or a little below it where atmospheric correction has made
# them too dark. Snow in the visible bands alone may be bright all over: that something reflects more than a
# quarter tells Landsat's numbers from reflectance x 10000 of an ice cap.
UNITS = (
    ReflectanceUnit("reflectance", 1.0),
    ReflectanceUnit("reflectance x 10000", 1e-4),
    ReflectanceUnit(
        f"the digital numbers of {_SENTINEL2}, with their offset of 1000",
        1e-4,
        -0.1,
        (950, 2000),
        (BRIGHTEST, 32768),
        ("--offset -1000", "--scale 0.0001 --offset -0.1"),
    ),
    ReflectanceUnit(
        f"reflectance with the offset of {_SENTINEL2} still in it",
        1.0,
        -0.1,
        (0.095, 0.2),
        (0.2, _GREATEST_REFLECTANCE),
        ("--offset -0.1",),
    ),
    ReflectanceUnit(
        "the digital numbers of Landsat Collection 2 Level-2 without their scale",
        0.0000275,
        -0.2,
        (6500, 12700),
        (16384, 65536),
        ("--scale 0.0000275 --offset -0.2",),
    ),
    ReflectanceUnit(
        "the digital numbers of Landsat 8 and 9 Level-1 without their scale",
        0.00002,
        -0.1,
        (4700, 6500),
        (16384, 65536),
        ("--scale 0.00002 --offset -0.1",),
    ),
)
"""Known units; the first that fits counts."""

HEAT_SCALE, HEAT_OFFSET = 0.00341802, 149.0
"""Digital numbers of Landsat's Collection 2 surface temperature times this plus that are kelvin."""


@dataclass(frozen=True)
class LeftOffset:
    """An offset that is still in the values of reflected light.

    Attributes:
        unit: The unit that they are in.
        least: The 0.1 percentile of the darkest band.
        greatest: The 99.9 percentile of the brightest band.
    """

    unit: ReflectanceUnit
    least: float
    greatest: float

    @property
    def in_words(self) -> str:
        """What was found, as the beginning of a sentence."""
        least = short(self.least)
        return f"hardly a pixel of any spectral band is below {least}: they look like {self.unit.name}"


def find_left_offset(found: Sequence[BandValues]) -> LeftOffset | None:
    """Finds out whether values of reflected light have an offset that makes indices and ranges wrong.

    Args:
        found: Of the bands of reflected light.
    """
    if not found:
        return None
    least, greatest = min(own.low for own in found), max(own.high for own in found)
    for unit in UNITS:
        if (
            unit.darkest
            and unit.darkest[0] <= least < unit.darkest[1]
            and unit.greatest[0] < greatest < unit.greatest[1]
        ):
            return LeftOffset(unit, least, greatest)
    return None


def unit_of(found: Sequence[BandValues]) -> str:
    """Names the unit of bands of reflected light, by their values; empty where unclear."""
    left = find_left_offset(found)
    if left or not found:
        return left.unit.name if left else ""
    greatest = max(own.high for own in found)
    if greatest < _GREATEST_REFLECTANCE:
        return UNITS[0].name
    return UNITS[1].name if BRIGHTEST < greatest < 32768 else ""


def converted_unit(unit: str, scale: float, offset: float) -> str:
    """Names the unit of values of reflected light after a conversion; empty where it is none that is known.

    Args:
        unit: Name of the unit before.
        scale: Values are multiplied with this ...
        offset: ... and this is added.
    """
    if (scale, offset) == (1.0, 0.0):
        return unit
    for own in UNITS:
        if own.name == unit:
            wanted = own.scale / scale, own.offset - offset * own.scale / scale
            return next((one.name for one in UNITS if np.allclose((one.scale, one.offset), wanted)), "")
    return ""


def is_reflected_light(role: str | None) -> bool:
    """Whether a role is that of a band of reflected light, unlike heat."""
    return role is not None and not role.startswith("thermal")


def reflected_bands(names: Sequence[str], sensor: str | None = None) -> tuple[str, ...]:
    """Returns those of some band names that are reflected light by their names.

    A number without a known sensor (`B4`) counts, unless it is that of heat on some sensor.
    """
    return tuple(name for name in names if not is_unnamed(name) and _is_reflected(name, sensor))


def _is_reflected(name: str, sensor: str | None) -> bool:
    role = role_of(name, sensor)
    if role is None and sensor is None:
        return band_number(name) not in {None, *HEAT_NUMBERS} and role_of(name, "landsat8") is not None
    return is_reflected_light(role)


def is_made(name: str) -> bool:
    """Whether a band is an index or a terrain layer, by its name."""
    return name in INDICES or name in TERRAIN


def look_for_left_offset(scene: Scene) -> LeftOffset | None:
    """Looks into the bands of a scene that are reflected light by their names, unless they are 8-bit levels.

    Raises:
        RasterError: Pixels cannot be read.
    """
    names = reflected_bands(scene.band_names)
    if all(map(is_unnamed, scene.band_names)) and {band.dtype for band in scene.bands} == {"uint16"}:
        names = scene.band_names
    if not names or scene.select(names).dtype == "uint8":
        return None
    return find_left_offset(measure_values(sample_values(scene.select(names), apart_from_zeros=True)) or ())


@dataclass(frozen=True)
class Conversion:
    """What makes values of reflected light of one unit those of another: times a scale, plus an offset."""

    scale: float
    offset: float

    @property
    def options(self) -> str:
        """It as options of a command."""
        given = (("--scale", self.scale, 1.0), ("--offset", self.offset, 0.0))
        return " ".join(f"{name} {value:.6g}" for name, value, usual in given if value != usual)


def conversion_between(own: str, wanted: str) -> Conversion | None:
    """Returns what makes values of one unit those of another; None unless both are known.

    Args:
        own: Name of the unit that they are in.
        wanted: Name of the other one.
    """
    known = {unit.name: unit for unit in UNITS}
    if own not in known or wanted not in known:
        return None
    before, after = known[own], known[wanted]
    return Conversion(before.scale / after.scale, (before.offset - after.offset) / after.scale)


def best_conversion(misfit: Callable[[Conversion], float]) -> Conversion | None:
    """Finds the conversion between two units of reflected light that makes values fit best.

    Args:
        misfit: Of a conversion: the smaller the better, infinite where it does not help.
    """
    # With the digits that are printed: what is typed must do what was tried.
    known = {
        Conversion(
            float(f"{own.scale / other.scale:.6g}"), float(f"{(own.offset - other.offset) / other.scale:.6g}")
        )
        for own, other in permutations(UNITS, 2)
        if own.offset == 0 or other.offset == 0
    } - {Conversion(1.0, 0.0)}
    tens = {Conversion(10.0**power, 0.0) for power in range(-6, 7) if power}
    # Units that products have are likelier than any power of ten, and offsets are taken off, seldom added.
    found = [((1 if each in known and each.offset <= 0 else 2) * misfit(each), each) for each in known | tens]
    least, best = min(found, key=lambda one: (one[0], abs(one[1].scale - 1)))
    return best if least < float("inf") else None


def conversion_cure(scene: Scene, options: str) -> str:
    """Returns what to type, or to do, so that a scene's reflected light is converted.

    Args:
        scene: The scene.
        options: Scale and offset as options.
    """
    names = scene.band_names
    # Of what is only multiplied, indices are the same; brightness alone has a unit itself.
    if "brightness" in names or ("--offset" in options and any(name in INDICES for name in names)):
        return f"its indices are wrong too: stack it again from the files of its bands, with {options}"
    if any(map(is_unnamed, names)):
        return f"say what its bands are when they are stacked (--band-names, --recipe), and {options}"
    unclear = any(band_number(name) in HEAT_NUMBERS and role_of(name) is None for name in names)
    sensor = "--sensor SENSOR " if unclear else ""
    files = shlex.join(map(str, scene.paths))
    recipe = shlex.quote(",".join(names))
    return f"glacierseg prepare stack {files} --recipe {recipe} {sensor}{options} --out CONVERTED.tif"


def light_among(
    inputs: Mapping[str, str], sensor: str | None, scale: float | None, offset: float | None, source: str
) -> tuple[str, ...]:
    """Returns what is reflected light among the inputs of a recipe: what a scale and an offset are for.

    Args:
        inputs: From role or exact name to the name of the input band.
        sensor: A key of `SENSORS`.
        scale: Asked for.
        offset: Asked for.
        source: What to call the stack in an error.

    Raises:
        RequestError: A scale or offset is asked for, and a band may be heat, or none is known as light.
    """
    names = {wanted: wanted if wanted in ROLES else name for wanted, name in inputs.items()}
    found = tuple(wanted for wanted, name in names.items() if reflected_bands([name], sensor))
    if (scale, offset) in {(None, None), (1.0, 0.0), (1.0, None), (None, 0.0)}:
        return found
    unclear = [name for name in names.values() if band_number(name) in HEAT_NUMBERS]
    if sensor is None and unclear and role_of(unclear[0]) is None:
        raise RequestError(
            f"{source}: {unclear[0]} may be heat, which scale and offset are not for; say what the numbers "
            "of the bands mean with --sensor"
        )
    if not found:
        raise RequestError(
            f"{source}: scale and offset are for reflected light, and none of {', '.join(names)} is known as "
            "that; say what the bands are with --band-names (blue, nir, ...), or leave scale and offset out"
        )
    return found


def require_unit(
    found: Sequence[BandValues] | None,
    scale: float | None,
    offset: float | None,
    makes: Sequence[str],
    source: str,
) -> str | None:
    """Looks at reflected light before indices are made of it.

    Args:
        found: Its values as they are read, before scale and offset.
        scale: Asked for.
        offset: Asked for; giving one, even 0, says that the unit is known.
        makes: The indices that will be made.
        source: What to call the input.

    Returns:
        A warning for the user, if any.

    Raises:
        ValuesError: Values are negative all over after scale and offset; or an offset is still in them,
            none is asked for and indices would be wrong.
    """
    if not found:
        return None
    factor, shift = 1.0 if scale is None else scale, offset or 0.0
    if (scale, offset) != (None, None):
        after = [own.rescaled(factor, shift) for own in found]
        asked = f"{source}: with scale {factor:g} and offset {shift:g}"
        if all(own.median < 0 for own in after):
            raise ValuesError(
                f"{asked} reflected light would be {after[0].in_words}, and it cannot be negative; "
                f"{_cure_of_negative(found, factor, shift)}"
            )
        if any(own.p5 < 0 for own in after):
            return (
                f"{asked} more than 5 % of the pixels of a spectral band are negative and have no index; "
                "leave the offset out if it is not in these numbers"
            )
    left = find_left_offset(found) if offset is None else None
    if left is None:
        return None
    cures = left.unit.cures
    if factor != 1:
        cures = (f"--scale {factor:g} --offset {-left.unit.zero * factor:g}",)
    cure = (
        f"add {' or '.join(cures)} (in a configuration under `bands:`), or --offset 0 if the values are right"
    )
    if makes:
        raise ValuesError(f"{source}: {left.in_words}, which makes {makes[0]} wrong; {cure}")
    return f"{source}: {left.in_words}; {cure}"


def _cure_of_negative(found: Sequence[BandValues], scale: float, offset: float) -> str:
    if max(own.high for own in found) < _GREATEST_REFLECTANCE:
        return "leave --scale and --offset out: the values are reflectance already"
    if all(own.rescaled(scale, offset * scale).median >= 0 for own in found):
        return f"the offset is added after the scale, so write --scale {scale:g} --offset {offset * scale:g}"
    return "give another --offset, or none"
