import numpy as np
import pytest
import torch

from glacierseg.bands import MEASURES, PatchSample, measure_patches, unmeasured_message, use_of_bands
from glacierseg.bands.gradients import gradient_importance
from glacierseg.bands.sample import mix
from glacierseg.bands.use import draw_ways
from glacierseg.models import create_model
from tests.bands.networks import Linear

BANDS = ["useful", "less", "heard", "deaf"]


def noisy_sample(patches: int = 24, seed: int = 0) -> PatchSample:
    """Truth follows the first two bands; the others are noise."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(patches, 4, 8, 8, generator=draw)
    noise = torch.randn(patches, 8, 8, generator=draw)
    targets = (2 * images[:, 0] + images[:, 1] + 0.5 * noise > 0).long()
    return PatchSample(images, targets, batch_size=7)


def test_a_linear_network_uses_its_weights_times_what_glacier_has_more_of() -> None:
    draw = torch.Generator().manual_seed(1)
    image, donor = torch.randn(2, 2, 3, 5, 6, generator=draw)
    donor[0, :, 0] = 0  # no data
    target = torch.randint(0, 2, (2, 5, 6), generator=draw)
    target[1, 2] = 255
    weights = [2.0, -1.0, 0.0]
    found = use_of_bands(Linear(weights), image, donor, target, torch.full((2, 3), 0.5)).numpy()
    for patch in range(2):
        gap = (image - donor)[patch].numpy().astype(float)
        if patch == 0:
            gap[:, 0] = 0
        truth = target[patch].numpy()
        use = np.array(weights) * (gap[:, truth == 1].mean(1) - gap[:, truth == 0].mean(1))
        np.testing.assert_allclose(found[patch], use / np.abs(use).sum(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 3])
def test_bands_that_change_places_with_the_donor_change_their_sign_and_nothing_else(steps: int) -> None:
    torch.manual_seed(0)
    network = create_model("m_landsnet", 3, 2, 0.125).eval()
    image, donor = torch.randn(2, 1, 3, 16, 16)
    target = (image[:, 0] > 0).long()
    way = draw_ways(1, 3, steps, np.random.default_rng(2))[0]
    before = use_of_bands(network, image, donor, target, way)
    swapped = [image.clone(), donor.clone()]
    swapped[0][:, 1], swapped[1][:, 1] = donor[:, 1], image[:, 1]
    mirrored = way.clone()
    mirrored[:, 1] = 1 - way[:, 1]
    after = use_of_bands(network, *swapped, target, mirrored)
    torch.testing.assert_close(after, before * torch.tensor([1.0, -1.0, 1.0]), rtol=1e-3, atol=1e-5)
    assert before.abs().sum() == pytest.approx(1)


def test_every_band_goes_through_all_midpoints_in_its_own_order() -> None:
    ways = draw_ways(50, 4, 3, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.sort(ways.numpy(), 0), np.broadcast_to([[[1 / 6]], [[0.5]], [[5 / 6]]], (3, 50, 4))
    )
    assert len({tuple(order) for order in ways.numpy().transpose(1, 2, 0).reshape(-1, 3)}) == 6
    assert (draw_ways(2, 2, 1, np.random.default_rng(0)) == 0.5).all()


@pytest.mark.parametrize("seed", range(3))
def test_noise_ranks_last_and_shares_its_rank_under_every_measure(seed: int) -> None:
    # The network listens to `heard` more than to `less`, and learns nothing from it.
    found = measure_patches(Linear([2.0, 1.0, 1.5, 0.0]), noisy_sample(seed=seed), BANDS)
    assert tuple(found) == MEASURES
    for measure, result in found.items():
        assert [e.band for e in result[:2]] == ["useful", "less"], measure
        assert [e.measurable for e in result] == [True, True, False, False], measure
        assert [(e.rank_low, e.rank_high) for e in result] == [(1, 1), (2, 2), (3, 4), (3, 4)], measure
    share = {e.band: e.importance for e in found["gradient"]}
    assert share["heard"] > share["less"]  # by size alone it would rank second
    message = unmeasured_message(found["gradient"], 3)
    assert message is not None
    assert "no measurable importance: heard" in message
    assert "Only 2 can" in message


def test_a_network_that_ignores_bands_by_construction() -> None:
    torch.manual_seed(0)
    network = create_model("m_landsnet", 4, 2, 0.125).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 4 and weight.shape[1] == 4:  # what looks at the bands themselves
                weight[:, 2:] = 0
    images = torch.randn(16, 4, 16, 16)
    with torch.no_grad():
        logits = network(images)
    targets = (logits[:, 1] - logits[:, 0] > (logits[:, 1] - logits[:, 0]).median()).long()
    found = measure_patches(network, PatchSample(images, targets), BANDS, steps=4, repeats=1)
    for measure, result in found.items():
        assert {e.band for e in result[2:]} == {"heard", "deaf"}, measure
        last = [e for e in result if e.band in {"heard", "deaf"}]
        assert all((e.importance, e.measurable, e.rank_high) == (0, False, 4) for e in last), measure
        assert last[0].rank_low == last[1].rank_low, measure


def test_noise_that_bends_the_score_is_still_not_used() -> None:
    class Bent(Linear):
        """The noisier, the surer: a gradient at the image itself would find that useful."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (1 + x[:, 2:3] ** 2)

    calls = 0
    for seed in range(20):
        sample = noisy_sample(20, seed)
        result = gradient_importance(Bent([2.0, 1.0, 0.0, 0.0]), sample, BANDS)
        calls += next(e for e in result if e.band == "heard").p_value < 0.05
    assert calls <= 4  # 1 is expected; 5 or more has a chance of 0.3 %


def test_one_patch_measures_without_a_test() -> None:
    sample = noisy_sample(1)
    result = gradient_importance(Linear([2.0, 1.0, 1.5, 0.0]), sample, BANDS)
    assert [e.band for e in result] == ["useful", "heard", "less", "deaf"]
    assert all(e.measurable is None and e.rank_low is None for e in result)


def test_a_batch_mixes_ground_and_keeps_every_patch() -> None:
    assert mix(range(10), 4) == [0, 3, 6, 9, 1, 4, 7, 2, 5, 8]
    assert mix(range(3), 8) == [0, 1, 2]
    sample = PatchSample(torch.arange(10.0).reshape(10, 1, 1, 1), torch.zeros(10, 1, 1), list(range(10)), 4)
    mixed = sample.mixed()
    assert mixed.images.flatten().tolist() == mixed.regions == mix(range(10), 4)
