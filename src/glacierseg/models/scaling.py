"""How band values become network input."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaling:
    """Mean and spread of each band, or of its logarithm, measured on training pixels only.

    Attributes:
        mean: One value per band.
        std: One positive value per band.
        floor: A positive value for each band whose natural logarithm is scaled, with lower values raised to
            it; None for bands that are scaled as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    floor: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        """Fills in that no band becomes its logarithm."""
        object.__setattr__(self, "floor", tuple(self.floor) or (None,) * len(self.mean))

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
        for band, floor in enumerate(self.floor):
            source = values[band]
            if floor is not None:
                source = np.log(
                    np.maximum(source, floor, out=scaled[band], dtype=np.float32), out=scaled[band]
                )
            np.subtract(source, mean[band], out=scaled[band], dtype=np.float32)
            scaled[band] *= factor[band]
        if not valid.all():
            scaled[:, ~valid] = 0
        return scaled

    def undo(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the values `(C, H, W)` that `apply` made an image of; the mean where it had no data."""
        std, mean = (np.asarray(values, np.float32)[:, None, None] for values in (self.std, self.mean))
        restored: NDArray[np.float32] = image * std + mean
        for band, floor in enumerate(self.floor):
            if floor is not None:
                np.exp(restored[band], out=restored[band])
        return restored

    def select(self, positions: Iterable[int]) -> "Scaling":
        """Returns the scaling of some bands, by 0-based position."""
        chosen = list(positions)
        mean, std = (tuple(values[i] for i in chosen) for values in (self.mean, self.std))
        return Scaling(mean, std, tuple(self.floor[i] for i in chosen))


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


# Darker than this share of a band's mean is noise or shadow, where the logarithm would tell too much apart.
_FLOOR_SHARE = 0.01


def logarithmic_floor(plain: Scaling, logarithmic: Collection[int]) -> tuple[float | None, ...]:
    """Returns `Scaling.floor` for bands of which some become their logarithm.

    Args:
        plain: Measured on values as they are.
        logarithmic: 0-based positions of those bands.

    Raises:
        ValueError: One has no positive mean; `args[0]` is its position.
    """
    for band in logarithmic:
        if not plain.mean[band] > 0:
            raise ValueError(band)
    return tuple(_FLOOR_SHARE * mean if band in logarithmic else None for band, mean in enumerate(plain.mean))


def measure_logarithmic_scaling(patches: Iterable[NDArray[Any]], floor: tuple[float | None, ...]) -> Scaling:
    """Measures mean and spread where bands with a floor become their logarithm."""

    def as_scaled() -> Iterator[NDArray[np.float64]]:
        for pixels in patches:
            changed = pixels.astype(np.float64)
            for band, least in enumerate(floor):
                if least is not None:
                    np.log(np.maximum(changed[band], least), out=changed[band])
            yield changed

    scaled = measure_scaling(as_scaled())
    return Scaling(scaled.mean, scaled.std, floor)
