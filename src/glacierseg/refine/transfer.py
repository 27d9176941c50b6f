"""Whether parameters that were tuned on some masks help others too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Objective
from glacierseg.errors import TruthError
from glacierseg.raster.grid import require_one_shape
from glacierseg.raster.ground import width_and_height_m
from glacierseg.raster.truth import BACKGROUND, GLACIER
from glacierseg.refine.search import PooledScores, pooled_scores

Use = Literal["tuned", "test"]
# Of more regions than this only those with the largest changes are named.
_NAMED = 12


@dataclass(frozen=True)
class RegionGain:
    """What refinement does to the agreement with the truth in one region.

    Attributes:
        region: Its name.
        use: `tuned` when the parameters were chosen on it, else `test`.
        raw: Scores of the mask as it came.
        refined: Scores of the refined mask.
        known_px: Pixels that are known in both the mask and the truth.
    """

    region: str
    use: Use
    raw: PooledScores
    refined: PooledScores
    known_px: int

    def gain(self, objective: Objective) -> float:
        """Returns the score refined minus raw; above 0 is better."""
        before, after = self.raw.score(objective), self.refined.score(objective)
        return 0.0 if before == after else after - before

    def to_dict(self) -> dict[str, Any]:
        """Returns it as a plain dictionary."""
        return asdict(self)


def region_gain(
    region: str,
    use: Use,
    raw: NDArray[np.uint8],
    refined: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    pixel_size_m: float | tuple[float, float],
) -> RegionGain:
    """Compares a mask and what refinement made of it with the truth.

    Args:
        region: Name of the region.
        use: Whether the parameters were chosen on it.
        raw: `(H, W)` of 0, 1 and 255.
        refined: The same after refinement.
        truth: `(H, W)` of 0, 1 and 255.
        pixel_size_m: Width and height of a pixel.

    Raises:
        GridMismatchError: The mask and the truth differ in shape.
    """
    require_one_shape({f"{region}: mask": raw.shape, "truth": truth.shape})
    width_m, height_m = width_and_height_m(pixel_size_m)
    known = ((raw == GLACIER) | (raw == BACKGROUND)) & ((truth == GLACIER) | (truth == BACKGROUND))
    true = (truth == GLACIER) & known

    def compare(mask: NDArray[np.uint8]) -> PooledScores:
        found = (mask == GLACIER) & known
        tp = int(np.count_nonzero(found & true))
        fp, fn = int(np.count_nonzero(found)) - tp, int(np.count_nonzero(true)) - tp
        area_km2 = width_m * height_m / 1e6
        return pooled_scores(tp, fp, fn, (fp - fn) * area_km2, (tp + fn) * area_km2)

    return RegionGain(region, use, compare(raw), compare(refined), int(np.count_nonzero(known)))


def require_comparable(gains: Sequence[RegionGain]) -> None:
    """Raises TruthError when a region has no pixel that is known in both its mask and its truth."""
    for gain in gains:
        if not gain.known_px:
            raise TruthError(
                f"{gain.region}: no pixel is known in both the mask and the truth (all are 255 in one of "
                "them), so there is nothing to compare; check that they cover the same ground"
            )


def verdict(gains: Sequence[RegionGain], objective: Objective) -> list[str]:
    """Says in plain words whether what was chosen on some regions holds on the test regions."""
    name = {"iou": "IoU", "f1": "F1", "area": "area error"}[objective]

    def shown(found: PooledScores) -> str:
        return f"{found.area_error:+.1%}" if objective == "area" else f"{found.score(objective):.4f}"

    def gain_of(gain: RegionGain) -> float:
        # What does not show in the digits is no change worth a warning.
        return gain.gain(objective) if shown(gain.raw) != shown(gain.refined) else 0.0

    def change(gain: RegionGain) -> str:
        return f"{gain.region} ({name} {shown(gain.raw)} -> {shown(gain.refined)})"

    def changes(gains: Sequence[RegionGain]) -> str:
        ranked = sorted(gains, key=lambda gain: -abs(gain.gain(objective)))[:_NAMED]
        named = [change(gain) for gain in gains if gain in ranked]
        return ", ".join(named) + (f" and {len(gains) - _NAMED} more" if len(gains) > _NAMED else "")

    tuned = [gain for gain in gains if gain.use == "tuned"]
    tests = [gain for gain in gains if gain.use == "test"]
    better = [gain for gain in tests if gain_of(gain) > 0]
    worse = [gain for gain in tests if gain_of(gain) < 0]
    lines = []
    if worse:
        lines.append(
            f"the refinement made {len(worse)} of {len(tests)} test regions WORSE: "
            + changes(worse)
            + "; do not expect the gain of the tuning region elsewhere"
        )
    if better:
        lines.append(
            f"the refinement improved {len(better)} of {len(tests)} test regions: " + changes(better)
        )
    if same := len(tests) - len(better) - len(worse):
        lines.append(f"the refinement left the {name} of {same} of {len(tests)} test regions as it was")
    if harmed := [gain for gain in tuned if gain_of(gain) < 0]:
        lines.append(
            f"of the {len(tuned)} regions that were tuned on together, "
            f"{len(harmed)} got worse: {changes(harmed)}"
        )
    if tuned and not tests:
        lines.append("no test region was given, so nothing is known about how the choice works elsewhere")
    return lines
