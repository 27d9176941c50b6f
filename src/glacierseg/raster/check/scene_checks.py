"""Checks of a scene: its bands, values, place and gaps."""

import math

from pyproj import Geod
from rasterio.warp import transform

from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.check.scan import SceneCounts
from glacierseg.raster.grid import Grid, name_of_crs
from glacierseg.raster.recipes import PHYSICAL_RANGES
from glacierseg.raster.scene import Scene, open_raster
from glacierseg.raster.warp import utm_crs

# A sensor's greatest value in so many pixels is no measurement any more.
_SATURATED = 0.01
_ALL_ZERO = 0.001
_MISSING = 0.01
_MOSTLY_MISSING = 0.5
_STRETCHED = 0.02
_NOT_SQUARE = 0.05
_PATCH_KM = (0.3, 60.0)
# Values that files use for "no data" and often forget to declare.
_USUAL_NODATA = frozenset({-9999.0, -99999.0, -32768.0, -32767.0, -3.4028234663852886e38})


def check_bands(scene: Scene) -> CheckResult:
    """Number of bands, and whether they carry names."""
    for path in scene.paths:
        with open_raster(path) as dataset:
            colours = [colour.name for colour in dataset.colorinterp]
        if "alpha" in colours:
            plain = ",".join("undefined" if name == "alpha" else name for name in colours)
            return CheckResult(
                "bands",
                "warning",
                f"band {colours.index('alpha') + 1} of {path} is marked as transparency; taken for data here",
                f"rio edit-info --colorinterp {plain} {path}",
            )
    names = ", ".join(scene.band_names)
    count = f"{len(scene.bands)} band{'s' if len(scene.bands) > 1 else ''}"
    if any(name.startswith("band_") and name[5:].isdecimal() for name in scene.band_names):
        files = " ".join(str(path) for path in scene.paths)
        return CheckResult(
            "bands",
            "warning",
            f"{count} without names in the file ({names}); their order must then be the same everywhere",
            f"glacierseg prepare stack {files} --names NAME,NAME,... --out NAMED.tif",
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
                f"rio convert {band.path} OUT.tif --dtype float32",
            )
    return CheckResult("data type", "passed", ", ".join(dict.fromkeys(band.dtype for band in scene.bands)))


def check_values(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Range of values."""
    known = [band for band in counts.bands if band.valid]
    least, greatest = (
        min((band.least for band in known), default=math.nan),
        max((band.greatest for band in known), default=math.nan),
    )
    message = f"{least:g} to {greatest:g} ({_scale_of(scene, least, greatest)})"
    return CheckResult("values", "passed", message)


def check_crs(scene: Scene) -> CheckResult:
    """Whether the scene lies in metres, true to scale."""
    grid = scene.grid
    files = " ".join(str(path) for path in scene.paths)
    name, utm = name_of_crs(grid.crs), name_of_crs(utm_crs(grid))
    fix = f"glacierseg prepare align {scene.paths[0]} --like RASTER_IN_UTM.tif --out UTM.tif"
    width_m, height_m = grid.pixel_size_m
    if grid.is_geographic:
        return CheckResult(
            "CRS",
            "warning",
            f"{name} is in degrees; a pixel is {width_m:.1f} x {height_m:.1f} m here; use {utm}",
            f"glacierseg prepare stack {files} --out UTM.tif",
        )
    if (stretch := _stretch(grid)) > _STRETCHED:
        return CheckResult(
            "CRS",
            "warning",
            f"{name} stretches lengths by {100 * stretch:.0f} % here, so areas would be wrong; use {utm}",
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
        f"{grid.width} x {grid.height} px of {width_m:.4g} x {height_m:.4g} m; "
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
        fix = "bring the scene to UTM, see CRS" if grid.is_geographic else "align it to a square grid"
        return CheckResult("size", "warning", f"{message}; pixels are not square", fix)
    return CheckResult("size", "passed", message)


def check_undeclared(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Pixels without data that the files do not declare: NaN, infinities, zeros in every band."""
    for band, found in zip(scene.bands, counts.bands, strict=True):
        if found.infinite or (found.not_finite and band.nodata is None):
            return CheckResult(
                "undeclared nodata",
                "warning",
                f"band {band.name!r} has {found.not_finite} NaN or infinite pixels "
                f"({_percent(found.not_finite / found.pixels)}) that are not declared as nodata; "
                "they count as missing here",
                f"rio edit-info --nodata nan {band.path}",
            )
        if found.valid and (found.least in _USUAL_NODATA or found.least < -1e30):
            return CheckResult(
                "undeclared nodata",
                "warning",
                f"least value of band {band.name!r} is {found.least:g}, which looks like undeclared nodata",
                f"rio edit-info --nodata {found.least:g} {band.path}",
            )
    share = counts.all_zero / counts.pixels
    if share > _ALL_ZERO and all(band.nodata is None for band in scene.bands):
        return CheckResult(
            "undeclared nodata",
            "warning",
            f"{_percent(share)} of pixels are 0 in every band, and no nodata is declared",
            " && ".join(f"rio edit-info --nodata 0 {path}" for path in scene.paths),
        )
    return CheckResult("undeclared nodata", "passed", "no NaN, infinity or usual nodata value is undeclared")


def check_missing(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Pixels without data: per band, over the scene and by patch."""
    empty = [b.name for b, found in zip(scene.bands, counts.bands, strict=True) if not found.valid]
    if empty or counts.missing == counts.pixels:
        what = f"band {empty[0]!r} has no data at all" if empty else "no pixel has data in every band"
        return CheckResult("nodata", "failed", what, "leave a band out with `glacierseg prepare select`")
    if not counts.missing:
        return CheckResult("nodata", "passed", "every pixel has data in every band")
    shares = sorted(
        ((found.missing_share, b.name) for b, found in zip(scene.bands, counts.bands, strict=True)),
        reverse=True,
    )
    worst = ", ".join(f"{name} {_percent(share)}" for share, name in shares[:3] if share)
    gaps = counts.missing_in_patch
    lost = int((gaps > _MOSTLY_MISSING * counts.pixels_in_patch).sum())
    share = counts.missing / counts.pixels
    message = (
        f"{_percent(share)} of pixels lack some band ({worst}); of {gaps.size} patches side by side "
        f"{int((gaps > 0).sum())} have gaps, {lost} mostly"
    )
    if share > _MISSING:
        fix = "these pixels are ignored; if one band lacks much more than the rest, leave it out"
        return CheckResult("nodata", "warning", message, fix)
    return CheckResult("nodata", "passed", message)


def check_saturation(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Bands in which many pixels share the greatest value."""
    found = [
        f"{band.name} {_percent(band_counts.saturated_share)} at {band_counts.greatest:g}"
        for band, band_counts in zip(scene.bands, counts.bands, strict=True)
        if band_counts.saturated_share > _SATURATED
        and not band_counts.is_constant
        and band.name not in PHYSICAL_RANGES
    ]
    if found:
        return CheckResult(
            "saturation",
            "warning",
            f"many pixels have the greatest value: {', '.join(found)}",
            "bright snow and ice look alike there; a low-gain scene or a shortwave-infrared band helps",
        )
    return CheckResult("saturation", "passed", f"no band has {_percent(_SATURATED)} at its greatest value")


def check_distinct(scene: Scene, counts: SceneCounts) -> CheckResult:
    """Bands that say nothing, or nothing new."""
    constant = [b.name for b, found in zip(scene.bands, counts.bands, strict=True) if found.is_constant]
    if constant:
        return CheckResult(
            "distinct bands",
            "warning",
            f"band {constant[0]!r} has the same value everywhere",
            "leave it out with `glacierseg prepare select`",
        )
    first: dict[bytes, str] = {}
    for band, found in zip(scene.bands, counts.bands, strict=True):
        twin = first.setdefault(found.digest.digest(), band.name)
        if twin != band.name and found.valid:
            return CheckResult(
                "distinct bands",
                "warning",
                f"bands {twin!r} and {band.name!r} have equal pixels",
                "leave one out with `glacierseg prepare select`",
            )
    return CheckResult("distinct bands", "passed", "no band is constant or a copy of another")


def _scale_of(scene: Scene, least: float, greatest: float) -> str:
    if scene.dtype == "uint8":
        return "8-bit levels"
    if least >= -1 and greatest <= 2:
        return "reflectance or index"
    if scene.dtype.kind in "iu" and least >= 0 and greatest <= 20000:
        return "looks like reflectance x 10 000"
    return "digital numbers or physical units"


def _stretch(grid: Grid) -> float:
    """Relative error of a pixel's sides against the ellipsoid, at the centre of a projected grid."""
    middle = grid.width / 2, grid.height / 2
    geod, worst = Geod(ellps="WGS84"), 0.0
    for axis, nominal in enumerate(grid.pixel_size_m):
        ends = []
        for step in (-0.5, 0.5):
            column, row = (middle[0] + step, middle[1]) if axis == 0 else (middle[0], middle[1] + step)
            ends.append(grid.transform * (column, row))
        longitudes, latitudes = transform(grid.crs, "EPSG:4326", *zip(*ends, strict=True))
        true = geod.inv(longitudes[0], latitudes[0], longitudes[1], latitudes[1])[2]
        worst = max(worst, abs(nominal / true - 1))
    return worst


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
