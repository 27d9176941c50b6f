import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.refine.engine.bits import pack, unpack
from glacierseg.refine.engine.bridges import bridges
from glacierseg.refine.engine.kernel import ellipse
from glacierseg.refine.engine.label import label
from tests.refine import opencv_steps
from tests.refine.engine.masks import ADVERSARIAL, wide_masks


def check(mask: NDArray[np.uint8], columns: int, rows: int) -> None:
    ignore = pack(mask, 255)
    added = bridges(label(pack(mask)), ellipse(columns + 1, rows + 1), ignore)
    expected = opencv_steps.merge(mask, columns, rows)
    np.testing.assert_array_equal(unpack(pack(mask) | added, ignore), expected)


@settings(max_examples=200)
@given(wide_masks(ignored=True), st.integers(0, 6), st.integers(1, 6))
def test_bridges_are_those_of_opencv(mask: NDArray[np.uint8], columns: int, rows: int) -> None:
    check(mask, columns, rows)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_bridges_of_hard_masks(name: str) -> None:
    for gap in (1, 2, 4, 80):
        check(ADVERSARIAL[name], gap, gap)
