import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_cdt

from glacierseg.data.split import ROLE_CODES, checkerboard, deal_folds, fold_role, leave_gap, roles_by_folds
from tests.helpers import blobs


def test_half_and_half_is_a_chessboard() -> None:
    roles = checkerboard((40, 60), ["train", "validate"], 10, 0.5)
    rows, columns = np.indices((40, 60)) // 10
    parity = (rows + columns) % 2
    assert len(np.unique(roles[parity == 0])) == len(np.unique(roles[parity == 1])) == 1
    assert set(np.unique(roles)) == {ROLE_CODES["train"], ROLE_CODES["validate"]}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25])
def test_every_held_out_role_gets_its_share_and_blocks_do_not_touch(share: float) -> None:
    roles = checkerboard((200, 200), ["train", "validate", "test"], 5, share)
    blocks = roles[::5, ::5]
    for role in ("validate", "test"):
        held = blocks == ROLE_CODES[role]
        assert held.mean() == pytest.approx(share, abs=0.01)
        assert not (held[:, 1:] & held[:, :-1]).any()
        assert not (held[1:] & held[:-1]).any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 9), st.integers(0, 500))
def test_gap_takes_exactly_what_is_too_near(gap: int, seed: int) -> None:
    before = np.random.default_rng(seed).choice([1, 1, 1, 2, 3, 0], (6, 7)).repeat(5, 0).repeat(5, 1)
    roles = before.astype(np.uint8)
    leave_gap(roles, gap)

    def far(area: np.ndarray) -> np.ndarray:
        if not area.any():
            return np.ones(area.shape, bool)
        result: np.ndarray = distance_transform_cdt(~area, metric="chessboard") > gap
        return result

    np.testing.assert_array_equal(roles == 3, before == 3)
    np.testing.assert_array_equal(roles == 2, (before == 2) & far(before == 3))
    np.testing.assert_array_equal(roles == 1, (before == 1) & far((before == 2) | (before == 3)))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 100), min_size=3, max_size=40), st.integers(3, 6))
def test_folds_have_as_many_units_and_about_as_much_glacier(areas: list[float], folds: int) -> None:
    dealt = deal_folds(areas, folds)
    counts = [dealt.count(fold) for fold in range(1, folds + 1)]
    assert max(counts) - min(counts) <= 1
    sums = [sum(a for a, f in zip(areas, dealt, strict=True) if f == fold) for fold in range(1, folds + 1)]
    assert max(sums) - min(sums) <= max(areas) + 1e-9


def test_each_fold_tests_and_validates_once() -> None:
    for own in range(1, 6):
        roles = [fold_role(own, tested, 5) for tested in range(1, 6)]
        assert sorted(roles) == ["test", "train", "train", "train", "validate"]


def test_folds_of_several_scenes_share_one_deal() -> None:
    truths = [blobs(60, 60, 1), blobs(40, 80, 2)]
    tested = [np.zeros(truth.shape, int) for truth in truths]
    for fold in range(1, 4):
        for count, roles in zip(tested, roles_by_folds(truths, 20, 3, fold), strict=True):
            np.add(count, roles == ROLE_CODES["test"], out=count)
    assert all((count == 1).all() for count in tested)
