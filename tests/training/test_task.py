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


def test_soft_targets_are_learned_as_probabilities_and_counted_as_classes() -> None:
    plan = TrainingPlan(loss="cross_entropy", learning_rate=0.1)
    network = nn.Conv2d(1, 2, 1)
    made = SegmentationTask(network, Scaling((0.0,), (1.0,)), plan, 1, Processes(), soft=True)
    network.load_state_dict({"weight": torch.zeros(2, 1, 1, 1), "bias": torch.tensor([0.0, 1.0])})
    made.on_train_epoch_start()
    values, valid = torch.ones(1, 1, 4, 1), torch.ones(1, 1, 4, dtype=torch.bool)
    target = torch.tensor([[[0, 126, 127, 255]]], dtype=torch.uint8)
    loss = made.training_step((values, valid, target), 0)
    share = torch.tensor([0, 126, 127]) / 254
    expected = F.binary_cross_entropy(torch.sigmoid(torch.ones(3)), share)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-6)
    # Everything is called glacier: one pixel is, by the teacher, and two are not.
    assert made._train_counts.tolist() == [1, 2, 0, 0]


def test_the_loss_smooths_labels_as_planned() -> None:
    logits, target = torch.tensor([[[[2.0]], [[-1.0]]]]), torch.tensor([[[1]]])
    for smoothing in (0.0, 0.2):
        plan = TrainingPlan(loss="cross_entropy", learning_rate=0.1, label_smoothing=smoothing)
        expected = float(F.cross_entropy(logits, target, label_smoothing=smoothing))
        assert float(task(plan).loss(logits, target)) == pytest.approx(expected)
