import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import entr, rel_entr, softmax
from sklearn.metrics import log_loss

from glacierseg.errors import RequestError
from glacierseg.training.losses import (
    LOSSES,
    SMOOTHABLE,
    cross_entropy,
    dice,
    dice_focal,
    focal,
    lovasz,
    make_loss,
    soft_cross_entropy,
    tversky,
)


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
    hit, false, missed = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
    expected_tversky = 1 - (hit + 1) / (hit + 0.3 * false + 0.7 * missed + 1)
    assert float(tversky(logits, target)) == pytest.approx(expected_tversky, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_soft_cross_entropy_equals_independent_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, hard = batch(seed)
    levels = torch.from_numpy(np.where(hard.numpy() == 255, 255, rng.integers(0, 255, hard.shape)))
    known = levels.numpy() != 255
    p, q = softmax(logits.numpy().astype(float), axis=1)[:, 1][known], levels.numpy()[known] / 254
    found = float(soft_cross_entropy(logits, levels))
    assert found == pytest.approx(-(q * np.log(p) + (1 - q) * np.log1p(-p)).mean(), rel=1e-4)
    # It is the divergence of Kullback and Leibler and a constant, the entropy of the target.
    assert found == pytest.approx(
        (rel_entr(q, p) + rel_entr(1 - q, 1 - p) + entr(q) + entr(1 - q)).mean(), rel=1e-4
    )
    # Sure targets make it the cross-entropy of classes.
    sure = torch.where(hard == 255, hard, 254 * hard)
    assert float(soft_cross_entropy(logits, sure)) == pytest.approx(
        float(cross_entropy(logits, hard)), rel=1e-5
    )


def test_soft_cross_entropy_rests_where_student_and_teacher_agree() -> None:
    levels = torch.arange(256).reshape(1, 16, 16)
    logits = torch.zeros(1, 2, 16, 16, dtype=torch.float64)
    logits[0, 1] = torch.logit((levels[0] / 254).double().clamp(1e-9, 1 - 1e-9))
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(soft_cross_entropy(logits, levels), logits)
    assert float(gradient.abs().max()) < 1e-9
    nothing = torch.full((1, 16, 16), 255)
    loss = soft_cross_entropy(logits, nothing)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(loss.detach()) == 0
    assert float(gradient.abs().max()) == 0


def lovasz_extension(p: np.ndarray, t: np.ndarray) -> float:
    """By its definition: errors, the worst first, times the rise of 1 - IoU of the set wrong so far."""
    errors = np.abs(t - p)
    total, wrong, before = 0.0, np.zeros(len(t), bool), 0.0
    for index in np.argsort(-errors, kind="stable"):
        wrong[index] = True
        predicted = np.where(wrong, 1 - t, t)
        now = 1 - (predicted * t).sum() / max(((predicted + t) > 0).sum(), 1)
        total, before = total + errors[index] * (now - before), now
    return total


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000))
def test_lovasz_equals_its_definition(seed: int) -> None:
    logits, target = batch(seed)
    assert float(lovasz(logits, target)) == pytest.approx(
        lovasz_extension(*labelled(logits, target)), rel=1e-4
    )


def test_lovasz_of_a_hard_prediction_is_one_minus_iou() -> None:
    target = torch.tensor([[[1, 1, 1, 0, 0, 255]]])
    wanted = torch.tensor([[[1, 0, 1, 1, 0, 1]]])
    logits = torch.nn.functional.one_hot(wanted, 2).permute(0, 3, 1, 2) * 100.0
    assert float(lovasz(logits, target)) == pytest.approx(1 - 2 / 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.01, 0.4))
def test_smoothed_labels_share_their_weight_with_all_classes(seed: int, smoothing: float) -> None:
    logits, target = batch(seed)
    p, t = labelled(logits, target)
    weight = (1 - smoothing) * t + smoothing / 2
    entropy = -(weight * np.log(p) + (1 - weight) * np.log(1 - p)).mean()
    assert float(make_loss("cross_entropy", smoothing)(logits, target)) == pytest.approx(entropy, rel=1e-4)
    soft = -(weight * (1 - p) ** 2 * np.log(p) + (1 - weight) * p**2 * np.log(1 - p)).mean()
    assert float(make_loss("focal", smoothing)(logits, target)) == pytest.approx(soft, rel=1e-4)
    both = soft + float(dice(logits, target))
    assert float(make_loss("dice_focal", smoothing)(logits, target)) == pytest.approx(both, rel=1e-4)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - set(SMOOTHABLE)))
def test_labels_cannot_be_smoothed_for_losses_of_areas(name: str) -> None:
    with pytest.raises(RequestError, match=f"the loss {name} has none"):
        make_loss(name, 0.1)


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_logits_give_nearly_the_same_loss(name: str) -> None:
    logits, target = batch(3)
    rough = LOSSES[name](logits.bfloat16(), target)
    assert rough.dtype == torch.float32
    assert float(rough) == pytest.approx(float(LOSSES[name](logits, target)), rel=0.02)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_loss(name: str) -> None:
    logits, target = batch(4)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, target), (logits.double().requires_grad_(),))


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_have_no_influence(name: str) -> None:
    logits, target = batch(1)
    changed = logits.clone()
    changed[:, :, :, :] = torch.where((target == 255)[:, None], 50.0, logits)
    changed.requires_grad_()
    loss = LOSSES[name](changed, target)
    assert loss.item() == pytest.approx(float(LOSSES[name](logits, target)))
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
