import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from glacierseg.evaluate.glacier_bounds import (
    CLASSES_KM2,
    MappedGlaciers,
    glaciers_of_square,
    massif_quantile,
    measure_glaciers,
)
from glacierseg.predict.calibration import Calibration, Dispersion, GlacierClass, LogitScale

AS_IT_IS = LogitScale(1.0)


@given(st.integers(9, 40), st.integers(0, 999))
def test_of_massifs_of_one_glacier_it_is_the_quantile_of_split_conformal(massifs: int, seed: int) -> None:
    scores = np.random.default_rng(seed).permutation(massifs).astype(float)
    rank = int(np.ceil(0.9 * (massifs + 1) - 1e-9))
    assert massif_quantile(scores, np.arange(massifs), 0.9) == np.sort(scores)[rank - 1]


def test_glaciers_share_the_weight_of_their_massif() -> None:
    rng = np.random.default_rng(4)
    massif = rng.integers(0, 12, 80)
    scores = rng.normal(size=80)
    found = massif_quantile(scores, massif, 0.8)
    shares = [
        np.mean([np.mean(scores[massif == one] <= score) for one in np.unique(massif)]) * 12 / 13
        for score in np.sort(scores)
    ]
    assert found == np.sort(scores)[np.argmax(np.array(shares) >= 0.8)]


def test_fewer_than_nine_massifs_give_no_bounds_at_nine_tenths() -> None:
    scores, massif = np.arange(800.0), np.arange(800) % 8
    assert massif_quantile(scores, massif, 0.9) is None
    assert massif_quantile(np.arange(9.0), np.arange(9), 0.9) == 8
    assert massif_quantile(np.zeros(0), np.zeros(0, np.int64), 0.9) is None
    assert measure_glaciers(glaciers(np.random.default_rng(0), 1)) == ()


def glaciers(rng: np.random.Generator, massifs: int, spread: float = 1.0) -> MappedGlaciers:
    """Glaciers of which those of a massif err together, small ones more than large ones."""
    massif = np.repeat(np.arange(massifs), rng.integers(1, 30, massifs))
    km2 = np.exp(rng.normal(-1.5, 1.5, massif.size)).clip(0.01)
    shift = rng.normal(0.3, spread, massifs)[massif] + rng.normal(0, 1, massif.size) / np.sqrt(km2 + 0.1)
    expected = km2 * 1e4
    variance = expected * rng.uniform(0.05, 0.15, massif.size)
    true = np.rint(expected + shift * variance).astype(np.int64)
    return MappedGlaciers(km2, massif, expected, variance, true)


def held(found: tuple[GlacierClass, ...], new: MappedGlaciers) -> np.ndarray:
    known = Calibration(AS_IT_IS, 1, (), 1, 1, 1, 1, Dispersion(1, 16, 9, 7, 1), glaciers=found)
    columns = new.mapped_km2, new.expected_px, new.variance_px
    bounds = np.array([known.bound_glacier(*one) for one in zip(*columns, strict=True)])
    true = np.maximum(new.true_px, 0)
    return np.asarray((bounds[:, 0] - 1e-6 <= true) & (true <= bounds[:, 1] + 1e-6))


def test_nine_of_ten_glaciers_of_new_massifs_lie_within_their_bounds() -> None:
    rng = np.random.default_rng(7)
    counts = np.zeros((len(CLASSES_KM2), 2))
    for _ in range(60):
        found = measure_glaciers(glaciers(rng, 40))
        new = glaciers(rng, 10)
        for size, hit in zip(np.digitize(new.mapped_km2, CLASSES_KM2) - 1, held(found, new), strict=True):
            counts[size] += hit, 1
    shares = counts[:, 0] / counts[:, 1]
    assert ((shares[:4] > 0.85) & (shares[:4] < 0.97)).all(), shares
    assert 0.85 < counts[:, 0].sum() / counts[:, 1].sum() < 0.95


def test_a_class_of_few_massifs_is_joined_with_the_next_smaller_one() -> None:
    rng = np.random.default_rng(2)
    seen = glaciers(rng, 30)
    few = seen[(seen.mapped_km2 < 2) | (seen.massif < 3)]
    found = measure_glaciers(few)
    assert [one.from_km2 for one in found] == list(CLASSES_KM2)
    assert found[3].massifs >= 9
    assert found[3].glaciers > (few.mapped_km2 >= 2).sum()
    # One larger than any that was seen has the bounds of the largest class.
    known = Calibration(AS_IT_IS, 1, (), 1, 1, 1, 1, Dispersion(1, 16, 9, 7, 1), glaciers=found)
    low, high = known.bound_glacier(5000, 1e6, 1e4)
    assert (low, high) == pytest.approx((1e6 + found[-1].lower * 1e4, 1e6 + found[-1].upper * 1e4))
    assert known.bound_glacier(0.0, 0.0, 0.0) == (0, 0)
    assert known.bound_glacier(0.001, 5.0, 100.0) == pytest.approx((0, 5 + found[0].upper * 100))


def test_a_glacier_is_measured_on_the_ground_around_it() -> None:
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.01, 0.2, (60, 90)).astype(np.float32)
    chance[10:30, 10:30] = 0.8
    chance[10:30, 34:60] = 0.7
    chance[50, 50] = 0.9  # too small
    truth = np.zeros((60, 90), np.uint8)
    truth[12:30, 10:30] = 1
    truth[30:58, 15:18] = 1  # a tongue that the map lacks, far beyond 100 m
    truth[5:9, 70:80] = 1  # a glacier that the map lacks
    truth[:, 85:] = 255
    found = glaciers_of_square(chance, truth, (0, 0, 100), 10.0).measured(AS_IT_IS)
    assert found.mapped_km2 == pytest.approx([0.04, 0.052])
    assert found.true_px.tolist() == [18 * 20 + 28 * 3, 0]
    inside = np.zeros(truth.shape, bool)
    first, second = inside.copy(), inside.copy()
    first[10:30, 10:30] = second[10:30, 34:60] = True
    one, other = (distance_transform_edt(~mask) for mask in (first, second))
    for number, (own, theirs) in enumerate([(one, other), (other, one)]):
        ground = (own <= 10) & (own < theirs) & (truth != 255)
        p = chance[ground].astype(float)
        assert found.expected_px[number] == pytest.approx(p.sum(), rel=0.01)
        assert found.variance_px[number] == pytest.approx((p * (1 - p)).sum(), rel=0.02)
    assert found.shift == pytest.approx((found.true_px - found.expected_px) / found.variance_px)


def test_a_glacier_belongs_to_the_square_of_its_middle_alone() -> None:
    chance = np.zeros((40, 40), np.float32)
    chance[5:15, 12:31] = chance[25:35, 2:12] = 0.9
    parts = [
        glaciers_of_square(chance, np.zeros((40, 40), np.uint8), (0, left, 40), 20.0).measured(AS_IT_IS)
        for left in (-20, 20)
    ]
    assert [part.mapped_km2.tolist() for part in parts] == [pytest.approx([0.04]), pytest.approx([0.076])]
    nothing = np.zeros((9, 9), np.uint8)
    empty = glaciers_of_square(nothing.astype(np.float32), nothing, (0, 0, 9), 10).measured(AS_IT_IS)
    assert len(MappedGlaciers.joined([empty, *parts]).massif) == 2
    assert MappedGlaciers.joined(parts).massif.tolist() == [0, 1]
