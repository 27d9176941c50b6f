"""How networks are trained."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from glacierseg.choices import LossName, Monitor, Schedule, TrainPrecision
from glacierseg.settings.base import Settings


class TrainSettings(Settings):
    """How networks are trained; null leaves the choice to each model's own defaults."""

    section: ClassVar[str | None] = "training"

    epochs: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of passes over the training patches."""
    patience: Annotated[int, Field(ge=1)] = 20
    """Epochs without a better validation score after which training stops."""
    monitor: Monitor = "val_iou"
    """Score that selects the epoch to keep: val_iou, val_loss, or last for the last epoch."""
    schedule: Schedule = "constant"
    """Learning rate: constant, cosine, or plateau (a tenth when half the patience brings nothing)."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Patches per step; null for each model's own."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the optimiser."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Maximum norm of the gradient; null for each model's own."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Label smoothing of the losses cross_entropy and focal, 0-0.5."""
    precision: TrainPrecision = "auto"
    """Number format: float32, bfloat16 or float64; auto for bfloat16 where the hardware has it."""
    tensorboard: bool = False
    """Also log for TensorBoard (pip install "glacierseg[tensorboard]")."""
    patches_per_epoch: Annotated[int, Field(ge=1)] | None = None
    """Patches drawn for each epoch; null for every patch once."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Additional processes that read patches; 0 for none."""
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
    """Patches per step, over all processes."""
    glacier_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of drawn patches with glacier, 0-1; null for patches as they come."""
    frozen_norms: bool = False
    """Batch norm keeps the statistics that it has: little ground would give it poor ones."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether more or less of what is monitored is better."""
        return "min" if self.monitor == "val_loss" else "max"
