"""Masks for the tests of refinement."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=16)


@st.composite
def masks(draw: st.DrawFn, ignored: bool = True) -> NDArray[np.uint8]:
    """Masks of a few odd pixels, and noise of any density, ragged or in lumps."""
    shape = draw(SHAPES)
    values = [0, 1, 255] if ignored else [0, 1]
    if draw(st.booleans()):
        return draw(arrays(np.uint8, shape, elements=st.sampled_from(values)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    side = draw(st.integers(1, 3))
    cells = random.random((shape[0] // side + 1, shape[1] // side + 1)) < draw(st.floats(0.2, 0.9))
    mask = np.kron(cells, np.ones((side, side)))[: shape[0], : shape[1]].astype(np.uint8)
    if ignored:
        mask[random.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.3]))] = 255
    return mask


def plain_masks() -> st.SearchStrategy[NDArray[np.uint8]]:
    """The same without ignored pixels."""
    return masks(ignored=False)


SIZES = st.sampled_from([(10.0, 10.0), (26.6, 30.9), (20.0, 5.0)])
EDGE_CASES = {
    "empty": np.zeros((7, 9), np.uint8),
    "full": np.ones((7, 9), np.uint8),
    "one glacier pixel": np.ones((1, 1), np.uint8),
    "one background pixel": np.zeros((1, 1), np.uint8),
    "all ignored": np.full((7, 9), 255, np.uint8),
    "one row": np.array([[0, 1, 0, 0, 1, 255, 1]], np.uint8),
    "one column": np.array([[0, 1, 0, 0, 1, 255, 1]], np.uint8).T,
}
