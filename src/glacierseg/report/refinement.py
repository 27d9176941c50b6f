"""What the parameter search of the refinement chose, and what that is worth."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from glacierseg.report.comparison import Pooled, pool
from glacierseg.report.style import variant_label
from glacierseg.runs.results import RunResults

_UNITS = {"km2": "km²", "m": "m", "px": "px", "deg": "°"}


@dataclass(frozen=True)
class RefinementRow:
    """Refinement of one model with one set of bands.

    Attributes:
        label: Model and bands in words.
        parameters: What was chosen, in words.
        tuned_on: Regions that it was chosen on.
        validate: IoU raw and refined on the validate part, None where missing.
        test: The same on the test part.
    """

    label: str
    parameters: str
    tuned_on: str
    validate: tuple[float | None, float | None]
    test: tuple[float | None, float | None]


def refinement_rows(results: RunResults) -> list[RefinementRow]:
    """Returns a row for every model that has been refined."""
    validate, test = pool(results, "validate"), pool(results, "test")
    return [
        RefinementRow(
            label=variant_label(model.model, model.bands),
            parameters=", ".join(
                in_words(key, value)
                for key, value in model.refinement.get("best", {}).items()
                # What was not asked for need not be read.
                if (key, value) not in (("max_hole_slope_deg", None), ("keep_cut_fragments", False))
            ),
            tuned_on=", ".join(model.refinement.get("tuned_on", [])),
            validate=_pair(validate, model.model, model.bands),
            test=_pair(test, model.model, model.bands),
        )
        for model in results.models
        if model.refinement
    ]


def in_words(key: str, value: Any) -> str:
    """Writes a parameter such as `min_area_km2=0.03` as *min area 0.03 km²*."""
    name, _, unit = key.rpartition("_")
    if unit not in _UNITS:
        name, unit = key, ""
    text = "any" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
    if value is True:
        text = "yes"
    if isinstance(value, list | tuple):
        text = ", then ".join(map(str, value))
    return " ".join(
        word
        for word in (name.replace("_", " "), text, _UNITS.get(unit, "") if value is not None else "")
        if word
    )


def _pair(pooled: Iterable[Pooled], model: str, bands: str) -> tuple[float | None, float | None]:
    iou = {entry.variant: entry.iou for entry in pooled}
    return iou.get((model, bands, "raw")), iou.get((model, bands, "refined"))
