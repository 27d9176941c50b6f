"""What a run folder holds, and reading it: only the configuration must exist."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from glacierseg.errors import DataError, RequestError
from glacierseg.raster.facts import SceneFacts
from glacierseg.runs.layout import TEACHER, THRESHOLD, ModelFolder, RunFolder, student_name

KEYS = ("model", "bands", "region", "role", "stage")
"""Columns of every table of a run that say what a row is about."""
SCORES = ("iou", "f1", "precision", "recall", "kappa", "overall_accuracy")
COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class ScoreRow:
    """One row of `metrics.csv`.

    Attributes:
        model: A network's name, or `threshold`.
        bands: `all`, or `top6`.
        region: Name of the region.
        role: `train`, `validate` or `test`.
        stage: `raw` or `refined`.
        values: Every other column by its name; None where it holds no finite number.
    """

    model: str
    bands: str
    region: str
    role: str
    stage: str
    values: Mapping[str, float | None]

    @property
    def variant(self) -> tuple[str, str, str]:
        """Model, bands and stage: what is compared."""
        return self.model, self.bands, self.stage

    def get(self, column: str) -> float | None:
        """Returns a value, None when it is missing."""
        return self.values.get(column)

    def interval(self, column: str) -> tuple[float, float] | None:
        """Returns the bounds of a value, None when it has none."""
        low, high = self.get(f"{column}_low"), self.get(f"{column}_high")
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class RegionResult:
    """A scene, its truth and what it was used for.

    Attributes:
        name: Its name in the configuration.
        scene_paths: The scene's files; they may be gone by now.
        bands: Names of the scene's bands in order.
        roles: What the region, or parts of it, were used for.
        pixel_size_m: Width and height of a pixel.
        crs: Name of the CRS.
        truth_path: Mask of the truth.
        roles_path: Raster of the roles: 0 none, 1 train, 2 validate, 3 test.
        facts: Where the scene comes from, as far as its files tell.
    """

    name: str
    scene_paths: tuple[Path, ...]
    bands: tuple[str, ...]
    roles: tuple[str, ...]
    pixel_size_m: tuple[float, float]
    crs: str
    truth_path: Path
    roles_path: Path
    facts: SceneFacts = field(default_factory=SceneFacts)

    @property
    def pixel_area_km2(self) -> float:
        """Area of a pixel."""
        return self.pixel_size_m[0] * self.pixel_size_m[1] / 1e6


@dataclass(frozen=True)
class ModelResult:
    """What one network (or the threshold) left for one set of bands.

    Attributes:
        model: A network's name, or `threshold`.
        bands: `all`, or `top6`.
        folder: Where its files lie.
        card: The model card, or the threshold's rule; empty while missing.
        epochs: Columns of the training log by name; empty while missing.
        importance: `(band, importance)` from the most to the least important; empty while missing.
        refinement: What the parameter search found; empty while missing.
    """

    model: str
    bands: str
    folder: ModelFolder
    card: Mapping[str, Any]
    epochs: Mapping[str, Sequence[float]]
    importance: Sequence[tuple[str, float]]
    refinement: Mapping[str, Any]


@dataclass(frozen=True)
class RunResults:
    """Everything that a run folder holds so far.

    Attributes:
        folder: The run folder.
        config: The resolved configuration.
        config_text: The same as text.
        environment: Versions, machine and times.
        notices: Sentences that a reader must see first.
        regions: In the configuration's order.
        models: Networks in the configuration's order; the threshold last.
        scores: Rows of `metrics.csv`.
        ice_rules: Rules that told clean from debris-covered ice, in words, by region.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    notices: tuple[str, ...]
    regions: tuple[RegionResult, ...]
    models: tuple[ModelResult, ...]
    scores: tuple[ScoreRow, ...]
    ice_rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.config.get("name") or self.folder.path.resolve().name)

    @property
    def networks(self) -> tuple[ModelResult, ...]:
        """The models without the threshold and the mean of teachers."""
        return tuple(model for model in self.models if model.model not in {THRESHOLD, TEACHER})

    @property
    def rule(self) -> str | None:
        """The threshold's rule in words."""
        cards = [model.card for model in self.models if model.model == THRESHOLD]
        return str(cards[0]["rule"]) if cards and "rule" in cards[0] else None

    def region(self, name: str) -> RegionResult | None:
        """Returns a region by its name."""
        return next((region for region in self.regions if region.name == name), None)

    def model(self, name: str, bands: str) -> ModelResult | None:
        """Returns a model by its name and bands."""
        return next((m for m in self.models if (m.model, m.bands) == (name, bands)), None)

    @property
    def configured(self) -> tuple[str, ...]:
        """Names of the networks in the configuration."""
        return model_names(self.config)

    @property
    def unscored(self) -> tuple[str, ...]:
        """Configured networks that have no score yet."""
        scored = {score.model for score in self.scores}
        return tuple(name for name in self.configured if name not in scored)


def model_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the networks in a configuration, where each is a name or a section with one.

    With a student these are also the mean of its teachers and the student itself.
    """
    student = (config.get("distil") or {}).get("student")
    own, learned = (
        [str(entry["name"] if isinstance(entry, dict) else entry) for entry in entries]
        for entries in (config.get("models") or [], [student] if student else [])
    )
    return (*own, *(name for model in learned for name in (TEACHER, student_name(model))))


def read_results(run_dir: Path) -> RunResults:
    """Reads a run folder, finished or not.

    Args:
        run_dir: The folder of a run.

    Raises:
        RequestError: It is not a run folder.
        DataError: A file in it is damaged.
    """
    folder = RunFolder(run_dir)
    config_path = folder.config
    if not config_path.is_file():
        raise RequestError(
            f"{run_dir}: is not a run folder (it has no {config_path.name}); "
            "give one that `glacierseg run` wrote"
        )
    text = config_path.read_text(encoding="utf-8")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(
            f"{config_path}: is not valid YAML; restore it, or run again into another folder"
        ) from error
    if not isinstance(config, dict):
        raise DataError(
            f"{config_path}: holds no configuration; restore it, or run again into another folder"
        )
    return RunResults(
        folder=folder,
        config=config,
        config_text=text,
        environment=_read_json(folder.environment, {}),
        notices=tuple(_read_json(folder.notices, [])),
        regions=tuple(_region(entry, folder) for entry in _read_json(folder.regions, [])),
        models=tuple(_find_models(folder, config)),
        scores=tuple(_read_scores(folder.table("metrics"))),
        ice_rules=read_rules(folder),
    )


def _find_models(run: RunFolder, config: Mapping[str, Any]) -> list[ModelResult]:
    """Finds model folders: those of the configuration first, the threshold last, `all` before `top6`."""
    return [
        ModelResult(
            model=name,
            bands=folder.path.name,
            folder=folder,
            card=_read_json(folder.rule if name == THRESHOLD else folder.card, {}),
            epochs=read_epochs(folder.epochs),
            importance=_read_importance(folder.importance),
            refinement=_read_json(folder.refinement, {}),
        )
        for name in (*model_names(config), THRESHOLD)
        for folder in run.sets_of(name)
    ]


def _region(entry: Mapping[str, Any], folder: RunFolder) -> RegionResult:
    name = str(entry["name"])
    width_m, height_m = entry["pixel_size_m"]
    return RegionResult(
        name=name,
        scene_paths=tuple(Path(path) for path in entry["scene_paths"]),
        bands=tuple(entry["bands"]),
        roles=tuple(entry["roles"]),
        pixel_size_m=(float(width_m), float(height_m)),
        crs=str(entry["crs"]),
        truth_path=folder.truth(name),
        roles_path=folder.roles(name),
        facts=SceneFacts.from_tags(entry.get("facts", {})),
    )


def _read_json(path: Path, missing: Any) -> Any:
    if not path.is_file():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON; remove it and run again to write it") from error


def read_rules(folder: RunFolder) -> dict[str, str]:
    """Returns the rule that told clean from debris-covered ice, in words, for every region that has one."""
    stored = _read_json(folder.surfaces, {})
    return {name: str(own["rule"]) for name, own in stored.items() if "rule" in own}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file; none while it is missing."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def finite(text: str | None) -> float | None:
    """Returns a text as a number; None where it is none, or not finite."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_scores(path: Path) -> list[ScoreRow]:
    rows = read_rows(path)
    if rows and (missing := [key for key in KEYS if key not in rows[0]]):
        raise DataError(f"{path}: has no column {missing[0]!r}; remove it and run again to write it")
    return [
        ScoreRow(
            row["model"],
            row["bands"],
            row["region"],
            row["role"],
            row["stage"],
            {key: finite(text) for key, text in row.items() if key not in KEYS},
        )
        for row in rows
    ]


def read_epochs(path: Path) -> dict[str, list[float]]:
    """Returns the columns of an epoch table by name; empty while the file is missing."""
    rows = read_rows(path)
    columns = rows[0] if rows else {}
    return {
        key: [value if (value := finite(row[key])) is not None else math.nan for row in rows]
        for key in columns
    }


def _read_importance(path: Path) -> list[tuple[str, float]]:
    # By rank: a band without measurable importance comes last, whatever its value.
    rows = sorted(read_rows(path), key=lambda row: finite(row.get("rank")) or 0)
    return [(row["band"], finite(row["importance"]) or 0.0) for row in rows]
