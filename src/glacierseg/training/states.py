"""What a training keeps on disk while it runs: the epoch table, the best and the last state."""

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import nn

from glacierseg.errors import RequestError
from glacierseg.raster.write import write_text
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.task import SegmentationTask


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


class EpochTable(Callback):
    """Keeps the epoch table, writes it after every epoch and survives a restart inside the checkpoint.

    `on_epoch` is called with each new line, in the first process only.
    """

    def __init__(self, path: Path, on_epoch: Callable[[EpochRecord], None] | None) -> None:
        self.path = path
        self.on_epoch = on_epoch
        self.records: list[EpochRecord] = []
        self._started = self._idle_since = self._waited = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._started = self._idle_since = time.monotonic()
        self._waited = 0.0

    def on_train_batch_start(self, *args: Any) -> None:  # noqa: ARG002
        """Counts the time without a batch."""
        self._waited += time.monotonic() - self._idle_since

    def on_train_batch_end(self, *args: Any) -> None:  # noqa: ARG002
        """From here on there is no batch."""
        self._idle_since = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds a line; runs before the checkpoints are written, so that the line is in them."""
        assert isinstance(pl_module, SegmentationTask)  # noqa: S101  (this callback is made for it)
        metrics = trainer.callback_metrics
        if not math.isfinite(pl_module.mean_train_loss):
            raise RequestError(
                f"the loss is not finite in epoch {trainer.current_epoch + 1}; lower the learning rate"
            )
        record = EpochRecord(
            epoch=trainer.current_epoch + 1,
            train_loss=pl_module.mean_train_loss,
            train_iou=float(metrics["train_iou"]),
            val_loss=float(metrics["val_loss"]),
            val_iou=float(metrics["val_iou"]),
            val_f1=float(metrics["val_f1"]),
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=round(time.monotonic() - self._started, 2),
            waiting_seconds=round(self._waited, 2),
        )
        self.records.append(record)
        for logger in trainer.loggers:
            scores = {key: value for key, value in asdict(record).items() if key != "epoch"}
            logger.log_metrics(scores, step=record.epoch)
        if not trainer.is_global_zero:
            return
        names = [field.name for field in fields(EpochRecord)]
        lines = [",".join(names), *(",".join(f"{v:.6g}" for v in astuple(r)) for r in self.records)]
        write_text(self.path, "\n".join(lines) + "\n")
        if self.on_epoch:
            self.on_epoch(record)

    def state_dict(self) -> dict[str, Any]:
        """Returns the lines for the checkpoint."""
        return {"records": [asdict(record) for record in self.records]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the lines from the checkpoint."""
        self.records = [EpochRecord(**record) for record in state_dict["records"]]


def states_folder(folder: Path) -> Path:
    """Where a model folder keeps the states of an unfinished training."""
    return folder / "checkpoints"


def state_writers(folder: Path, plan: TrainingPlan) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Returns what writes the best state, and what writes the last one after every epoch.

    Lightning's own `save_last` writes only when there is a new best: after a kill hours would be lost.
    """
    # Without anything to monitor each epoch takes the place of the one before.
    monitor = None if plan.monitor == "last" else plan.monitor
    best = ModelCheckpoint(
        states_folder(folder), "best", monitor, mode=plan.mode, enable_version_counter=False
    )
    # Second: its state then names the best one of the same epoch.
    return best, ModelCheckpoint(states_folder(folder), "last", enable_version_counter=False)


def last_state(folder: Path) -> Path | None:
    """Returns the state to go on from, if there is one that is whole; one cut short is removed."""
    path = states_folder(folder) / "last.ckpt"
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  (torch raises many kinds for a damaged file)
        path.unlink()
        return None
    # The state holds the path of its folder: after a move Lightning would forget the best epoch.
    here = os.path.realpath(path.parent)
    moved = [_move(kept, here) for name, kept in state["callbacks"].items() if "ModelCheckpoint" in name]
    if any(moved):
        torch.save(state, path)
    return path


def load_best(network: nn.Module, folder: Path, best_epoch: int) -> None:
    """Puts the best state's weights into a network, if it is of the epoch expected. Runs no pickled code."""
    path = states_folder(folder) / "best.ckpt"
    kept = torch.load(path, map_location="cpu", weights_only=True)
    if kept["epoch"] != best_epoch - 1:
        raise RequestError(f"{path.parent}: does not hold the best epoch; remove that folder and train again")
    network.load_state_dict({k.removeprefix("network."): v for k, v in kept["state_dict"].items()})


def remove_states(folder: Path) -> None:
    """Removes the states once the finished weights are stored."""
    shutil.rmtree(states_folder(folder), ignore_errors=True)


def _move(kept: dict[str, Any], here: str) -> bool:
    # Lightning has no public way to that (tests/test_private.py).
    old = kept["dirpath"]
    if old == here:
        return False
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        kept[key] = kept[key].replace(old, here)
    kept["best_k_models"] = {path.replace(old, here): score for path, score in kept["best_k_models"].items()}
    kept["dirpath"] = here
    return True
