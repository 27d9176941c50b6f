"""The stage that finds by validation pixels in which windows a network predicts as well for less."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from glacierseg.data.regions import Region
from glacierseg.models.card import ModelCard, WindowChoice, load_model, read_card, update_card
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.samples import CroppedScene, predicted
from glacierseg.raster.scene import Scene
from glacierseg.raster.tiling import Tiling, passes_of
from glacierseg.raster.truth import GLACIER, IGNORE
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings import ModelConfig, PredictSettings
from glacierseg.settings.predict import OVERLAP, THRESHOLD

_log = logging.getLogger(__name__)

TOLERANCE = 0.001
"""IoU that cheaper windows may lose against the blend, by their mean and one standard error."""
_OVERLAPS = (1 / 16, 1 / 8, 1 / 4)
_MOST_PX = 2_000_000
_FEWEST_BLOCKS = 8

Counts = NDArray[np.int64]
"""True positive, false positive and false negative pixels of each block `(blocks, 3)`."""


@dataclass(frozen=True)
class Part:
    """A piece of a scene with its truth, 255 where it does not count."""

    scene: Scene
    truth: NDArray[np.uint8]


def choose_windows(
    model: ModelConfig,
    truths: Callable[[], Mapping[str, NDArray[np.uint8]]],
    regions: Sequence[Region],
    folder: ModelFolder,
    settings: PredictSettings,
) -> None:
    """Puts the cheapest windows into a network's card that predict as well as the blend, unless that is done.

    The blend is that of the original: windows of the training patch that overlap by half. Wider windows show
    a network more than it was trained on, and a smaller overlap leaves more to the rim of a window; what that
    costs is a matter of the network and its ground, so it is measured. Nothing is measured where the
    configuration says which windows it wants.

    Args:
        model: The network's section.
        truths: Returns the truth on validation pixels (`regions.tuning_truths`).
        regions: The regions.
        folder: Holds the network.
        settings: How the run predicts.
    """
    predicted_before = any(folder.mask(region.name).exists() for region in regions)
    if not settings.leaves_windows_open or predicted_before or read_card(folder.path).windows:
        return
    network, card = load_model(folder.path, prune_level=model.prune_level)
    parts = parts_of(regions, card, truths())
    tried = candidates(card.patch_px, convolutional=model.spec.convolutional)
    found = _cheapest(Ensemble((network,), (card,)), card, parts, settings, tried)
    if found is None:
        _log.info("windows as in training, half overlapping: too little validation ground to try others")
        return
    update_card(folder.path, windows=found)
    _log.info(
        f"windows of {found.window_px} px that overlap by {found.overlap:.3g}: {found.cost:.0%} of what "
        f"blending windows of {card.patch_px} px by half computes; validation IoU {found.iou:.4f}, with that "
        f"blend {found.blend_iou:.4f}"
    )


def candidates(patch_px: int, *, convolutional: bool) -> list[Tiling]:
    """Returns windows that cost less than the blend, the cheapest first.

    A transformer's passes grow with the square of its window, so it gets no windows four times the patch.
    """
    found = [
        Tiling(scale * patch_px, overlap)
        for scale in ((1, 2, 4) if convolutional else (1, 2))
        for overlap in _OVERLAPS
        # At least an eighth of a patch, as a network knows least of what lies at its rim.
        if scale * overlap >= 1 / 8
    ]
    return sorted(found, key=lambda tiling: (tiling.overlap, tiling.window_px))


def costs_no_iou(counts: Counts, blend: Counts) -> bool:
    """Whether windows lose no more than `TOLERANCE` against the blend, one standard error included.

    The error is that of the difference, by leaving out one block of ground after the other: one that is as
    likely luck as not decides nothing, and little ground leaves the blend. So does ground where the blend
    finds no glacier, as windows that find none either prove nothing there.

    Args:
        counts: With the windows.
        blend: On the same blocks with the blend.
    """
    known = blend.any(1) | counts.any(1)
    one, other = counts[known], blend[known]
    blocks = len(one)
    if blocks < _FEWEST_BLOCKS or not other[:, 0].any():
        return False
    left_out = iou_of(one.sum(0) - one) - iou_of(other.sum(0) - other)
    error = np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean()) ** 2).sum())
    difference = iou_of(one.sum(0)) - iou_of(other.sum(0))
    return bool(difference - error >= -TOLERANCE)


def iou_of(counts: Counts) -> NDArray[np.float64]:
    """Returns the IoU of counts `(..., 3)`; 1 where nothing is and nothing was found."""
    tp, either = counts[..., 0], counts.sum(-1)
    return np.where(either > 0, tp / np.maximum(either, 1), 1.0)


def _cheapest(
    ensemble: Ensemble,
    card: ModelCard,
    parts: Sequence[Part],
    settings: PredictSettings,
    tried: Sequence[Tiling],
) -> WindowChoice | None:
    def counts(tiling: Tiling) -> Counts:
        own = settings.replaced(window_px=tiling.window_px, overlap=tiling.overlap)
        return _counts(ensemble, ensemble.resolved(own), parts, 2 * card.patch_px)

    fitting = [tiling for tiling in tried if _fits(tiling, parts)]
    if not fitting:
        return None
    usual = Tiling(card.patch_px, OVERLAP)
    blend = counts(usual)
    for tiling in fitting:
        found = counts(tiling)
        if costs_no_iou(found, blend):
            return _choice(tiling, found, blend)
    return _choice(usual, blend, blend)


def _choice(tiling: Tiling, counts: Counts, blend: Counts) -> WindowChoice:
    return WindowChoice(
        window_px=tiling.window_px,
        overlap=tiling.overlap,
        iou=float(iou_of(counts.sum(0))),
        blend_iou=float(iou_of(blend.sum(0))),
        cost=passes_of(tiling.overlap) / passes_of(OVERLAP),
    )


def _fits(tiling: Tiling, parts: Sequence[Part]) -> bool:
    """Whether most of the ground lies in parts that have seams, of two windows a side or more."""
    least = tiling.window_px * (2 - tiling.overlap)
    fitting = sum(part.truth.size for part in parts if min(part.truth.shape) >= least)
    return 2 * fitting > sum(part.truth.size for part in parts)


def _counts(ensemble: Ensemble, settings: PredictSettings, parts: Sequence[Part], block_px: int) -> Counts:
    threshold, found = settings.threshold or THRESHOLD, []
    maps = predicted(ensemble, [part.scene for part in parts], settings)
    for part, probability in zip(parts, maps, strict=True):
        known = (part.truth != IGNORE) & ~np.isnan(probability)
        mask, glacier = known & (probability >= threshold), known & (part.truth == GLACIER)
        sums = np.stack([mask & glacier, mask & ~glacier, glacier & ~mask]).astype(np.int64)
        for axis in (1, 2):
            sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], block_px), axis=axis)
        found.append(sums.reshape(3, -1).T)
    return np.concatenate(found)


def parts_of(
    regions: Sequence[Region], card: ModelCard, truths: Mapping[str, NDArray[np.uint8]]
) -> list[Part]:
    """Cuts out the ground that ways to predict are compared on, evenly thinned where it is a lot.

    Args:
        regions: The regions.
        card: Of the network that shall predict.
        truths: By region, `(H, W)` of 0, 1 and 255 where it does not count.
    """
    parts = [
        part
        for region in regions
        if region.name in truths
        for part in _parts(region, card, truths[region.name])
    ]
    return parts[:: max(1, round(sum(part.truth.size for part in parts) / _MOST_PX))]


def _parts(region: Region, card: ModelCard, truth: NDArray[np.uint8]) -> Iterator[Part]:
    """Cuts what holds known truth into squares of eight patches a side, or fewer where it is smaller."""
    known = truth != IGNORE
    if not known.any():
        return
    scene = replace(region.scene.select(card.bands), name=region.name)
    rows, columns = (_pieces(np.flatnonzero(known.any(axis)), 8 * card.patch_px) for axis in (1, 0))
    for (top, bottom), (left, right) in product(rows, columns):
        if known[top:bottom, left:right].any():
            part = CroppedScene.of(scene, top, left, bottom - top, right - left)
            yield Part(part, truth[top:bottom, left:right])


def _pieces(places: NDArray[np.intp], side_px: int) -> list[tuple[int, int]]:
    start, stop = int(places[0]), int(places[-1]) + 1
    edges = np.linspace(start, stop, max(1, (stop - start) // side_px) + 1).round().astype(int)
    return list(pairwise(edges.tolist()))
