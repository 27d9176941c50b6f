"""Recipes, named lists of bands, and making these of a sensor's bands, elevation and given layers."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, RequestError, did_you_mean
from glacierseg.raster.indices import INDICES
from glacierseg.raster.prepare.layers import COMPONENTS, LAYERS, MOTION, RADAR
from glacierseg.raster.sensors import ROLES, parse_sensor, role_of
from glacierseg.raster.terrain import TERRAIN
from glacierseg.raster.units import is_reflected_light

_TERRAIN_SIX = (
    "elevation",
    "slope",
    "aspect_sin",
    "aspect_cos",
    "curvature_profile",
    "curvature_tangential",
)

RECIPES: Mapping[str, tuple[str, ...]] = {
    # Six bands, six indices, six terrain layers. NDMI and NIR/SWIR1 say the same as one another, brightness
    # is nearly a sum of the visible bands, ruggedness follows slope: these are left to custom lists.
    "sentinel2-18": (
        *("blue", "green", "red", "nir", "swir1", "swir2"),
        *("ndsi", "ndwi", "ndvi", "ndgi", "red_swir1", "s3"),
        *_TERRAIN_SIX,
    ),
    # Landsat has a thermal band, which debris-covered ice cools; it takes the place of S3.
    "landsat-18": (
        *("blue", "green", "red", "nir", "swir1", "swir2", "thermal"),
        *("ndsi", "ndwi", "ndvi", "ndgi", "red_swir1"),
        *_TERRAIN_SIX,
    ),
    # The stack of the original study, in its order (docs/data.md says what each band is).
    "himalaya-18": (
        *("blue", "green", "red", "nir", "swir1"),
        *("elevation", "coherence", "dh_dt", "divergence", "persistent_scatterer"),
        *("curvature_profile", "slope", "aspect", "curvature_tangential"),
        *("thermal", "unsphericity", "velocity", "backscatter"),
    ),
}

PHYSICAL_RANGES: Mapping[str, tuple[float, float]] = {
    name: bounds
    for name, bounds in (
        *((index.name, index.physical_range) for index in INDICES.values()),
        *TERRAIN.items(),
        *LAYERS.items(),
    )
    if bounds is not None
}
"""Least and greatest value of the made bands that have bounds by definition."""


def modality_of(name: str) -> str | None:
    """Returns what a band is measured by: thermal, terrain, radar or motion.

    None stands for reflected light, its indices, and names that mean nothing.
    """
    if name in TERRAIN:
        return "terrain"
    if name in RADAR:
        return "radar"
    if name in MOTION or name in COMPONENTS:
        return "motion"
    role = role_of(name)
    return None if role is None or is_reflected_light(role) else "thermal"


def parse_recipe(recipe: str) -> tuple[str, ...]:
    """Returns the bands of a recipe.

    Args:
        recipe: A key of `RECIPES`, or band names separated by commas. A single name that means nothing by
            itself ends in a comma.

    Raises:
        RequestError: The recipe is unknown, empty, or names a band twice.
    """
    if recipe in RECIPES:
        return RECIPES[recipe]
    wanted = tuple(name.strip() for name in recipe.split(",") if name.strip())
    if "," not in recipe and recipe not in {*INDICES, *TERRAIN, *ROLES, *LAYERS}:
        raise RequestError(
            f"recipe {recipe!r} is unknown{did_you_mean(recipe, RECIPES)}; choose one of "
            f"{', '.join(RECIPES)}, or give band names separated by commas ('{recipe},' for one alone)"
        )
    doubled = sorted({name for name in wanted if wanted.count(name) > 1})
    if doubled or not wanted:
        raise RequestError(f"recipe names band {doubled[0]!r} twice" if doubled else "recipe names no band")
    return wanted


def sensor_of_recipe(recipe: str | None, sensor: str | None) -> str | None:
    """Returns the sensor to read band numbers by: the given one, else the one that the recipe is made for."""
    if sensor is not None:
        return parse_sensor(sensor)
    return "sentinel2" if recipe == "sentinel2-18" else None


def find_inputs(
    wanted: Sequence[str],
    available: Sequence[str],
    *,
    sensor: str | None,
    source: str,
    given: Sequence[str] = (),
) -> dict[str, str]:
    """Finds the input band for everything that the wanted bands are made from.

    Args:
        wanted: Names of the bands to make.
        available: Names of the input bands.
        sensor: A key of `SENSORS`, where names carry only numbers.
        source: What to call the input in an error.
        given: Those of the wanted bands that layers give.

    Returns:
        From role or exact name to the name of the input band.

    Raises:
        BandError: An input is missing, or two bands have the same role.
    """
    by_role: dict[str, list[str]] = {}
    for name in available:
        if (role := role_of(name, sensor)) is not None:
            by_role.setdefault(role, []).append(name)
    if lacking := [name for name in wanted if name in LAYERS and name not in {*given, *available}]:
        raise BandError(_missing_layers(lacking, wanted, source))
    inputs: dict[str, str] = {}
    for name in wanted:
        if name in available:
            inputs[name] = name
            continue
        if name in TERRAIN or name in given:
            continue
        for need in INDICES[name].roles if name in INDICES else (name,):
            if need not in by_role:
                raise BandError(_missing(name, need, available, sensor, source))
            inputs[need] = _only_one(need, by_role[need], source)
    return inputs


def _only_one(role: str, found: Sequence[str], source: str) -> str:
    """Returns the band of a role; an exact name wins, `red` over `red 2`."""
    chosen = [band for band in found if band.casefold() == role] or found
    if len(chosen) > 1:
        raise BandError(
            f"{source}: {chosen[0]!r} and {chosen[1]!r} both look like {role}; leave one of them out, or say "
            "which is which with --band-names"
        )
    return chosen[0]


def _missing_layers(lacking: Sequence[str], wanted: Sequence[str], source: str) -> str:
    rest = "".join(f"{name}," for name in wanted if name not in lacking)
    options = " ".join(f"--layer {name}=FILE" for name in lacking)
    without = f", or leave them out with --recipe {rest}" if rest else ""
    return f"{source}: has no band for {', '.join(lacking)}; give files with {options}{without}"


def _missing(name: str, need: str, available: Sequence[str], sensor: str | None, source: str) -> str:
    known = (*ROLES, *INDICES, *TERRAIN, *available)
    if need not in known:
        return (
            f"{source}: knows no band {name!r}{did_you_mean(name, known)}; the input bands are "
            f"{', '.join(available)}"
        )
    purpose = f"{need}, which {name} is made from" if name != need else need
    numbers = "" if sensor else "what their numbers mean with --sensor, or "
    layer = "" if is_reflected_light(need) else f"give its file with --layer {need}=FILE, "
    cure = f"{layer}say {numbers}what they are in file order with --band-names, or leave {name} out"
    return f"{source}: has no band for {purpose} (its bands are {', '.join(available)}); {cure} of the recipe"


def terrain_to_make(
    wanted: Sequence[str], available: Mapping[str, object], out: object, *, has_dem: bool
) -> list[str]:
    """Returns the terrain layers that an elevation model is needed for.

    Args:
        wanted: Names of the bands to make.
        available: By name, what is there already.
        out: What to call the result in an error.
        has_dem: Whether there is an elevation model.

    Raises:
        RequestError: There is none, and one is needed.
    """
    made = [name for name in wanted if name in TERRAIN and name not in available]
    if made and not has_dem:
        raise RequestError(f"{out}: {made[0]} needs an elevation model; give one with --dem")
    return made


def make_bands(wanted: Sequence[str], layers: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Makes the bands of one block.

    Args:
        wanted: Their names.
        layers: `(h, w)` by role or exact name, NaN where there is no data: bands and terrain as they are, and
            what indices are made of.

    Returns:
        `(C, h, w)`.
    """
    return np.stack([_make(name, layers) for name in wanted])


def _make(name: str, layers: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    if name in layers:
        return layers[name]
    index = INDICES[name]
    return index.compute(*(layers[role] for role in index.roles))
