"""What a search aims at, from counts of right and wrong pixels."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from glacierseg.errors import RequestError, did_you_mean

Objective = Literal["iou", "f1", "area"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)


@dataclass(frozen=True)
class Agreement:
    """How well masks agree with the truth, pixels of all of them pooled.

    Attributes:
        iou: Intersection over union of glacier; 0 where neither has any.
        f1: Harmonic mean of precision and recall; it ranks masks exactly as the IoU does.
        area_error: Predicted minus true area of glacier, as a share of the true one, pixels weighed by their
            size. Without true glacier, 0 when none was predicted, else infinite.
    """

    iou: float
    f1: float
    area_error: float

    def score(self, objective: Objective) -> float:
        """Returns what is to be as high as possible; for `area` the error without its sign, negative."""
        return {"iou": self.iou, "f1": self.f1, "area": -abs(self.area_error)}[objective]


def agreement(tp: int, fp: int, fn: int, excess_km2: float, true_km2: float) -> Agreement:
    """Returns the agreement that counts show.

    Args:
        tp: Glacier in both.
        fp: Glacier in the mask only.
        fn: Glacier in the truth only.
        excess_km2: Predicted minus true area.
        true_km2: True area.
    """
    without_truth = math.inf if excess_km2 > 0 else 0.0
    return Agreement(
        iou=tp / (tp + fp + fn) if tp else 0.0,
        f1=2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        area_error=excess_km2 / true_km2 if true_km2 > 0 else without_truth,
    )


def refuse_unknown_objective(objective: str) -> None:
    """Raises RequestError when there is no such objective."""
    if objective not in OBJECTIVES:
        raise RequestError(
            f"no objective is called {objective!r}{did_you_mean(objective, OBJECTIVES)}; "
            f"choose from {', '.join(OBJECTIVES)}"
        )
