"""What a run folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glacierseg.raster.facts import SceneFacts
from glacierseg.runs.layout import THRESHOLD, ModelFolder, RunFolder

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
    """

    folder: RunFolder
    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    notices: tuple[str, ...]
    regions: tuple[RegionResult, ...]
    models: tuple[ModelResult, ...]
    scores: tuple[ScoreRow, ...]

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.config.get("name") or self.folder.path.resolve().name)

    @property
    def networks(self) -> tuple[ModelResult, ...]:
        """The models without the threshold."""
        return tuple(model for model in self.models if model.model != THRESHOLD)

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
    """Returns the names of the networks in a configuration, where each is a name or a section with one."""
    entries = config.get("models") or []
    return tuple(str(entry["name"] if isinstance(entry, dict) else entry) for entry in entries)
