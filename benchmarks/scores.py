"""Scores of a large mask beside what libraries need for the same numbers.

    python benchmarks/scores.py --size-px 10000

Every way runs in this one process, on one thread, in turn; our best of some rounds counts.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.evaluate.counts import count, scores_of
from glacierseg.evaluate.distances import mask_distances
from glacierseg.evaluate.evaluation import evaluate_buffers
from glacierseg.evaluate.intervals import bootstrap_scores, table_by_block

PIXEL_M = (10.0, 10.0)
BUFFERS_M = (10.0, 20.0)
Mask = NDArray[np.uint8]


def make_masks(size_px: int) -> tuple[Mask, Mask]:
    """Glaciers a few hundred metres to kilometres wide, and a prediction of them with errors in patches."""
    rng = np.random.default_rng(0)
    shape = (size_px, size_px)
    ice, error = (
        cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), sigma) * sigma
        for sigma in (20.0, 6.0)
    )
    return (ice + 0.4 * error > 0.15).astype(np.uint8), (ice > 0.15).astype(np.uint8)


def numpy_counts(predicted: Mask, truth: Mask) -> tuple[int, ...]:
    found, glacier = predicted == 1, truth == 1
    return tuple(int(np.count_nonzero(one)) for one in (found & glacier, found & ~glacier, ~found & glacier))


def sklearn_scores(predicted: Mask, truth: Mask) -> list[float]:
    from sklearn import metrics

    one, other = truth.ravel(), predicted.ravel()
    ways = (
        metrics.accuracy_score, metrics.jaccard_score, metrics.f1_score, metrics.precision_score,
        metrics.recall_score, metrics.cohen_kappa_score, metrics.matthews_corrcoef,
    )  # fmt: skip
    return [float(way(one, other)) for way in ways]


def opencv_buffers(predicted: Mask, truth: Mask) -> list[float]:
    """IoU with truth grown and shrunk, and with the rim forgiven, by distance transforms of OpenCV."""
    outside = cv2.distanceTransform(1 - truth, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(truth, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return _buffer_ious(predicted, truth, outside, inside)


def scipy_buffers(predicted: Mask, truth: Mask) -> list[float]:
    from scipy import ndimage

    return _buffer_ious(
        predicted, truth, ndimage.distance_transform_edt(1 - truth), ndimage.distance_transform_edt(truth)
    )


def _buffer_ious(predicted: Mask, truth: Mask, outside: NDArray[Any], inside: NDArray[Any]) -> list[float]:
    ious = []
    for buffer_m in BUFFERS_M:
        reach = buffer_m / PIXEL_M[0] + 0.5
        rim = ((outside > 0) & (outside <= reach)) | ((inside > 0) & (inside <= reach))
        found, glacier = predicted == 1, truth == 1
        for area, true in (
            (~rim, glacier),
            (True, glacier | rim),
            (True, glacier & ~rim),
        ):
            both, either = found & true & area, (found | true) & area
            ious.append(float(np.count_nonzero(both) / np.count_nonzero(either)))
    return ious


def scipy_distances(predicted: Mask, truth: Mask) -> float:
    """Mean distance between the boundary pixels of two masks, by k-d trees: to points, not to lines."""
    from scipy.spatial import cKDTree

    kernel = np.ones((3, 3), np.uint8)
    points = [np.argwhere(mask - cv2.erode(mask, kernel)) * 10.0 for mask in (predicted, truth)]
    trees = [cKDTree(one) for one in points]
    return float(np.mean([trees[1].query(points[0])[0].mean(), trees[0].query(points[1])[0].mean()]))


def best(way: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-px", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sklearn", action="store_true", help="seven calls; minutes at 10 000 px")
    parser.add_argument("--scipy", action="store_true", help="4 GB at 10 000 px")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    predicted, truth = make_masks(options.size_px)
    small, small_truth = (np.ascontiguousarray(mask[:2000, :2000]) for mask in (predicted, truth))
    groups: list[tuple[str, dict[str, Callable[[], object]]]] = [
        (
            "all scores",
            {
                "ours": lambda: scores_of(count(predicted, truth)),
                "numpy, counts alone": lambda: numpy_counts(predicted, truth),
            },
        ),
        (
            "intervals of all scores, 1000 draws",
            {"ours": lambda: bootstrap_scores(table_by_block([(predicted, truth)]))},
        ),
        (
            "buffers of 10 and 20 m: forgiven, grown, shrunk",
            {
                "ours": lambda: evaluate_buffers(predicted, truth, PIXEL_M, BUFFERS_M),
                "OpenCV distance transform": lambda: opencv_buffers(predicted, truth),
            },
        ),
        (
            "outline distances, 2000 x 2000 px at most",
            {
                "ours, to lines": lambda: mask_distances(small, small_truth, PIXEL_M),
                "scipy k-d tree, to points": lambda: scipy_distances(small, small_truth),
            },
        ),
    ]
    if options.sklearn:
        groups[0][1]["scikit-learn, seven calls"] = lambda: sklearn_scores(predicted, truth)
    if options.scipy:
        groups[2][1]["scipy distance transform"] = lambda: scipy_buffers(predicted, truth)
    print(f"{options.size_px} x {options.size_px} px, {truth.mean():.0%} glacier")
    for title, ways in groups:
        print(title)
        seconds = {name: best(way, options.rounds if name == "ours" else 1) for name, way in ways.items()}
        ours = next(iter(seconds.values()))
        for name, took in seconds.items():
            print(f"  {name:32s} {took:8.3f} s  {took / ours:7.1f}")


if __name__ == "__main__":
    main()
