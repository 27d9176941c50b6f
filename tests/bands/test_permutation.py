import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import jaccard_score

from glacierseg.bands import PatchSample, measure_patches, permutation_importance
from glacierseg.bands.importance import draw_donors
from glacierseg.choices import MEASURES
from glacierseg.errors import RequestError
from glacierseg.models import MODELS, create_model
from tests.bands.networks import Linear
from tests.helpers import present

BANDS = ["a", "b", "c"]
WEIGHTS = [2.0, -1.0, 0.0]


def sample(patches: int = 5, seed: int = 0, regions: list[int] | None = None) -> PatchSample:
    """Truth follows the first two bands through noise; some pixels have no label, some no data."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(patches, 3, 6, 7, generator=draw)
    images[1, :, :2] = 0
    noise = torch.randn(patches, 6, 7, generator=draw)
    targets = (2 * images[:, 0] - images[:, 1] + noise > 0).long()
    targets[:, 0, :3] = 255
    return PatchSample(images, targets, regions, batch_size=2)


def iou(images: np.ndarray, targets: np.ndarray) -> float:
    """Brute force: the linear rule by numpy, the score by scikit-learn."""
    predicted = np.einsum("pchw,c->phw", images, WEIGHTS) >= 0
    labelled = targets != 255
    return float(jaccard_score(targets[labelled] == 1, predicted[labelled]))


def loss(given: PatchSample, chosen: list[int], band: int, donors: np.ndarray) -> float:
    images, targets = given.images.numpy().astype(float), given.targets.numpy()
    changed = images.copy()
    for patch in range(len(images)):
        for row, column in np.ndindex(6, 7):
            if images[patch, :, row, column].any():
                changed[patch, band, row, column] = images[donors[patch], band, row, column]
    return iou(images[chosen], targets[chosen]) - iou(changed[chosen], targets[chosen])


@pytest.mark.parametrize("seed", range(4))
def test_losses_errors_and_spreads_equal_brute_force(seed: int) -> None:
    regions = [0, 0, 1, 1, 1]
    given = sample(seed=seed, regions=regions)
    rng = np.random.default_rng(seed)
    draws = [draw_donors(5, rng) for _ in range(3)]
    ranked = permutation_importance(Linear(WEIGHTS), given, BANDS, repeats=3, seed=seed)
    found = {e.band: e for e in ranked}
    for number, band in enumerate(BANDS):

        def mean(chosen: list[int], number: int = number) -> float:
            return float(np.mean([loss(given, chosen, number, d) for d in draws]))

        entry = found[band]
        assert entry.importance == pytest.approx(mean([0, 1, 2, 3, 4]), abs=1e-12)
        assert entry.spread == pytest.approx(np.std([mean([p]) for p in range(5)]), abs=1e-12)
        assert entry.region_spread == pytest.approx(np.std([mean([0, 1]), mean([2, 3, 4])]), abs=1e-12)
        others = [mean([p for p in range(5) if p != out]) for out in range(5)]
        assert entry.standard_error == pytest.approx(np.sqrt(4 * np.var(others)), abs=1e-12)
    assert found["c"].importance == 0


def test_the_same_seed_draws_the_same_and_another_draws_otherwise() -> None:
    given = sample(8)
    results = [permutation_importance(Linear(WEIGHTS), given, BANDS, seed=s) for s in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_batch_size_does_not_matter() -> None:
    given = sample(7)
    whole = PatchSample(given.images, given.targets, batch_size=7)
    network = Linear(WEIGHTS)
    assert permutation_importance(network, given, BANDS) == permutation_importance(network, whole, BANDS)


def test_donors_are_other_patches_and_every_assignment_is_as_likely() -> None:
    rng = np.random.default_rng(0)
    drawn = [tuple(draw_donors(4, rng)) for _ in range(3600)]
    assert all(d[i] != i for d in drawn for i in range(4))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 9  # derangements of four
    assert stats.chisquare(counts).pvalue > 0.001


def test_one_patch_cannot_be_permuted_and_ground_without_glacier_measures_nothing() -> None:
    given = sample(2)
    one = PatchSample(given.images[:1], given.targets[:1])
    with pytest.raises(RequestError, match=r"at least two \(got 1\)"):
        permutation_importance(Linear(WEIGHTS), one, BANDS)
    bare = PatchSample(given.images, torch.zeros(2, 6, 7))
    with pytest.raises(RequestError, match="needs glacier"):
        permutation_importance(Linear(WEIGHTS), bare, BANDS)


@pytest.mark.usefixtures("zoo")
def test_both_measures_work_for_a_network_of_the_zoo() -> None:
    check_both_measures("smp:Unet/resnet18")


@pytest.mark.parametrize("name", MODELS)
def test_both_measures_work_for_every_network(name: str) -> None:
    check_both_measures(name)


def check_both_measures(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, 3, 2, 1.0 if name.startswith("smp") else 0.125)
    images = torch.randn(3, 3, 32, 32)
    targets = (images[:, 0] > 0).long()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = measure_patches(network, PatchSample(images, targets, [0, 1, 1]), BANDS, repeats=1)
    assert tuple(found) == MEASURES
    for measure, result in found.items():
        assert sorted(e.band for e in result) == BANDS
        for e in result:
            numbers = [e.importance, e.spread, present(e.standard_error), present(e.region_spread)]
            assert np.isfinite(numbers).all()
        if measure == "gradient":
            assert sum(e.importance for e in result) == pytest.approx(1)
    for key, value in network.state_dict().items():
        assert torch.equal(before[key], value), "measuring changed the network"
    assert all(p.grad is None for p in network.parameters())
