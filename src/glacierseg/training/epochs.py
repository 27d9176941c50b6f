"""The epoch table: one line after every epoch, whatever happens later."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from glacierseg.errors import RequestError
from glacierseg.raster.write import write_text
from glacierseg.training.plan import EpochRecord
from glacierseg.training.task import SegmentationTask


class EpochTable(Callback):
    """Keeps the epoch table, writes it after every epoch and survives a restart inside the checkpoint."""

    def __init__(self, path: Path, on_epoch: Callable[[EpochRecord], None] | None) -> None:
        """Sets up the table.

        Args:
            path: Where the CSV goes.
            on_epoch: Called with each new line, in the first process only.
        """
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
                f"the loss is no number any more in epoch {trainer.current_epoch + 1}; "
                "lower the learning rate"
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
