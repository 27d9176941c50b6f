"""Confusion counts of two masks: exact whole numbers, so that they add up over tiles and regions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import GridMismatchError
from glacierseg.raster.truth import BACKGROUND, GLACIER, clean_mask


@dataclass(frozen=True)
class Counts:
    """Pixels by predicted and true class, glacier being the positive one.

    Attributes:
        tp: Glacier in both.
        fp: Glacier in the prediction only.
        fn: Glacier in the truth only.
        tn: Glacier in neither.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @property
    def total(self) -> int:
        """All pixels that were compared."""
        return self.tp + self.fp + self.fn + self.tn

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.tn + other.tn,
        )


def count(predicted: NDArray[Any], truth: NDArray[Any]) -> Counts:
    """Compares two masks pixel by pixel, leaving out those where either is 255.

    Args:
        predicted: `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.

    Raises:
        GridMismatchError: The masks are of different shape.
        TruthError: A mask has other values.
    """
    return count_clean(*clean_pair(predicted, truth))


def clean_pair(predicted: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns two masks as uint8 of 0, 1 and 255 after checking that they can be compared.

    Raises:
        GridMismatchError: The masks are of different shape.
        TruthError: A mask has other values.
    """
    if predicted.shape != truth.shape:
        raise GridMismatchError(
            f"predicted mask of shape {predicted.shape} does not fit truth of shape {truth.shape}; "
            "bring both onto one grid with `glacierseg prepare align`"
        )
    return clean_mask(predicted, None, "predicted mask"), clean_mask(truth, None, "truth")


def count_clean(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Counts:
    """Counts masks that are known to have one shape and no values but 0, 1 and 255."""
    found, missed = predicted == GLACIER, predicted == BACKGROUND
    glacier, background = truth == GLACIER, truth == BACKGROUND
    return Counts(
        tp=int(np.count_nonzero(found & glacier)),
        fp=int(np.count_nonzero(found & background)),
        fn=int(np.count_nonzero(missed & glacier)),
        tn=int(np.count_nonzero(missed & background)),
    )
