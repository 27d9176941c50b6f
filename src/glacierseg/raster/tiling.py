"""Windows and blend weights: pure arithmetic that training and prediction share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def stride_of(window_px: int, overlap: float) -> int:
    """Returns the distance between windows that overlap by a share of their width.

    Args:
        window_px: Width of a window.
        overlap: Share of a window that the next one covers too, 0 <= overlap < 1.
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; it must be at least 0 and less than 1")
    return max(1, round(window_px * (1 - overlap)))


def passes_of(overlap: float) -> float:
    """Returns how often a pixel of a large scene is computed when windows overlap so."""
    return 1 / (1 - overlap) ** 2


def window_starts(length: int, window_px: int, stride_px: int) -> tuple[int, ...]:
    """Returns where windows start so that they cover a line whole.

    The last window is moved back to end with the line. A line shorter than a window gets one, which reaches
    beyond it.

    Args:
        length: Pixels of the line.
        window_px: Pixels of a window.
        stride_px: Distance between windows.
    """
    last = max(length - window_px, 0)
    starts = list(range(0, last + 1, stride_px))
    if starts[-1] != last:
        starts.append(last)
    return tuple(starts)


def blend_weights(window_px: int) -> NDArray[np.float64]:
    """Returns half-sample Hann weights of a window along one axis, `(window_px,)`.

    They add up to one at 50 % overlap and are never zero, so that the rim of a scene has weight too
    (the usual Hann window, ``numpy.hanning``, is zero at both ends).

    Args:
        window_px: Pixels of a window.
    """
    position = (np.arange(window_px) + 0.5) / window_px
    weights: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * position)
    return weights


@dataclass(frozen=True)
class Tiling:
    """How a scene is covered with windows, and what each window counts where.

    Attributes:
        window_px: Side of a window.
        overlap: Share of a window that the next one covers too, 0 <= overlap < 1.
    """

    window_px: int
    overlap: float = 0.5

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weight of a window along one axis, `(window_px,)`."""
        return blend_weights(self.window_px)

    def starts(self, length: int) -> tuple[int, ...]:
        """Returns where windows start on a line of so many pixels."""
        return window_starts(length, self.window_px, stride_of(self.window_px, self.overlap))

    def total_weight(self, length: int) -> NDArray[np.float64]:
        """Returns the sum of the weights of all windows at each pixel of a line, `(length,)`.

        The weight of a window is the product of its weights along both axes, so the sum over a scene is the
        product of two such lines, and dividing by it makes any overlap and any scene size exact.
        """
        total = np.zeros(max(length, self.window_px))
        for start in self.starts(length):
            total[start : start + self.window_px] += self.weights
        return total[:length]
