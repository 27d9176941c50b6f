"""The scores of one mask, also with buffers along the true boundary, where no pixel is certain."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.evaluate.counts import (
    AS_BACKGROUND,
    BOTH_WAYS,
    Counts,
    Scores,
    clean_pair,
    count_clean,
    ratio_or_zero,
    scores_of,
    undefined_as_background,
)
from glacierseg.raster.ground import width_and_height_m
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.write import finite_only
from glacierseg.refine.engine.bits import pack, unpack
from glacierseg.refine.engine.morphology import boundary_rim


@dataclass(frozen=True)
class BufferEvaluation:
    """Scores when the pixels near the true boundary are left out, or the truth is moved by as much.

    Attributes:
        buffer_m: Half the width of the rim left out.
        counts: Pixels outside the rim.
        scores: Their scores.
        grown: Scores against the truth with the outer half of the rim added.
        shrunk: Scores against the truth with the inner half of the rim taken off.
    """

    buffer_m: float
    counts: Counts
    scores: Scores
    grown: Scores
    shrunk: Scores

    @property
    def omission(self) -> float:
        """Share of the true glacier outside the rim that was missed; 0 without any."""
        return ratio_or_zero(self.counts.fn, self.counts.tp + self.counts.fn)

    @property
    def commission(self) -> float:
        """Share of the predicted glacier outside the rim that is none; 0 without any."""
        return ratio_or_zero(self.counts.fp, self.counts.tp + self.counts.fp)


@dataclass(frozen=True)
class Areas:
    """Glacier areas where both mask and truth have data."""

    predicted_km2: float
    truth_km2: float


@dataclass(frozen=True)
class Evaluation:
    """A mask against its truth; without a pixel size there are no areas and no buffers.

    Attributes:
        counts: Pixels where both are known.
        scores: Their scores.
        everywhere: Pixels where the truth is known; those without a prediction count as background.
        areas: Glacier where both are known.
        buffers: Scores with buffers.
    """

    counts: Counts
    scores: Scores
    everywhere: Counts
    areas: Areas | None = None
    buffers: tuple[BufferEvaluation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record for JSON or a table row.

        Keys are the names of the scores and counts; `confusion_matrix` with rows true and columns predicted,
        background first, as scikit-learn has it; `predicted_km2` and `truth_km2`; six scores with undefined
        pixels as background, such as `iou_undefined_as_background`, and `undefined_px`; and for every buffer
        the
        scores with a suffix such as `iou_buffer_10m`, the number of pixels compared, `pixels_buffer_10m`,
        `omission_buffer_10m` and `commission_buffer_10m`; and the IoU with moved truth, `iou_grown_10m` and
        `iou_shrunk_10m`.
        NaN becomes None.
        """
        counts = self.counts
        record: dict[str, Any] = {
            **asdict(self.scores),
            **asdict(counts),
            "confusion_matrix": [[counts.tn, counts.fp], [counts.fn, counts.tp]],
        }
        if self.areas is not None:
            record.update(asdict(self.areas))
        record.update(scores_as_background(self.everywhere, self.counts))
        for buffer in self.buffers:
            suffix = f"_buffer_{buffer.buffer_m:g}m"
            record.update({name + suffix: value for name, value in asdict(buffer.scores).items()})
            record[f"pixels{suffix}"] = buffer.counts.total
            record[f"omission{suffix}"], record[f"commission{suffix}"] = buffer.omission, buffer.commission
            record[f"iou_grown_{buffer.buffer_m:g}m"] = buffer.grown.iou
            record[f"iou_shrunk_{buffer.buffer_m:g}m"] = buffer.shrunk.iou
        plain: dict[str, Any] = finite_only(record)
        return plain


def scores_as_background(everywhere: Counts, defined: Counts) -> dict[str, float | int]:
    """Returns the scores of all pixels with truth, undefined ones being background, and how many these are.

    Args:
        everywhere: Counts of all pixels with truth.
        defined: Of those where the scene has data.
    """
    scores = scores_of(everywhere)
    record: dict[str, float | int] = {name + AS_BACKGROUND: getattr(scores, name) for name in BOTH_WAYS}
    return record | {"undefined_px": everywhere.total - defined.total}


def evaluate_masks(
    predicted: NDArray[Any],
    truth: NDArray[Any],
    pixel_size_m: float | tuple[float, float] | None = None,
    buffers_m: Sequence[float] = (),
) -> Evaluation:
    """Compares a predicted mask with the truth, leaving out pixels where either is 255.

    Args:
        predicted: `(H, W)` of 0, 1 and 255.
        truth: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel, or one number; needed for areas and buffers.
        buffers_m: For each, scores are also given without the pixels that near to the true boundary, see
            `boundary_rims`.

    Raises:
        GridMismatchError: They are of different shape.
        TruthError: One has values other than 0, 1 and 255.
        RequestError: Buffers are asked for without a pixel size, or a size or buffer is not positive.
    """
    if buffers_m and pixel_size_m is None:
        raise RequestError("buffers are in metres; give pixel_size_m too")
    if any(not buffer_m > 0 for buffer_m in buffers_m):
        raise RequestError(f"a buffer must be more than 0 m (got {min(buffers_m):g} m)")
    predicted, truth = clean_pair(predicted, truth)
    counts = count_clean(predicted, truth)
    everywhere = count_clean(undefined_as_background(predicted), truth)
    if pixel_size_m is None:
        return Evaluation(counts, scores_of(counts), everywhere)
    size_m = width_and_height_m(pixel_size_m)
    pixel_km2 = size_m[0] * size_m[1] / 1e6
    areas = Areas((counts.tp + counts.fp) * pixel_km2, (counts.tp + counts.fn) * pixel_km2)
    buffers = evaluate_buffers(predicted, truth, size_m, buffers_m)
    return Evaluation(counts, scores_of(counts), everywhere, areas, buffers)


def evaluate_buffers(
    predicted: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    pixel_size_m: tuple[float, float],
    buffers_m: Sequence[float],
) -> tuple[BufferEvaluation, ...]:
    """Scores a clean mask with buffers along the boundary of clean truth; see `evaluate_masks`.

    All follows from counts inside the rim: what lies in it is left out, counted as glacier, or not.
    """
    found = []
    everywhere = count_clean(predicted, truth)
    for buffer_m, rim in zip(buffers_m, boundary_rims(truth, pixel_size_m, buffers_m), strict=True):
        # Truth is 255 outside the rim, and the same inside.
        inside = count_clean(predicted, truth | (rim.view(np.uint8) - np.uint8(1)))
        outside = everywhere - inside
        grown = outside + Counts(tp=inside.tp, fn=inside.fn) + Counts(tp=inside.fp, fn=inside.tn)
        shrunk = outside + Counts(fp=inside.fp, tn=inside.tn) + Counts(fp=inside.tp, tn=inside.fn)
        scores = [scores_of(counts) for counts in (outside, grown, shrunk)]
        found.append(BufferEvaluation(float(buffer_m), outside, *scores))
    return tuple(found)


def boundary_rims(
    truth: NDArray[np.uint8], pixel_size_m: tuple[float, float], buffers_m: Sequence[float]
) -> list[NDArray[np.bool_]]:
    """Returns which pixels lie within some distances of the true glacier boundary.

    The boundary is made of the pixel edges between glacier (1) and background (0). Neither the scene border
    nor an edge to an ignored pixel is one: what lies beyond is unknown. A pixel belongs to the rim when its
    centre is at most the distance from the nearest point of such an edge (Euclidean, in metres). The centres
    of the pixels beside a boundary are half a pixel away from it, so a 10 m buffer takes one pixel on either
    side at 10 m resolution, and none at all at 30 m, where it changes no score.

    Returns:
        For each distance `(H, W)`, True in the rim.
    """
    if not truth.size:
        return [np.zeros(truth.shape, bool) for _ in buffers_m]
    glacier, ignore = pack(truth), pack(truth, IGNORE)
    rims = (boundary_rim(glacier, pixel_size_m, buffer_m, ignore) for buffer_m in buffers_m)
    return [unpack(rim).view(np.bool_) for rim in rims]
