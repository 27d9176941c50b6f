import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from glacierseg.data.patches import draw_side_px, resample, widest_px


def known_square(side_px: int, bands: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(side_px)
    values = rng.uniform(1, 50, (side_px, side_px, bands)).astype(np.float32)
    return values, np.ones((side_px, side_px), bool), rng.integers(0, 2, (side_px, side_px)).astype(np.uint8)


@given(st.integers(1, 300), st.floats(0, 1))
def test_sides_stay_within_their_span(patch_px: int, zoom: float) -> None:
    drawn = [draw_side_px(patch_px, zoom, np.random.default_rng(seed)) for seed in range(20)]
    assert max(drawn) <= widest_px(patch_px, zoom) <= patch_px * (1 + zoom) + 0.5
    assert min(drawn) >= patch_px / (1 + zoom) - 0.5


def test_a_ratio_is_as_likely_as_its_inverse() -> None:
    drawn = np.array([draw_side_px(10_000, 0.5, np.random.default_rng(seed)) for seed in range(4000)]) / 1e4
    assert drawn.min() < 0.68
    assert drawn.max() > 1.48
    assert abs(np.log(drawn).mean()) < 0.02
    assert abs((drawn > 1).mean() - 0.5) < 0.03


@pytest.mark.parametrize("bands", [1, 2, 18])
def test_what_shrinks_is_averaged(bands: int) -> None:
    values, valid, target = known_square(60, bands)
    small, seen, labels = resample(values, valid, target, 20)
    expected = values.reshape(20, 3, 20, 3, bands).mean((1, 3))
    np.testing.assert_allclose(small, expected, rtol=1e-5)
    assert small.shape == (20, 20, bands)
    assert seen.all()
    assert (labels == (target.reshape(20, 3, 20, 3).sum((1, 3)) >= 5)).all()


def test_soft_labels_that_shrink_are_averaged() -> None:
    values, valid, _ = known_square(60)
    levels = np.random.default_rng(2).integers(0, 255, (60, 60)).astype(np.uint8)
    levels[:3] = 255
    levels[3, :2] = 255
    _, _, found = resample(values, valid, levels, 20, soft=True)
    blocks = np.where(levels == 255, np.nan, levels).reshape(20, 3, 20, 3)[1:]
    assert (found[0] == 255).all()
    assert np.abs(found[1:] - np.nanmean(blocks, (1, 3))).max() <= 0.5001


def test_what_grows_is_interpolated_between_pixel_centres() -> None:
    values, valid, target = known_square(20)
    large, seen, _ = resample(values, valid, target, 50)
    at = np.meshgrid(*[(np.arange(50) + 0.5) * 0.4 - 0.5] * 2, indexing="ij")
    for band in range(2):
        expected = map_coordinates(values[..., band], at, order=1, mode="nearest")
        np.testing.assert_allclose(large[..., band], expected, rtol=1e-4)
    assert seen.all()


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 99))
def test_pixels_without_data_have_no_weight(side_px: int, new_px: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((side_px, side_px)) < 0.7
    values = np.where(valid[..., None], np.array([7, -3], np.float32), np.float32(np.nan))
    target = np.where(valid, np.uint8(1), np.uint8(255))
    found, seen, labels = resample(values, valid, target, new_px)
    np.testing.assert_allclose(found[seen], np.broadcast_to([7, -3], found[seen].shape), rtol=1e-5)
    assert (found[~seen] == 0).all()
    assert (labels == np.where(seen, 1, 255)).all()


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 99))
def test_labels_are_only_where_half_of_the_ground_has_one(side_px: int, new_px: int, seed: int) -> None:
    target = np.random.default_rng(seed).choice(np.array([0, 1, 255], np.uint8), (side_px, side_px))
    values = np.zeros((side_px, side_px, 1), np.float32)
    _, seen, labels = resample(values, np.ones_like(target, bool), target, new_px)
    assert seen.all()
    assert set(np.unique(labels)) <= {0, 1, 255}
    _, _, known = resample(values, np.ones_like(target, bool), (target != 255).astype(np.uint8), new_px)
    share, _, _ = resample((target != 255)[..., None], np.ones_like(target, bool), target, new_px)
    clear = abs(share[..., 0] - 0.5) > 1e-6  # elsewhere rounding decides
    assert ((labels != 255) == (known == 1))[clear].all()
