"""The first stage: scenes and truth of the configuration become regions with a role for every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from glacierseg import log
from glacierseg.choices import Role
from glacierseg.data.patches import Patch, Region, covered_pixels, place_patches
from glacierseg.data.split import NO_ROLE, ROLE_CODES, random_holdout
from glacierseg.errors import BandError, ConfigError, RasterError, TruthError
from glacierseg.experiment.roles import share_out
from glacierseg.raster.bounds import may_meet
from glacierseg.raster.footprint import area_on_grid
from glacierseg.raster.ground import name_of_crs
from glacierseg.raster.open import open_raster
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.stack import stack_rasters
from glacierseg.raster.truth import BACKGROUND, GLACIER, IGNORE, load_truth
from glacierseg.raster.write import write_json, write_raster
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import RegionConfig, RunConfig


@dataclass(frozen=True)
class StudyRegion:
    """A region and the pixels that are scored under each of its roles.

    Attributes:
        region: Scene, truth and role of each pixel.
        areas: Pixels `(H, W)` of each role. Under the random split they overlap.
    """

    region: Region
    areas: dict[Role, NDArray[np.bool_]]

    @property
    def name(self) -> str:
        """The region's name."""
        return self.region.name

    def truth_of(self, role: Role) -> NDArray[np.uint8]:
        """Returns truth `(H, W)` with 255 outside a role's pixels."""
        return np.where(self.areas[role], self.region.truth, np.uint8(IGNORE))


@dataclass(frozen=True)
class Patches:
    """Training and validation patches of one patch size."""

    train: tuple[Patch, ...]
    validate: tuple[Patch, ...]


def open_sources(config: RunConfig) -> dict[str, Scene]:
    """Opens the files of every region.

    Raises:
        RasterError: A file cannot be read.
        BandError: Band names are doubled or of another number than the bands.
    """
    return {
        region.name: open_scene(region.scene, bands=region.bands, nodata=region.nodata)
        for region in config.regions
    }


def choose_bands(config: RunConfig, sources: dict[str, Scene], folder: RunFolder) -> dict[str, Scene]:
    """Makes the bands of a recipe, takes those that are asked for, and makes sure that all regions have them.

    Args:
        config: The run's configuration.
        sources: From `open_sources`.
        folder: Where the bands of a recipe are stored.

    Raises:
        BandError: A scene lacks a band that is asked for, or has other bands than the first region.
        RequestError: The recipe or the sensor is unknown.
    """
    scenes: dict[str, Scene] = {}
    for region in config.regions:
        scene = sources[region.name]
        if config.bands.recipe is not None:
            made = folder.scene(region.name)
            if not made.exists():
                with log.bar(f"making bands of {region.name}") as progress:
                    stack_rasters(
                        region.scene,
                        made,
                        recipe=config.bands.recipe,
                        dem=region.dem,
                        like=region.scene[0],
                        sensor=region.sensor,
                        names=region.bands,
                        scale=config.bands.scale,
                        offset=config.bands.offset,
                        nodata=region.nodata,
                        progress=progress,
                    )
            scene = open_scene(made)
        if config.bands.use != "all":
            scene = scene.select(config.bands.use)
        first = next(iter(scenes.values()), scene)
        if set(scene.band_names) != set(first.band_names):
            odd = sorted(set(scene.band_names) ^ set(first.band_names))
            raise BandError(
                f"{scene.paths[0]}: region {region.name} has {len(scene.bands)} bands and region "
                f"{config.regions[0].name} has {len(first.bands)}; they differ in {', '.join(odd[:6])}: "
                "give all regions the same bands, or name those in common under `bands: use:`"
            )
        scenes[region.name] = scene.select(first.band_names)
    return scenes


def study_regions(config: RunConfig, folder: RunFolder, scenes: dict[str, Scene]) -> tuple[StudyRegion, ...]:
    """Loads truth and roles of every region, or reads back what an earlier call stored.

    Args:
        config: The run's configuration.
        folder: Where truth and roles are stored as GeoTIFFs.
        scenes: From `choose_bands`.

    Raises:
        TruthError: Truth cannot be used, or holds no glacier.
        RasterError: A scene holds no data.
        ConfigError: Nothing is left to train on.
    """
    regions = [_load(region, scenes[region.name], folder) for region in config.regions]
    if not all(folder.roles(region.name).exists() for region in regions):
        regions = share_out(config, regions)
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
    studied = tuple(
        StudyRegion(region, _areas(config, wanted, region))
        for wanted, region in zip(config.regions, regions, strict=True)
    )
    write_json(
        folder.regions,
        [
            {
                "name": study.name,
                "scene_paths": [str(path) for path in study.region.scene.paths],
                "bands": list(study.region.scene.band_names),
                "roles": list(study.areas),
                "pixel_size_m": list(study.region.scene.grid.pixel_size_m),
                "crs": name_of_crs(study.region.scene.grid.crs),
            }
            for study in studied
        ],
    )
    return studied


def split_patches(config: RunConfig, studied: Sequence[StudyRegion], patch_px: int) -> Patches:
    """Places training and validation patches of one size."""
    regions = [study.region for study in studied]
    train = place_patches(regions, "train", patch_px, overlap=config.patch.overlap)
    if config.split.method != "random":
        return Patches(train, place_patches(regions, "validate", patch_px, overlap=0.0))
    held = random_holdout(len(train), config.split.holdout_share, config.split.seed)
    return Patches(
        tuple(patch for patch, out in zip(train, held, strict=True) if not out),
        tuple(patch for patch, out in zip(train, held, strict=True) if out),
    )


def tuning_truths(
    config: RunConfig, studied: Sequence[StudyRegion], patches: Patches, patch_px: int
) -> dict[str, NDArray[np.uint8]]:
    """Returns the truth that refinement may be tuned on: validation pixels only, 255 elsewhere.

    Args:
        config: The run's configuration.
        studied: The regions.
        patches: The split; under the random split its held-out patches are the validation pixels.
        patch_px: Side of a patch.

    Returns:
        `(H, W)` by region, for regions that hold any such pixel.
    """
    if config.split.method != "random":
        return {study.name: study.truth_of("validate") for study in studied if "validate" in study.areas}
    truths = {}
    for index, study in enumerate(studied):
        held = covered_pixels(study.region, index, patches.validate, patch_px)
        if held.any():
            truths[study.name] = np.where(held, study.region.truth, np.uint8(IGNORE))
    return truths


def leak_share(
    patches: Patches, studied: Sequence[StudyRegion], patch_px: int, *, reach_px: int, blanked: bool
) -> float:
    """Returns the share of validation pixels whose ground training shows to the network.

    Ground that two regions share counts as shown by both.

    Args:
        patches: The split.
        studied: The regions.
        patch_px: Side of a patch.
        reach_px: How far training looks beyond its patches.
        blanked: Whether training patches hide pixels of other roles (they do unless the split is random).
    """
    shown = []
    for index, study in enumerate(studied):
        train = covered_pixels(study.region, index, patches.train, patch_px, margin_px=reach_px)
        if blanked:
            train &= np.isin(study.region.roles, (NO_ROLE, ROLE_CODES["train"]))
        shown.append(train)
    total = seen = 0
    for index, study in enumerate(studied):
        validated = covered_pixels(study.region, index, patches.validate, patch_px)
        validated &= study.region.truth != IGNORE
        if blanked:
            validated &= study.region.roles == ROLE_CODES["validate"]
        if not validated.any():
            continue
        train = shown[index].copy()
        for other, elsewhere in zip(studied, shown, strict=True):
            own, far = study.region.scene.grid, other.region.scene.grid
            if other is not study and may_meet(far, own) and elsewhere.any():
                train |= area_on_grid(elsewhere, far, own)
        total += int(validated.sum())
        seen += int((validated & train).sum())
    return seen / total if total else 0.0


def _load(wanted: RegionConfig, scene: Scene, folder: RunFolder) -> Region:
    stored = folder.truth(wanted.name)
    no_roles = np.zeros(scene.grid.shape, np.uint8)
    if stored.exists():
        return Region(wanted.name, scene, _read(stored), no_roles)
    truth = load_truth(wanted.truth, scene.grid, layer=wanted.truth_layer, option="truth_layer")
    if not (truth == GLACIER).any():
        unlabelled = (truth == IGNORE).any()
        hint = "255 means ignore here, reclassify it to 1" if unlabelled else "give its real truth"
        raise TruthError(f"{wanted.truth}: holds no glacier pixel (1) in region {wanted.name}; {hint}")
    with scene.open() as reader:
        for rows, _, valid in reader.strips():
            truth[rows][~valid] = IGNORE
    if (truth == IGNORE).all():
        raise RasterError(
            f"{scene.paths[0]}: no pixel has both data in every band and truth; look at its nodata value"
        )
    write_raster(stored, truth, scene.grid, bands=["glacier"], nodata=IGNORE)
    return Region(wanted.name, scene, truth, no_roles)


def _areas(config: RunConfig, wanted: RegionConfig, region: Region) -> dict[Role, NDArray[np.bool_]]:
    areas: dict[Role, NDArray[np.bool_]] = {}
    for role, code in ROLE_CODES.items():
        area = region.roles == code
        if config.split.method == "random" and role in wanted.roles and wanted.roles[role] is None:
            # Without parts the original protocol trains on and scores the same pixels.
            area = np.ones(region.truth.shape, bool)
        if area.any():
            areas[role] = area
    return areas


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        with open_raster(path) as dataset:
            values: NDArray[np.uint8] = dataset.read(1)
    except RasterioError as error:
        raise RasterError(f"{path}: is damaged; remove it and run again") from error
    return values
