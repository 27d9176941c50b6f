"""Which bands of a scene networks get, and what stands for those that they may miss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import BandError
from glacierseg.models.card import ModelCard
from glacierseg.raster.blocks import Block, LayerReader
from glacierseg.raster.scene import Scene, SceneReader
from glacierseg.raster.values import sample_windows

_GAPS = 0.01


def matching_scene(scene: Scene, bands: Sequence[str], fills: Mapping[str, float] | None = None) -> Scene:
    """Returns the bands of a scene that a network wants, in its order.

    Args:
        scene: The scene.
        bands: That the network wants.
        fills: By band that may be missing, what stands for it.

    Raises:
        BandError: The scene lacks some that may not be missing, or all.
    """
    fills = {band: value for band, value in (fills or {}).items() if band in bands}
    missing = [band for band in bands if band not in scene.band_names]
    if len(missing) < len(bands):
        missing = [band for band in missing if band not in fills]
    if missing:
        raise BandError(
            f"{scene.paths[0]}: lacks {', '.join(missing)} that the model was trained on; it has "
            f"{', '.join(scene.band_names)}: name its bands as in {', '.join(bands)}"
        )
    return scene.filled(fills).select(bands)


def fills_of(cards: Sequence[ModelCard]) -> dict[str, float]:
    """Returns what stands for each band that no network needs, the mean of their trainings."""
    fills: dict[str, list[float]] = {}
    for card in cards:
        for band, value in card.fills.items():
            fills.setdefault(band, []).append(value)
    needed = {band for card in cards for band in card.bands if band not in card.may_miss}
    return {band: float(np.mean(values)) for band, values in fills.items() if band not in needed}


def missing_in(scene: Scene) -> str:
    """Names the bands of a filled scene that it lacks, and those with gaps; empty where there are none."""
    gone = [band.name for band in scene.bands if band.is_constant]
    doubtful = [band for band in scene.bands if band.fill is not None and not band.is_constant]
    if not doubtful:
        return ", ".join(gone)
    with scene.open_files() as datasets:
        own, whole = LayerReader(doubtful, datasets), SceneReader(scene, datasets)

        def read(row: int, column: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
            return own.read(Block(row, column, height, width))[1], whole.read(row, column, height, width)[1]

        shown = sample_windows(read, scene.grid.shape)
    if shown.shape[1]:
        shares = {band.name: 1 - float(layer.mean()) for band, layer in zip(doubtful, shown, strict=True)}
        gone += [name for name, share in shares.items() if share == 1]
        gone += [
            f"{name} in {share:.0%} of the pixels" for name, share in shares.items() if _GAPS <= share < 1
        ]
    return ", ".join(gone)
