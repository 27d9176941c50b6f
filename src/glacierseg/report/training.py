"""Facts of every training, from the model cards."""

from collections.abc import Sequence
from dataclasses import dataclass

from glacierseg.report.style import DASH, bands_label, count_text, model_label
from glacierseg.runs.results import RunResults


@dataclass(frozen=True)
class TrainingRow:
    """What one training was.

    Attributes:
        model: The network's name for people.
        bands: Its bands: how many and which.
        facts: Texts in the order of `TRAINING_FACTS`.
    """

    model: str
    bands: str
    facts: Sequence[str]


TRAINING_FACTS = ("Width", "Parameters", "Patch, px", "Patches", "Epochs", "Best epoch", "Time")


def training_rows(results: RunResults) -> list[TrainingRow]:
    """Returns a row for every network that has a card."""
    rows = []
    for model in (model for model in results.networks if model.card):
        facts = model.card.get("training", {})
        names = model.card.get("bands", ())
        # A long list says nothing that the configuration does not; a short one is the finding.
        listed = f": {', '.join(names)}" if model.bands != "all" and names else ""
        rows.append(
            TrainingRow(
                model_label(model.model),
                bands_label(model.bands) + listed,
                (
                    count_text(model.card.get("width")),
                    count_text(facts.get("parameters")),
                    count_text(model.card.get("patch_px")),
                    count_text(facts.get("patches")),
                    count_text(facts.get("epochs")),
                    count_text(facts.get("best_epoch")),
                    duration_text(facts.get("seconds")),
                ),
            )
        )
    return rows


def duration_text(seconds: float | None) -> str:
    """Formats a duration, a dash when it is missing."""
    if seconds is None:
        return DASH
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
