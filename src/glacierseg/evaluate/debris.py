"""Debris-covered ice as a class of its own: where truth has glacier, and a band ratio sees no ice or snow.

Clean ice and snow are bright in visible light and dark at 1.6 micrometres, stones are not, so a ratio of two
bands tells them apart (Paul et al. 2002, 2013, 2016; Hall et al. 1995). Without that wavelength, brightness
and blueness together do, less surely: pale rock and cloud may count as ice. Water counts as ice by every
rule, and stones in deep shadow may. The threshold never depends on truth: where the unit of the bands is
known it is fixed, and for 8-bit levels of unknown meaning it is that of Otsu (1979).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError, ValuesError
from glacierseg.evaluate.counts import Counts, clean_pair, count_clean
from glacierseg.raster.facts import ranges_of
from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import role_of
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE
from glacierseg.raster.units import BRIGHTEST, DARKEST, UNITS, is_reflected_light, unit_of
from glacierseg.raster.values import measure_values, sample_values

SURFACES = ("bare ground", "clean ice", "debris-covered ice", "snow or ice outside glaciers")
"""Values 0 to 3 of `surface_classes`."""
BARE, CLEAN_ICE, DEBRIS, SNOW = range(len(SURFACES))
# From what is measured to the roles it needs, and above which reflectance it is ice: the first that a scene
# has counts. NDSI 0.4 is green / swir1 = 7 / 3. That of `blue^2 / nir` was set where swir1 is known, too.
_RATIOS: Mapping[str, tuple[tuple[str, str], float]] = {
    "red / swir1": (("red", "swir1"), 2.0),
    "nir / swir1": (("nir", "swir1"), 2.0),
    "green / swir1": (("green", "swir1"), 7 / 3),
    "blue^2 / nir": (("blue", "nir"), 0.35),
}
# Written so for Sentinel-2 alone; it tells what B11 is beside them.
_WITH_ZERO = re.compile(r"B0\d|B8A", re.IGNORECASE)
_ALSO = {"nir_narrow": "nir"}
_BINS = 256
_MOST_SAMPLES = 2_000_000


@dataclass(frozen=True)
class IceRule:
    """What counts as ice or snow.

    Attributes:
        ratio: Of which bands, by their roles.
        threshold: Ice lies above it.
        chosen: How the threshold was chosen.
    """

    ratio: str
    threshold: float
    chosen: str

    def __str__(self) -> str:
        return f"{self.ratio} > {self.threshold:.3g} ({self.chosen})"


@dataclass(frozen=True)
class _Ratio:
    """A ratio in a scene of its two bands, as reflectance where their unit is known."""

    name: str
    scene: Scene
    threshold: float | None

    def parts(self, values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns numerator and denominator of values `(2, ...)`."""
        first, second = values.astype(np.float64)
        return (first * np.abs(first) if self.name.startswith("blue^2") else first), second


def find_ice_rule(
    scene: Scene,
    *,
    sensor: str | None = None,
    train: Sequence[tuple[Scene, NDArray[np.bool_]]] | None = None,
) -> IceRule:
    """Chooses the rule for clean ice and snow in a scene, without its truth.

    Args:
        scene: The scene.
        sensor: Key of `raster.sensors.SENSORS`, for bands named by number; that of its files when None.
        train: Scenes and their training pixels, on which an unknown threshold is chosen; those of the scene
            itself when None.

    Raises:
        BandError: It lacks the bands.
        ValuesError: The unit of its bands is unknown, so a ratio of them would mean nothing.
    """
    own = _ratio(scene, sensor)
    if own.threshold is not None:
        return IceRule(own.name, own.threshold, "fixed, of reflectance")
    where = "the scene" if train is None else "training ground"
    ratios = [(own, np.ones(scene.grid.shape, bool))]
    if train is not None:
        ratios = [(_ratio(one, sensor), area) for one, area in train]
    logarithms = [
        _logarithms(one, area) for one, area in ratios if (one.name, one.threshold) == (own.name, None)
    ]
    found = np.concatenate(logarithms) if logarithms else np.zeros(0)
    if found.size < _BINS:
        raise ValuesError(f"{scene.paths[0]}: too few pixels of {where} to choose a threshold of {own.name}")
    return IceRule(own.name, float(np.exp(otsu_threshold(found))), f"chosen by Otsu's method on {where}")


def surface_classes(
    scene: Scene, truth: NDArray[np.uint8], rule: IceRule | None = None, *, sensor: str | None = None
) -> NDArray[np.uint8]:
    """Divides the ground by truth and by what a scene shows there.

    Args:
        scene: The scene.
        truth: `(H, W)` of 0, 1 and 255 on its grid.
        rule: For clean ice and snow; that of `find_ice_rule` when None.
        sensor: Key of `raster.sensors.SENSORS`, for bands named by number.

    Returns:
        `(H, W)` of the numbers of `SURFACES`; 255 where the truth is 255 or the bands have no data.

    Raises:
        GridMismatchError: Truth has another shape than the scene.
        BandError: The scene lacks the bands of the rule.
        ValuesError: The unit of its bands is unknown.
    """
    require_one_shape({"truth": truth.shape, "scene": scene.grid.shape})
    rule = rule or find_ice_rule(scene, sensor=sensor)
    ratio = _ratio(scene, sensor)
    if ratio.name != rule.ratio:
        raise BandError(
            f"{scene.paths[0]}: the rule for ice is of {rule.ratio}, and the first ratio of this scene is "
            f"{ratio.name}; give scenes with the same bands"
        )
    classes = np.full(truth.shape, IGNORE, np.uint8)
    with ratio.scene.open() as reader:
        for rows, values, valid in reader.strips():
            above, below = ratio.parts(values)
            # A product instead of a quotient: no light at 1.6 micrometres is ice, if there is light at all.
            icy = above > rule.threshold * below
            known = valid & (truth[rows] != IGNORE) & ((above > 0) | (below > 0))
            glacier = truth[rows] == GLACIER
            found = np.where(glacier, np.where(icy, CLEAN_ICE, DEBRIS), np.where(icy, SNOW, BARE))
            classes[rows][known] = found[known]
    return classes


@dataclass(frozen=True)
class SurfaceScores:
    """How well a mask finds clean and debris-covered ice; None where a ratio is of nothing.

    Attributes:
        clean_ice_recall: Share of the clean ice of the truth that the mask has.
        debris_recall: Share of its debris-covered ice that the mask has.
        debris_precision: Of what the mask has on ground that shows no ice or snow, the share that is glacier.
        debris_iou: Intersection over union on that ground.
        clean_ice_px: Clean ice of the truth, in pixels.
        debris_px: Its debris-covered ice, in pixels.
    """

    clean_ice_recall: float | None
    debris_recall: float | None
    debris_precision: float | None
    debris_iou: float | None
    clean_ice_px: int
    debris_px: int

    def to_dict(self) -> dict[str, Any]:
        """Returns a flat record."""
        return asdict(self)


SURFACE_SCORES = tuple(field.name for field in fields(SurfaceScores))


def count_surfaces(predicted: NDArray[Any], classes: NDArray[np.uint8]) -> tuple[Counts, Counts]:
    """Counts a mask on clean ice, and on ground that shows no ice or snow, where glacier is debris-covered.

    Args:
        predicted: `(H, W)` of 0, 1 and 255.
        classes: From `surface_classes`.
    """
    stones = np.full(classes.shape, IGNORE, np.uint8)
    stones[classes == DEBRIS], stones[classes == BARE] = GLACIER, BACKGROUND
    ice = np.where(classes == CLEAN_ICE, np.uint8(GLACIER), np.uint8(IGNORE))
    mask, stones = clean_pair(predicted, stones)
    return count_clean(mask, ice), count_clean(mask, stones)


def score_surfaces(counts: tuple[Counts, Counts]) -> SurfaceScores:
    """Returns the scores of counts from `count_surfaces`, which add up over regions."""
    ice, stones = counts
    debris = stones.tp + stones.fn
    return SurfaceScores(
        clean_ice_recall=_ratio_or_none(ice.tp, ice.total),
        debris_recall=_ratio_or_none(stones.tp, debris),
        # Without debris in the truth there is nothing that precision could be of.
        debris_precision=_ratio_or_none(stones.tp, stones.tp + stones.fp) if debris else None,
        debris_iou=_ratio_or_none(stones.tp, debris + stones.fp) if debris else None,
        clean_ice_px=ice.total,
        debris_px=debris,
    )


def _ratio_or_none(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Returns the value that parts others into two classes of least variance within (Otsu 1979)."""
    low, high = np.quantile(values, (0.001, 0.999))
    if low == high:
        return float(low)
    counts, edges = np.histogram(values.clip(low, high), _BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    # Between the classes: their sizes times the squared distance of their means.
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(middles[np.nanargmax(between[:-1])])


def _ratio(scene: Scene, sensor: str | None) -> _Ratio:
    """Finds the first ratio that a scene has the bands of.

    Raises:
        BandError: It has none.
        ValuesError: The unit of the bands is unknown, and they are no 8-bit levels.
    """
    sensor = sensor or scene.facts.sensor or None
    if sensor is None and any(_WITH_ZERO.fullmatch(name) for name in scene.band_names):
        sensor = "sentinel2"
    bands: dict[str, str] = {}
    for name in scene.band_names:
        if (role := role_of(name, sensor)) and is_reflected_light(role):
            bands.setdefault(_ALSO.get(role, role), name)
    for ratio, (roles, threshold) in _RATIOS.items():
        if set(roles) <= set(bands):
            light, known = _as_reflectance(scene.select(list(bands.values())))
            return _Ratio(ratio, light.select([bands[role] for role in roles]), threshold if known else None)
    raise BandError(
        f"{scene.paths[0]}: has none of the bands that tell ice from stones (swir1 with red, nir or green; "
        f"else blue with nir), only {', '.join(scene.band_names)}; name its bands with --band-names"
    )


def _as_reflectance(light: Scene) -> tuple[Scene, bool]:
    """Returns bands of reflected light as reflectance, and whether their unit is known.

    Levels of `prepare normalize` get their values back by the ranges that the file keeps.
    """
    ranges = ranges_of(light.bands) or {}
    levels = [band.name for band in light.bands if band.dtype == "uint8"]
    for name in levels:
        if name in ranges:
            step = (ranges[name][1] - ranges[name][0]) / (BRIGHTEST - DARKEST)
            light = light.rescaled([name], step, ranges[name][0] - DARKEST * step)
    if set(levels) - set(ranges):
        return light, False
    units = {unit.name: unit for unit in UNITS}
    said = {light.facts.unit, *(band.unit for band in light.bands)} & set(units)
    values = () if said else measure_values(sample_values(light, apart_from_zeros=True)) or ()
    name = said.pop() if len(said) == 1 else unit_of(values)
    # What values alone say of an offset is not sure enough to take it off.
    if name not in units or (values and units[name].offset):
        found = f"looks like {name}" if name else "is unknown"
        raise ValuesError(
            f"{light.paths[0]}: the unit of {', '.join(light.band_names)} {found}, and with an offset still "
            "in them their ratios mean nothing; bring them to reflectance with `glacierseg prepare stack` "
            "and its --scale and --offset (0 where there is none)"
        )
    return light.rescaled(light.band_names, units[name].scale, units[name].offset), True


def _logarithms(ratio: _Ratio, area: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the logarithm of a ratio on some pixels of its scene, evenly thinned where they are many."""
    step = max(int(np.count_nonzero(area)) // _MOST_SAMPLES, 1)
    found = []
    with ratio.scene.open() as reader:
        for rows, values, valid in reader.strips():
            above, below = ratio.parts(values[:, valid & area[rows]][:, ::step])
            lit = (above > 0) & (below > 0)
            found.append(np.log(above[lit] / below[lit]))
    return np.concatenate(found)
