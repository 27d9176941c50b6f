"""What a run folder holds, read without insisting on anything but its configuration."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from glacierseg.errors import DataError, RequestError

THRESHOLD = "threshold"
SCORES = ("iou", "f1", "precision", "recall", "kappa", "overall_accuracy")
COUNTS = ("tp", "fp", "fn", "tn")
_KEYS = ("model", "bands", "region", "role", "stage")


@dataclass(frozen=True)
class Score:
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


@dataclass(frozen=True)
class Region:
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
    """

    name: str
    scene_paths: tuple[Path, ...]
    bands: tuple[str, ...]
    roles: tuple[str, ...]
    pixel_size_m: tuple[float, float]
    crs: str
    truth_path: Path
    roles_path: Path

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
    folder: Path
    card: Mapping[str, Any]
    epochs: Mapping[str, Sequence[float]]
    importance: Sequence[tuple[str, float]]
    refinement: Mapping[str, Any]

    def mask_path(self, region: str, stage: str) -> Path:
        """Path of the predicted mask of a region, `raw` or `refined`."""
        return self.folder / f"{region}_{'mask' if stage == 'raw' else 'refined'}.tif"

    def probability_path(self, region: str) -> Path:
        """Path of the glacier probability of a region."""
        return self.folder / f"{region}_probability.tif"


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

    folder: Path
    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    notices: tuple[str, ...]
    regions: tuple[Region, ...]
    models: tuple[ModelResult, ...]
    scores: tuple[Score, ...]

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.config.get("name") or self.folder.resolve().name)

    @property
    def networks(self) -> tuple[ModelResult, ...]:
        """The models without the threshold."""
        return tuple(model for model in self.models if model.model != THRESHOLD)

    @property
    def rule(self) -> str | None:
        """The threshold's rule in words."""
        cards = [model.card for model in self.models if model.model == THRESHOLD]
        return str(cards[0]["rule"]) if cards and "rule" in cards[0] else None

    def region(self, name: str) -> Region | None:
        """Returns a region by its name."""
        return next((region for region in self.regions if region.name == name), None)

    def model(self, name: str, bands: str) -> ModelResult | None:
        """Returns a model by its name and bands."""
        return next((m for m in self.models if (m.model, m.bands) == (name, bands)), None)

    @property
    def unscored(self) -> tuple[str, ...]:
        """Configured networks that have no score yet."""
        scored = {score.model for score in self.scores}
        return tuple(name for name in _model_names(self.config) if name not in scored)


def read_results(run_dir: Path) -> RunResults:
    """Reads a run folder, finished or not.

    Args:
        run_dir: The folder of a run.

    Raises:
        RequestError: It is no run folder.
        DataError: A file in it is damaged.
    """
    config_path = run_dir / "config.yaml"
    if not config_path.is_file():
        raise RequestError(
            f"{run_dir}: is no run folder (it has no config.yaml); give the folder that `glacierseg run` wrote"
        )
    text = config_path.read_text(encoding="utf-8")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{config_path}: is not valid YAML; restore it, or run again into another folder") from error
    if not isinstance(config, dict):
        raise DataError(f"{config_path}: holds no configuration; restore it, or run again into another folder")
    return RunResults(
        folder=run_dir,
        config=config,
        config_text=text,
        environment=_read_json(run_dir / "environment.json", {}),
        notices=tuple(_read_json(run_dir / "notices.json", [])),
        regions=tuple(_region(entry, run_dir) for entry in _read_json(run_dir / "regions.json", [])),
        models=tuple(_find_models(run_dir, config)),
        scores=tuple(_read_scores(run_dir / "metrics.csv")),
    )


def _model_names(config: Mapping[str, Any]) -> list[str]:
    entries = config.get("models") or []
    return [str(entry["name"] if isinstance(entry, dict) else entry) for entry in entries]


def _find_models(run_dir: Path, config: Mapping[str, Any]) -> list[ModelResult]:
    """Finds model folders: those of the configuration first, the threshold last, `all` before `top6`."""
    order = _model_names(config)
    folders = [path for path in run_dir.glob("*/*") if path.is_dir() and path.parent.name != "regions"]
    known = [path for path in folders if path.parent.name in {*order, THRESHOLD}]
    known.sort(key=lambda path: ([*order, THRESHOLD].index(path.parent.name), path.name))
    return [
        ModelResult(
            model=path.parent.name,
            bands=path.name,
            folder=path,
            card=_read_json(path / ("threshold.json" if path.parent.name == THRESHOLD else "model.json"), {}),
            epochs=_read_epochs(path / "epochs.csv"),
            importance=_read_importance(path / "band_importance.csv"),
            refinement=_read_json(path / "refinement.json", {}),
        )
        for path in known
    ]


def _region(entry: Mapping[str, Any], run_dir: Path) -> Region:
    name = str(entry["name"])
    width_m, height_m = entry["pixel_size_m"]
    return Region(
        name=name,
        scene_paths=tuple(Path(path) for path in entry["scene_paths"]),
        bands=tuple(entry["bands"]),
        roles=tuple(entry["roles"]),
        pixel_size_m=(float(width_m), float(height_m)),
        crs=str(entry["crs"]),
        truth_path=run_dir / "regions" / f"{name}_truth.tif",
        roles_path=run_dir / "regions" / f"{name}_roles.tif",
    )


def _read_json(path: Path, missing: Any) -> Any:
    if not path.is_file():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON; remove it and run again to write it anew") from error


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _finite(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_scores(path: Path) -> list[Score]:
    rows = _read_rows(path)
    if rows and (missing := [key for key in _KEYS if key not in rows[0]]):
        raise DataError(f"{path}: has no column {missing[0]!r}; remove it and run again to write it anew")
    return [
        Score(
            *(row[key] for key in _KEYS),
            values={key: _finite(text) for key, text in row.items() if key not in _KEYS},
        )
        for row in rows
    ]


def _read_epochs(path: Path) -> dict[str, list[float]]:
    rows = _read_rows(path)
    columns = rows[0] if rows else {}
    return {key: [value if (value := _finite(row[key])) is not None else math.nan for row in rows] for key in columns}


def _read_importance(path: Path) -> list[tuple[str, float]]:
    found = [(row["band"], _finite(row["importance"]) or 0.0) for row in _read_rows(path)]
    return sorted(found, key=lambda pair: -pair[1])
