"""What a training is told, and what it tells."""

import math
from dataclasses import dataclass
from typing import Literal

from glacierseg.choices import LossName, Monitor, Schedule, TrainPrecision


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        loss: A key of `training.losses.LOSSES`.
        learning_rate: Of Adam.
        batch_size: Patches per step, over all processes.
        epochs: At most so many.
        patience: Stop after so many epochs without a better validation score.
        monitor: What decides which epoch is kept: ``val_iou`` (higher is better) or ``val_loss``. ``last``
            keeps the last one and never stops early; a ``plateau`` is one of ``val_iou`` then.
        clip_norm: Largest norm of the gradient; None for no clipping.
        schedule: ``constant``; ``cosine``: a short warm-up, then down to a hundredth; ``plateau``: a tenth
            of the rate after half of `patience` without a better score.
        weight_decay: Of AdamW; 0 gives plain Adam.
        label_smoothing: See `training.losses.make_loss`.
        precision: ``auto`` is bf16 mixed precision where the hardware computes in it. ``float64`` serves to
            prove that two ways of training are the same.
        patches_per_epoch: Patches drawn per epoch, over all processes; None for each once.
        glacier_share: Share of them that holds glacier; None for as they come.
        tensorboard: Log for TensorBoard too.
        workers: Processes that read patches besides the main one.
        seed: Decides on first weights, order and augmentation.
    """

    loss: LossName
    learning_rate: float
    batch_size: int = 16
    epochs: int = 1000
    patience: int = 20
    monitor: Monitor = "val_iou"
    clip_norm: float | None = None
    schedule: Schedule = "constant"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    precision: TrainPrecision = "auto"
    patches_per_epoch: int | None = None
    glacier_share: float | None = None
    tensorboard: bool = False
    workers: int = 0
    seed: int = 100

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether more or less of what is monitored is better."""
        return "min" if self.monitor == "val_loss" else "max"


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the epoch table.

    Attributes:
        epoch: From 1.
        train_loss: Mean over its patches.
        train_iou: Glacier IoU of all training pixels, as they were seen: in changed patches, by weights that
            learned meanwhile, channels dropped. NaN where an earlier version trained.
        val_loss: Mean over labelled validation pixels.
        val_iou: Glacier IoU of all validation pixels.
        val_f1: Glacier F1 of the same.
        learning_rate: At its end.
        seconds: It took, validation included.
        waiting_seconds: Of these, waiting for training patches.
    """

    epoch: int
    train_loss: float
    train_iou: float = math.nan
    val_loss: float
    val_iou: float
    val_f1: float
    learning_rate: float
    seconds: float
    waiting_seconds: float = 0.0


@dataclass(frozen=True)
class FitResult:
    """What a training came to.

    Attributes:
        epochs: Epochs run.
        best_epoch: The 1-based epoch whose weights were kept.
        best_iou: Its validation IoU.
        train_iou: Its training IoU, as in `EpochRecord`.
        best_loss: Its validation loss.
        stopped_early: Whether patience ran out before the last epoch.
    """

    epochs: int
    best_epoch: int
    best_iou: float
    train_iou: float
    best_loss: float
    stopped_early: bool
