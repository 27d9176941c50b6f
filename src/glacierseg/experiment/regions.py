"""The first stage: scenes and truth become regions with a role for every pixel, and are checked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from glacierseg import log
from glacierseg.data.patches import Patch, covered_pixels, place_patches
from glacierseg.data.regions import Region
from glacierseg.data.split import NO_ROLE, ROLE_CODES, random_holdout
from glacierseg.errors import BandError, ConfigError, DataError, RasterError, TruthError
from glacierseg.experiment.roles import share_out
from glacierseg.raster.bounds import area_on_grid, may_meet
from glacierseg.raster.check import check_overlap, check_scene
from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.facts import facts_of_bands
from glacierseg.raster.grid import Grid
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.open import open_raster
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE, load_truth
from glacierseg.raster.write import write_json, write_raster
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import BandsConfig, PatchConfig, RegionConfig, SplitConfig
from glacierseg.settings.prepare import StackSettings, recipe_as_text

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitPatches:
    """Training and validation patches of one size.

    Attributes:
        train: Training patches.
        validate: Validation patches.
        from_train: Whether validation patches are held out of those on training pixels: the random split.
    """

    train: tuple[Patch, ...]
    validate: tuple[Patch, ...]
    from_train: bool = False


def open_sources(sections: Sequence[RegionConfig]) -> dict[str, Scene]:
    """Opens the files of every region.

    Raises:
        RasterError: A file cannot be read.
        BandError: Band names are doubled or of another number than the bands.
    """
    return {
        region.name: open_scene(region.scene, bands=region.bands, nodata=region.nodata) for region in sections
    }


def choose_bands(
    sections: Sequence[RegionConfig], bands: BandsConfig, sources: Mapping[str, Scene], folder: RunFolder
) -> dict[str, Scene]:
    """Makes the bands of a recipe, selects those that are asked for, and checks that all regions have them.

    Args:
        sections: The regions of the configuration.
        bands: Which bands the networks see.
        sources: From `open_sources`.
        folder: Where the bands of a recipe are stored.

    Raises:
        BandError: A scene lacks a band that is asked for, or has other bands than the first region.
        RequestError: The recipe or the sensor is unknown.
    """
    scenes: dict[str, Scene] = {}
    for region in sections:
        scene = sources[region.name]
        if bands.recipe is not None:
            made = folder.scene(region.name)
            if not made.exists():
                with log.bar(f"making bands of {region.name}") as progress:
                    stack_rasters(
                        region.scene,
                        made,
                        StackSettings(
                            recipe=recipe_as_text(bands.recipe),
                            sensor=region.sensor,
                            band_names=region.bands,
                            scale=bands.scale,
                            offset=bands.offset,
                            nodata=region.nodata,
                        ),
                        dem=region.dem,
                        like=region.scene[0],
                        layers=region.layers,
                        progress=progress,
                    )
            scene = open_scene(made)
        if bands.use != "all":
            scene = scene.select(bands.use)
        first = next(iter(scenes.values()), scene)
        if set(scene.band_names) != set(first.band_names):
            odd = sorted(set(scene.band_names) ^ set(first.band_names))
            raise BandError(
                f"{scene.paths[0]}: region {region.name} has {len(scene.bands)} bands and region "
                f"{sections[0].name} has {len(first.bands)}; they differ in {', '.join(odd[:6])}: "
                "give all regions the same bands, or name those in common under `bands: use:`"
            )
        scenes[region.name] = scene.select(first.band_names)
    return scenes


def load_regions(
    sections: Sequence[RegionConfig],
    split: SplitConfig,
    patch_px: int,
    scenes: Mapping[str, Scene],
    folder: RunFolder,
) -> tuple[Region, ...]:
    """Loads truth and roles of every region, or reads back what an earlier call stored.

    Args:
        sections: The regions of the configuration.
        split: How pixels are shared out.
        patch_px: Side of the largest patch of all networks.
        scenes: From `choose_bands`.
        folder: Where truth and roles are stored as GeoTIFFs.

    Raises:
        TruthError: Truth cannot be used, or holds no glacier.
        RasterError: A scene holds no data.
        ConfigError: Nothing is left to train on.
    """
    regions = [_load(one, scenes[one.name], folder) for one in sections]
    if not all(folder.roles(region.name).exists() for region in regions):
        regions = share_out(sections, split, patch_px, regions)
        for region in regions:
            write_raster(
                folder.roles(region.name),
                region.roles,
                region.scene.grid,
                bands=["role"],
                nodata=None,
                tags={"values": "0 none, 1 train, 2 validate, 3 test, 4 of a stricter role elsewhere"},
            )
    else:
        regions = [replace(region, roles=_read(folder.roles(region.name))) for region in regions]
    for region in regions:
        for role, code in ROLE_CODES.items():
            area = region.roles == code
            if area.any() and (region.truth[area] == IGNORE).all():
                raise ConfigError(
                    f"region {region.name}: its {role} part holds no pixel with both data and truth; "
                    "give it other ground"
                )
    for value, what in ((GLACIER, "glacier"), (BACKGROUND, "background")):
        if not any(((r.roles == ROLE_CODES["train"]) & (r.truth == value)).any() for r in regions):
            raise ConfigError(
                f"the train parts hold no {what} ({value}); give the role train to ground with {what}, or "
                "look at the truth: what is nodata there is ignored, and is no background"
            )
    if split.method == "random":
        # Without parts the original protocol trains on and scores the same pixels.
        regions = [
            replace(region, whole_roles=tuple(role for role, part in one.roles.items() if part is None))
            for one, region in zip(sections, regions, strict=True)
        ]
    write_json(
        folder.regions,
        [
            {
                "name": region.name,
                "scene_paths": [str(path) for path in region.scene.paths],
                "bands": list(region.scene.band_names),
                "roles": list(region.areas),
                "pixel_size_m": list(region.scene.grid.pixel_size_m),
                "crs": name_of_crs(region.scene.grid.crs),
                **({"facts": tags} if (tags := facts_of_bands(region.scene.bands).tags) else {}),
            }
            for region in regions
        ],
    )
    return tuple(regions)


def read_regions(
    sections: Sequence[RegionConfig], scenes: Mapping[str, Scene], folder: RunFolder
) -> tuple[Region, ...]:
    """Reads back what `load_regions` stored, and writes nothing.

    Raises:
        RasterError: The truth or the roles of a region are missing or damaged.
    """
    return tuple(
        Region(name, scenes[name], _read(folder.truth(name)), _read(folder.roles(name)))
        for name in (region.name for region in sections)
    )


def check_inputs(
    sections: Sequence[RegionConfig], patch_px: int, regions: Sequence[Region], folder: RunFolder
) -> None:
    """Checks every scene and its truth, says what is doubtful and stores it, unless that is done.

    Args:
        sections: The regions of the configuration.
        patch_px: Side of the largest patch of all networks.
        regions: The same, loaded.
        folder: Where the results are stored.

    Raises:
        DataError: A check failed.
    """
    stored = folder.checks
    if stored.exists():
        _log.debug("the regions are checked already")
        return
    found: dict[str, tuple[CheckResult, ...]] = {}
    for region in sections:
        with log.bar(f"checking {region.name}") as progress:
            found[region.name] = check_scene(
                region.scene,
                region.truth,
                bands=region.bands,
                nodata=region.nodata,
                patch_px=patch_px,
                layer=region.truth_layer,
                progress=progress,
            )
    found["all regions"] = (check_overlap(*_role_grounds(regions)),)
    for name, results in found.items():
        for result in results:
            # Ground that is all glacier is no use alone, but may well be one region of several.
            fatal = result.status == "failed" and result.name != "glacier share"
            line = f"{result.name}: {result.message}" + (f"; {result.fix}" if result.fix else "")
            if fatal:
                raise DataError(f"region {name}: {line}")
            if result.status != "passed":
                with log.about(f"check {name}"):
                    _log.info(line)
    write_json(stored, {name: [asdict(result) for result in results] for name, results in found.items()})


def split_patches(
    regions: Sequence[Region], patch_px: int, patch: PatchConfig, split: SplitConfig
) -> SplitPatches:
    """Places training and validation patches of one size.

    Args:
        regions: The regions.
        patch_px: Side of a patch.
        patch: How patches are cut.
        split: How pixels are shared out.
    """
    train = place_patches(regions, "train", patch_px, overlap=patch.overlap)
    if split.method != "random":
        return SplitPatches(train, place_patches(regions, "validate", patch_px, overlap=0.0))
    held = random_holdout(len(train), split.holdout_share, split.seed)
    return SplitPatches(
        tuple(place for place, out in zip(train, held, strict=True) if not out),
        tuple(place for place, out in zip(train, held, strict=True) if out),
        from_train=True,
    )


def tuning_truths(
    regions: Sequence[Region], patch_px: int, patch: PatchConfig, split: SplitConfig
) -> dict[str, NDArray[np.uint8]]:
    """Returns the truth that refinement may be tuned on: validation pixels only, 255 elsewhere.

    Under the random split these are the pixels of its held-out patches.

    Args:
        regions: The regions.
        patch_px: Side of a patch.
        patch: How patches are cut.
        split: How pixels are shared out.

    Returns:
        `(H, W)` by region, for regions that hold any such pixel.
    """
    if split.method != "random":
        return {region.name: region.truth_of("validate") for region in regions if "validate" in region.areas}
    validate = split_patches(regions, patch_px, patch, split).validate
    truths = {}
    for index, region in enumerate(regions):
        held = covered_pixels(region, index, validate, patch_px)
        if held.any():
            truths[region.name] = np.where(held, region.truth, np.uint8(IGNORE))
    return truths


def leak_share(patches: SplitPatches, regions: Sequence[Region], patch_px: int, *, reach_px: int) -> float:
    """Returns the share of validation pixels whose ground training shows to the network.

    Ground that two regions share counts as shown by both.

    Args:
        patches: The split.
        regions: The regions.
        patch_px: Side of a patch.
        reach_px: How far training looks beyond its patches.
    """
    # Training patches hide pixels of other roles; under the random split none of those validates.
    hides = not patches.from_train
    shown = []
    for index, region in enumerate(regions):
        train = covered_pixels(region, index, patches.train, patch_px, margin_px=reach_px)
        if hides:
            train &= np.isin(region.roles, (NO_ROLE, ROLE_CODES["train"]))
        shown.append(train)
    total = seen = 0
    for index, region in enumerate(regions):
        validated = covered_pixels(region, index, patches.validate, patch_px)
        validated &= region.truth != IGNORE
        if hides:
            validated &= region.roles == ROLE_CODES["validate"]
        if not validated.any():
            continue
        train = shown[index].copy()
        for other, elsewhere in zip(regions, shown, strict=True):
            own, far = region.scene.grid, other.scene.grid
            if other is not region and may_meet(far, own) and elsewhere.any():
                train |= area_on_grid(elsewhere, far, own)
        total += int(validated.sum())
        seen += int((validated & train).sum())
    return seen / total if total else 0.0


def _load(wanted: RegionConfig, scene: Scene, folder: RunFolder) -> Region:
    stored, whole = folder.truth(wanted.name), folder.whole_truth(wanted.name)
    no_roles = np.zeros(scene.grid.shape, np.uint8)
    # A run of an earlier version has no whole truth.
    if stored.exists() and whole.exists():
        return Region(wanted.name, scene, _read(stored), no_roles)
    truth = load_truth(wanted.truth, scene.grid, layer=wanted.truth_layer, option="truth_layer")
    if not (truth == GLACIER).any():
        unlabelled = (truth == IGNORE).any()
        hint = "255 means ignore here, reclassify it to 1" if unlabelled else "give its real truth"
        raise TruthError(f"{wanted.truth}: holds no glacier pixel (1) in region {wanted.name}; {hint}")
    write_raster(whole, truth, scene.grid, bands=["glacier"], nodata=IGNORE)
    with scene.open() as reader:
        for rows, _, valid in reader.strips():
            truth[rows][~valid] = IGNORE
    if (truth == IGNORE).all():
        raise RasterError(
            f"{scene.paths[0]}: no pixel has both data in every band and truth; look at its nodata value"
        )
    write_raster(stored, truth, scene.grid, bands=["glacier"], nodata=IGNORE)
    return Region(wanted.name, scene, truth, no_roles)


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        with open_raster(path) as dataset:
            values: NDArray[np.uint8] = dataset.read(1)
    except RasterioError as error:
        raise RasterError(f"{path}: is damaged; remove it and run again") from error
    return values


def _role_grounds(
    regions: Sequence[Region],
) -> tuple[list[tuple[str, str, Grid]], list[NDArray[np.bool_]]]:
    """Returns the ground of each role of each region: the smallest rectangle around its pixels, and these."""
    grids: list[tuple[str, str, Grid]] = []
    areas = []
    for region in regions:
        for role, area in region.areas.items():
            rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
            height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
            top, left = int(rows[0]), int(columns[0])
            grid = region.scene.grid.crop(top, left, height, width)
            grids.append((region.name, role, grid))
            areas.append(area[top : top + height, left : left + width])
    return grids, areas
