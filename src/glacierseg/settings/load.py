"""Reading a configuration file, and saying in words what is wrong with it."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from glacierseg.errors import ConfigError
from glacierseg.models.registry import MODELS
from glacierseg.settings.base import Settings, fault_in_words
from glacierseg.settings.distil import DistilSettings
from glacierseg.settings.models import ModelConfig
from glacierseg.settings.outlines import InventorySettings
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.refine import TuneSettings
from glacierseg.settings.sections import (
    BandsConfig,
    OutputsConfig,
    PartConfig,
    PatchConfig,
    RegionConfig,
    RunConfig,
    SplitConfig,
    doubled_in_words,
    is_missing,
)
from glacierseg.settings.train import TrainSettings


def load_config(path: Path, *, fold: int | None = None) -> RunConfig:
    """Reads and validates a configuration file; paths in it are relative to it.

    Args:
        path: The file.
        fold: Instead of its `split.fold`.

    Raises:
        ConfigError: The file is missing, is not YAML, or something in it is wrong: one line that names all of
            it. Data files that are missing are named only beside other faults: the file may be for elsewhere.
    """
    path = Path(path)
    data = _read_yaml(path)
    config = _parsed(data, path, _missing_files(data, path.resolve().parent))
    if fold is None:
        return config
    if config.split.method != "kfold":
        raise ConfigError(
            f"{path}: split.method is {config.split.method}, so there are no folds; set it to kfold"
        )
    return parse_config({**data, "split": {**data["split"], "fold": fold}}, path)


def read_section(path: Path, section: str) -> dict[str, Any]:
    """Returns one section of a configuration file as it is written; empty where the file has none.

    Args:
        path: The file; what else it holds is not looked at.
        section: Name of the section.

    Raises:
        ConfigError: The file is missing or is not YAML, or the section is no list of keys.
    """
    content = _read_yaml(Path(path)).get(section) or {}
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: {section} must hold keys with values (got {_short(content)})")
    return dict(content)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; `glacierseg template` prints one to start from")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise ConfigError(f"{path}: is not valid YAML{line}; check indentation and colons there") from error
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: holds no configuration; `glacierseg template` prints one to start from")
    return dict(data)


def parse_config(data: dict[str, Any], path: Path) -> RunConfig:
    """Validates the content of a configuration file.

    Args:
        data: As YAML gives it.
        path: The file, for paths relative to it and for messages.

    Raises:
        ConfigError: Something is wrong: one line with all faults.
    """
    return _parsed(data, path)


def _parsed(data: dict[str, Any], path: Path, more_faults: Sequence[str] = ()) -> RunConfig:
    try:
        return RunConfig.model_validate(data, context={"folder": path.resolve().parent})
    except ValidationError as error:
        faults = _faults_in_words(error, data)
        known = _without_unknown_keys(data, error)
        if known is not None:
            # What depends on several keys is looked at only where each of them is right.
            try:
                RunConfig.model_validate(known, context={"folder": path.resolve().parent})
            except ValidationError as further:
                faults += _faults_in_words(further, known)
        faults = list(dict.fromkeys([*faults, *_doubled_names(data), *more_faults]))
        if len(faults) == 1:
            raise ConfigError(f"{path}: {faults[0]}") from error
        numbered = "; ".join(f"({number}) {fault}" for number, fault in enumerate(faults, 1))
        raise ConfigError(f"{path}: has {len(faults)} faults: {numbered}") from error


def _faults_in_words(error: ValidationError, data: Any) -> list[str]:
    found = error.errors()
    places = [problem["loc"] for problem in found]
    return [
        fault
        for problem in found
        # A list whose entry failed counts as empty for pydantic; the entry's own error says it better.
        if problem["type"] != "too_short"
        or not any(p[:-1][: len(problem["loc"])] == problem["loc"] for p in places)
        for fault in _in_words(problem, data).split("\n")
    ]


def _without_unknown_keys(data: Any, error: ValidationError) -> Any | None:
    """Returns the content without keys that are unknown; None where there are none, or other faults too."""
    problems = error.errors()
    if any(problem["type"] != "extra_forbidden" for problem in problems):
        return None
    known = deepcopy(data)
    for problem in problems:
        here = known
        for step in problem["loc"][:-1]:
            here = here[step]
        here.pop(problem["loc"][-1], None)
    return known


def _doubled_names(data: Any) -> list[str]:
    """Faults that the whole shows only when its parts are right, found in what YAML gave."""
    found = []
    for kind in ("region", "model"):
        entries = data.get(f"{kind}s")
        names = [
            entry.get("name") if isinstance(entry, Mapping) else entry
            for entry in (entries if isinstance(entries, list) else [])
        ]
        found += doubled_in_words(kind, [name for name in names if isinstance(name, str)])
    return found


def _missing_files(data: Any, folder: Path) -> list[str]:
    """Data files of regions that are not there, whatever else is wrong."""
    found = []
    regions = data.get("regions")
    for region in regions if isinstance(regions, list) else []:
        if not isinstance(region, Mapping):
            continue
        for key in ("scene", "truth", "dem"):
            value = region.get(key)
            found += [
                f"regions[{region.get('name')}].{key}: {name}: no such file; check the path"
                for name in (value if isinstance(value, list) else [value])
                if isinstance(name, str) and is_missing(folder / Path(name).expanduser())
            ]
    return found


def dump_config(config: RunConfig) -> str:
    """Returns a configuration as YAML, every default spelled out and every path absolute."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def first_difference(old: Any, new: Any, where: str = "") -> str | None:
    """Says where two dumped configurations differ first, or None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if found := first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else key):
                return found
        return None
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            if found := first_difference(*pair, where=f"{where}[{index}]"):
                return found
        return None
    return None if old == new else f"{where} was {_short(old)} and is now {_short(new)}"


_MISSING = {
    ("name",): "give the run a name",
    ("regions",): "list scenes there, each with name, scene, truth and roles (see `glacierseg template`)",
    ("regions", "name"): "give the region a name",
    ("regions", "scene"): "give the file of the region's image",
    ("regions", "truth"): "give the outlines or the mask of the region's glaciers",
    ("regions", "roles"): "give the region `roles: train`, `validate` or `test`",
    ("models", "name"): f"give one of {', '.join(MODELS)}",
}
"""What to do about a key that has to be there."""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _in_words(problem: ErrorDetails, data: Any) -> str:
    """Turns one pydantic error into words, with the closest known key for an unknown one."""
    where, section = _locate(problem["loc"], data)
    if lack := {"missing": "missing", "too_short": "empty"}.get(problem["type"]):
        keys = tuple(step for step in problem["loc"] if isinstance(step, str))
        return f"{where} is {lack}; {_MISSING.get(keys, 'leave it out' if lack == 'empty' else 'add it')}"
    return fault_in_words(problem, section, where)


def _locate(loc: tuple[int | str, ...], data: Any) -> tuple[str, type[Settings] | None]:
    """Returns the place of an error as a user would write it, and the section it lies in."""
    sections: dict[str, type[Settings]] = {
        "regions": RegionConfig,
        "models": ModelConfig,
        "roles": PartConfig,
        "bands": BandsConfig,
        "patch": PatchConfig,
        "split": SplitConfig,
        "training": TrainSettings,
        "distil": DistilSettings,
        "student": ModelConfig,
        "prediction": PredictSettings,
        "refinement": TuneSettings,
        "inventory": InventorySettings,
        "outputs": OutputsConfig,
    }
    words: list[str] = []
    section: type[Settings] | None = RunConfig
    here = data
    for number, step in enumerate(loc):
        if isinstance(step, int):
            entry = here[step] if isinstance(here, list) and step < len(here) else None
            name = entry.get("name") if isinstance(entry, Mapping) else None
            words[-1] += f"[{name if isinstance(name, str) else step}]"
            here = entry
            continue
        # pydantic adds the branch of a union that it tried, and a mark for keys; neither is in the file.
        if step == "[key]" or step.startswith(("literal[", "tuple[", "dict[")):
            continue
        words.append(step)
        here = here.get(step) if isinstance(here, Mapping) else None
        if number < len(loc) - 1 and step in sections:
            section = sections[step]
    return ".".join(words), section
