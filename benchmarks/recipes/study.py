"""A study: the regions of a data set, the settings of its networks, and where the results go."""

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from glacierseg.runs.layout import ALL_BANDS, ModelFolder, RunFolder

FOLDS = 3
# What hundreds of small regions do not need: outlines of each chip, and a page with a map of each.
OUTPUTS = {"outlines": "none", "inventory": False, "report": False}


@dataclass(frozen=True)
class Chip:
    """A scene with its truth."""

    name: str
    scene: Path
    truth: Path


@dataclass(frozen=True)
class Light:
    """What the bands of reflected light are, where their files do not say it.

    Attributes:
        sensor: Key of `glacierseg.raster.sensors.SENSORS`.
        scale: Stored values times this ...
        offset: ... plus this are reflectance.
    """

    sensor: str
    scale: float
    offset: float = 0.0


@dataclass(frozen=True)
class Study:
    """What one benchmark runs.

    Attributes:
        name: Of the benchmark.
        chips: Its regions.
        sets: By name, configuration sections that are the same for every fold.
        out: Where everything goes.
        notes: What a reader of the table has to know about the data.
        folds: How many.
        light: For scores of debris-covered ice; None for none.
    """

    name: str
    chips: tuple[Chip, ...]
    sets: Mapping[str, Mapping[str, Any]]
    out: Path
    notes: tuple[str, ...] = ()
    folds: int = FOLDS
    light: Light | None = None

    def config_path(self, networks: str, fold: int) -> Path:
        return self.out / "configs" / f"{networks}_fold{fold}.yaml"

    def run_folder(self, networks: str, fold: int) -> Path:
        return self.out / networks / f"fold{fold}"

    def model_folder(self, networks: str, fold: int, name: str) -> ModelFolder:
        return RunFolder(self.run_folder(networks, fold)).model(name, ALL_BANDS)

    def config_text(self, networks: str, fold: int) -> str:
        """Returns the configuration of one run, for `glacierseg run`."""
        sections = self.sets[networks]
        split = {"method": "kfold", "folds": self.folds, "fold": fold, "fold_over": "places"}
        config = {
            "name": f"{self.name}_{networks}_fold{fold}",
            **sections,
            # With a handful of bands there is no choice of the best six.
            "bands": {"top": 0, **sections.get("bands", {})},
            # Each region is scored where it tests, so nothing is spent on predicting what was trained on.
            "prediction": {"regions": "scored", **sections.get("prediction", {})},
            "split": split | dict(sections.get("split", {})),
            "outputs": OUTPUTS,
            "regions": [
                {"name": chip.name, "scene": str(chip.scene), "truth": str(chip.truth), "roles": "train"}
                for chip in self.chips
            ],
        }
        return yaml.safe_dump(config, sort_keys=False)

    def write_configs(self, folds: Sequence[int]) -> None:
        for networks in self.sets:
            for fold in folds:
                path = self.config_path(networks, fold)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.config_text(networks, fold))


def read_settings(
    path: Path, *, epochs: int | None = None, width: float | None = None, only: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Reads the sections of every set of networks.

    The file is a configuration without regions. `peers` lists networks of segmentation_models.pytorch, which
    make a set of their own where that package can be imported.

    Args:
        path: The file.
        epochs: Instead of its own, for a quick try.
        width: Of all networks, instead of their own.
        only: Names of networks to keep; all when empty.
    """
    settings = yaml.safe_load(path.read_text())
    peers = settings.pop("peers", [])
    settings.pop("weights", None)
    models = [dict(one) for one in settings.pop("models")]
    groups = {"networks": models}
    if importlib.util.find_spec("segmentation_models_pytorch"):
        groups["peers"] = [dict(one) for one in peers]
    for group in groups.values():
        for model in group:
            if epochs is not None:
                model.pop("epochs", None)
            if width is not None and not str(model["name"]).startswith("smp:"):
                model["width"] = width
    if epochs is not None:
        settings.setdefault("training", {})["epochs"] = epochs
    kept = {
        name: [model for model in group if not only or model["name"] in only]
        for name, group in groups.items()
    }
    return {name: {**settings, "models": group} for name, group in kept.items() if group}


@dataclass(frozen=True)
class WeightsPlan:
    """Networks to ship: trained on nearly all regions, a few of which test and validate.

    Attributes:
        folds: The more, the less ground is kept from training.
        members: By fold the networks that are trained in it, as in `models`.
        window_px: Side of the windows in which they predict together; None for their patches.
        symmetries: Whether they predict the mean over the eight symmetries.
    """

    folds: int
    members: Mapping[int, Sequence[Mapping[str, Any]]]
    window_px: int | None = None
    symmetries: bool = False

    @property
    def kinds(self) -> list[str]:
        """Name of every network, as often as it is shipped, all of a kind one after another."""
        names = [str(model["name"]) for models in self.members.values() for model in models]
        return sorted(names, key=names.index)


def weights_plan(path: Path) -> WeightsPlan | None:
    """Reads the section `weights` of the settings; None where there is none."""
    section = yaml.safe_load(path.read_text()).get("weights")
    if not section:
        return None
    members = {fold: own if isinstance(own, list) else [own] for fold, own in section.pop("members").items()}
    return WeightsPlan(members=members, **section)


def pick(chips: Sequence[Chip], limit: int | None) -> tuple[Chip, ...]:
    """Returns some chips, evenly spread over the list, for a quick try."""
    if limit is None or limit >= len(chips):
        return tuple(chips)
    return tuple(chips[i * len(chips) // limit] for i in range(limit))


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
