"""Single training pixels: for what is measured over all of them, without patches."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.dataset.patches import Region
from glacierseg.dataset.split import ROLE_CODES
from glacierseg.raster.truth import GLACIER, IGNORE


def train_pixels(
    regions: Sequence[Region],
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yields valid training pixels `(C, N)` and whether they are glacier `(N,)`, strip by strip."""
    for region in regions:
        chosen = (region.roles == ROLE_CODES["train"]) & (region.truth != IGNORE)
        if not chosen.any():
            continue
        with region.scene.open() as reader:
            for rows, values, _ in reader.strips():
                inside = chosen[rows]
                yield values[:, inside], region.truth[rows][inside] == GLACIER
