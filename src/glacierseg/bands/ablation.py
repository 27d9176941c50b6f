"""Measures that take a band away and look at what the mask loses: independent of gradients."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands.ranks import chance_of_none
from glacierseg.bands.result import BandImportance, rank_bands, spread_over_regions
from glacierseg.bands.sample import PatchSample, device_of, glacier_margin
from glacierseg.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

Counts = NDArray[np.int64]
"""`(..., 3)`: pixels of glacier in both, in the prediction only, in the truth only."""


def ablation_importance(
    network: "nn.Module",
    sample: PatchSample,
    bands: Sequence[str],
    how: Literal["permutation", "drop"],
    *,
    repeats: int = 3,
    seed: int = 0,
) -> tuple[BandImportance, ...]:
    """Measures how much glacier IoU the network loses when a band tells nothing about the ground.

    `permutation` gives every patch the band of another patch, drawn at random, so that the band looks as
    natural as ever but belongs to other ground (Breiman 2001). Shuffling pixels within a patch instead would
    show the network a texture that no ground has, and leave the patch's mean, which is all that elevation
    often says. `drop` sets the band to its training mean. Pixels without data stay as they are.

    IoU is that of all labelled pixels of all patches together, from exact counts; the network says glacier
    where its margin is not negative.

    Args:
        network: Trained; put into evaluation mode.
        sample: At least two patches for `permutation`.
        bands: Names in the order of the channels.
        how: What takes the place of the band.
        repeats: How many times to draw other patches; `drop` has no chance in it and is done once.
        seed: Of the draws.

    Returns:
        One entry per band, the greatest loss first. `importance` is the mean loss over repeats, `spread` the
        standard deviation of the losses of single patches with glacier, `standard_error` that of the pooled
        loss by leaving out one patch at a time (jackknife). A band is `measurable` when the loss lies above
        zero by more than that error explains. Of a band that says nothing, `permutation` expects no loss;
        `drop` may find one, since a network that is used to noise can be put off by silence.

    Raises:
        RequestError: No patch holds a glacier pixel, or there is only one patch to permute.
    """
    if how == "permutation" and len(sample) < 2:
        raise RequestError(
            "permutation swaps bands between patches, and there is only one with glacier; measure `drop` "
            "instead, or give more scenes"
        )
    network.eval()
    before = _counts(network, sample)
    if not (before[:, 0] + before[:, 2]).any():
        raise RequestError(
            "band importance needs glacier pixels, and no patch holds any; give a mask with glacier"
        )
    rng = np.random.default_rng(seed)
    draws = [None] if how == "drop" else [draw_donors(len(sample), rng) for _ in range(repeats)]
    # By repeat, band, patch and case.
    after = np.array([[_counts(network, sample, b, d) for b in range(len(bands))] for d in draws])
    return _rank(bands, before, after, sample.regions)


def draw_donors(patches: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws for every patch another one, none of them twice.

    Args:
        patches: Their number, at least two.
        rng: Source of chance.

    Returns:
        `(P,)` numbers of patches; any such assignment is as likely as any other.
    """
    own = np.arange(patches)
    while True:  # about e draws on the average
        donors = rng.permutation(patches)
        if not (donors == own).any():
            return donors


def _counts(
    network: "nn.Module",
    sample: PatchSample,
    band: int | None = None,
    donors: NDArray[np.int64] | None = None,
) -> Counts:
    """Counts `(P, 3)` patch by patch, with a band replaced: by that of the donors, or by its mean."""
    import torch  # noqa: PLC0415

    device, found, first = device_of(network), [], 0
    for image, target in sample:
        shown = image if band is None else _without(image, band, sample, first, donors)
        with torch.inference_mode():
            predicted = (glacier_margin(network, shown.to(device)) >= 0).cpu()
        truth, background = target == 1, target == 0
        cases = (predicted & truth, predicted & background, ~predicted & truth)
        found.append(torch.stack([case.sum((1, 2)) for case in cases], 1).numpy())
        first += len(image)
    return np.concatenate(found)


def _without(
    image: "Tensor", band: int, sample: PatchSample, first: int, donors: NDArray[np.int64] | None
) -> "Tensor":
    changed = image.clone()
    if donors is None:
        changed[:, band] = 0
        return changed
    # 0 in every band is what a pixel without data looks like to the network.
    valid = (image != 0).any(1)
    changed[:, band] = sample.images[donors[first : first + len(image)], band] * valid
    return changed


def iou_of(counts: Counts) -> NDArray[np.float64]:
    """Returns IoU `(...)` of counts `(..., 3)`; 1 where neither mask has glacier, so that nothing is lost."""
    union = counts.sum(-1)
    iou: NDArray[np.float64] = np.where(union > 0, counts[..., 0] / np.maximum(union, 1), 1.0)
    return iou


def _rank(
    bands: Sequence[str], before: Counts, after: Counts, regions: Sequence[int] | None
) -> tuple[BandImportance, ...]:
    def pooled(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        loss = iou_of(before[chosen].sum(0)) - iou_of(after[:, :, chosen].sum(2))
        mean: NDArray[np.float64] = loss.mean(0)
        return mean

    patches = len(before)
    glacier = before[:, 0] + before[:, 2] > 0
    alone = (iou_of(before) - iou_of(after)).mean(0)[:, glacier]
    everything = np.ones(patches, bool)
    loss, left_out, p_values = pooled(everything), None, None
    if patches > 1:
        left_out = np.array([pooled(np.arange(patches) != one) for one in range(patches)])
        p_values = chance_of_none(loss, left_out)
    over_regions = spread_over_regions(regions, pooled, patches)
    return rank_bands(bands, loss, alone.std(1), left_out, over_regions, p_values)
