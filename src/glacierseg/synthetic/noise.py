"""Random fields that the made-up landscape is built from."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def resize(field: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Brings a field to another `(H, W)` with cubic interpolation."""
    height, width = shape
    return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def shrink(field: FloatArray, factor: int) -> FloatArray:
    """Averages blocks of `factor` by `factor` pixels."""
    height, width = field.shape
    size = (width // factor, height // factor)
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def blur(field: FloatArray, sigma_px: float) -> FloatArray:
    """Returns a field smoothed by a Gaussian."""
    blurred = cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def pixel_positions(shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Returns the row and the column of every pixel of an `(H, W)` field."""
    rows, columns = np.indices(shape).astype(np.float32)
    return rows, columns


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float) -> FloatArray:
    """Returns Gaussian noise `(H, W)` of mean 0 and deviation 1 that varies over about `wavelength_px`."""
    height, width = shape
    wavelength_px = max(wavelength_px, 1.0)
    knots = (math.ceil(height / wavelength_px) + 3, math.ceil(width / wavelength_px) + 3)
    coarse = rng.standard_normal(knots).astype(np.float32)
    fine = resize(coarse, (round(knots[0] * wavelength_px), round(knots[1] * wavelength_px)))
    # A random start keeps the knots of several fields apart and clear of the rim.
    top, left = (wavelength_px * (0.5 + rng.random(2))).astype(int)
    # Cubic interpolation of unit noise has a deviation near 0.75.
    return np.asarray(fine[top : top + height, left : left + width] / 0.75, dtype=np.float32)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], wavelength_px: float, *, roughness: float = 0.5
) -> FloatArray:
    """Returns a sum of noise octaves from `wavelength_px` down to two pixels, of deviation near 1.

    Args:
        rng: Source of chance.
        shape: `(H, W)`.
        wavelength_px: Of the longest octave.
        roughness: Amplitude of an octave against the one twice as long.
    """
    total = np.zeros(shape, dtype=np.float32)
    wavelength_px = max(wavelength_px, 2.0)
    amplitude, power = 1.0, 0.0
    while wavelength_px >= 2:
        total += amplitude * smooth_noise(rng, shape, wavelength_px)
        power += amplitude**2
        amplitude *= roughness
        wavelength_px /= 2
    return total / np.float32(math.sqrt(power))


def ramp(field: FloatArray, low: float, high: float) -> FloatArray:
    """Returns 0 below `low`, 1 above `high` and a smooth step between them (`high` may be the lower one)."""
    part = np.clip((field - low) / (high - low), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), dtype=np.float32)
