"""The sections of a configuration: one validated object each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from glacierseg.errors import RequestError, UnknownModelError
from glacierseg.models.registry import MODELS, ModelSpec, checked_options, folder_name, model_spec

RoleName = Literal["train", "validate", "test"]
LossName = Literal["cross_entropy", "focal", "dice", "dice_focal", "tversky", "lovasz"]
Monitor = Literal["val_iou", "val_loss", "last"]
SmoothingName = Literal["majority", "closing", "opening", "dilation", "erosion"]
Logarithm = Literal["all"] | tuple[str, ...]
Share = Annotated[float, Field(ge=0, le=1)]


def _relative_to_file(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = (info.context or {}).get("folder")
    path = path.expanduser()
    return path if folder is None or path.is_absolute() else (folder / path).resolve()


DataPath = Annotated[Path, AfterValidator(_relative_to_file)]
"""A path that is relative to the configuration file."""


def _relative_unless_named(path: Path, info: ValidationInfo) -> Path:
    return path if str(path).startswith("weights:") else _relative_to_file(path, info)


ModelPath = Annotated[Path, AfterValidator(_relative_unless_named)]
"""A model folder, relative to the configuration file, or `weights:NAME`."""


class Section(BaseModel):
    """A part of the configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PartConfig(Section):
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


class RegionConfig(Section):
    """A scene with its truth and what it is used for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    scene: tuple[DataPath, ...]
    truth: DataPath
    roles: dict[RoleName, PartConfig | None]
    truth_layer: str | None = None
    dem: DataPath | None = None
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
    def _parts_for_all_or_none(
        cls, value: dict[RoleName, PartConfig | None]
    ) -> dict[RoleName, PartConfig | None]:
        if not value:
            raise ValueError("is empty; name at least one of train, validate and test")
        given = [part is not None for part in value.values()]
        if len(given) > 1 and any(given) and not all(given):
            raise ValueError("give a part (x, y or polygon) for every role of the region, or for none")
        return value


class ModelConfig(Section):
    """A network, and where its training differs from its own defaults."""

    name: str
    width: Annotated[float, Field(gt=0)] = 1.0
    options: dict[str, Any] = Field(default_factory=dict)
    patch_px: Annotated[int, Field(ge=8)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    loss: LossName | None = None
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    shuffled_pixels: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    monitor: Monitor | None = None
    logarithm: Logarithm | None = None
    brightness: Annotated[float, Field(ge=0)] | None = None
    start_from: ModelPath | None = None
    prune_level: Annotated[int, Field(ge=1, le=4)] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return model_spec(value).name
        except UnknownModelError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _takes_its_options(self) -> "ModelConfig":
        # Only the network's class knows them, and with it comes torch.
        if self.options:
            try:
                checked_options(self.name, self.options)
            except RequestError as error:
                raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _can_learn_from_pixels(self) -> "ModelConfig":
        if self.shuffled_pixels and not self.spec.shuffled_pixels:
            able = " and ".join(name for name, spec in MODELS.items() if spec.shuffled_pixels)
            raise ValueError(
                f"shuffled_pixels is {self.shuffled_pixels}, but {self.name} learns shapes and needs patches "
                f"as they lie; only {able} can learn from single pixels"
            )
        return self

    @model_validator(mode="after")
    def _light_reaches_it(self) -> "ModelConfig":
        if self.brightness is not None and self.spec.shuffled_pixels:
            raise ValueError(
                f"brightness is {self.brightness:g}, but {self.name} learns from single pixels, whose light "
                "is not changed; leave it out"
            )
        return self

    @property
    def spec(self) -> ModelSpec:
        """The network's own defaults."""
        return model_spec(self.name)

    @property
    def resolved_shuffled_pixels(self) -> int:
        """How many single pixels it learns from, for a `PixelNetwork`."""
        return self.shuffled_pixels or self.spec.shuffled_pixels

    @property
    def resolved_patch_px(self) -> int:
        """Side of its patches."""
        return self.patch_px or self.spec.default_patch_px


class BandsConfig(Section):
    """Which bands the networks see."""

    use: Literal["all"] | tuple[str | int, ...] = "all"
    top: Annotated[int, Field(ge=0)] = 6
    measure: Literal["gradient", "integrated", "permutation", "drop"] = "gradient"
    check: bool = True
    top_preset: Literal["original"] | dict[str, tuple[str | int, ...]] | None = None
    recipe: str | tuple[str, ...] | None = None
    scale: float | None = None
    offset: float | None = None
    logarithm: Logarithm = ()
    modalities: dict[str, tuple[str, ...]] = Field(default_factory=dict)

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
        if self.top_preset == "original" and self.recipe is not None:
            raise ValueError(
                "top_preset original means positions in the original study's own stack, which no recipe "
                "makes; leave one of the two out"
            )
        return self


class PatchConfig(Section):
    """How training patches are cut."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    augment: bool = True
    zoom: Annotated[float, Field(ge=0, le=1)] = 0.0
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.0
    brightness: Annotated[float, Field(ge=0)] = 0.0
    noise: Annotated[float, Field(ge=0)] = 0.0
    band_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    glacier_share: Share | None = None
    cache: Literal["auto", "memory", "disk", "none"] = "auto"


class SplitConfig(Section):
    """How pixels are shared out where regions name no parts."""

    method: Literal["spatial", "blocks", "regions", "kfold", "random"] = "spatial"
    holdout_share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    block_px: Annotated[int, Field(ge=8)] | None = None
    seed: Annotated[int, Field(ge=0)] = 100
    folds: Annotated[int, Field(ge=3)] = 5
    fold: Annotated[int, Field(ge=1)] = 1
    fold_over: Literal["blocks", "regions", "places"] = "blocks"

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitConfig":
        if self.fold > self.folds:
            raise ValueError(f"fold is {self.fold}, but there are only {self.folds} folds")
        return self


class TrainingConfig(Section):
    """How networks are trained; each model's own defaults hold where nothing is said here or there."""

    epochs: Annotated[int, Field(ge=1)] = 1000
    patience: Annotated[int, Field(ge=1)] = 20
    monitor: Monitor = "val_iou"
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    tensorboard: bool = False
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 100


class PredictionConfig(Section):
    """How scenes are predicted."""

    regions: Literal["all", "scored"] = "all"
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    window_px: Annotated[int, Field(ge=8)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    symmetries: bool = False
    engine: Literal["auto", "torch", "openvino", "onnx"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    halo_px: Annotated[int, Field(ge=0)] = 0


class RefinementConfig(Section):
    """How masks are refined, and the values that the parameter search tries on validate regions."""

    objective: Literal["iou", "f1", "area"] = "iou"
    steps: tuple[Literal["merge", "smooth", "fill", "remove"], ...] = ("merge", "smooth", "fill", "remove")
    merge_distances_m: tuple[Annotated[float, Field(ge=0)], ...] = (0, 10, 20, 30, 40)
    smoothing: SmoothingName | tuple[SmoothingName, ...] = "majority"
    iterations: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 3, 10)
    max_holes_km2: tuple[Annotated[float, Field(ge=0)] | None, ...] = (0, 0.03, 0.1)
    max_hole_slope_deg: Annotated[float, Field(ge=0, le=90)] | None = None
    preset: Literal["regional", "rgi"] | None = None
    min_areas_km2: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.01, 0.03, 0.1)
    connectivity: Literal[4, 8] = 8
    keep_cut_fragments: bool = False

    @field_validator(
        "merge_distances_m", "min_areas_km2", "iterations", "max_holes_km2", "smoothing", "steps"
    )
    @classmethod
    def _something_to_try(cls, value: Any, info: ValidationInfo) -> Any:
        if value == ():
            raise ValueError(
                f"is empty; give at least one {'step' if info.field_name == 'steps' else 'value to try'}"
            )
        return value

    @field_validator("steps")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        doubled = [step for step in value if value.count(step) > 1]
        if doubled:
            raise ValueError(f"{doubled[0]!r} is named twice; each step can be done once")
        return value


class OutputsConfig(Section):
    """What is written besides the GeoTIFFs and tables; without `inventory`, one for regions with a dem."""

    folder: DataPath | None = None
    outlines: Literal["gpkg", "none"] = "gpkg"
    inventory: bool | None = None
    report: bool = True


class RunConfig(Section):
    """The whole configuration."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    regions: Annotated[tuple[RegionConfig, ...], Field(min_length=1)]
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)] = tuple(
        ModelConfig(name=name) for name in ("glavitu", "m_landsnet", "unetplusplus")
    )
    bands: BandsConfig = BandsConfig()
    patch: PatchConfig = PatchConfig()
    split: SplitConfig = SplitConfig()
    training: TrainingConfig = TrainingConfig()
    prediction: PredictionConfig = PredictionConfig()
    refinement: RefinementConfig = RefinementConfig()
    outputs: OutputsConfig = OutputsConfig()
    notices: tuple[str, ...] = ()

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
        if self.bands.recipe is not None and any(region.nodata is not None for region in self.regions):
            yield "a recipe reads nodata from the files; declare it there, and leave `nodata` out here"
        flat = [region.name for region in self.regions if region.dem is None]
        if self.refinement.max_hole_slope_deg is not None and flat:
            yield (
                f"refinement.max_hole_slope_deg needs elevation, but region {flat[0]!r} has no dem; "
                "name its file"
            )
        if not any("train" in region.roles for region in self.regions):
            yield "no region has the role train; give at least one `roles: train`"


def doubled_in_words(kind: str, names: Sequence[str]) -> list[str]:
    """Returns a fault for each name that several regions or models have."""
    doubled = sorted({name for name in names if names.count(name) > 1})
    return [f"{kind} {name!r} is named twice; give each a name of its own" for name in doubled]


def is_missing(path: Path) -> bool:
    """Whether a data file is not there; not asked of what GDAL alone finds (in an archive, a subdataset)."""
    return not (path.exists() or str(path).startswith("/vsi") or ":" in path.name)
