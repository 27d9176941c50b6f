"""The eight symmetries of a square, for patches and for test-time augmentation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Symmetry:
    """A turn by a multiple of 90 degrees after an optional flip.

    Attributes:
        flip: Mirror left and right first.
        quarter_turns: Counter-clockwise turns by 90 degrees, 0 to 3.
    """

    flip: bool
    quarter_turns: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Symmetry":
        """Draws one of the eight at random."""
        number = int(rng.integers(8))
        return cls(number >= 4, number % 4)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Turns an array `(..., H, W)` over its last two axes."""
        if self.flip:
            array = array[..., ::-1]
        return np.rot90(array, self.quarter_turns, axes=(-2, -1))
