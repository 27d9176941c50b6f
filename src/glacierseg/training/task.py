"""The Lightning task: one optimisation step and exact validation counts."""

import math

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from glacierseg.models.heads import weighted_heads
from glacierseg.training.losses import IGNORE, LOSSES

Batch = tuple[Tensor, Tensor]


class SegmentationTask(pl.LightningModule):
    """Trains a network on patches and validates it by pixel counts over the whole epoch.

    Logs `val_loss`, `val_iou` and `val_f1`; `mean_train_loss` holds the training loss of the running epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: str,
        learning_rate: float,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        epochs: int = 1000,
        seed: int = 0,
    ) -> None:
        """Sets up the task.

        Args:
            network: `(B, C, H, W)` to logits `(B, 2, H, W)`.
            loss: A key of `LOSSES`.
            learning_rate: Of Adam.
            weight_decay: Of AdamW; 0 gives plain Adam.
            schedule: ``constant``, or ``cosine``: a short warm-up, then down to a hundredth.
            epochs: Length of the cosine.
            seed: Of what is drawn inside the network (dropout), anew in every epoch.
        """
        super().__init__()
        self.network = network
        self.loss = LOSSES[loss]
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.epochs = epochs
        self.seed = seed
        # tp, fp, fn, tn, as integers: sums over an epoch are exact however it is batched.
        self.register_buffer("counts", torch.zeros(4, dtype=torch.int64), persistent=False)
        self.counts: Tensor
        # Lightning reduces a logged training loss only after validation, too late for the table.
        self._loss_sum = torch.zeros(())
        self._loss_count = 0

    @property
    def mean_train_loss(self) -> float:
        """Mean training loss over the patches of this epoch so far."""
        return float(self._loss_sum) / max(self._loss_count, 1)

    def on_train_epoch_start(self) -> None:
        """Seeds by epoch, so that a resumed run draws what an uninterrupted one would have."""
        torch.manual_seed(self.seed * 100_003 + self.current_epoch)
        self._loss_sum = torch.zeros((), device=self.device, dtype=torch.float64)
        self._loss_count = 0

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002  (Lightning's signature)
        """Returns the loss of a batch."""
        image, target = batch
        image = image.contiguous(memory_format=torch.channels_last)
        heads = weighted_heads(self.network, image)
        loss = torch.stack([weight * self.loss(logits, target) for weight, logits in heads]).sum()
        self._loss_sum += loss.detach().double() * len(image)
        self._loss_count += len(image)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Starts counting."""
        self.counts.zero_()

    def validation_step(self, batch: Batch, batch_index: int) -> None:  # noqa: ARG002
        """Adds a batch to the counts."""
        image, target = batch
        logits = self.network(image.contiguous(memory_format=torch.channels_last))
        self.log("val_loss", self.loss(logits, target), batch_size=int((target != IGNORE).sum()) or 1)
        predicted = logits.argmax(1)[target != IGNORE]
        truth = target[target != IGNORE]
        self.counts += torch.bincount(2 * truth + predicted, minlength=4).flip(0)[[0, 2, 1, 3]]

    def on_validation_epoch_end(self) -> None:
        """Logs IoU and F1 of the whole epoch; both are 0 where there is no glacier to be right about."""
        tp, fp, fn, _ = self.counts.tolist()
        self.log("val_iou", tp / max(tp + fp + fn, 1), prog_bar=True)
        self.log("val_f1", 2 * tp / max(2 * tp + fp + fn, 1))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns Adam, with a cosine per step when asked for."""
        parameters = self.network.parameters()
        optimizer = torch.optim.AdamW(parameters, self.learning_rate, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        warm_up = max(1, min(steps // 20, 200))

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            share = (step - warm_up) / max(steps - warm_up, 1)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
