"""Masks for the tests of outlines."""

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=14)


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Random masks of three kinds: salt and pepper, labyrinths of thin walls, rounded shapes."""
    kind = draw(st.sampled_from(["pixels", "walls", "blobs"]))
    if kind == "pixels":
        return draw(arrays(np.uint8, draw(SHAPES), elements=st.sampled_from([0, 1, 1, 0, 255])))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "walls":
        cells = random.random((12, 12)) < draw(st.floats(0.3, 0.8))
        return np.kron(cells, np.ones((draw(st.integers(1, 3)), draw(st.integers(1, 3))))).astype(np.uint8)
    relief = cv2.GaussianBlur(random.random((40, 40)), (0, 0), draw(st.floats(0.5, 3)))
    return (relief > draw(st.floats(0.45, 0.55))).astype(np.uint8)


def corner_cases() -> dict[str, NDArray[np.uint8]]:
    """Shapes at which outlines meet themselves or each other."""
    diagonal = np.eye(6, dtype=np.uint8)
    board = (np.indices((7, 7)).sum(axis=0) % 2).astype(np.uint8)
    # The hole touches the outside at a corner: pixel (1, 1) and the missing corner pixel (0, 0).
    pinched = np.ones((3, 3), np.uint8)
    pinched[0, 0] = pinched[1, 1] = 0
    nested = np.ones((9, 9), np.uint8)
    nested[1:-1, 1:-1] = 0
    nested[3:6, 3:6] = 1
    nested[4, 4] = 0
    chained_holes = np.ones((8, 8), np.uint8)
    chained_holes[range(1, 7), range(1, 7)] = 0
    return {
        "one pixel": np.ones((1, 1), np.uint8),
        "full": np.ones((5, 8), np.uint8),
        "diagonal": diagonal,
        "board": board,
        "pinched": pinched,
        "nested": nested,
        "holes that touch at corners": chained_holes,
        "a line of one pixel's width": np.ones((1, 30), np.uint8),
    }
