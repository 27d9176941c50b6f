"""The sections of a configuration: one validated object each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from glacierseg.choices import Cache, Measure, Role
from glacierseg.runs.layout import folder_name
from glacierseg.settings.base import Settings
from glacierseg.settings.distil import DistilSettings
from glacierseg.settings.models import DataPath, Logarithm, ModelConfig, Share
from glacierseg.settings.outlines import InventorySettings
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.prepare import Factor
from glacierseg.settings.refine import TuneSettings
from glacierseg.settings.train import TrainSettings


class PartConfig(Settings):
    """A part of a scene: fractions of it, and a polygon if that is not enough."""

    x: tuple[Share, Share] = (0.0, 1.0)
    y: tuple[Share, Share] = (0.0, 1.0)
    polygon: DataPath | None = None
    polygon_layer: str | None = None

    @field_validator("x", "y")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(
                f"goes from {value[0]:g} to {value[1]:g}; the first number must be the smaller one"
            )
        return value


class RegionConfig(Settings):
    """A scene with its truth and what it is used for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    scene: tuple[DataPath, ...]
    truth: DataPath
    roles: dict[Role, PartConfig | None]
    truth_layer: str | None = None
    dem: DataPath | None = None
    layers: dict[str, DataPath] = Field(default_factory=dict)
    sensor: str | None = None
    bands: tuple[str, ...] | None = None
    nodata: float | None = None

    @field_validator("scene", mode="before")
    @classmethod
    def _one_or_many_files(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path) else value

    @field_validator("roles", mode="before")
    @classmethod
    def _name_list_or_parts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: None}
        if isinstance(value, list):
            return dict.fromkeys(value)
        return value

    @field_validator("roles")
    @classmethod
    def _parts_for_all_or_none(cls, value: dict[Role, PartConfig | None]) -> dict[Role, PartConfig | None]:
        if not value:
            raise ValueError("is empty; name at least one of train, validate and test")
        given = [part is not None for part in value.values()]
        if len(given) > 1 and any(given) and not all(given):
            raise ValueError("give a part (x, y or polygon) for every role of the region, or for none")
        return value

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it names: the scene's first, then truth, elevation, layers and polygons."""
        polygons = [part.polygon for part in self.roles.values() if part is not None]
        others = (self.truth, self.dem, *self.layers.values(), *polygons)
        return (*self.scene, *(path for path in others if path is not None))


class BandsConfig(Settings):
    """Which bands the networks see."""

    use: Literal["all"] | tuple[str | int, ...] = "all"
    """all, or a list of names or numbers."""
    top: Annotated[int, Field(ge=0)] = 6
    """Number of the most important bands to train again on; 0 trains on all bands only."""
    measure: Measure = "gradient"
    """Measure of importance that chooses them: gradient or permutation."""
    check: bool = True
    """Measure importance by the other one too and print how far they agree."""
    top_preset: Literal["original"] | dict[str, tuple[str | int, ...]] | None = None
    """original: the six bands of the original study for each network, by the names of recipe himalaya-18, or
    by position in 18 unnamed bands; or your own, such as {unetplusplus: [red, nir, slope]}.
    """
    recipe: str | tuple[str, ...] | None = None
    """sentinel2-18, landsat-18, himalaya-18, or a list such as [red, nir, ndwi, slope]."""
    scale: Factor | None = None
    """Factor that brings a recipe's bands of reflected light to reflectance x 10000 or reflectance."""
    offset: float | None = None
    """What is added to them after that: -1000 for Sentinel-2 since 2022, scale 0.0000275 and offset -0.2 for
    Landsat Collection 2; 0 says that they are right as they are.
    """
    logarithm: Logarithm = ()
    """Bands that networks see as logarithms, or all: for light over a wide range."""
    modalities: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Groups of bands, such as {optical: [blue, green, red], terrain: [elevation, slope]}; without them
    modality_dropout takes thermal, terrain, radar and motion by the names of recipes.
    """

    @field_validator("modalities")
    @classmethod
    def _each_band_once(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        bands = [band for group in value.values() for band in group]
        doubled = sorted({band for band in bands if bands.count(band) > 1})
        if doubled:
            raise ValueError(f"band {doubled[0]!r} is listed twice; give each band one modality")
        return value

    @model_validator(mode="after")
    def _original_means_the_original_stack(self) -> "BandsConfig":
        if self.top_preset == "original" and self.recipe not in {None, "himalaya-18"}:
            raise ValueError(
                "top_preset original means bands of the original study's own stack, which of all recipes "
                "only himalaya-18 makes; leave one of the two out"
            )
        return self


class PatchConfig(Settings):
    """How training patches are cut."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Overlap of neighbouring training patches, as a share of 0-1."""
    augment: bool = True
    """Flips, quarter turns and shifts; aspect bands turn along."""
    zoom: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A patch shows 1/(1+zoom) to 1+zoom times its width of ground, such as 0.25."""
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Brightness curve of a band, exponent from 1/(1+gamma) to 1+gamma."""
    brightness: Annotated[float, Field(ge=0)] = 0.0
    """Brightness change of all bands of a patch together, in standard deviations."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Normal noise, in standard deviations of a band."""
    band_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a band is blanked in a patch, 0-1."""
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability that a modality is blanked in a patch, 0-1; its bands may be missing in prediction."""
    glacier_share: Share | None = None
    """Share of drawn patches with glacier, 0-1; null for patches as they come."""
    cache: Cache = "auto"
    """Where pixels are kept: memory, disk or none; auto for memory up to 2 GiB, else none."""


class SplitConfig(Settings):
    """How pixels are shared out where regions name no parts."""

    method: Literal["spatial", "blocks", "regions", "kfold", "random"] = "spatial"
    """spatial: parts and whole regions as given, else blocks dealt out by glacier share. blocks: a
    checkerboard with a gap of one patch. regions: whole ones only. kfold: fold n tests, fold n + 1
    validates, the others train. random: 80/20 of overlapping patches, the original protocol; validation
    leaks.
    """
    holdout_share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share that validates, up to 0.5; of blocks every n-th one, so that 0.4 becomes a half."""
    block_px: Annotated[int, Field(ge=8)] | None = None
    """Side of the blocks; null for two of the largest patches, four where a gap is left."""
    seed: Annotated[int, Field(ge=0)] = 100
    """Seed of the split."""
    folds: Annotated[int, Field(ge=3)] = 5
    """Number of folds of kfold."""
    fold: Annotated[int, Field(ge=1)] = 1
    """The fold that tests."""
    fold_over: Literal["blocks", "regions", "places"] = "blocks"
    """What folds consist of: blocks, regions, or places (groups of neighbouring regions that may overlap)."""

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitConfig":
        if self.fold > self.folds:
            raise ValueError(f"fold is {self.fold}, but there are only {self.folds} folds")
        return self


class OutputsConfig(Settings):
    """What is written besides the GeoTIFFs and tables; without `inventory`, one for regions with a dem."""

    folder: DataPath | None = None
    """Folder of the run; null for runs/<name>."""
    outlines: Literal["gpkg", "none"] = "gpkg"
    """Format of the outlines, or none."""
    inventory: bool | None = None
    """Write an inventory; null for regions with a dem, where there are outlines."""
    report: bool = True
    """Write the HTML report."""
    project: bool = True
    """Write a QGIS project, and the outlines of the best network to correct in it."""


class RunConfig(Settings):
    """The whole configuration."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    regions: Annotated[tuple[RegionConfig, ...], Field(min_length=1)]
    models: tuple[ModelConfig, ...] = tuple(
        ModelConfig(name=name) for name in ("glavitu", "m_landsnet", "unetplusplus")
    )
    bands: BandsConfig = BandsConfig()
    patch: PatchConfig = PatchConfig()
    split: SplitConfig = SplitConfig()
    training: TrainSettings = TrainSettings()
    distil: DistilSettings = DistilSettings()
    prediction: PredictSettings = PredictSettings()
    refinement: TuneSettings = TuneSettings()
    inventory: InventorySettings = InventorySettings()
    outputs: OutputsConfig = OutputsConfig()
    notices: tuple[str, ...] = ()
    """Sentences that a reader of the report must know first, such as: synthetic data."""

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        """All networks that are trained: the models, and the student last."""
        return self.models + ((self.distil.student,) if self.distil.student else ())

    @property
    def largest_patch_px(self) -> int:
        """Side of the largest training patch of all networks."""
        return max(model.resolved_patch_px for model in self.networks)

    @field_validator("models", mode="before")
    @classmethod
    def _names_or_sections(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [{"name": entry} if isinstance(entry, str) else entry for entry in value]
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if faults := list(self._inconsistencies()):
            raise ValueError("\n".join(faults))
        return self

    def _inconsistencies(self) -> Iterator[str]:
        names = [model.name for model in self.models]
        if not self.networks:
            yield "models is empty; leave it out"
        yield from self.distil.inconsistencies(names, random=self.split.method == "random")
        yield from doubled_in_words("region", [region.name for region in self.regions])
        yield from doubled_in_words("model", names)
        folders = [folder_name(name) for name in names]
        for name, folder in zip(names, folders, strict=True):
            if (first := names[folders.index(folder)]) != name:
                yield f"models {first!r} and {name!r} would share a folder; leave one of them out"
        alone = [region.name for region in self.regions if set(region.roles) == {"validate"}]
        if self.split.method == "random" and alone:
            yield (
                f"region {alone[0]!r} only validates, but the random split draws validation patches from "
                "what trains; give it the role train or test"
            )
        if self.split.method == "random" and self.prediction.regions == "scored":
            yield "prediction.regions is scored, but under the random split every region is; set it to all"
        yield from self._of_the_command_alone()
        if self.bands.recipe is not None and any(region.nodata is not None for region in self.regions):
            yield "a recipe reads nodata from the files; declare it there, and leave `nodata` out here"
        layered = [region.name for region in self.regions if region.layers]
        if self.bands.recipe is None and layered:
            yield (
                f"region {layered[0]!r} has layers, which are for the bands of a recipe; name one under "
                "`bands: recipe:`, or leave `layers` out"
            )
        flat = [region.name for region in self.regions if region.dem is None]
        if self.refinement.max_hole_slope_deg is not None and flat:
            yield (
                f"refinement.max_hole_slope_deg needs elevation, but region {flat[0]!r} has no dem; "
                "name its file"
            )
        if not any("train" in region.roles for region in self.regions):
            yield "no region has the role train; give at least one `roles: train`"

    def _of_the_command_alone(self) -> Iterator[str]:
        usual = PredictSettings()
        for key in ("calibrated", "confidence", "int8_model", "prune_level"):
            if getattr(self.prediction, key) != getattr(usual, key):
                yield f"prediction.{key} is for `glacierseg predict` and not for a run; leave it out"
        if self.prediction.precision == "int8":
            yield "prediction.precision must be auto, float32 or bfloat16 in a run (got int8)"


def doubled_in_words(kind: str, names: Sequence[str]) -> list[str]:
    """Returns a fault for each name that several regions or models have."""
    doubled = sorted({name for name in names if names.count(name) > 1})
    return [f"{kind} {name!r} is named twice; give each a name of its own" for name in doubled]


def is_missing(path: Path) -> bool:
    """Whether a data file is not there; not asked of what GDAL alone finds (in an archive, a subdataset)."""
    return not (path.exists() or str(path).startswith("/vsi") or ":" in path.name)
