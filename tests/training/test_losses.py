import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from glacierseg.training.losses import LOSSES, cross_entropy, dice, dice_focal, focal


def batch(seed: int, ignored: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, (2, 5, 7))
    target[rng.random(target.shape) < ignored] = 255
    return torch.from_numpy(rng.normal(0, 3, (2, 2, 5, 7))).float(), torch.from_numpy(target)


def labelled(logits: torch.Tensor, target: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    probability = softmax(logits.numpy().astype(float), axis=1)[:, 1]
    keep = target.numpy() != 255
    return probability[keep], target.numpy()[keep]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_losses_equal_independent_formulas(seed: int) -> None:
    logits, target = batch(seed)
    p, t = labelled(logits, target)
    truth_p = np.where(t == 1, p, 1 - p)
    assert float(cross_entropy(logits, target)) == pytest.approx(log_loss(t, p, labels=[0, 1]), rel=1e-4)
    expected_focal = (-((1 - truth_p) ** 2) * np.log(truth_p)).mean()
    assert float(focal(logits, target)) == pytest.approx(expected_focal, rel=1e-4)
    expected_dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert float(dice(logits, target)) == pytest.approx(expected_dice, rel=1e-4)
    assert float(dice_focal(logits, target)) == pytest.approx(expected_dice + expected_focal, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_have_no_influence(name: str) -> None:
    logits, target = batch(1)
    changed = logits.clone()
    changed[:, :, :, :] = torch.where((target == 255)[:, None], 50.0, logits)
    changed.requires_grad_()
    loss = LOSSES[name](changed, target)
    assert float(loss) == pytest.approx(float(LOSSES[name](logits, target)))
    loss.backward()
    assert changed.grad is not None
    assert (changed.grad[(target == 255)[:, None].expand_as(changed)] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_finite_for_bf16_extreme_logits_and_a_batch_without_labels(name: str, scale: float) -> None:
    logits, target = batch(2)
    for labels in (target, torch.full_like(target, 255)):
        steep = (logits * scale).bfloat16().requires_grad_()
        loss = LOSSES[name](steep, labels)
        loss.backward()
        assert torch.isfinite(loss)
        assert steep.grad is not None
        assert torch.isfinite(steep.grad).all()
