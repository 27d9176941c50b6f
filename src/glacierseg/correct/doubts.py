"""Whether corrections can be right: wrong ones cannot be told by places held out, which are as wrong.

What a network knew is held against them instead. Its calibrated probabilities say how often it errs, and
where an outline may lie, also on ground that is new to it: corrections that contradict it where it was sure,
that have nothing to do with its probabilities, or that fit better when they are moved, are not trained on.
The limits were chosen on Alpine massifs that the networks had not seen: corrections to the truth had
contradictions of up to 9 times what was expected, a slope of 0.47 or more and a shift of up to 5 px.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from glacierseg.experiment.windows import Part
from glacierseg.predict.calibration import Calibration
from glacierseg.raster.truth import GLACIER, IGNORE

REACH_PX = 24
"""So far corrections are moved about."""
_SURE = 0.02
_MOST_CONTRADICTED, _LEAST_CONTRADICTED = 10.0, 0.001
_LEAST_SLOPE = 0.4
_MOST_SHIFT_PX, _MOST_FIT, _LEAST_FIT = 6.0, 0.9, 0.3


@dataclass(frozen=True)
class Doubts:
    """How far corrections fit to what a network knew before.

    Attributes:
        contradicted: Share of the checked pixels on which the network was sure (a calibrated probability
            below 0.02 or above 0.98) and the analyst says otherwise.
        expected: The same share by its probabilities.
        slope: By how much the analyst's glacier rises with the probability within a place: 1 as calibrated, 0
            for corrections that have nothing to do with it, negative for turned ones.
        shift_px: How far the corrections have to be moved to fit best.
        fit: Correlation as they are, over that when they are moved.
        moved_fit: Correlation when they are moved.
    """

    contradicted: float
    expected: float
    slope: float
    shift_px: float
    fit: float
    moved_fit: float

    @property
    def reason(self) -> str | None:
        """Why the corrections cannot be believed, in words; None where they can."""
        if (
            _MOST_SHIFT_PX < self.shift_px < REACH_PX
            and self.moved_fit > _LEAST_FIT
            and self.fit < _MOST_FIT * self.moved_fit
        ):
            return (
                f"the corrections fit best what the model sees when moved by {self.shift_px:.0f} px; "
                "look whether the outlines lie on the scene"
            )
        if self.slope < _LEAST_SLOPE:
            return (
                "the corrections have too little to do with what the model sees: in a place glacier rises "
                f"with its probability by {self.slope:.2f} of what it should, and {_LEAST_SLOPE:g} is the "
                "least that is believed; look whether glacier and background are outlined as such"
            )
        most = max(_MOST_CONTRADICTED * self.expected, _LEAST_CONTRADICTED)
        if self.contradicted > most:
            return (
                f"on {self.contradicted:.1%} of the checked ground the model was sure and the corrections "
                f"say otherwise, and up to {most:.1%} is believed; look at that ground again, and leave what "
                "nobody looked at out of the layer `checked`"
            )
        return None


def find_doubts(
    probabilities: Sequence[NDArray[np.float32]], parts: Sequence[Part], calibration: Calibration | None
) -> Doubts:
    """Holds corrections against a network's probabilities.

    Args:
        probabilities: `(h, w)` on each part, NaN where there is no data.
        parts: The places, each with up to `REACH_PX` of unchecked ground around it.
        calibration: Of the network; None to take its probabilities as they are.
    """
    wrong = due = checked = risen = spread = of_truth = 0.0
    products, of_chance = np.zeros((2, 2 * REACH_PX + 1, 2 * REACH_PX + 1))
    for raw, part in zip(probabilities, parts, strict=True):
        chance = calibration.apply(raw) if calibration else raw
        known, seen = (part.truth != IGNORE) & ~np.isnan(chance), ~np.isnan(chance)
        if not known.any():
            continue
        sure, own, glacier = np.minimum(chance, 1 - chance) < _SURE, chance[known], part.truth == GLACIER
        wrong += float((known & sure & ((chance > 0.5) != glacier)).sum())
        due += float(np.minimum(chance, 1 - chance)[known & sure].sum())
        checked += float(known.sum())
        centred = np.where(known, glacier - glacier[known].mean(), 0).astype(np.float32)
        risen += float(centred[known] @ own)
        spread += float(((own - own.mean()) ** 2).sum())
        moved, variances = _moved(np.where(seen, chance, 0), seen, centred, known)
        products, of_chance = products + moved, of_chance + variances
        of_truth += float((centred**2).sum())
    fits = products / np.sqrt(np.maximum(of_chance * of_truth, 1e-9))
    row, column = np.unravel_index(fits.argmax(), fits.shape)
    return Doubts(
        contradicted=wrong / max(checked, 1),
        expected=due / max(checked, 1),
        slope=risen / max(spread, 1e-9),
        shift_px=float(np.hypot(row - REACH_PX, column - REACH_PX)),
        fit=float(fits[REACH_PX, REACH_PX]),
        moved_fit=float(fits.max()),
    )


def _moved(
    chance: NDArray[np.float32],
    seen: NDArray[np.bool_],
    centred: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the product sums with a place's truth moved over its surroundings, and the spread there."""

    def under(image: NDArray[Any], stencil: NDArray[Any]) -> NDArray[np.float64]:
        padded = np.pad(image.astype(np.float32), REACH_PX)
        sums = cv2.matchTemplate(padded, stencil.astype(np.float32), cv2.TM_CCORR)
        return np.asarray(sums, np.float64)

    count = np.maximum(under(seen, known), 1)
    spread = under(chance**2, known) - under(chance, known) ** 2 / count
    return under(chance, centred), np.maximum(spread, 0)
