"""Masks that are hard on words, runs and labels."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

# Around one word, two words, and nothing.
WIDTHS = st.sampled_from([1, 2, 7, 8, 31, 62, 63, 64, 65, 66, 100, 127, 128, 129, 190, 192, 193])


@st.composite
def wide_masks(draw: st.DrawFn, ignored: bool = False) -> NDArray[np.uint8]:
    """Noise of any density and grain, often with full and empty words."""
    shape = (draw(st.integers(1, 24)), draw(WIDTHS))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    side = draw(st.sampled_from([1, 2, 3, 5, 70]))
    cells = random.random((shape[0] // side + 1, shape[1] // side + 1)) < draw(st.floats(0, 1))
    mask = np.kron(cells, np.ones((side, side)))[: shape[0], : shape[1]].astype(np.uint8)
    speckle = random.random(shape) < draw(st.sampled_from([0, 0.02, 0.2]))
    mask = np.where(speckle, 1 - mask, mask)
    if ignored:
        mask[random.random(shape) < draw(st.sampled_from([0, 0.02, 0.3]))] = 255
    return mask.astype(np.uint8)


def spiral(side: int) -> NDArray[np.uint8]:
    """One fragment and one gap that wind around each other, so that labels meet late."""
    mask = np.zeros((side, side), np.uint8)
    row, column, down, right = 0, 0, 0, 1
    mask[0, 0] = 1
    while True:
        ahead = (row + 2 * down, column + 2 * right)
        inside = 0 <= row + down < side and 0 <= column + right < side
        blocked = 0 <= ahead[0] < side and 0 <= ahead[1] < side and mask[ahead]
        if not inside or blocked or mask[row + down, column + right]:
            down, right = right, -down
            ahead = (row + 2 * down, column + 2 * right)
            blocked = 0 <= ahead[0] < side and 0 <= ahead[1] < side and mask[ahead]
            if blocked or mask[row + down, column + right]:
                return mask
        row, column = row + down, column + right
        mask[row, column] = 1


def comb(side: int, teeth_up: bool) -> NDArray[np.uint8]:
    """Teeth that join only in the last row, or in the first."""
    mask = np.zeros((side, side), np.uint8)
    mask[:, ::2] = 1
    mask[-1 if teeth_up else 0] = 1
    return mask


_ROWS, _COLUMNS = np.indices((67, 131))
ADVERSARIAL = {
    "empty": np.zeros((5, 130), np.uint8),
    "full": np.ones((5, 130), np.uint8),
    "full words": np.ones((3, 128), np.uint8),
    "one pixel": np.ones((1, 1), np.uint8),
    "one row": (np.arange(200)[None] % 3 == 0).astype(np.uint8),
    "one column": (np.arange(200)[:, None] % 3 == 0).astype(np.uint8),
    "checkerboard": ((_ROWS + _COLUMNS) % 2).astype(np.uint8),
    "single pixels": ((_ROWS % 2 == 0) & (_COLUMNS % 2 == 0)).astype(np.uint8),
    "spiral": spiral(129),
    "turned spiral": spiral(129)[::-1, ::-1].copy(),
    "comb": comb(129, teeth_up=True),
    "comb down": comb(129, teeth_up=False),
    "rings": ((np.maximum(np.abs(_ROWS - 33), np.abs(_COLUMNS - 65)) % 4) < 2).astype(np.uint8),
    "last word only": (_COLUMNS >= 128).astype(np.uint8),
}
