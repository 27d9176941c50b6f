"""A network's section of a configuration, and paths in it that are relative to the file."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from glacierseg.choices import LossName, Monitor
from glacierseg.errors import RequestError, UnknownModelError
from glacierseg.models.registry import ModelSpec, checked_options, model_spec
from glacierseg.settings.base import Settings
from glacierseg.settings.train import TrainingPlan, TrainSettings

Logarithm = Literal["all"] | tuple[str, ...]
Share = Annotated[float, Field(ge=0, le=1)]


def relative_to_file(path: Path, info: ValidationInfo) -> Path:
    """Returns a path of a configuration; a relative one starts at the folder of the file."""
    folder: Path | None = (info.context or {}).get("folder")
    path = path.expanduser()
    return path if folder is None or path.is_absolute() else (folder / path).resolve()


DataPath = Annotated[Path, AfterValidator(relative_to_file)]
"""A path that is relative to the configuration file."""


def _relative_unless_named(path: Path, info: ValidationInfo) -> Path:
    return path if str(path).startswith("weights:") else relative_to_file(path, info)


ModelPath = Annotated[Path, AfterValidator(_relative_unless_named)]
"""A model folder, relative to the configuration file, or `weights:NAME`."""


class ModelConfig(Settings):
    """A network, and where its training differs from its own defaults."""

    name: str
    width: Annotated[float, Field(gt=0)] = 1.0
    options: dict[str, Any] = Field(default_factory=dict)
    patch_px: Annotated[int, Field(ge=8)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    loss: LossName | None = None
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
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

    @property
    def spec(self) -> ModelSpec:
        """The network's own defaults."""
        return model_spec(self.name)

    @property
    def resolved_patch_px(self) -> int:
        """Side of its patches."""
        return self.patch_px or self.spec.default_patch_px

    def training_plan(
        self, training: TrainSettings, bands: int, glacier_share: float | None = None
    ) -> TrainingPlan:
        """Merges the network's own defaults, the training section and this one, the last winning.

        Args:
            training: The training section.
            bands: Number of input bands; some networks train on few bands with another batch size.
            glacier_share: As in `PatchConfig`.
        """
        spec = self.spec
        own_batch = spec.batch_size_six_bands if bands <= 6 else spec.batch_size
        chosen = {
            "loss": self.loss or spec.loss,
            "learning_rate": self.learning_rate or spec.learning_rate,
            "batch_size": self.batch_size or training.batch_size or own_batch,
            "epochs": self.epochs or training.epochs,
            "monitor": self.monitor or training.monitor,
            "clip_norm": training.clip_norm or spec.clip_norm,
            "patches_per_epoch": self.patches_per_epoch or training.patches_per_epoch,
            "glacier_share": glacier_share,
        }
        return TrainingPlan(**{**dict(training), **chosen})
