"""Running a training to its end: early stopping, best weights, resuming."""

import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import nn
from torch.utils.data import DataLoader, Sampler

from glacierseg.dataset.patches import PatchDataset
from glacierseg.errors import RequestError
from glacierseg.raster.write import full_disk_refused, write_text
from glacierseg.training.precision import has_native_bf16
from glacierseg.training.task import SegmentationTask


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes:
        loss: A key of `training.losses.LOSSES`.
        learning_rate: Of Adam.
        batch_size: Patches per step.
        epochs: At most so many.
        patience: Stop after so many epochs without a better validation score.
        monitor: ``val_iou`` (higher is better) or ``val_loss``.
        clip_norm: Largest norm of the gradient; None for no clipping.
        schedule: ``constant`` or ``cosine``.
        weight_decay: Of AdamW.
        patches_per_epoch: Patches drawn per epoch; None for each once.
        mixed_precision: Use bf16 where the device computes in it natively.
        workers: Processes that read patches besides the main one.
        seed: Decides on first weights, order and augmentation.
    """

    loss: str
    learning_rate: float
    batch_size: int = 16
    epochs: int = 1000
    patience: int = 20
    monitor: Literal["val_iou", "val_loss"] = "val_iou"
    clip_norm: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: float = 0.0
    patches_per_epoch: int | None = None
    mixed_precision: bool = True
    workers: int = 0
    seed: int = 100


@dataclass(frozen=True)
class EpochRecord:
    """One line of the epoch table."""

    epoch: int
    train_loss: float
    val_loss: float
    val_iou: float
    val_f1: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """What a training came to.

    Attributes:
        epochs: Epochs run.
        best_epoch: The 1-based epoch whose weights were kept.
        best_iou: Its validation IoU.
        best_loss: Its validation loss.
        stopped_early: Whether patience ran out before the last epoch.
    """

    epochs: int
    best_epoch: int
    best_iou: float
    best_loss: float
    stopped_early: bool


class EpochSampler(Sampler[int]):
    """Draws patches in an order that depends on seed and epoch only.

    The number drawn is ``turn * count + index``: the dataset takes it apart again and augments a patch
    differently in every turn, in whichever process it is read.
    """

    def __init__(self, count: int, per_epoch: int | None, seed: int) -> None:
        """Sets up the order.

        Args:
            count: Number of patches.
            per_epoch: How many to draw per epoch; None for each once.
            seed: Seed of the order.
        """
        self.count = count
        self.per_epoch = per_epoch or count
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        rounds = -(-self.per_epoch // self.count)
        rng = np.random.default_rng((self.seed, self.epoch))
        for turn in range(rounds):
            left = self.per_epoch - turn * self.count
            for index in rng.permutation(self.count)[:left]:
                yield (self.epoch * rounds + turn) * self.count + int(index)


class EpochTable(Callback):
    """Keeps the epoch table, writes it after every epoch and survives a restart inside the checkpoint."""

    def __init__(self, path: Path, on_epoch: Callable[[EpochRecord], None] | None) -> None:
        """Sets up the table.

        Args:
            path: Where the CSV goes.
            on_epoch: Called with each new line.
        """
        self.path = path
        self.on_epoch = on_epoch
        self.records: list[EpochRecord] = []
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._started = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds a line; runs before the checkpoint is written, so that the line is in it."""
        assert isinstance(pl_module, SegmentationTask)  # noqa: S101  (this callback is made for it)
        metrics = trainer.callback_metrics
        if not math.isfinite(pl_module.mean_train_loss):
            raise RequestError(
                f"the loss is no number any more in epoch {trainer.current_epoch + 1}; "
                "lower the learning rate"
            )
        self.records.append(
            EpochRecord(
                epoch=trainer.current_epoch + 1,
                train_loss=pl_module.mean_train_loss,
                val_loss=float(metrics["val_loss"]),
                val_iou=float(metrics["val_iou"]),
                val_f1=float(metrics["val_f1"]),
                learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
                seconds=round(time.monotonic() - self._started, 2),
            )
        )
        names = [field.name for field in fields(EpochRecord)]
        lines = [",".join(names), *(",".join(f"{v:.6g}" for v in astuple(r)) for r in self.records)]
        write_text(self.path, "\n".join(lines) + "\n")
        if self.on_epoch:
            self.on_epoch(self.records[-1])

    def state_dict(self) -> dict[str, Any]:
        """Returns the lines for the checkpoint."""
        return {"records": [asdict(record) for record in self.records]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the lines from the checkpoint."""
        self.records = [EpochRecord(**record) for record in state_dict["records"]]


def fit(
    network: nn.Module,
    train: PatchDataset,
    validate: PatchDataset,
    plan: TrainingPlan,
    folder: Path,
    *,
    progress: bool = False,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> FitResult:
    """Trains a network in place and leaves it with the best weights.

    While it runs, `folder/checkpoints` holds the last state; a later call with the same arguments goes on
    from there. `folder/epochs.csv` grows with every epoch.

    Args:
        network: The network; its weights are changed.
        train: Patches to train on.
        validate: Patches to choose the best epoch by.
        plan: How to train.
        folder: Where the epoch table and the checkpoints go.
        progress: Show a progress bar.
        on_epoch: Called after each epoch.

    Raises:
        RequestError: There are no patches, or the loss stopped being a number.
        KeyboardInterrupt: The user interrupted.
    """
    for dataset, role in ((train, "train"), (validate, "validate")):
        if not len(dataset):
            raise RequestError(
                f"there is no patch to {role} on; give a region or part with that role and truth"
            )
    _quiet_lightning()
    checkpoints = folder / "checkpoints"
    table = EpochTable(folder / "epochs.csv", on_epoch)
    mode = "max" if plan.monitor == "val_iou" else "min"
    # min_delta 0: what counts as better for stopping is what counts as better for keeping.
    stopping = EarlyStopping(
        plan.monitor, min_delta=0.0, patience=plan.patience, mode=mode, check_finite=False
    )
    best = ModelCheckpoint(
        checkpoints, "best", plan.monitor, mode=mode, save_last=True, enable_version_counter=False
    )
    task = SegmentationTask(
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        loss=plan.loss,
        learning_rate=plan.learning_rate,
        weight_decay=plan.weight_decay,
        schedule=plan.schedule,
        epochs=plan.epochs,
        seed=plan.seed,
    )
    bf16 = plan.mixed_precision and has_native_bf16()
    trainer = pl.Trainer(
        max_epochs=plan.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if bf16 else "32-true",
        gradient_clip_val=plan.clip_norm,
        callbacks=[table, stopping, best, *([TQDMProgressBar(leave=False)] if progress else [])],
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    sampler = EpochSampler(len(train), plan.patches_per_epoch, plan.seed)
    # Batch norm cannot learn from a last batch of one.
    lonely = len(sampler) > plan.batch_size and len(sampler) % plan.batch_size == 1
    loader = DataLoader(train, plan.batch_size, sampler=sampler, num_workers=plan.workers, drop_last=lonely)
    val_loader = DataLoader(validate, plan.batch_size, num_workers=plan.workers)
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        with full_disk_refused(checkpoints):
            trainer.fit(task, loader, val_loader, ckpt_path=_resumable(checkpoints / "last.ckpt"))
    except SystemExit:
        # Lightning turns Ctrl-C into an exit of its own; the caller decides what an interruption means.
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    key = (lambda r: -r.val_iou) if mode == "max" else (lambda r: r.val_loss)
    winner = min(table.records, key=key)
    # Read without running any pickled code.
    kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    if kept["epoch"] != winner.epoch - 1:
        raise RequestError(f"{checkpoints}: does not hold the best epoch; remove that folder and train again")
    network.load_state_dict({k.removeprefix("network."): v for k, v in kept["state_dict"].items()})
    return FitResult(
        epochs=len(table.records),
        best_epoch=winner.epoch,
        best_iou=winner.val_iou,
        best_loss=winner.val_loss,
        stopped_early=stopping.stopped_epoch > 0,
    )


def remove_checkpoints(folder: Path) -> None:
    """Removes the training state once the finished weights are stored."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _resumable(path: Path) -> str | None:
    """Returns a checkpoint's path if it is whole; one cut short by a crash is set aside."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  (torch raises many kinds for a damaged file)
        path.unlink()
        return None
    # Lightning forgets the best epoch when the folder has been moved, so the state is moved along.
    here = os.path.realpath(path.parent)
    for name, kept in state["callbacks"].items():
        if name.startswith("ModelCheckpoint") and kept["dirpath"] != here:
            for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
                kept[key] = kept[key].replace(kept["dirpath"], here)
            models = kept["best_k_models"].items()
            kept["best_k_models"] = {old.replace(kept["dirpath"], here): score for old, score in models}
            kept["dirpath"] = here
            torch.save(state, path)
    return str(path)


def _quiet_lightning() -> None:
    """Keeps Lightning's tips and device notes off the terminal; what matters is in our own table."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\.")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|exists and is not empty).*")
