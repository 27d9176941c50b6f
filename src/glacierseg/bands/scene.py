"""Band importance of a trained network on scenes with truth."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands.importance import (
    NO_GLACIER,
    BatchOfPatches,
    PatchSample,
    measure_patches,
    spread_evenly,
)
from glacierseg.bands.ranking import BandImportance, Measures
from glacierseg.choices import MEASURES
from glacierseg.errors import BandError, RequestError
from glacierseg.models.card import ModelCard, load_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.matching import matching_scene
from glacierseg.raster.outlines import one_layer_each
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.tiling import window_starts
from glacierseg.raster.truth import GLACIER, IGNORE, load_truth
from glacierseg.settings.bands import ImportanceSettings
from glacierseg.settings.base import fields_as_keywords
from glacierseg.weights.own import warn_of_values

if TYPE_CHECKING:
    from torch import nn

AnyScene = Scene | Path | str | Sequence[Path | str]


@fields_as_keywords(settings=ImportanceSettings)
def band_importance(
    model: "Path | str | nn.Module",
    scene: AnyScene,
    truth: Path | str,
    settings: ImportanceSettings | None = None,
    *,
    card: ModelCard | None = None,
) -> tuple[BandImportance, ...]:
    """Measures band importance of a network on a scene with truth.

    Args:
        model: A model folder, or a network; without a `card` it gets the bands as they are.
        scene: A scene, or its file or files.
        truth: Its truth: a mask on the same grid, or outlines.
        settings: How it is measured; its fields are keywords, too.
        card: Bands, scaling and patch size of a network that is given as a module.

    Returns:
        One entry per band, the most important first.

    Raises:
        BandError: The scene lacks bands.
        TruthError: The truth cannot be used.
        RequestError: The truth has no glacier where the scene has data.
    """
    settings = (settings or ImportanceSettings()).replaced(check=False)
    return measure_scenes(model, [(scene, truth)], settings, card=card)[settings.measure]


def measure_scenes(
    model: "Path | str | nn.Module",
    scenes: Sequence[tuple[AnyScene, Path | str]],
    settings: ImportanceSettings,
    *,
    card: ModelCard | None = None,
) -> Measures:
    """Measures band importance of a network on one or several scenes, each of which counts as a region.

    Args:
        model: As for `band_importance`.
        scenes: Scenes with their truth.
        settings: How it is measured. Its patches are those of all scenes together, in memory at once.
        card: As for `band_importance`.

    Returns:
        The result of each measure; the first is the one that bands are chosen by.
    """
    layers = one_layer_each([Path(truth) for _, truth in scenes], settings.truth_layers or None)
    others = [measure for measure in MEASURES if settings.check and measure != settings.measure]
    network = model
    if isinstance(network, Path | str):
        network, card = load_model(network)
    opened = [scene if isinstance(scene, Scene) else open_scene(scene) for scene, _ in scenes]
    if card is not None:
        opened = [matching_scene(scene, card.bands) for scene in opened]
        if isinstance(model, Path | str):
            for scene in opened:
                warn_of_values(model, card, scene)
    bands = opened[0].band_names
    for scene in opened:
        if scene.band_names != bands:
            raise BandError(
                f"{scene.paths[0]}: must have the bands of {opened[0].paths[0]}, {', '.join(bands)} (got "
                f"{', '.join(scene.band_names)}); measure them one by one, or select the same bands"
            )
    scaling = card.scaling if card else Scaling((0.0,) * len(bands), (1.0,) * len(bands))
    size = card.patch_px if card else 256
    batches: list[Iterator[BatchOfPatches]] = []
    regions: list[int] = []
    for number, (scene, (_, file), layer) in enumerate(zip(opened, scenes, layers, strict=True)):
        truth = load_truth(Path(file), scene.grid, layer=layer)
        starts = [
            (row, column)
            for row in window_starts(scene.grid.height, size, size)
            for column in window_starts(scene.grid.width, size, size)
            if (truth[row : row + size, column : column + size] == GLACIER).any()
        ]
        most = settings.patches
        share = -(-most * (number + 1) // len(opened)) - -(-most * number // len(opened))
        own = [starts[i] for i in spread_evenly(len(starts), max(1, share))] if starts else []
        batches.append(_patches(scene, truth, own, scaling, size))
        regions += [number] * len(own)
    if not regions:
        raise RequestError(NO_GLACIER)
    sample = PatchSample.collect(chain.from_iterable(batches), regions, settings.batch_size)
    return measure_patches(network, sample, bands, [settings.measure, *others], seed=settings.seed)


def _patches(
    scene: Scene, truth: NDArray[np.uint8], starts: Sequence[tuple[int, int]], scaling: Scaling, size: int
) -> Iterator[BatchOfPatches]:
    """Reads patches one by one, as batches of one."""
    import torch  # noqa: PLC0415

    with scene.open() as reader:
        for row, column in starts:
            values, valid = reader.read(row, column, size, size)
            target = np.full((size, size), IGNORE, np.int64)
            part = truth[row : row + size, column : column + size]
            target[: part.shape[0], : part.shape[1]] = part
            target[~valid] = IGNORE
            image = scaling.apply(values, valid)
            yield torch.from_numpy(image)[None], torch.from_numpy(target)[None]
