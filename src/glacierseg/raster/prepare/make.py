"""Bands of a recipe from what they are made of, whichever files that was read from."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.raster.indices import INDICES
from glacierseg.raster.terrain import TERRAIN


def terrain_to_make(
    wanted: Sequence[str], available: Mapping[str, object], out: object, *, has_dem: bool
) -> list[str]:
    """Returns the terrain layers that an elevation model is needed for.

    Args:
        wanted: Names of the bands to make.
        available: By name, what is there already.
        out: What to call the result in an error.
        has_dem: Whether there is an elevation model.

    Raises:
        RequestError: There is none, and one is needed.
    """
    made = [name for name in wanted if name in TERRAIN and name not in available]
    if made and not has_dem:
        raise RequestError(f"{out}: {made[0]} needs an elevation model; give one with --dem")
    return made


def make_bands(wanted: Sequence[str], layers: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Makes the bands of one block.

    Args:
        wanted: Their names.
        layers: `(h, w)` by role or exact name, NaN where there is no data: bands and terrain as they are, and
            what indices are made of.

    Returns:
        `(C, h, w)`.
    """
    return np.stack([_make(name, layers) for name in wanted])


def _make(name: str, layers: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    if name in layers:
        return layers[name]
    index = INDICES[name]
    return index.compute(*(layers[role] for role in index.roles))
