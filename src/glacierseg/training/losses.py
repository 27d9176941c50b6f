"""Losses that leave ignored pixels out, computed in single precision whatever the network ran in."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over labelled pixels.

    Args:
        logits: `(B, classes, H, W)`.
        target: `(B, H, W)` of class numbers and 255.

    Returns:
        A scalar; zero (with a gradient of zero) when no pixel is labelled.
    """
    total = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp(min=1)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean focal loss, ``-(1 - p)^gamma log p`` of the true class's probability (Lin et al. 2017).

    Args:
        logits: `(B, classes, H, W)`.
        target: `(B, H, W)` of class numbers and 255.
        gamma: How much pixels that are already right count less.
    """
    entropy = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="none")
    # Ignored pixels have an entropy of zero here, so they add nothing.
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).sum() / (target != IGNORE).sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss of the last class (glacier) over all labelled pixels of a batch (Milletari et al. 2016).

    Args:
        logits: `(B, classes, H, W)`.
        target: `(B, H, W)` of class numbers and 255.
        smooth: Added to both sides of the fraction, so that a batch without glacier has a value.
    """
    labelled = target != IGNORE
    probability = logits.float().softmax(1)[:, -1] * labelled
    glacier = (target == logits.shape[1] - 1).float()
    overlap = (probability * glacier).sum()
    return 1 - (2 * overlap + smooth) / (probability.sum() + glacier.sum() + smooth)


def dice_focal(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of the Dice and the focal loss.

    Args:
        logits: `(B, classes, H, W)`.
        target: `(B, H, W)` of class numbers and 255.
    """
    return dice(logits, target) + focal(logits, target)


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
    "dice_focal": dice_focal,
}
