import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from skimage import measure
from sklearn.metrics import confusion_matrix

from glacierseg.refine.engine.bits import pack
from glacierseg.refine.engine.counts import confusion, confusion_of_masks, right_and_wrong_by_area
from glacierseg.refine.engine.label import label
from tests.refine.engine.masks import wide_masks


@given(wide_masks(ignored=True), st.integers(0, 2**32 - 1))
def test_counts_are_those_of_scikit_learn(mask, seed):
    truth = np.random.default_rng(seed).choice(np.array([0, 1, 255], np.uint8), mask.shape, p=[0.4, 0.5, 0.1])
    known = (mask != 255) & (truth != 255)
    expected = (0, 0, 0, 0)
    if known.any():
        tn, fp, fn, tp = confusion_matrix(truth[known], mask[known], labels=[0, 1]).ravel().tolist()
        expected = (tp, fp, fn, tn)
    ignore = pack(mask, 255) | pack(truth, 255)
    assert confusion(pack(mask), pack(truth), ignore) == expected
    assert confusion_of_masks(mask, truth) == expected


@given(wide_masks(), st.integers(0, 2**32 - 1))
def test_right_and_wrong_pixels_of_large_fragments(mask, seed):
    marks = np.random.default_rng(seed).integers(0, 3, mask.shape, np.uint8)
    labels = measure.label(mask, connectivity=2)
    areas_px = np.bincount(labels.ravel())
    found = right_and_wrong_by_area(label(pack(mask)), pack(marks), pack(marks, 2), np.array([1, 3, 40]))
    for (right, wrong), smallest in zip(found, (1, 3, 40), strict=True):
        kept = (labels > 0) & (areas_px[labels] >= smallest)
        assert (right, wrong) == ((kept & (marks == 1)).sum(), (kept & (marks == 2)).sum())
