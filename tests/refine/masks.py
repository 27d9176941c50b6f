"""Masks for the tests of refinement."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=16)


def masks(values=(0, 1, 0, 1, 255)):
    """Random masks, from sparse to dense, with ignored pixels unless the values say otherwise."""
    return SHAPES.flatmap(
        lambda shape: st.builds(
            np.where,
            arrays(bool, shape),
            arrays(np.uint8, shape, elements=st.sampled_from(values)),
            arrays(np.uint8, shape, elements=st.sampled_from(values), fill=st.sampled_from(values)),
        )
    )


def plain_masks():
    """Random masks of 0 and 1."""
    return masks((0, 1))


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
