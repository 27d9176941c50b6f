"""Whether a model that learned from corrections became better, in figures and in a sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.correct.doubts import Doubts
from glacierseg.correct.ground import Place
from glacierseg.evaluate.paired import Difference, compare_masks
from glacierseg.experiment.windows import Part
from glacierseg.raster.bounds import middle_of
from glacierseg.raster.truth import IGNORE
from glacierseg.raster.write import finite_only
from glacierseg.settings.correct import CorrectSettings
from glacierseg.settings.score import BootstrapSettings

_FEWEST_JUDGING = 2
_MOST_LOST = 0.01
"""IoU that the ground of the earlier training may lose, or as much as chance may explain."""

Masks = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Verdict:
    """What came of a training on corrections.

    Attributes:
        accepted: Whether the new model replaced the one before.
        sentence: What was gained and where, or why the model stays as it was.
        places: Number of places that were checked.
        checked_km2: Their area.
        judging: Number of places that were held out of the training.
        doubts: How far the corrections fit to what the model knew; None where it was not asked.
        gain: Glacier IoU on the places held out, of the model before and after, and the interval of its rise;
            None where nothing was trained.
        old: The same on the validation ground of the earlier training; None where none is known.
        way: How far the weights went from those before to those that training came to, 0-1.
        key: Word for all that it depends on: the model, the corrections and the settings.
    """

    accepted: bool
    sentence: str
    places: int
    checked_km2: float
    judging: int
    doubts: Doubts | None = None
    gain: Difference | None = None
    old: Difference | None = None
    way: float = 1.0
    key: str = ""

    @classmethod
    def of(cls, places: Sequence[Place]) -> "Verdict":
        """Begins one with the places that were checked."""
        km2, judging = sum(place.km2 for place in places), sum(place.judges for place in places)
        return cls(accepted=False, sentence="", places=len(places), checked_km2=km2, judging=judging)

    def refused(self, reason: str) -> "Verdict":
        """Returns it with a reason why the model stays as it was."""
        return replace(self, accepted=False, sentence=f"the model stays as it was: {reason}")

    @property
    def forgets(self) -> bool:
        """Whether it lost more on the ground of the earlier training than is let pass, and not by chance."""
        return self.old is not None and self.old.difference < -_MOST_LOST and self.old.high < 0

    @property
    def too_few(self) -> str | None:
        """Why nothing can be learned from so few places; None where it can."""
        if self.judging >= _FEWEST_JUDGING:
            return None
        return (
            f"{self.places} separate places are checked, of which {self.judging} would be held out, and at "
            f"least {_FEWEST_JUDGING} must be; check more places, `--suggest 20` says which"
        )

    def judged(self, before: Masks, after: Masks, parts: Sequence[Part]) -> "Verdict":
        """Decides by the differences, and says where most was gained.

        Args:
            before: Masks of the model before on the places held out.
            after: Of the new one.
            parts: These places.
        """
        assert self.gain is not None  # noqa: S101  (who calls this has compared them)
        gain, old = self.gain, self.old
        figures = (
            f"on {self.judging} places held out of the training the glacier IoU goes from {gain.a:.3f} to "
            f"{gain.b:.3f} (by {gain.low:+.3f} to {gain.high:+.3f})"
        )
        if not gain.low > 0:
            return self.refused(f"{figures}, which may be chance; more places make it surer")
        on_old = "no old ground is known"
        if old is not None:
            on_old = f"on the ground of its own training from {old.a:.3f} to {old.b:.3f}"
            if self.forgets:
                return self.refused(f"{figures}, but {on_old}, which is more than {_MOST_LOST:g} lost")
        return replace(
            self, accepted=True, sentence=f"new model: {figures}, {on_old}; {_most(before, after, parts)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        plain: dict[str, Any] = finite_only(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Verdict":
        """Reads what `to_dict` gave."""
        kinds: dict[str, type[Any]] = {"doubts": Doubts, "gain": Difference, "old": Difference}
        parts = {
            name: kind(**{key: math.nan if v is None else v for key, v in stored[name].items()})
            for name, kind in kinds.items()
            if stored[name]
        }
        return cls(**{**stored, **parts})


def _most(before: Masks, after: Masks, parts: Sequence[Part]) -> str:
    """Says how much ground is right now that was wrong, and at which place most."""
    gains = []
    for old, new, part in zip(before, after, parts, strict=True):
        known, pixel_km2 = part.truth != IGNORE, float(np.prod(part.scene.grid.pixel_size_m)) / 1e6
        wrong = [int(np.count_nonzero(known & (mask != part.truth))) for mask in (old, new)]
        gains.append((wrong[0] - wrong[1]) * pixel_km2)
    best = int(np.argmax(gains))
    longitude, latitude = middle_of(parts[best].scene.grid)
    return (
        f"{sum(gains):.2f} km2 of these places more are right, most at {latitude:.4f} N {longitude:.4f} E "
        f"({gains[best]:.2f} km2, scene {parts[best].scene.name})"
    )


def compare(before: Masks, after: Masks, parts: Sequence[Part], settings: CorrectSettings) -> Difference:
    """Returns the glacier IoU of two models on the same ground, and the interval of the difference.

    Args:
        before: Masks of the model before, one for each part.
        after: Of the model after.
        parts: The ground.
        settings: Confidence and seed.
    """
    bootstrap = BootstrapSettings(confidence=settings.confidence, seed=settings.seed)
    triples = [(a, b, part.truth) for a, b, part in zip(before, after, parts, strict=True)]
    grids = [part.scene.grid for part in parts]
    return compare_masks(triples, bootstrap, grids=grids, whole_truths=None).scores["iou"]
