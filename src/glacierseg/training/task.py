"""The Lightning task: one optimisation step and exact validation counts."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from glacierseg.models.blocks import weighted_heads
from glacierseg.models.device import InputScaling
from glacierseg.models.scaling import Scaling
from glacierseg.raster.probability import LEVELS
from glacierseg.raster.truth import IGNORE
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.losses import make_loss, soft_cross_entropy
from glacierseg.training.processes import Processes, alone, global_sum, process_count

Batch = tuple[Tensor, Tensor, Tensor]
"""Values `(B, P, P, C)` as stored, valid `(B, P, P)` and target `(B, P, P)`, from `PatchDataset`."""


class SegmentationTask(pl.LightningModule):
    """Trains a network on patches and validates it by pixel counts over the whole epoch.

    Logs `train_iou`, `val_loss`, `val_iou` and `val_f1`; `mean_train_loss` holds the training loss of the
    running epoch.
    With several processes all of these are those of the whole batch and of all validation pixels.
    """

    def __init__(
        self,
        network: nn.Module,
        scaling: Scaling,
        plan: TrainingPlan,
        validation_batches: int,
        processes: Processes,
        *,
        soft: bool = False,
    ) -> None:
        """Sets up the task.

        Args:
            network: `(B, C, H, W)` to logits `(B, 2, H, W)`.
            scaling: How band values become input.
            plan: How to train.
            validation_batches: Of all processes together; what a sampler repeats beyond them to give each
                process as many is not counted.
            processes: Which of them this is.
            soft: Training targets are probabilities in levels, as of a `PatchDataset` of soft labels.
        """
        super().__init__()
        self.network = network
        self.scale = InputScaling(scaling)
        self.plan = plan
        self.validation_batches = validation_batches
        self.processes = processes
        self.loss = make_loss(plan.loss, plan.label_smoothing)
        self.soft = soft
        # tp, fp, fn, tn, as integers: sums over an epoch are exact however it is batched.
        self.register_buffer("counts", torch.zeros(4, dtype=torch.int64), persistent=False)
        self.counts: Tensor
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        # Lightning reduces a logged loss only after validation, too late for the table.
        self._train_sum, self._train_count = torch.zeros(()), 0
        # Not a buffer: DDP overwrites these with the first process's in every step.
        self._train_counts = torch.zeros(4, dtype=torch.int64)
        self._val_sum = torch.zeros(2)

    @property
    def mean_train_loss(self) -> float:
        """Mean training loss over the patches of this epoch so far."""
        return float(self._train_sum) / max(self._train_count, 1)

    def on_train_epoch_start(self) -> None:
        """Seeds by epoch, so that a resumed run draws what an uninterrupted one would have."""
        torch.manual_seed(self.plan.seed * 100_003 + self.current_epoch)
        if self.plan.frozen_norms:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        self._train_sum = torch.zeros((), device=self.device, dtype=torch.float64)
        self._train_count = 0
        self._train_counts = torch.zeros(4, device=self.device, dtype=torch.int64)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:  # noqa: ARG002  (Lightning's signature)
        """Returns the loss of the whole batch, scaled so that DDP's mean of gradients becomes their sum."""
        values, valid, target = batch
        target = target.long()
        training_loss = soft_cross_entropy if self.soft else self.loss
        heads = weighted_heads(self.network, self.scale(values, valid))
        loss = torch.stack([weight * training_loss(logits, target) for weight, logits in heads]).sum()
        if self.soft:
            target = torch.where(target == IGNORE, target, (2 * target >= LEVELS).long())
        self._train_counts += _counts(heads[-1][1].detach(), target)
        self._train_sum += loss.detach().double() * len(target)
        self._train_count += len(target)
        # The gradient of the whole batch is the sum over processes (see `global_sum`); DDP takes the mean.
        return loss * process_count()

    def on_validation_epoch_start(self) -> None:
        """Starts counting."""
        self.counts.zero_()
        self._val_sum = torch.zeros(2, device=self.device, dtype=torch.float64)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Adds a batch to the counts."""
        if batch_index * self.processes.count + self.processes.rank >= self.validation_batches:
            return
        values, valid, target = batch
        logits, target = self.network(self.scale(values, valid)), target.long()
        labelled = target != IGNORE
        with alone():
            loss = self.loss(logits, target).double()
        pixels = labelled.sum().double()
        self._val_sum += torch.stack([loss * pixels, pixels])
        self.counts += _counts(logits, target)

    def on_validation_epoch_end(self) -> None:
        """Logs the scores of the whole epoch; IoU and F1 are 0 where no glacier was true or predicted."""
        tp, fp, fn, _ = global_sum(self.counts).tolist()
        total, pixels = global_sum(self._val_sum).tolist()
        train_tp, train_fp, train_fn, _ = global_sum(self._train_counts).tolist()
        scores = {
            "train_iou": train_tp / max(train_tp + train_fp + train_fn, 1),
            "val_loss": total / max(pixels, 1),
            "val_iou": tp / max(tp + fp + fn, 1),
            "val_f1": 2 * tp / max(2 * tp + fp + fn, 1),
        }
        # In double: rounded scores could tie where the true ones differ.
        # Loggers get them from the epoch table.
        exact = {key: torch.tensor(value, dtype=torch.float64) for key, value in scores.items()}
        self.log_dict(exact, logger=False)
        if self._plateau:
            self._plateau.step(scores["val_iou" if self.plan.monitor == "last" else self.plan.monitor])

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,  # noqa: ARG002  (Lightning's signature)
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Clips the norm of the gradient, which Lightning refuses to do for a fused optimiser in bf16."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns Adam, with a schedule when asked for."""
        parameters = self.network.parameters()
        optimizer = torch.optim.AdamW(
            parameters, self.plan.learning_rate, weight_decay=self.plan.weight_decay, fused=True
        )
        if self.plan.schedule == "plateau":
            # Stepped here, not by Lightning, which would do it after the checkpoint is written and forget it
            # on resume.
            patience = self.plan.patience // 2
            self._plateau = ReduceLROnPlateau(
                optimizer, self.plan.mode, factor=0.1, patience=patience, threshold=0.0
            )
            if self._plateau_state:
                self._plateau.load_state_dict(self._plateau_state)
        if self.plan.schedule != "cosine":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        warm_up = max(1, min(steps // 20, 200))

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            share = (step - warm_up) / max(steps - warm_up, 1)
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the state of the plateau schedule."""
        if self._plateau:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the state of the plateau schedule until the optimiser exists."""
        self._plateau_state = checkpoint.get("plateau")


def _counts(logits: Tensor, target: Tensor) -> Tensor:
    """Returns tp, fp, fn, tn of labelled pixels, from logits `(B, 2, H, W)` and target `(B, H, W)`.

    Picking pixels out by a mask would make every step wait for the GPU, so masks are summed instead.
    """
    found, ice, other = logits.argmax(1) == 1, target == 1, target == 0
    return torch.stack(
        [(found & ice).sum(), (found & other).sum(), (~found & ice).sum(), (~found & other).sum()]
    )
