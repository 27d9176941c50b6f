"""Two runs side by side: their masks on the test pixels that they have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.split import ROLE_CODES
from glacierseg.errors import DataError, GridMismatchError, RequestError
from glacierseg.evaluate.paired import Comparison, compare_masks
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.raster.write import read_json
from glacierseg.runs.layout import STAGES, ModelFolder, RunFolder
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.score import BootstrapSettings


@dataclass(frozen=True)
class RunDifference:
    """One model of run B against one of run A.

    Attributes:
        a: Model and bands in run A, such as `unetplusplus/all`.
        b: The same in run B.
        stage: `raw` or `refined`.
        regions: Names of the regions with pixels in common.
        comparison: What differs.
    """

    a: str
    b: str
    stage: str
    regions: tuple[str, ...]
    comparison: Comparison

    def to_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        facts = {"a": self.a, "b": self.b, "stage": self.stage, "regions": list(self.regions)}
        return facts | self.comparison.to_dict()


@fields_as_keywords(settings=BootstrapSettings)
def compare_runs(
    run_a: Path,
    run_b: Path,
    settings: BootstrapSettings | None = None,
    *,
    model_a: str | None = None,
    model_b: str | None = None,
    role: Role = "test",
) -> list[RunDifference]:
    """Compares two runs on the pixels that have a role in both.

    Args:
        run_a: Folder of a run.
        run_b: Folder of another one (or the same, with other models), of regions of the same names and grids.
        settings: How blocks of ground are drawn.
        model_a: Model and bands in run A, such as `unetplusplus/all`; with `model_b` only these are compared.
            Without both, every model that the two runs have in common.
        model_b: The same in run B.
        role: Which pixels.

    Raises:
        DataError: A folder is not a finished run.
        RequestError: The runs have nothing in common, or a model is unknown.
        GridMismatchError: A region has another grid in the other run.
    """
    models = [_models(run_a), _models(run_b)]
    if (model_a is None) != (model_b is None):
        raise RequestError("give a model of both runs, or of neither")
    if model_a is not None and model_b is not None:
        pairs = [(model_a, model_b)]
    else:
        pairs = [(name, name) for name in models[0] if name in models[1]]
    if not pairs:
        raise RequestError(
            f"{run_a} has {', '.join(models[0])} and {run_b} has {', '.join(models[1])}, so no model is in "
            "both; say which to compare with --model-a and --model-b"
        )
    truths = _common_truths(run_a, run_b, role)
    found = []
    for a, b in pairs:
        for name, known, run in ((a, models[0], run_a), (b, models[1], run_b)):
            if name not in known:
                raise RequestError(f"{run}: has no {name}; it has {', '.join(known)}")
        for stage in STAGES:
            paths = {n: (models[0][a].mask(n, stage), models[1][b].mask(n, stage)) for n in truths}
            here = {n: both for n, both in paths.items() if all(path.exists() for path in both)}
            if not here:
                continue
            masks = [(read_mask(one), read_mask(other), truths[n].truth) for n, (one, other) in here.items()]
            wholes = [whole for n in here if (whole := truths[n].whole) is not None]
            comparison = compare_masks(
                masks,
                settings,
                grids=[truths[n].grid for n in here],
                whole_truths=wholes if len(wholes) == len(masks) else None,
            )
            found.append(RunDifference(a, b, stage, tuple(here), comparison))
    if not found:
        raise RequestError(f"{run_a} and {run_b} have no masks of the same region; let both runs finish")
    return found


def _models(run: Path) -> dict[str, ModelFolder]:
    regions = RunFolder(run).regions
    if not regions.exists():
        raise DataError(f"{run}: is not a run folder (it has no {regions.name}); give one that `run` wrote")
    folders = RunFolder(run).predicted()
    if not folders:
        raise DataError(f"{run}: holds no masks yet; let the run finish")
    return {folder.path.relative_to(run).as_posix(): folder for folder in folders}


@dataclass(frozen=True, eq=False)
class _Truth:
    """Truth of a region, 255 outside the pixels that have a role in both runs.

    Attributes:
        truth: `(H, W)`, 255 also where a scene has no data.
        whole: `(H, W)` without that; None in runs of earlier versions, which did not store it.
        grid: Where it lies.
    """

    truth: NDArray[np.uint8]
    whole: NDArray[np.uint8] | None
    grid: Grid


def _common_truths(run_a: Path, run_b: Path, role: Role) -> dict[str, _Truth]:
    """Returns truth by region."""
    truths = {}
    for name in _regions(run_a):
        if name not in set(_regions(run_b)):
            continue
        folders = [RunFolder(run) for run in (run_a, run_b)]
        grids = []
        for folder in folders:
            with open_raster(folder.truth(name)) as dataset:
                grids.append(grid_of(dataset))
        if difference := grids[0].difference(grids[1]):
            raise GridMismatchError(
                f"{folders[1].truth(name)}: region {name} has another grid than in {run_a} ({difference}); "
                "compare runs of the same scenes"
            )
        truth, other = (read_mask(folder.truth(name)) for folder in folders)
        in_both = _has_role(folders[0], name, role) & _has_role(folders[1], name, role)
        counted = (truth != IGNORE) & (other != IGNORE) & in_both
        if (truth[counted] != other[counted]).any():
            raise RequestError(
                f"region {name} has another truth in {run_b} than in {run_a}; scores against different "
                "truths cannot be compared"
            )
        if counted.any():
            path = folders[0].whole_truth(name)
            whole = np.where(in_both, read_mask(path), np.uint8(IGNORE)) if path.exists() else None
            truths[name] = _Truth(np.where(counted, truth, np.uint8(IGNORE)), whole, grids[0])
    if not any((one.truth == GLACIER).any() for one in truths.values()):
        raise RequestError(
            f"{run_a} and {run_b} share no {role} pixels with glacier; compare runs of the same regions and "
            "split, or name another --role"
        )
    return truths


def _has_role(folder: RunFolder, region: str, role: Role) -> NDArray[np.bool_]:
    with open_raster(folder.roles(region)) as dataset:
        has: NDArray[np.bool_] = dataset.read(1) == ROLE_CODES[role]
    return has


def _regions(run: Path) -> Iterator[str]:
    return (one["name"] for one in read_json(RunFolder(run).regions))
