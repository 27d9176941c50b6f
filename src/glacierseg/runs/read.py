"""Reading a run folder without insisting on anything but its configuration."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from glacierseg.errors import DataError, RequestError
from glacierseg.models.registry import folder_name
from glacierseg.runs.results import THRESHOLD, ModelResult, Region, RunResults, Score, model_names

_KEYS = ("model", "bands", "region", "role", "stage")


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
            f"{run_dir}: is no run folder (it has no config.yaml); give one that `glacierseg run` wrote"
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
        folder=run_dir,
        config=config,
        config_text=text,
        environment=_read_json(run_dir / "environment.json", {}),
        notices=tuple(_read_json(run_dir / "notices.json", [])),
        regions=tuple(_region(entry, run_dir) for entry in _read_json(run_dir / "regions.json", [])),
        models=tuple(_find_models(run_dir, config)),
        scores=tuple(_read_scores(run_dir / "metrics.csv")),
    )


def _find_models(run_dir: Path, config: Mapping[str, Any]) -> list[ModelResult]:
    """Finds model folders: those of the configuration first, the threshold last, `all` before `top6`."""
    return [
        ModelResult(
            model=name,
            bands=path.name,
            folder=path,
            card=_read_json(path / ("threshold.json" if name == THRESHOLD else "model.json"), {}),
            epochs=read_epochs(path / "epochs.csv"),
            importance=_read_importance(path / "band_importance.csv"),
            refinement=_read_json(path / "refinement.json", {}),
        )
        for name in (*model_names(config), THRESHOLD)
        for path in sorted((run_dir / folder_name(name)).glob("*"))
        if path.is_dir()
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


def _read_scores(path: Path) -> list[Score]:
    rows = read_rows(path)
    if rows and (missing := [key for key in _KEYS if key not in rows[0]]):
        raise DataError(f"{path}: has no column {missing[0]!r}; remove it and run again to write it anew")
    return [
        Score(
            row["model"],
            row["bands"],
            row["region"],
            row["role"],
            row["stage"],
            {key: finite(text) for key, text in row.items() if key not in _KEYS},
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
