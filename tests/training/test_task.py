"""How a task is set up by its plan, before anything is trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glacierseg.models.scaling import Scaling
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.processes import Processes
from glacierseg.training.task import SegmentationTask


def task(plan: TrainingPlan) -> SegmentationTask:
    return SegmentationTask(nn.Conv2d(1, 2, 1), Scaling((0.0,), (1.0,)), plan, 1, Processes())


def test_the_optimiser_takes_rate_and_decay_of_the_plan() -> None:
    made = task(TrainingPlan(loss="dice", learning_rate=0.02, weight_decay=0.3)).configure_optimizers()
    assert isinstance(made, torch.optim.AdamW)
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.02, 0.3)


def test_the_loss_smooths_labels_as_planned() -> None:
    logits, target = torch.tensor([[[[2.0]], [[-1.0]]]]), torch.tensor([[[1]]])
    for smoothing in (0.0, 0.2):
        plan = TrainingPlan(loss="cross_entropy", learning_rate=0.1, label_smoothing=smoothing)
        expected = float(F.cross_entropy(logits, target, label_smoothing=smoothing))
        assert float(task(plan).loss(logits, target)) == pytest.approx(expected)
