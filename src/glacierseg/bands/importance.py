"""The two measures of band importance on patches: the network's gradient, and the IoU lost by permutation.

The size of a gradient is positive for whatever a network reacts to, noise included, so it cannot tell a
useful band from one that the network has not yet learned to ignore. Its direction can: on the way from the
image of other ground to that of this ground, a useful band changes the glacier score of glacier against the
score beside it: mostly upward, and downward where the network holds the band against others that go with it
(near infrared against green, say). With x the patch, x' another patch, z half-way between them and S the
score,

    use of band b = sum over pixels of (x_b - x'_b) dS(z)/dx_b

is what band b adds to first order. If the band says nothing about the ground, x_b and x'_b could be
exchanged: z stays the same, so does the use of the other bands, and the use of b changes its sign. So it is
as often positive as negative, exactly, in any network. A gradient at the image itself has no such zero, since
it knows x_b.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from glacierseg.bands.ranking import (
    BandImportance,
    Measures,
    chance_of_none,
    leave_one_out_means,
    rank_bands,
    spread_over_regions,
)
from glacierseg.choices import MEASURES, Measure
from glacierseg.errors import RequestError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Item = TypeVar("Item")
BatchOfPatches = tuple["Tensor", "Tensor"]
"""Scaled images `(B, C, H, W)` and targets `(B, H, W)` of 0, 1 and 255."""
Counts = NDArray[np.int64]
"""`(..., 3)`: pixels of glacier in both, in the prediction only, in the truth only."""

OTHER_PATCHES = 4
"""How many other patches each one is compared with for the use of bands: one alone misses weak uses."""
NO_GLACIER = "band importance needs glacier pixels, and no patch has any; give a truth with glacier"


@dataclass(frozen=True)
class PatchSample:
    """Patches in memory, since permutation swaps bands between them.

    Attributes:
        images: `(P, C, H, W)`, scaled; 0, a band's mean, where there are no data.
        targets: `(P, H, W)` of 0, 1 and 255.
        regions: Number of the region of each patch; None for one region.
        batch_size: Patches per pass.
    """

    images: "Tensor"
    targets: "Tensor"
    regions: Sequence[int] | None = None
    batch_size: int = 8

    @classmethod
    def collect(
        cls, batches: Iterable[BatchOfPatches], regions: Sequence[int] | None = None, batch_size: int = 8
    ) -> "PatchSample":
        """Joins batches."""
        import torch  # noqa: PLC0415

        images, targets = zip(*batches, strict=True)
        return cls(torch.cat(images), torch.cat(targets), regions, batch_size)

    def mixed(self) -> "PatchSample":
        """Returns the same patches in an order that puts different ground into a batch."""
        order = mix(range(len(self)), self.batch_size)
        regions = None if self.regions is None else [self.regions[i] for i in order]
        return PatchSample(self.images[order], self.targets[order], regions, self.batch_size)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[BatchOfPatches]:
        for first in range(0, len(self), self.batch_size):
            batch = slice(first, first + self.batch_size)
            yield self.images[batch], self.targets[batch]


def mix(items: Sequence[Item], batch_size: int) -> list[Item]:
    """Orders items so that those of a batch lie far apart: every n-th, where there are n batches."""
    batches = -(-len(items) // batch_size)
    return [item for first in range(batches) for item in items[first::batches]]


def spread_evenly(count: int, most: int) -> list[int]:
    """Returns at most `most` of the numbers below `count`, evenly over them."""
    places: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return places


def measure_patches(
    network: "nn.Module",
    sample: PatchSample,
    bands: Sequence[str],
    measures: Sequence[Measure] = MEASURES,
    *,
    repeats: int = 3,
    seed: int = 0,
) -> Measures:
    """Measures band importance on patches, by the measures in the order of the result."""
    found: dict[Measure, tuple[BandImportance, ...]] = {}
    for measure in measures:
        if measure == "gradient":
            mixed = sample.mixed()
            found[measure] = gradient_importance(network, mixed, bands, mixed.regions)
        else:
            found[measure] = permutation_importance(network, sample, bands, repeats=repeats, seed=seed)
    return found


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

    Such shares are positive for noise too. So each band is also tested for whether the network uses what it
    says (`use_of_bands`, with four other patches of the batch), and bands that it does not use rank last.

    Args:
        network: Trained; put into evaluation mode.
        batches: A batch should hold different ground, for patches that look alike show little use.
        bands: Names in the order of the channels.
        regions: Number of the region of each patch, in their order; None for one region.

    Returns:
        One entry per band, the most important first; equal ones in band order.
    """
    network.eval()
    device = device_of(network)
    means: list[NDArray[np.float64]] = []
    uses: list[NDArray[np.float64]] = []
    before: Tensor | None = None
    for image, target in batches:
        glacier = (target == 1).to(device)
        strength = _input_gradient(network, image.to(device), glacier).double().abs()
        pixels = glacier.sum((1, 2)).double().clamp(min=1)[:, None]
        means.append(((strength * glacier[:, None]).sum((2, 3)) / pixels).cpu().numpy())
        each = [use_of_bands(network, image, other, target).cpu().numpy() for other in _others(image, before)]
        uses.append(np.mean(each, 0) if each else np.full(means[-1].shape, np.nan))
        before = image[-1:]
    mean = np.concatenate(means) if means else np.zeros((0, len(bands)))
    kept = mean.sum(1) > 0  # patches with glacier
    if not kept.any():
        raise RequestError(NO_GLACIER)
    shares: NDArray[np.float64] = mean[kept] / mean[kept].sum(1, keepdims=True)
    use = np.concatenate(uses)[kept]
    use = use[~np.isnan(use).any(1)]
    left_out = leave_one_out_means(shares) if len(shares) > 1 else None
    p_values = None
    if len(use) > 1:
        p_values = chance_of_none(use.mean(0), leave_one_out_means(use), either_way=True)
    own_regions = None if regions is None else list(compress(regions, kept))
    over_regions = spread_over_regions(own_regions, lambda chosen: shares[chosen].mean(0), len(shares))
    return rank_bands(bands, shares.mean(0), shares.std(0), left_out, over_regions, p_values)


def use_of_bands(network: "nn.Module", image: "Tensor", other: "Tensor", target: "Tensor") -> "Tensor":
    """Measures what each band adds to the score of a patch, as a share of what all bands change.

    The score is the mean glacier margin of glacier pixels less that of background pixels, half-way between
    the two images. Pixels without data in either image stay as they are.

    Args:
        network: In evaluation mode.
        image: `(B, C, H, W)`, scaled; 0 in every band where there are no data.
        other: `(B, C, H, W)`, of other ground.
        target: `(B, H, W)` of 0, 1 and 255, of the image.

    Returns:
        `(B, C)` from -1 to 1, the absolute values of a patch summing to one; 0 where nothing changes the
        score.
    """
    import torch  # noqa: PLC0415

    device = device_of(network)
    image, other, target = image.to(device), other.to(device), target.to(device)
    glacier, background = (target == 1).float(), (target == 0).float()
    weight = glacier / glacier.sum((1, 2), keepdim=True).clamp(min=1)
    weight = weight - background / background.sum((1, 2), keepdim=True).clamp(min=1)
    gap = (image - other) * (_has_data(image) & _has_data(other))
    gradient = _input_gradient(network, image - gap * 0.5, weight)
    use = (gap.double() * gradient.double()).sum((2, 3))
    moved = use.abs().sum(1, keepdim=True)
    return torch.where(moved > 0, use / moved.clamp(min=1e-300), 0.0)


def permutation_importance(
    network: "nn.Module", sample: PatchSample, bands: Sequence[str], *, repeats: int = 3, seed: int = 0
) -> tuple[BandImportance, ...]:
    """Measures how much glacier IoU the network loses when each patch gets a band of another patch.

    The other patch is drawn at random, so the band looks as natural as ever but belongs to other ground
    (Breiman 2001). Shuffling pixels within a patch instead would show the network a texture that no ground
    has, and keep the patch's mean, which is most of what elevation says. Pixels without data stay as they
    are.

    IoU is that of all labelled pixels of all patches together, from exact counts; the network says glacier
    where its margin is not negative.

    Args:
        network: Trained; put into evaluation mode.
        sample: At least two patches.
        bands: Names in the order of the channels.
        repeats: How many times other patches are drawn.
        seed: Of the draws.

    Returns:
        One entry per band, the greatest loss first. `importance` is the mean loss over repeats, `spread` the
        standard deviation of the losses of single patches with glacier, `standard_error` that of the pooled
        loss by leaving out one patch at a time (jackknife). A band is `measurable` when the loss lies above
        zero by more than that error explains.

    Raises:
        RequestError: No patch has a glacier pixel, or there is only one patch.
    """
    if len(sample) < 2:
        raise RequestError(
            "permutation swaps bands between patches with glacier and needs at least two (got 1); give more "
            "scenes, or measure by gradient"
        )
    network.eval()
    before = _counts(network, sample)
    glacier = before[:, 0] + before[:, 2] > 0
    if not glacier.any():
        raise RequestError(NO_GLACIER)
    rng = np.random.default_rng(seed)
    draws = [draw_donors(len(sample), rng) for _ in range(repeats)]
    # By repeat, band, patch and case.
    after = np.array([[_counts(network, sample, b, d) for b in range(len(bands))] for d in draws])

    def pooled(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        loss = _iou(before[chosen].sum(0)) - _iou(after[:, :, chosen].sum(2))
        mean: NDArray[np.float64] = loss.mean(0)
        return mean

    patches = np.arange(len(before))
    alone = (_iou(before) - _iou(after)).mean(0)[:, glacier]
    loss = pooled(patches >= 0)
    left_out = np.array([pooled(patches != one) for one in patches])
    over_regions = spread_over_regions(sample.regions, pooled, len(patches))
    return rank_bands(bands, loss, alone.std(1), left_out, over_regions, chance_of_none(loss, left_out))


def draw_donors(patches: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draws for each of two or more patches another one, none twice; any such assignment is as likely."""
    own = np.arange(patches)
    while True:  # about e draws on the average
        donors = rng.permutation(patches)
        if not (donors == own).any():
            return donors


def device_of(network: "nn.Module") -> "torch.device":
    """Returns where a network computes; the CPU for one without weights."""
    import torch  # noqa: PLC0415

    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def glacier_margin(network: "nn.Module", image: "Tensor") -> "Tensor":
    """Returns `(B, H, W)`: how far the glacier logit, the last, lies above the strongest other one."""
    logits = network(image).float()
    margin: Tensor = logits[:, -1] - logits[:, :-1].amax(1)
    return margin


def _input_gradient(network: "nn.Module", image: "Tensor", weight: "Tensor") -> "Tensor":
    """Gradient `(B, C, H, W)` of the glacier margin, summed with weights `(B, H, W)`, by the input."""
    import torch  # noqa: PLC0415

    image = image.detach().requires_grad_()
    score = (glacier_margin(network, image) * weight).sum()
    # Only the input's gradient: those of the weights would be computed and kept for nothing.
    (gradient,) = torch.autograd.grad(score, image)
    return gradient


def _others(image: "Tensor", before: "Tensor | None") -> "list[Tensor]":
    """Other patches for each of a batch; a patch alone gets the last one of the batch before."""
    if len(image) == 1:
        return [] if before is None else [before]
    return [image.roll(1 + n % (len(image) - 1), 0) for n in range(OTHER_PATCHES)]


def _has_data(image: "Tensor") -> "Tensor":
    """`(B, 1, H, W)`: 0 in every band is what a pixel without data looks like to the network."""
    return (image != 0).any(1, keepdim=True)


def _counts(
    network: "nn.Module",
    sample: PatchSample,
    band: int | None = None,
    donors: NDArray[np.int64] | None = None,
) -> Counts:
    """Counts `(P, 3)` patch by patch, with a band replaced by that of the donors, or as they are."""
    import torch  # noqa: PLC0415

    device, found, first = device_of(network), [], 0
    for image, target in sample:
        if band is not None and donors is not None:
            valid = _has_data(image)[:, 0]
            image = image.clone()  # noqa: PLW2901
            image[:, band] = sample.images[donors[first : first + len(image)], band] * valid
        with torch.inference_mode():
            predicted = (glacier_margin(network, image.to(device)) >= 0).cpu()
        truth, background = target == 1, target == 0
        cases = (predicted & truth, predicted & background, ~predicted & truth)
        found.append(torch.stack([case.sum((1, 2)) for case in cases], 1).numpy())
        first += len(image)
    return np.concatenate(found)


def _iou(counts: Counts) -> NDArray[np.float64]:
    """IoU `(...)` of counts `(..., 3)`; 1 where neither mask has glacier, so that nothing is lost."""
    union = counts.sum(-1)
    iou: NDArray[np.float64] = np.where(union > 0, counts[..., 0] / np.maximum(union, 1), 1.0)
    return iou
