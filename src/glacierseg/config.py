"""The configuration of a run: one validated object per section of the YAML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from glacierseg.errors import ConfigError, did_you_mean
from glacierseg.models.registry import MODELS, ModelSpec, model_spec

RoleName = Literal["train", "validate", "test"]
Share = Annotated[float, Field(ge=0, le=1)]


def _relative_to_file(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = (info.context or {}).get("folder")
    path = path.expanduser()
    return path if folder is None or path.is_absolute() else (folder / path).resolve()


DataPath = Annotated[Path, AfterValidator(_relative_to_file)]
"""A path that is relative to the configuration file."""


class Section(BaseModel):
    """A part of the configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PartConfig(Section):
    """A part of a scene: fractions of it, and a polygon if that is not enough."""

    x: tuple[Share, Share] = (0.0, 1.0)
    y: tuple[Share, Share] = (0.0, 1.0)
    polygon: DataPath | None = None

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
    loss: Literal["cross_entropy", "focal", "dice", "dice_focal"] | None = None
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in MODELS:
            raise ValueError(
                f"no network is called {value!r}{did_you_mean(value, MODELS)}; there are {', '.join(MODELS)}"
            )
        return value

    @property
    def spec(self) -> ModelSpec:
        """The network's own defaults."""
        return model_spec(self.name)

    @property
    def resolved_patch_px(self) -> int:
        """Side of its patches."""
        return self.patch_px or self.spec.default_patch_px


class BandsConfig(Section):
    """Which bands the networks see."""

    use: Literal["all"] | tuple[str | int, ...] = "all"
    top: Annotated[int, Field(ge=0)] = 6
    recipe: str | tuple[str, ...] | None = None
    scale: float = 1.0
    offset: float = 0.0


class PatchConfig(Section):
    """How training patches are cut."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    augment: bool = True


class SplitConfig(Section):
    """How pixels are shared out where regions name no parts."""

    method: Literal["spatial", "random"] = "spatial"
    holdout_share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    block_px: Annotated[int, Field(ge=8)] | None = None
    seed: Annotated[int, Field(ge=0)] = 100


class TrainingConfig(Section):
    """How networks are trained; each model's own defaults hold where nothing is said here or there."""

    epochs: Annotated[int, Field(ge=1)] = 1000
    patience: Annotated[int, Field(ge=1)] = 20
    monitor: Literal["val_iou", "val_loss"] = "val_iou"
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: Annotated[int, Field(ge=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 100


class PredictionConfig(Section):
    """How scenes are predicted."""

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    window_px: Annotated[int, Field(ge=8)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


class RefinementConfig(Section):
    """The values that the parameter search tries on validate regions."""

    merge_distances_m: tuple[Annotated[float, Field(ge=0)], ...] = (0, 10, 20, 30, 40)
    min_areas_km2: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.01, 0.03, 0.1)
    iterations: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 3, 10)
    max_holes_km2: tuple[Annotated[float, Field(ge=0)] | None, ...] = (0, 0.03, 0.1)

    @field_validator("merge_distances_m", "min_areas_km2", "iterations", "max_holes_km2")
    @classmethod
    def _something_to_try(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("is empty; give at least one value to try")
        return value


class OutputsConfig(Section):
    """What is written besides the GeoTIFFs and tables."""

    folder: DataPath | None = None
    outlines: Literal["gpkg", "none"] = "gpkg"
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
        for kind, names in (
            ("region", [region.name for region in self.regions]),
            ("model", [model.name for model in self.models]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"{kind} {doubled[0]!r} is named twice; give each a name of its own")
        alone = [region.name for region in self.regions if set(region.roles) == {"validate"}]
        if self.split.method == "random" and alone:
            raise ValueError(
                f"region {alone[0]!r} only validates, but the random split draws validation patches from "
                "what trains; give it the role train or test"
            )
        if self.bands.recipe is not None and any(region.nodata is not None for region in self.regions):
            raise ValueError(
                "a recipe reads nodata from the files; declare it there (`rio edit-info --nodata`)"
            )
        if self.bands.recipe is None and any(region.dem is not None for region in self.regions):
            raise ValueError("a region has a dem but bands have no recipe; name one under `bands: recipe:`")
        if not any("train" in region.roles for region in self.regions):
            raise ValueError("no region has the role train; give at least one `roles: train`")
        return self


def load_config(path: Path) -> RunConfig:
    """Reads and validates a configuration file; paths in it are relative to it.

    Raises:
        ConfigError: The file is missing, is not YAML, or something in it is wrong: one line that names it.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; `glacierseg template` prints one to start from")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise ConfigError(f"{path}: is not valid YAML{line}; check indentation and colons there") from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: holds no configuration; `glacierseg template` prints one to start from")
    return parse_config(dict(data), path)


def parse_config(data: dict[str, Any], path: Path) -> RunConfig:
    """Validates the content of a configuration file.

    Args:
        data: As YAML gives it.
        path: The file, for paths relative to it and for messages.

    Raises:
        ConfigError: Something is wrong.
    """
    try:
        return RunConfig.model_validate(data, context={"folder": path.resolve().parent})
    except ValidationError as error:
        found = error.errors()
        places = [problem["loc"] for problem in found]
        # A list whose entry failed counts as empty for pydantic; the entry's own error says it better.
        problems = [
            _in_words(problem, data)
            for problem in found
            if problem["type"] != "too_short"
            or not any(p[:-1][: len(problem["loc"])] == problem["loc"] for p in places)
        ]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(f"{path}: {problems[0]}{more}") from error


def dump_config(config: RunConfig) -> str:
    """Returns a configuration as YAML, every default spelled out and every path absolute."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """Says where two dumped configurations differ first, or None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if found := first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else key):
                return found
        return None
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            if found := first_difference(*pair, where=f"{where}[{index}]"):
                return found
        return None
    return None if old == new else f"{where} was {_short(old)} and is now {_short(new)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _in_words(problem: ErrorDetails, data: Any) -> str:
    """Turns one pydantic error into words, with the closest known key for an unknown one."""
    where, section = _locate(problem["loc"], data)
    if problem["type"] == "extra_forbidden":
        known = section.model_fields if section else {}
        key = str(problem["loc"][-1])
        hint = did_you_mean(key, known) or (f"; known keys are {', '.join(known)}" if known else "")
        return f"unknown key {where!r}{hint}"
    if problem["type"] == "missing":
        if problem["loc"][-1] == "roles":
            return f"{where} is missing; give the region `roles: train`, `validate` or `test`"
        return f"{where!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: {message}" if where else message


def _locate(loc: tuple[int | str, ...], data: Any) -> tuple[str, type[Section] | None]:
    """Returns the place of an error as a user would write it, and the section it lies in."""
    sections: dict[str, type[Section]] = {
        "regions": RegionConfig,
        "models": ModelConfig,
        "roles": PartConfig,
        "bands": BandsConfig,
        "patch": PatchConfig,
        "split": SplitConfig,
        "training": TrainingConfig,
        "prediction": PredictionConfig,
        "refinement": RefinementConfig,
        "outputs": OutputsConfig,
    }
    words: list[str] = []
    section: type[Section] | None = RunConfig
    here = data
    for number, step in enumerate(loc):
        if isinstance(step, int):
            entry = here[step] if isinstance(here, list) and step < len(here) else None
            name = entry.get("name") if isinstance(entry, Mapping) else None
            words[-1] += f"[{name if isinstance(name, str) else step}]"
            here = entry
            continue
        # pydantic adds the branch of a union that it tried, and a mark for keys; neither is in the file.
        if step == "[key]" or step.startswith(("literal[", "tuple[")):
            continue
        words.append(step)
        here = here.get(step) if isinstance(here, Mapping) else None
        if number < len(loc) - 1 and step in sections:
            section = sections[step]
    return ".".join(words), section


__all__ = [
    "BandsConfig",
    "ModelConfig",
    "OutputsConfig",
    "PartConfig",
    "PatchConfig",
    "PredictionConfig",
    "RefinementConfig",
    "RegionConfig",
    "RunConfig",
    "SplitConfig",
    "TrainingConfig",
    "dump_config",
    "first_difference",
    "load_config",
    "parse_config",
]
