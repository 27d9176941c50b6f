"""Does a network use what a band says about the ground? A zero for measures that have none.

The size of a gradient is positive for whatever a network listens to, noise included, so it cannot tell a
useful band from one that the network has not yet learned to pass over. The direction can: going from the
image of other ground to that of this one, what a useful band says moves the glacier score on glacier against
that beside it: mostly up, and down again where the network holds the band against others that go with it
(near infrared against green, say). With x the patch, x' another one, z half-way between them and S the score,

    use of band b = sum over pixels of (x_b - x'_b) dS(z)/dx_b

is what band b adds to first order. Where the band tells nothing, x_b and x'_b could change places: z stays
what it is, the use of the other bands too, and the use of b changes its sign. So it is as often positive as
negative, exactly, whatever the network. A gradient at the image itself has no such zero, since it knows x_b,
nor has the way from a mean image, where even the strength of noise changes.

Elsewhere on the way every band goes at its own pace: being as often near the donor as near the image keeps
the zero exact, where all bands going together would keep it half-way only.
"""

from typing import TYPE_CHECKING

import numpy as np

from glacierseg.bands.sample import device_of, glacier_margin

if TYPE_CHECKING:
    from torch import Tensor, nn


def draw_ways(patches: int, bands: int, steps: int, rng: np.random.Generator) -> "Tensor":
    """Draws how far each band of each patch has gone at each step.

    Args:
        patches: P.
        bands: C.
        steps: N; the way is cut into so many equal parts, whose midpoints each band visits in its own order.
        rng: Source of chance.

    Returns:
        `(N, P, C)`; one half throughout for a single step.
    """
    import torch  # noqa: PLC0415

    midpoints = (np.arange(steps) + 0.5) / steps
    ways = rng.permuted(np.broadcast_to(midpoints, (patches, bands, steps)), axis=2)
    return torch.from_numpy(np.moveaxis(ways, 2, 0).astype(np.float32))


def use_of_bands(
    network: "nn.Module", image: "Tensor", donor: "Tensor", target: "Tensor", way: "Tensor"
) -> "Tensor":
    """Measures what each band adds to the score of a patch, as a share of what all bands move.

    The score is the mean glacier margin of glacier pixels less that of background pixels. Pixels without data
    in either image stay as they are.

    Args:
        network: In evaluation mode.
        image: `(B, C, H, W)`, scaled; 0 in every band where there are no data.
        donor: `(B, C, H, W)`, of other ground.
        target: `(B, H, W)` of 0, 1 and 255, of the image.
        way: `(B, C)`, how far from the donor to the image each band has gone.

    Returns:
        `(B, C)` from -1 to 1, the absolute values of a patch summing to one; 0 where nothing moves the score.
    """
    import torch  # noqa: PLC0415

    device = device_of(network)
    image, donor, target = image.to(device), donor.to(device), target.to(device)
    glacier, background = (target == 1).float(), (target == 0).float()
    weight = glacier / glacier.sum((1, 2), keepdim=True).clamp(min=1)
    weight = weight - background / background.sum((1, 2), keepdim=True).clamp(min=1)
    both = (image != 0).any(1, keepdim=True) & (donor != 0).any(1, keepdim=True)
    gap = (image - donor) * both
    between = (image - gap * (1 - way.to(device))[..., None, None]).detach().requires_grad_()
    score = (glacier_margin(network, between) * weight).sum()
    (gradient,) = torch.autograd.grad(score, between)
    use = (gap.double() * gradient.double()).sum((2, 3))
    moved = use.abs().sum(1, keepdim=True)
    return torch.where(moved > 0, use / moved.clamp(min=1e-300), 0.0)
