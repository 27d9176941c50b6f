import numpy as np
import pytest
from matplotlib.figure import Figure

from glacierseg.report.figures import maps
from glacierseg.report.figures.maps import draw_outline


def drawn(mask: np.ndarray) -> np.ndarray:
    """Corners of the outline of a mask, in its pixels."""
    axes = Figure().subplots()
    axes.imshow(np.zeros(mask.shape))
    draw_outline(axes, mask, "black", 1.0)
    to_pixels = axes.collections[-1].get_transform() - axes.transData
    return np.concatenate([to_pixels.transform(path.vertices) for path in axes.collections[-1].get_paths()])


def test_a_speckled_mask_is_drawn_where_it_lies_with_few_corners(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((120, 160), bool)
    mask[40:80, 60:140] = True
    clean = drawn(mask)
    assert clean.min(0) == pytest.approx([59.5, 39.5])
    assert clean.max(0) == pytest.approx([139.5, 79.5])
    speckled = mask ^ (np.random.default_rng(0).random(mask.shape) < 0.05)
    many = drawn(speckled)
    monkeypatch.setattr(maps, "_MOST_EDGES", 600)
    few = drawn(speckled)
    assert len(few) < len(many) / 5
    # Most corners lie within a coarse pixel of the block's outline; before most were those of speckles.
    near = [
        float((np.abs((np.abs(corners - [99.5, 59.5]) - [40, 20]).max(axis=1)) < 4).mean())
        for corners in (few, many)
    ]
    assert near[0] > 0.7
    assert near[1] < 0.4
    assert (drawn(mask) == clean).all()
