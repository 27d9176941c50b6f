"""Checks of a scene: its bands, values, place and gaps, and what its file says of them."""

import math
from collections.abc import Mapping

from glacierseg.raster.check.result import CheckResult, command, edit_file
from glacierseg.raster.check.scan import BandCounts, SceneCounts
from glacierseg.raster.facts import SceneFacts, facts_of_bands
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import TOLERANCE, name_of_crs, stated_m, unevenness
from glacierseg.raster.indices import INDICES
from glacierseg.raster.open import open_raster
from glacierseg.raster.prepare.recipes import PHYSICAL_RANGES
from glacierseg.raster.scene import Scene
from glacierseg.raster.sensors import is_unnamed, role_of
from glacierseg.raster.units import (
    LEVELS_UNIT,
    UNITS,
    conversion_cure,
    look_for_left_offset,
    reflected_bands,
    unit_of,
)
from glacierseg.raster.values import Band, measure_values, sample_values
from glacierseg.raster.warp import utm_crs

# A sensor's greatest value in so many pixels is no measurement any more.
_SATURATED = 0.01
_ALL_ZERO = 0.001
_MISSING = 0.01
_MOSTLY_MISSING = 0.5
_STRETCHED = 0.02
_NOT_SQUARE = 0.05
_HIGHEST_M = 9000
_PATCH_KM = (0.3, 60.0)
# Values that files use for "no data" and often forget to declare.
_USUAL_NODATA = frozenset({-9999.0, -99999.0, -32768.0, -32767.0, -3.4028234663852886e38})


def check_bands(scene: Scene) -> CheckResult:
    """Number of bands, and whether they carry names."""
    for path in scene.paths:
        with open_raster(path) as dataset:
            colours = [colour.name for colour in dataset.colorinterp]
        marked = [number for number, name in enumerate(colours, start=1) if name == "alpha"]
        taken = [band.index for band in scene.bands if band.path == path and band.index in marked]
        if taken:
            plain = ",".join("undefined" if name == "alpha" else name for name in colours)
            return CheckResult(
                "bands",
                "warning",
                f"band {taken[0]} of {path} is marked as transparency; taken for data here",
                edit_file(path, "--colorinterp", plain),
            )
    names = ", ".join(scene.band_names)
    count = f"{len(scene.bands)} band{'s' if len(scene.bands) > 1 else ''}"
    if any(map(is_unnamed, scene.band_names)):
        return CheckResult(
            "bands",
            "warning",
            f"{count} without names in the file ({names}); their order must then be the same everywhere",
            _stack(scene, "--band-names", "NAME,NAME,...", "--out", "NAMED.tif"),
        )
    return CheckResult("bands", "passed", f"{count}: {names}")


def check_data_type(scene: Scene) -> CheckResult:
    """Whether the pixels are numbers that a network can take."""
    for band in scene.bands:
        if band.dtype.startswith(("complex", "int64", "uint64")):
            return CheckResult(
                "data type",
                "failed",
                f"band {band.name!r} has data type {band.dtype}",
                command("rio", "convert", band.path, "OUT.tif", "--dtype", "float32"),
            )
    return CheckResult("data type", "passed", ", ".join(dict.fromkeys(band.dtype for band in scene.bands)))


def check_values(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Range of values, and whether they are in a unit in which indices and ranges are right.

    Raises:
        RasterError: Pixels cannot be read.
    """
    per_band = {
        band.name: {"least": found.least, "greatest": found.greatest}
        for band, found in _pairs(scene, counts)
        if found.valid
    }
    least = min((figures["least"] for figures in per_band.values()), default=math.nan)
    greatest = max((figures["greatest"] for figures in per_band.values()), default=math.nan)
    message = f"{least:g} to {greatest:g} ({_scale_of(scene, least, greatest)})"
    if wrong := _wrong_unit(scene, counts):
        return CheckResult(
            "values", "warning", f"{message}; the unit is wrong: {wrong[0]}", wrong[1], per_band
        )
    return CheckResult("values", "passed", message, per_band=per_band)


def _wrong_unit(scene: Scene, counts: SceneCounts) -> tuple[str, str] | None:
    """Returns which values cannot be right, and what fixes them."""
    if left := look_for_left_offset(scene):
        return left.in_words, conversion_cure(scene, left.unit.cures[0])
    light = reflected_bands(scene.band_names)
    found = {band.name: own for band, own in _pairs(scene, counts) if own.valid}
    own = [found[name] for name in light if name in found]
    if own and all(band.greatest < 0 for band in own):
        what = f"reflected light is {own[0].least:g} to {own[0].greatest:g}, and it cannot be negative"
        return what, "stack it again with another --offset (it is added after the scale)"
    high = found.get("elevation")
    if high and scene.dtype != "uint8" and high.greatest > _HIGHEST_M:
        what = f"elevation reaches {high.greatest:g}, and no ground is higher than {_HIGHEST_M} m"
        return what, "if these are feet, give an elevation model in metres"
    heat = [name for name in found if (role_of(name) or "").startswith("thermal") and not is_unnamed(name)]
    if heat and found[heat[0]].greatest < 2:
        what = f"{heat[0]} is {found[heat[0]].least:g} to {found[heat[0]].greatest:g}, and heat is in kelvin"
        return what, "stack it again from its files: their scale and offset are not for heat"
    return None


def check_crs(scene: Scene) -> CheckResult:
    """Whether the scene lies in metres, true to scale."""
    grid = scene.grid
    name, utm = name_of_crs(grid.crs), name_of_crs(utm_crs(grid))
    width_m, height_m = grid.pixel_size_m
    fix = _stack(scene, "--pixel-size-m", f"{math.sqrt(width_m * height_m):.3g}", "--out", "UTM.tif")
    if not unevenness(grid) <= TOLERANCE:
        return CheckResult(
            "CRS",
            "warning",
            f"pixels have very different sizes on the ground by place ({name}), so lengths and areas in them "
            f"are refused; use {utm}",
            fix,
        )
    if grid.is_geographic:
        return CheckResult(
            "CRS",
            "warning",
            f"{name} is in degrees; a pixel is {width_m:.1f} x {height_m:.1f} m here; use {utm}",
            _stack(scene, "--out", "UTM.tif"),
        )
    stated = stated_m(grid.crs, grid.transform)
    stretch = max(abs(stated[0] / width_m - 1), abs(stated[1] / height_m - 1))
    if stretch > _STRETCHED:
        return CheckResult(
            "CRS",
            "warning",
            f"{name} stretches lengths by {100 * stretch:.0f} % here; a pixel is {width_m:.1f} x "
            f"{height_m:.1f} m on the ground; use {utm}",
            fix,
        )
    if abs(float(grid.crs.linear_units_factor[1]) - 1) > 1e-9:
        return CheckResult("CRS", "warning", f"{name} is in {grid.crs.linear_units}; use {utm}", fix)
    return CheckResult("CRS", "passed", f"{name}, in metres")


def check_size(grid: Grid, patch_px: int) -> CheckResult:
    """Size of scene and pixels against the patch."""
    width_m, height_m = grid.pixel_size_m
    patch_km = patch_px * math.sqrt(width_m * height_m) / 1000
    message = (
        f"{grid.width} x {grid.height} px of {width_m:.4g} x {height_m:.4g} m on the ground; "
        f"a patch of {patch_px} px covers {patch_km:.3g} km"
    )
    if min(grid.shape) < patch_px:
        fix = f"use a patch of at most {min(grid.shape)} px"
        return CheckResult("size", "warning", f"{message}, more than the scene has", fix)
    if not _PATCH_KM[0] <= patch_km <= _PATCH_KM[1]:
        return CheckResult(
            "size", "warning", f"{message}, which no glacier fits", "choose another patch size"
        )
    if abs(width_m / height_m - 1) > _NOT_SQUARE:
        fix = "align it to a square grid"
        if grid.is_geographic or math.prod(stated_m(grid.crs, grid.transform)[:2]) != width_m * height_m:
            fix = "bring the scene to UTM, see CRS"
        return CheckResult("size", "warning", f"{message}; pixels are not square", fix)
    return CheckResult("size", "passed", message)


def check_undeclared(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Pixels without data that the files do not declare: NaN, infinities, zeros in every band."""
    for band, found in _pairs(scene, counts):
        if found.infinite:
            return CheckResult(
                "undeclared nodata",
                "warning",
                f"band {band.name!r} has {found.infinite} infinite pixels "
                f"({_percent(found.infinite / found.pixels)}); they count as missing here",
                _rewrite(band),
            )
        if found.not_finite and band.nodata is None:
            return CheckResult(
                "undeclared nodata",
                "warning",
                f"band {band.name!r} has {found.not_finite} NaN pixels "
                f"({_percent(found.not_finite / found.pixels)}) that are not declared as nodata; "
                "they count as missing here",
                edit_file(band.path, "--nodata", "nan"),
            )
        if found.valid and (found.least in _USUAL_NODATA or found.least < -1e30):
            return CheckResult(
                "undeclared nodata",
                "warning",
                f"least value of band {band.name!r} is {found.least:g}, which looks like undeclared nodata",
                edit_file(band.path, "--nodata", repr(found.least)),
            )
    share = counts.all_zero / counts.pixels
    if share > _ALL_ZERO and all(band.nodata is None for band in scene.bands):
        return CheckResult(
            "undeclared nodata",
            "warning",
            f"{_percent(share)} of pixels are 0 in every band, and no nodata is declared",
            " && ".join(edit_file(path, "--nodata", "0") for path in scene.paths),
        )
    return CheckResult("undeclared nodata", "passed", "no NaN, infinity or usual nodata value is undeclared")


def check_missing(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Pixels without data: per band, over the scene and by patch."""
    per_band = {
        band.name: {
            "missing": found.missing_share,
            "nan": (found.not_finite - found.infinite) / found.pixels,
            "infinite": found.infinite / found.pixels,
        }
        for band, found in _pairs(scene, counts)
    }
    empty = [band for band, found in _pairs(scene, counts) if not found.valid]
    if empty:
        what = f"band {empty[0].name!r} has no data at all"
        if empty[0].name in INDICES and (wrong := _wrong_unit(scene, counts)):
            return CheckResult("nodata", "failed", f"{what}; {wrong[0]}", wrong[1], per_band)
        return CheckResult("nodata", "failed", what, _leave_out(scene, empty[0]), per_band)
    if counts.missing == counts.pixels:
        worst = max(_pairs(scene, counts), key=lambda pair: pair[1].missing_share)[0]
        what = "no pixel has data in every band"
        return CheckResult("nodata", "failed", what, _leave_out(scene, worst), per_band)
    if not counts.missing:
        return CheckResult("nodata", "passed", "every pixel has data in every band", per_band=per_band)
    gaps = counts.missing_in_patch
    lost = int((gaps > _MOSTLY_MISSING * counts.pixels_in_patch).sum())
    share = counts.missing / counts.pixels
    message = (
        f"{_percent(share)} of pixels lack some band ({_by_share(per_band)}); "
        f"of {gaps.size} patches side by side {int((gaps > 0).sum())} have gaps, {lost} mostly"
    )
    if share > _MISSING:
        fix = "these pixels are ignored; if one band lacks much more than the rest, leave it out"
        return CheckResult("nodata", "warning", message, fix, per_band)
    return CheckResult("nodata", "passed", message, per_band=per_band)


def check_saturation(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Bands in which many pixels share the greatest value."""
    per_band = {band.name: {"saturated": found.saturated_share} for band, found in _pairs(scene, counts)}
    found = [
        f"{band.name} {_percent(band_counts.saturated_share)} at {band_counts.greatest:g}"
        for band, band_counts in _pairs(scene, counts)
        if band_counts.saturated_share > _SATURATED
        and not band_counts.is_constant
        and band.name not in PHYSICAL_RANGES
    ]
    if found:
        return CheckResult(
            "saturation",
            "warning",
            f"many pixels have the greatest value: {', '.join(found)}",
            _lost_at_greatest(scene),
            per_band,
        )
    message = f"no band has {_percent(_SATURATED)} at its greatest value"
    return CheckResult("saturation", "passed", message, per_band=per_band)


def check_distinct(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Bands that say nothing, or nothing new."""
    constant = [band for band, found in _pairs(scene, counts) if found.is_constant]
    light = reflected_bands(scene.band_names)
    if len(light) > 1 and {band.name for band in constant} >= set(light):
        return CheckResult(
            "distinct bands",
            "warning",
            f"all bands of reflected light ({', '.join(light)}) have one value everywhere: the unit is wrong",
            "bring the scene to the unit of its ranges (--scale, --offset of `glacierseg prepare stack`) and "
            "normalize it again",
        )
    if constant:
        return CheckResult(
            "distinct bands",
            "warning",
            f"band {constant[0].name!r} has the same value everywhere",
            _leave_out(scene, constant[0]),
        )
    first: dict[bytes, str] = {}
    for band, found in _pairs(scene, counts):
        twin = first.setdefault(found.digest.digest(), band.name)
        if twin != band.name and found.valid:
            return CheckResult(
                "distinct bands",
                "warning",
                f"bands {twin!r} and {band.name!r} have equal pixels",
                _leave_out(scene, band),
            )
    return CheckResult("distinct bands", "passed", "no band is constant or a copy of another")


def _lost_at_greatest(scene: Scene) -> str:
    fix = "bright snow and ice look alike there; a low-gain scene or a shortwave-infrared band helps"
    if scene.dtype == "uint8":
        return f"{fix}; if it was normalized with ranges of other scenes, check that it is in their unit"
    return fix


def _pairs(scene: Scene, counts: SceneCounts) -> list[tuple[Band, BandCounts]]:
    return list(zip(scene.bands, counts.bands, strict=True))


def _by_share(per_band: Mapping[str, Mapping[str, float]]) -> str:
    """Bands that lack pixels, worst first, those with equal shares together."""
    groups: dict[str, list[str]] = {}
    for name, figures in sorted(per_band.items(), key=lambda item: -item[1]["missing"]):
        if figures["missing"]:
            groups.setdefault(_percent(figures["missing"]), []).append(name)
    return "; ".join(f"{', '.join(names)} {share}" for share, names in groups.items())


def _stack(scene: Scene, *options: str) -> str:
    return command("glacierseg", "prepare", "stack", *scene.paths, *options)


def _leave_out(scene: Scene, band: Band) -> str:
    """Command that leaves a band out; words where no single file has the rest."""
    if len(scene.bands) == 1:
        return "give a scene with other bands"
    if len(scene.paths) > 1:
        return f"leave {band.name!r} out, band {band.index} of {band.path}"
    rest = ",".join(str(other.index) for other in scene.bands if other != band)
    return command("glacierseg", "prepare", "select", band.path, "--bands", rest, "--out", "FEWER.tif")


def _rewrite(band: Band) -> str:
    """Command that copies a file, whereby pixels without data become its nodata value."""
    with open_raster(band.path) as dataset:
        every = ",".join(str(index) for index in dataset.indexes)
    return command("glacierseg", "prepare", "select", band.path, "--bands", every, "--out", "CLEAN.tif")


def _scale_of(scene: Scene, least: float, greatest: float) -> str:
    if scene.dtype == "uint8":
        return "8-bit levels"
    if least >= -1 and greatest <= 2:
        return "reflectance or index"
    if scene.dtype.kind in "iu" and least >= 0 and greatest <= 20000:
        return "looks like reflectance x 10 000"
    return "digital numbers or physical units"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def check_facts(scene: Scene) -> tuple[CheckResult, ...]:
    """What the file says of where the scene comes from; nothing where it says nothing.

    Raises:
        RasterError: Pixels cannot be read.
    """
    facts = facts_of_bands(scene.bands)
    if facts == SceneFacts():
        return ()
    if other := _other_unit(scene, facts.unit):
        return (
            CheckResult(
                "origin",
                "warning",
                f"{facts.in_words}; but values of reflected light look like {other}",
                "its values were changed and its tags were not: make the scene from its product again",
            ),
        )
    return (CheckResult("origin", "passed", facts.in_words),)


def _other_unit(scene: Scene, unit: str) -> str:
    """Names the unit that values of reflected light look like, where it is not that of the tags."""
    light = reflected_bands(scene.band_names)
    if not light or unit not in {LEVELS_UNIT, *(known.name for known in UNITS)}:
        return ""
    chosen = scene.select(light)
    if chosen.dtype == "uint8":
        found = LEVELS_UNIT
    else:
        found = unit_of(measure_values(sample_values(chosen, apart_from_zeros=True)) or ())
    return found if found != unit else ""
