"""Losses that leave ignored pixels out, computed in single precision or better whatever the network ran in.

Sums over pixels are sums over all processes of a distributed training, so that a loss does not depend on how
a batch was shared out.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from glacierseg.errors import RequestError
from glacierseg.raster.probability import LEVELS
from glacierseg.raster.truth import IGNORE
from glacierseg.training.processes import global_sum

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits `(B, classes, H, W)` and target `(B, H, W)` of class numbers and 255 to a scalar; it is zero, with a
gradient of zero, when no pixel is labelled."""


def cross_entropy(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over labelled pixels.

    Label smoothing is the share of the true class's weight that is spread evenly over all classes (Szegedy et
    al. 2016).

    Returns:
        A scalar; zero (with a gradient of zero) when no pixel is labelled.
    """
    total = F.cross_entropy(
        _precise(logits), target, ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )
    return _per_labelled_pixel(total, target)


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy against the probabilities of a teacher (Hinton et al. 2015, at a temperature of 1).

    Its gradient is that of the divergence of Kullback and Leibler, which is zero where both agree.

    Args:
        logits: `(B, 2, H, W)`.
        target: `(B, H, W)` of the probability of glacier in `LEVELS`, 255 where there is none.

    Returns:
        A scalar; zero (with a gradient of zero) when no pixel is labelled.
    """
    precise = _precise(logits)
    difference = precise[:, 1] - precise[:, 0]
    probability, known = target.to(precise.dtype) / LEVELS, (target != IGNORE).to(precise.dtype)
    total = F.binary_cross_entropy_with_logits(difference, probability, known, reduction="sum")
    return _per_labelled_pixel(total, target)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, label_smoothing: float = 0.0) -> Tensor:
    """Mean focal loss, ``-(1 - p)^gamma log p`` of the true class's probability (Lin et al. 2017).

    Label smoothing is that of `cross_entropy`: the same term of every class, by its smoothed weight.
    """
    if not label_smoothing:
        entropy = F.cross_entropy(_precise(logits), target, ignore_index=IGNORE, reduction="none")
        # Ignored pixels have an entropy of zero here, so they add nothing.
        return _per_labelled_pixel((_other_probability(entropy) ** gamma * entropy).sum(), target)
    entropies = -F.log_softmax(_precise(logits), 1)
    terms = _other_probability(entropies) ** gamma * entropies
    labelled = target != IGNORE
    true_terms = terms.gather(1, (target * labelled)[:, None])[:, 0]
    smoothed = (1 - label_smoothing) * true_terms + label_smoothing * terms.mean(1)
    return _per_labelled_pixel((smoothed * labelled).sum(), target)


def dice(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss of the last class (glacier) over all labelled pixels of a batch (Milletari et al. 2016).

    Both sides of the fraction have `smooth` added, so that a batch without glacier has a value.
    """
    return tversky(logits, target, 0.5, 0.5, smooth / 2)


def tversky(
    logits: Tensor, target: Tensor, commission: float = 0.3, omission: float = 0.7, smooth: float = 1.0
) -> Tensor:
    """Soft Tversky loss of the last class over all labelled pixels of a batch (Salehi et al. 2017).

    ``1 - TP / (TP + commission FP + omission FN)``, with `smooth` added as in `dice`: with 0.5 and 0.5 it is
    Dice. The default, the paper's, counts missed glacier more than invented glacier: for thin, debris-covered
    or rare ice.
    """
    probability = _precise(logits).softmax(1)[:, -1] * (target != IGNORE)
    glacier = (target == logits.shape[1] - 1).to(probability.dtype)
    sums = torch.stack([(probability * glacier).sum(), probability.sum(), glacier.sum()])
    overlap, predicted, true = global_sum(sums).unbind()
    weighted = overlap + commission * (predicted - overlap) + omission * (true - overlap)
    return 1 - (overlap + smooth) / (weighted + smooth)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovász-softmax loss of the last class: the convex extension of `1 - IoU` (Berman et al. 2018).

    It sorts the pixels of a batch by their error, so in a distributed training it is the mean over the
    processes' own batches, not that of one large batch.
    """
    labelled = target != IGNORE
    glacier = (target == logits.shape[1] - 1)[labelled]
    probability = _precise(logits).softmax(1)[:, -1][labelled]
    errors, order = (glacier.to(probability.dtype) - probability).abs().sort(descending=True)
    glacier = glacier[order]
    # The rise of 1 - IoU as pixel after pixel, the worst first, is counted as wrong.
    missed = glacier.cumsum(0)
    union = glacier.sum() + (~glacier).cumsum(0)
    jaccard = 1 - (glacier.sum() - missed).to(errors.dtype) / union.clamp(min=1)
    rise = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
    return (errors * rise).sum()


def dice_focal(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Sum of the Dice and the focal loss, the labels of the latter smoothed."""
    return dice(logits, target) + focal(logits, target, label_smoothing=label_smoothing)


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "dice_focal": dice_focal,
    "tversky": tversky,
    "lovasz": lovasz,
}
SMOOTHABLE = ("cross_entropy", "focal", "dice_focal")


def make_loss(name: str, label_smoothing: float = 0.0) -> Loss:
    """Returns a loss of `LOSSES` by name, with smoothed labels for one of `SMOOTHABLE`."""
    if not label_smoothing:
        return LOSSES[name]
    if name not in SMOOTHABLE:
        raise RequestError(
            f"label_smoothing is {label_smoothing:g}, but the loss {name} has none; "
            f"set it to 0 or train with {', '.join(SMOOTHABLE)}"
        )
    smoothed: Callable[..., Tensor] = LOSSES[name]
    return partial(smoothed, label_smoothing=label_smoothing)


def _precise(logits: Tensor) -> Tensor:
    """Logits in single precision, or in double when they are that."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _other_probability(entropy: Tensor) -> Tensor:
    """Probability of all other classes, from `-log p`, without the cancellation of `1 - exp(log p)`."""
    return -torch.expm1(-entropy)


def _per_labelled_pixel(total: Tensor, target: Tensor) -> Tensor:
    """Divides a sum over pixels by the number of labelled ones, both over all processes."""
    count = (target != IGNORE).sum().to(total.dtype)
    total, count = global_sum(torch.stack([total, count])).unbind()
    return total / count.clamp(min=1)
