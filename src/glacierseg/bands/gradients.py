"""Measures that follow the network's gradient: quick, and blind to what lies far from the input."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands.result import BandImportance, rank_shares
from glacierseg.bands.sample import BatchOfPatches, device_of, glacier_margin
from glacierseg.bands.use import draw_ways, use_of_bands
from glacierseg.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Attribution = Callable[[Tensor, Tensor], Tensor]


DONORS = 4
"""With so many other patches each one is compared: the choice of a single one blurs weak uses."""


def gradient_importance(
    network: "nn.Module",
    batches: Iterable[BatchOfPatches],
    bands: Sequence[str],
    regions: Sequence[int] | None = None,
) -> tuple[BandImportance, ...]:
    """Measures how strongly the glacier score of glacier pixels reacts to each band.

    The score is the margin between the glacier and the strongest other logit, summed over labelled glacier
    pixels. Its gradient with respect to the scaled input is already the gradient with respect to the band
    times the band's spread, since scaling divides by the spread. Absolute values are averaged over those
    pixels within a patch, turned into shares of the patch's sum, and the shares averaged over patches, so
    that one patch with a steep network does not decide alone.

    Such shares are positive for noise too. So each band is also asked whether the network uses what it says
    (`use_of_bands`, half-way between each patch and four others of its batch), and bands that it does not use
    rank last.

    Args:
        network: Trained; put into evaluation mode.
        batches: Scaled images `(B, C, H, W)` and targets `(B, H, W)` of 0, 1 and 255. A batch should hold
            different ground, for patches that look alike show little use.
        bands: Names in the order of the channels.
        regions: Number of the region of each patch, in their order; None for one region.

    Returns:
        One entry per band, the most important first; equal ones in band order.

    Raises:
        RequestError: No patch holds a glacier pixel.
    """
    return _importance(
        network,
        batches,
        bands,
        regions,
        lambda image, glacier: input_gradient(network, image, glacier),
        points=1,
        donors=DONORS,
    )


def integrated_importance(
    network: "nn.Module",
    batches: Iterable[BatchOfPatches],
    bands: Sequence[str],
    regions: Sequence[int] | None = None,
    *,
    steps: int = 16,
    seed: int = 0,
) -> tuple[BandImportance, ...]:
    """Measures band importance by integrated gradients.

    Absolute attributions are averaged over the glacier pixels of a patch and turned into shares, as
    `gradient_importance` does with gradients. Whether the network uses a band is asked at a quarter as many
    points, each between a patch and another one, every band going at its own pace.

    Args:
        network: Trained; put into evaluation mode.
        batches: As for `gradient_importance`.
        bands: Names in the order of the channels.
        regions: As for `gradient_importance`.
        steps: Points on the way from the baseline to the image.
        seed: Of the paces.

    Raises:
        RequestError: No patch holds a glacier pixel.
    """
    return _importance(
        network,
        batches,
        bands,
        regions,
        lambda image, glacier: integrated_gradients(network, image, glacier, steps=steps),
        points=points_between(steps),
        donors=1,
        seed=seed,
    )


def points_between(steps: int) -> int:
    """Returns at how many points integrated gradients ask for the use of bands, each with another patch."""
    return max(1, steps // 4)


def input_gradient(network: "nn.Module", image: "Tensor", glacier: "Tensor") -> "Tensor":
    """Returns the gradient of the summed glacier margin with respect to the input.

    Args:
        network: In evaluation mode.
        image: `(B, C, H, W)`.
        glacier: `(B, H, W)`: the pixels whose margin is summed.

    Returns:
        `(B, C, H, W)`.
    """
    import torch  # noqa: PLC0415

    image = image.detach().requires_grad_()
    score = (glacier_margin(network, image) * glacier).sum()
    # Only the input's gradient: those of the weights would be computed and kept for nothing.
    (gradient,) = torch.autograd.grad(score, image)
    return gradient


def integrated_gradients(
    network: "nn.Module", image: "Tensor", glacier: "Tensor", *, steps: int = 16
) -> "Tensor":
    """Attributes the summed glacier margin to every band of every pixel (Sundararajan et al. 2017).

    The baseline is 0 in scaled space, where every band has its training mean: an image that tells nothing.
    Gradients are averaged at the midpoints of `steps` equal parts of the straight line from there to the
    image, and multiplied by the way gone. As `steps` grow, the attributions of a patch sum to the difference
    between the margin of the image and that of the baseline (completeness).

    Args:
        network: In evaluation mode.
        image: `(B, C, H, W)`, scaled.
        glacier: `(B, H, W)`: the pixels whose margin is summed.
        steps: Points on the line, at least 1.

    Returns:
        `(B, C, H, W)`, signed.
    """
    import torch  # noqa: PLC0415

    total = torch.zeros_like(image)
    for step in range(steps):
        total += input_gradient(network, image * ((step + 0.5) / steps), glacier)
    return image * total / steps


def _importance(
    network: "nn.Module",
    batches: Iterable[BatchOfPatches],
    bands: Sequence[str],
    regions: Sequence[int] | None,
    attribute: "Attribution",
    *,
    points: int,
    donors: int,
    seed: int = 0,
) -> tuple[BandImportance, ...]:
    """Turns attributions into shares of bands over glacier pixels, patch by patch, and tests their use.

    The use is the mean over `points` between a patch and another one, `donors` times, each time another one.
    """
    network.eval()
    device, rng = device_of(network), np.random.default_rng(seed)
    shares: list[NDArray[np.float64]] = []
    uses: list[NDArray[np.float64]] = []
    kept: list[int] = []
    place = 0
    before: Tensor | None = None
    for image, target in batches:
        glacier = (target == 1).to(device)
        pixels = glacier.sum((1, 2)).double()
        strength = attribute(image.to(device), glacier).double().abs()
        mean = (strength * glacier[:, None]).sum((2, 3)) / pixels.clamp(min=1)[:, None]
        ways = draw_ways(len(image), len(bands), points, rng).repeat(donors, 1, 1)
        each = [
            use_of_bands(network, image, other, target, way).cpu().numpy()
            for other, way in zip(_others(image, before, len(ways)), ways, strict=False)
        ]
        use = np.mean(each, 0) if each else np.full(mean.shape, np.nan)
        before = image[-1:]
        for one, own, count in zip(mean.cpu().numpy(), use, pixels.tolist(), strict=True):
            if count and one.sum() > 0:
                shares.append(one / one.sum())
                uses.append(own)
                kept.append(place)
            place += 1
    if not shares:
        raise RequestError(
            "band importance needs glacier pixels, and no patch holds any; give a mask with glacier"
        )
    own_regions = None if regions is None else [regions[i] for i in kept]
    tested = np.array(uses)
    return rank_shares(bands, np.array(shares), own_regions, tested[~np.isnan(tested).any(1)])


def _others(image: "Tensor", before: "Tensor | None", count: int) -> "list[Tensor]":
    """Returns other patches for each of a batch; a patch alone gets the last one of the batch before."""
    if len(image) == 1:
        return [] if before is None else [before] * count
    return [image.roll(1 + n % (len(image) - 1), 0) for n in range(count)]
