"""Everything that is said about one mask against its truth."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.errors import RequestError
from glacierseg.evaluate.buffers import boundary_rim
from glacierseg.evaluate.counts import Counts, clean_pair, count_clean
from glacierseg.evaluate.scores import Scores, scores_of
from glacierseg.raster.truth import IGNORE
from glacierseg.refine.pixels import width_and_height_m


@dataclass(frozen=True)
class BufferEvaluation:
    """Scores when the pixels near the true boundary are left out.

    Attributes:
        buffer_m: Half the width of the rim left out.
        counts: Pixels outside the rim.
        scores: Their scores.
    """

    buffer_m: float
    counts: Counts
    scores: Scores


@dataclass(frozen=True)
class Areas:
    """Glacier areas where both masks have data.

    Attributes:
        predicted_km2: Area of the predicted glacier.
        truth_km2: Area of the true glacier.
    """

    predicted_km2: float
    truth_km2: float


@dataclass(frozen=True)
class Evaluation:
    """A mask against its truth.

    Attributes:
        counts: Pixels by predicted and true class.
        scores: What follows from them.
        areas: Glacier areas, when the pixel size is known.
        buffers: The same with forgiving rims, in the order asked for.
    """

    counts: Counts
    scores: Scores
    areas: Areas | None = None
    buffers: tuple[BufferEvaluation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns one flat record for JSON or a table row.

        Keys are the names of the scores and counts; `confusion_matrix` with rows true and columns predicted,
        background first, as scikit-learn has it; `predicted_km2` and `truth_km2`; and for every buffer the
        scores with a suffix such as `iou_buffer_10m`, and the number of pixels compared, `pixels_buffer_10m`.
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
        for buffer in self.buffers:
            suffix = f"_buffer_{buffer.buffer_m:g}m"
            record.update({name + suffix: value for name, value in asdict(buffer.scores).items()})
            record[f"pixels{suffix}"] = buffer.counts.total
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in record.items()
        }


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
            `glacierseg.evaluate.buffers.boundary_rim`.

    Raises:
        GridMismatchError: The masks are of different shape.
        TruthError: A mask has values other than 0, 1 and 255.
        RequestError: Buffers are asked for without a pixel size, or a size or buffer is not positive.
    """
    if buffers_m and pixel_size_m is None:
        raise RequestError("boundary buffers are in metres, so give the pixel size too")
    if any(not buffer_m > 0 for buffer_m in buffers_m):
        raise RequestError(f"a boundary buffer must be more than 0 m, not {min(buffers_m):g} m")
    predicted, truth = clean_pair(predicted, truth)
    counts = count_clean(predicted, truth)
    if pixel_size_m is None:
        return Evaluation(counts, scores_of(counts))
    size_m = width_and_height_m(pixel_size_m)
    pixel_km2 = size_m[0] * size_m[1] / 1e6
    areas = Areas((counts.tp + counts.fp) * pixel_km2, (counts.tp + counts.fn) * pixel_km2)
    buffers = []
    for buffer_m in buffers_m:
        forgiven = np.where(boundary_rim(truth, size_m, buffer_m), np.uint8(IGNORE), truth)
        outside = count_clean(predicted, forgiven)
        buffers.append(BufferEvaluation(float(buffer_m), outside, scores_of(outside)))
    return Evaluation(counts, scores_of(counts), areas, tuple(buffers))
