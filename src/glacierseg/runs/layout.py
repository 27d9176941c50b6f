"""Where the files of a run lie: the one place that spells their names, for writer and reader."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, overload

THRESHOLD = "threshold"
"""Stands for a network's name where the rule that needs no network was applied."""
TEACHER = "teacher"
"""Stands for a network's name where the mean of the teachers of a student was predicted."""
ALL_BANDS, TOP_BANDS = "all", "top6"
STAGES = ("raw", "refined")
"""What is done to a mask, in this order."""


class _Folder(Protocol):
    @property
    def path(self) -> Path: ...


class File:
    """A file with a fixed name in a folder: a path of an instance, the name alone (`.name`) of the class."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, folder: None, owner: type) -> Self: ...
    @overload
    def __get__(self, folder: _Folder, owner: type) -> Path: ...
    def __get__(self, folder: _Folder | None, owner: type) -> Self | Path:
        return self if folder is None else folder.path / self.name


@dataclass(frozen=True)
class ModelFolder:
    """The results of one network (or of the threshold rule) with one set of bands.

    `glacierseg predict` gives its two rasters the same names in any folder.

    Attributes:
        path: The folder.
        weights: The trained weights, written last: when they exist, the training is finished.
        card: What prediction needs to know besides the weights.
        rule: The threshold rule, in place of a network.
        epochs: Losses and scores by epoch.
        curves: The same as a picture.
        dataset: Facts of the data set that the network was trained on.
        importance: Table of band importance.
        reliability: Reliability diagrams of the probabilities.
        refinement: Result of the parameter search.
        scores: Scores of every region, role and stage.
        teachers: Of the folder `teacher`: which networks predicted, and how.
        timings: Time of prediction, summed over all calls.
    """

    path: Path

    weights = File("model.safetensors")
    card = File("model.json")
    rule = File("threshold.json")
    epochs = File("epochs.csv")
    curves = File("curves.png")
    dataset = File("dataset.json")
    importance = File("band_importance.csv")
    reliability = File("reliability.csv")
    refinement = File("refinement.json")
    scores = File("scores.json")
    teachers = File("teachers.json")
    timings = File("timings.json")

    def probability(self, region: str) -> Path:
        """Glacier probability of a region."""
        return self.path / f"{region}_probability.tif"

    def mask(self, region: str, stage: str = STAGES[0]) -> Path:
        """Predicted mask of a region, `raw` or `refined`."""
        return self.path / f"{region}_{'mask' if stage == STAGES[0] else stage}.tif"

    def refined(self, region: str) -> Path:
        """Refined mask of a region."""
        return self.mask(region, STAGES[1])

    def outlines(self, region: str) -> Path:
        """Outlines of a region."""
        return self.path / f"{region}.gpkg"

    def inventory(self, region: str) -> Path:
        """Inventory of a region."""
        return self.path / f"{region}_inventory.gpkg"

    def corrections(self, region: str) -> Path:
        """What an analyst edits of a region."""
        return self.path / f"{region}_corrections.gpkg"

    def errors(self, region: str) -> Path:
        """Virtual raster of where the refined mask of a region differs from the truth."""
        return self.path / f"{region}_errors.vrt"


@dataclass(frozen=True)
class MapFolder(ModelFolder):
    """The results of `map`, by the name of the scene, and what `predict` makes of a product."""

    def scene(self, name: str) -> Path:
        """Scene that was made of products."""
        return self.path / f"{name}.tif"

    def levels(self, name: str) -> Path:
        """Bands of such a scene as the 8-bit levels that the networks were trained on."""
        return self.path / f"{name}_levels.tif"

    def bands(self, name: str) -> Path:
        """Virtual raster of the bands of colour images that lie in several files."""
        return self.path / f"{name}_bands.vrt"

    def project(self, name: str) -> Path:
        """QGIS project."""
        return self.path / f"{name}.qgz"

    def page(self, name: str) -> Path:
        """The report."""
        return self.path / f"{name}.html"

    def stages(self, name: str) -> Path:
        """What each of these files was made of, so that those that are up to date stay."""
        return self.path / f"{name}_stages.json"


@dataclass(frozen=True)
class RunFolder:
    """The results of a run.

    Attributes:
        path: The folder.
        config: The resolved configuration; its presence makes a folder a run's.
        inputs: Size, time and digest of every input file.
        environment: Versions, machine and time of the start.
        regions: The regions, their bands and roles.
        checks: Results of the data checklist.
        notices: Sentences that a reader must see first.
        report: The page.
        project: QGIS project.
        lock: Held by the process that works in the folder.
        surfaces: Rules that told clean from debris-covered ice in each region.
        rasters: Folder of the regions' rasters.
    """

    path: Path

    config = File("config.yaml")
    inputs = File("inputs.json")
    environment = File("environment.json")
    regions = File("regions.json")
    checks = File("checks.json")
    notices = File("notices.json")
    surfaces = File("surfaces.json")
    report = File("report.html")
    project = File("project.qgz")
    lock = File(".lock")
    rasters = File("regions")

    def model(self, model: str, bands: str) -> ModelFolder:
        """The folder of one network (or of the threshold rule) with one set of bands."""
        return ModelFolder(self.path / folder_name(model) / bands)

    def student(self, model: str) -> ModelFolder:
        """The folder of a network that learned from teachers, on all bands."""
        return self.model(student_name(model), ALL_BANDS)

    def sets_of(self, model: str) -> list[ModelFolder]:
        """Every folder of a network, `all` before `top6`."""
        folders = sorted((self.path / folder_name(model)).glob("*"))
        return [ModelFolder(path) for path in folders if path.is_dir()]

    def predicted(self) -> list[ModelFolder]:
        """Every folder that holds masks, in the order of names."""
        masks = ModelFolder(Path("*/*")).mask("*")
        return [ModelFolder(path) for path in sorted({mask.parent for mask in self.path.glob(str(masks))})]

    def table(self, name: str) -> Path:
        """A table over all models: `metrics`, `pooled`, `zones`, `boundaries`, `glaciers`, `distil`."""
        return self.path / f"{name}.csv"

    def scene(self, region: str) -> Path:
        """Bands of a region that a recipe made."""
        return self.rasters / f"{region}_scene.tif"

    def bands(self, region: str) -> Path:
        """Virtual raster of the bands of colour images that lie in several files."""
        return self.rasters / f"{region}_bands.vrt"

    def truth(self, region: str) -> Path:
        """Truth of a region on its scene's grid."""
        return self.rasters / f"{region}_truth.tif"

    def whole_truth(self, region: str) -> Path:
        """The same also where the scene has no data."""
        return self.rasters / f"{region}_whole_truth.tif"

    def surface(self, region: str) -> Path:
        """Bare ground, clean ice, debris-covered ice, and snow outside glaciers."""
        return self.rasters / f"{region}_surface.tif"

    def roles(self, region: str) -> Path:
        """Roles of a region's pixels: 0 none, 1 train, 2 validate, 3 test."""
        return self.rasters / f"{region}_roles.tif"


def student_name(model: str) -> str:
    """The name of a network that learned from teachers, in tables, folders and figures."""
    return f"{model}_distilled"


def folder_name(model: str) -> str:
    """The name of a network's folder in a run: `smp:Unet/resnet34` is `smp-unet-resnet34`.

    Two names share a folder only where they differ in nothing but case, which some file systems ignore: an
    architecture holds no hyphen, and neither do the names of the other networks.
    """
    return re.sub("[:/]", "-", model).lower()


JSON_FILES = tuple(
    file.name
    for folder in (RunFolder, ModelFolder)
    for file in vars(folder).values()
    if isinstance(file, File) and file.name.endswith(".json")
)
"""Names of all JSON files of a run."""
