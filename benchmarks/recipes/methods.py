"""The methods that are compared: where their masks lie, and what they cost."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.recipes.study import Study

from glacierseg.runs.layout import STAGES, THRESHOLD


@dataclass(frozen=True)
class Costs:
    """What a method needs; None where it is not known. Times are means over the folds."""

    parameters: int | None = None
    training_s: float | None = None
    prediction_s_per_mpx: float | None = None


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: What it is called.
        stage: `raw` or `refined`.
        mask: Path of the mask of a fold and a chip.
        costs: What it needs.
    """

    name: str
    stage: str
    mask: Callable[[int, str], Path]
    costs: Costs = Costs()


def network_names(study: Study, networks: str) -> list[str]:
    return [str(model["name"]) for model in study.sets[networks]["models"]]


def run_methods(study: Study) -> list[Method]:
    """Returns the threshold rule and every network, raw and refined."""
    first = next(iter(study.sets))
    found = [_method(study, first, THRESHOLD, stage, Costs()) for stage in STAGES]
    for networks in study.sets:
        for name in network_names(study, networks):
            costs = _costs(study, networks, name)
            found += [_method(study, networks, name, stage, costs) for stage in STAGES]
    return found


def _method(study: Study, networks: str, name: str, stage: str, costs: Costs) -> Method:
    def mask(fold: int, chip: str) -> Path:
        return study.model_folder(networks, fold, name).mask(chip, stage)

    return Method(name, stage, mask, costs)


def _costs(study: Study, networks: str, name: str) -> Costs:
    trained_s, predicted_s, predicted_px, parameters = 0.0, 0.0, 0, None
    for fold in range(1, study.folds + 1):
        folder = study.model_folder(networks, fold, name)
        card = json.loads(folder.card.read_text())
        parameters = card["training"]["parameters"]
        with folder.epochs.open(newline="") as file:
            trained_s += sum(float(row["seconds"]) for row in csv.DictReader(file))
        spent = json.loads(folder.timings.read_text())
        predicted_s += spent["prediction_s"]
        predicted_px += spent["predicted_px"]
    return Costs(parameters, trained_s / study.folds, predicted_s / predicted_px * 1e6)
