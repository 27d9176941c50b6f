"""How band values become network input."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaling:
    """Mean and spread of each band, measured on training pixels only.

    Attributes:
        mean: One value per band.
        std: One positive value per band.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Centres and scales bands; pixels without data become 0, the mean.

        Args:
            values: `(C, H, W)` in the scene's units.
            valid: `(H, W)`, True where there are data.

        Returns:
            `(C, H, W)`.
        """
        mean = np.asarray(self.mean, np.float32)
        factor = (1 / np.asarray(self.std, np.float64)).astype(np.float32)
        scaled = np.empty(values.shape, np.float32)
        # Band by band: the second step finds what the first one wrote in the processor's cache.
        for band in range(len(scaled)):
            np.subtract(values[band], mean[band], out=scaled[band], dtype=np.float32)
            scaled[band] *= factor[band]
        if not valid.all():
            scaled[:, ~valid] = 0
        return scaled

    def undo(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the values `(C, H, W)` that `apply` made an image of; the mean where it had no data."""
        std, mean = (np.asarray(values, np.float32)[:, None, None] for values in (self.std, self.mean))
        restored: NDArray[np.float32] = image * std + mean
        return restored

    def select(self, positions: Iterable[int]) -> "Scaling":
        """Returns the scaling of some bands, by 0-based position."""
        chosen = list(positions)
        return Scaling(tuple(self.mean[i] for i in chosen), tuple(self.std[i] for i in chosen))


def measure_scaling(patches: Iterable[NDArray[Any]]) -> Scaling:
    """Measures mean and spread per band over pixels, in one pass.

    Args:
        patches: Arrays `(C, N)` of valid training pixels.

    Returns:
        The scaling; a band without spread gets a spread of one, so that it becomes zero.
    """
    count = 0
    mean = squares = np.zeros(0)
    for pixels in patches:
        if not pixels.shape[1]:
            continue
        # Chan, Golub & LeVeque (1983): merging means and sums of squares keeps precision over large scenes.
        own_count = pixels.shape[1]
        own_mean = pixels.mean(axis=1, dtype=np.float64)
        own_squares = pixels.var(axis=1, dtype=np.float64) * own_count
        if not count:
            count, mean, squares = own_count, own_mean, own_squares
            continue
        total = count + own_count
        gap = own_mean - mean
        mean = mean + gap * own_count / total
        squares = squares + own_squares + gap**2 * count * own_count / total
        count = total
    if not count:
        raise ValueError("no valid training pixel to measure bands on")
    std = np.sqrt(squares / count)
    std[std < 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1.0
    return Scaling(tuple(map(float, mean)), tuple(map(float, std)))
