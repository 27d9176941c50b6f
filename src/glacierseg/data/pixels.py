"""Single training pixels: for what is measured over all of them, without patches."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.data.patches import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.raster.truth import GLACIER, IGNORE


def train_pixels(
    regions: Sequence[Region],
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yields valid training pixels `(C, N)` and whether they are glacier `(N,)`, strip by strip."""
    for region in regions:
        chosen = _chosen(region)
        if not chosen.any():
            continue
        with region.scene.open() as reader:
            for rows, values, _ in reader.strips():
                inside = chosen[rows]
                yield values[:, inside], region.truth[rows][inside] == GLACIER


def count_train_pixels(regions: Sequence[Region]) -> int:
    """Returns how many pixels `train_pixels` yields."""
    return sum(int(np.count_nonzero(_chosen(region))) for region in regions)


def thinned(
    pixels: Iterable[NDArray[Any]], step: int, kept: list[NDArray[np.float32]]
) -> Iterator[NDArray[Any]]:
    """Passes arrays `(C, N)` on and keeps every so many pixels of them.

    Args:
        pixels: The arrays.
        step: Keep one in so many pixels.
        kept: Gets an array of them for each array.
    """
    for values in pixels:
        kept.append(values[:, ::step].astype(np.float32))
        yield values


def _chosen(region: Region) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (region.roles == ROLE_CODES["train"]) & (region.truth != IGNORE)
    return chosen
