"""Relief with ridges and valleys: a river network cuts into rising rock until it stands nearly still.

The incision is the stream-power law `dz/dt = uplift - K A^m S`, solved implicitly along the drainage tree
(Braun and Willett 2013, Geomorphology 180-181, 170-179).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.synthetic.noise import FloatArray, blur, fractal_noise, pixel_positions, resize, smooth_noise

_NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
_AREA_EXPONENT = 0.45
# Slope of a river that drains 1 m2: about 0.08 at 15 km2.
_STEEPNESS = 140.0
# Per step.
_UPLIFT_M = 60.0
# Mean tangent of the steepest slope that stands.
_STANDS = 0.75
_KERNEL_SQUARE = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))


def fill_pits(elevation: FloatArray, outlets: NDArray[np.bool_], rise: float) -> FloatArray:
    """Raises every closed hollow to its spill level, so that water reaches an outlet from everywhere.

    Morphological reconstruction by erosion, as Planchon and Darboux (2001).

    Args:
        elevation: `(H, W)`.
        outlets: Where water leaves.
        rise: By how much filled ground climbs from pixel to pixel.
    """
    level = np.where(outlets, elevation, np.float32(1e9)).astype(np.float32)
    for step in range(elevation.size):
        lowered = cv2.erode(level, _KERNEL_SQUARE, borderType=cv2.BORDER_REPLICATE) + np.float32(rise)
        lowered = np.maximum(np.minimum(lowered, level), elevation)
        if step % 8 == 0 and np.array_equal(lowered, level):
            break
        level = lowered
    return level


def _receivers(
    elevation: FloatArray, outlets: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.intp], FloatArray]:
    """Returns for every pixel the flat index of a lower neighbour (or itself) and the distance in pixels.

    Some chance in the choice keeps valleys from running along the grid (Rho8, Fairfield and Leymarie 1991).
    """
    height, width = elevation.shape
    padded = np.pad(elevation, 1, constant_values=np.float32(1e9))
    steepest = np.zeros_like(elevation)
    choice = np.zeros(elevation.shape, dtype=np.intp)
    distance = np.ones_like(elevation)
    for row, column in _NEIGHBOURS:
        length = np.float32(np.hypot(row, column))
        other = padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        slope = (elevation - other) / length * rng.uniform(0.6, 1, elevation.shape).astype(np.float32)
        better = slope > steepest
        steepest[better] = slope[better]
        choice[better] = row * width + column
        distance[better] = length
    choice[outlets] = 0
    return (np.arange(elevation.size) + choice.ravel()), distance.ravel()


def _levels(receiver: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Returns the pixels grouped by their number of steps to an outlet, outlets first."""
    depth = (receiver != np.arange(receiver.size)).astype(np.int64)
    jump = receiver
    while depth[jump].any():
        depth = depth + depth[jump]
        jump = jump[jump]
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.cumsum(np.bincount(depth))[:-1])


def _erode(
    elevation: FloatArray,
    outlets: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    steepness: FloatArray,
    steepest: FloatArray,
    pixel_size_m: float,
    steps: int,
) -> FloatArray:
    """Lifts the rock step by step while rivers cut into it and walls that are too steep fall down.

    Args:
        elevation: `(H, W)` in metres.
        outlets: Where water leaves; stays at its height.
        rng: Source of chance.
        steepness: Slope of a river that drains 1 m2, by the rock it runs on.
        steepest: Tangent of the steepest slope that stands.
        pixel_size_m: Edge of a pixel.
        steps: How often.
    """
    for _ in range(steps):
        elevation = fill_pits(elevation, outlets, rise=0.01)
        receiver, distance = _receivers(elevation, outlets, rng)
        levels = _levels(receiver)
        area = np.full(elevation.size, pixel_size_m**2)
        for level in reversed(levels[1:]):
            np.add.at(area, receiver[level], area[level])
        distance *= np.float32(pixel_size_m)
        factor = (_UPLIFT_M * area**_AREA_EXPONENT / (distance * steepness.ravel())).astype(np.float32)
        reach = distance * steepest.ravel()
        flat = elevation.ravel() + np.float32(_UPLIFT_M)
        flat[levels[0]] -= np.float32(_UPLIFT_M)
        for level in levels[1:]:
            part, below = factor[level], flat[receiver[level]]
            flat[level] = np.minimum((flat[level] + part * below) / (1 + part), below + reach[level])
        elevation = blur(flat.reshape(elevation.shape), 0.6)
    return elevation


def _make_outlets(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns where rivers leave: a gap in two opposite sides, so that a divide crosses the middle."""
    outlets = np.zeros(shape, dtype=np.uint8)
    first = rng.integers(4)
    for side in (first, (first + 2) % 4):
        row, column = (rng.uniform(0.25, 0.75, 2) * shape).astype(int)
        outlets[((row, 0), (0, column), (row, -1), (-1, column))[side]] = 1
    return outlets


def _bend(rng: np.random.Generator, elevation: FloatArray) -> FloatArray:
    """Warps a field by a few pixels over long distances: bends what still runs along the grid."""
    rows, columns = pixel_positions(elevation.shape)
    rows += 3 * smooth_noise(rng, elevation.shape, 30)
    columns += 3 * smooth_noise(rng, elevation.shape, 30)
    bent = cv2.remap(elevation, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(bent, dtype=np.float32)


def make_relief(rng: np.random.Generator, shape: tuple[int, int], pixel_size_m: float) -> FloatArray:
    """Makes the bare relief of one drainage basin in metres, at half the resolution.

    Args:
        rng: Source of chance.
        shape: `(H, W)` of the finest pixels, both multiples of 8.
        pixel_size_m: Edge of such a pixel.
    """
    sizes = [(shape[0] // factor, shape[1] // factor) for factor in (8, 4, 2)]
    longest = max(sizes[0]) / 2
    elevation = 500 * fractal_noise(rng, sizes[0], longest, roughness=0.6)
    outlets = _make_outlets(rng, sizes[0])
    elevation[outlets > 0] = elevation.min() - 100
    rock = fractal_noise(rng, sizes[0], longest, roughness=0.7)
    for size, steps in zip(sizes, (50, 10, 5), strict=True):
        if size != elevation.shape:
            elevation = _bend(rng, resize(elevation, size)) + 8 * smooth_noise(rng, size, 2.0)
        elevation = _erode(
            elevation,
            cv2.resize(outlets, size[::-1], interpolation=cv2.INTER_NEAREST) > 0,
            rng,
            steepness=_STEEPNESS * np.exp(0.3 * resize(rock, size)),
            steepest=np.clip(_STANDS + 0.2 * fractal_noise(rng, size, 12, roughness=0.8), 0.25, 1.4),
            pixel_size_m=pixel_size_m * shape[0] / size[0],
            steps=steps,
        )
    # Gravel fills the narrowest valley floors.
    gravel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    return blur(np.asarray(cv2.morphologyEx(elevation, cv2.MORPH_CLOSE, gravel), dtype=np.float32), 0.8)
