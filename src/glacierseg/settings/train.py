"""How networks are trained."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from glacierseg.choices import LossName, Monitor, Schedule, TrainPrecision
from glacierseg.settings.base import Settings


class TrainSettings(Settings):
    """How networks are trained; each model's own defaults hold where nothing is said here or there."""

    section: ClassVar[str | None] = "training"

    epochs: Annotated[int, Field(ge=1)] = 1000
    """Most passes over the training patches."""
    patience: Annotated[int, Field(ge=1)] = 20
    """Stop after so many epochs without a better validation score."""
    monitor: Monitor = "val_iou"
    """What decides which epoch is kept: val_iou, val_loss, or last for the last one."""
    schedule: Schedule = "constant"
    """Learning rate: constant, cosine, or plateau (a tenth when half the patience brings nothing)."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Patches in a step; null for each model's own."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the optimiser."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; null for each model's own."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Label smoothing of the losses cross_entropy and focal, 0-0.5."""
    precision: TrainPrecision = "auto"
    """Number format: float32, bfloat16 or float64; auto for bfloat16 where the hardware has it."""
    tensorboard: bool = False
    """Also log for TensorBoard (pip install "glacierseg[tensorboard]")."""
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    """Patches drawn for each epoch; null for every patch once."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read patches besides the main one."""
    seed: Annotated[int, Field(ge=0)] = 100
    """Seed of weights, order and augmentation."""


class TrainingPlan(TrainSettings):
    """How one network is trained: the same settings without a choice left open."""

    section: ClassVar[str | None] = None

    loss: LossName
    """Loss that training minimises."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Learning rate of Adam."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Patches in a step, over all processes."""
    glacier_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of drawn patches with glacier, 0-1; null for patches as they come."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether more or less of what is monitored is better."""
        return "min" if self.monitor == "val_loss" else "max"
