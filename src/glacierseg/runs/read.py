"""Reading a run folder, of which only the configuration must exist."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from glacierseg.errors import DataError, RequestError
from glacierseg.raster.facts import SceneFacts
from glacierseg.runs.layout import THRESHOLD, RunFolder
from glacierseg.runs.results import KEYS, ModelResult, RegionResult, RunResults, ScoreRow, model_names


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
