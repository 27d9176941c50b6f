"""The data checklist at the start of a run."""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from glacierseg import log
from glacierseg.data.regions import Region
from glacierseg.errors import DataError
from glacierseg.raster.check import check_overlap, check_scene
from glacierseg.raster.check.result import CheckResult
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_json
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import RegionConfig

_log = logging.getLogger(__name__)


def check_inputs(
    sections: Sequence[RegionConfig], patch_px: int, regions: Sequence[Region], folder: RunFolder
) -> None:
    """Checks every scene and its truth, says what is doubtful and stores it, unless that is done.

    Args:
        sections: The regions of the configuration.
        patch_px: Side of the largest patch of all networks.
        regions: The same, loaded.
        folder: Where the results are stored.

    Raises:
        DataError: A check failed.
    """
    stored = folder.checks
    if stored.exists():
        _log.debug("the regions are checked already")
        return
    found: dict[str, tuple[CheckResult, ...]] = {}
    for region in sections:
        with log.bar(f"checking {region.name}") as progress:
            found[region.name] = check_scene(
                region.scene,
                region.truth,
                bands=region.bands,
                nodata=region.nodata,
                patch_px=patch_px,
                layer=region.truth_layer,
                progress=progress,
            )
    found["all regions"] = (check_overlap(*_role_grounds(regions)),)
    for name, results in found.items():
        for result in results:
            # Ground that is all glacier is no use alone, but may well be one region of several.
            fatal = result.status == "failed" and result.name != "glacier share"
            line = f"{result.name}: {result.message}" + (f"; {result.fix}" if result.fix else "")
            if fatal:
                raise DataError(f"region {name}: {line}")
            if result.status != "passed":
                with log.about(f"check {name}"):
                    _log.info(line)
    write_json(stored, {name: [asdict(result) for result in results] for name, results in found.items()})


def _role_grounds(
    regions: Sequence[Region],
) -> tuple[list[tuple[str, str, Grid]], list[NDArray[np.bool_]]]:
    """Returns the ground of each role of each region: the smallest rectangle around its pixels, and these."""
    grids: list[tuple[str, str, Grid]] = []
    areas = []
    for region in regions:
        for role, area in region.areas.items():
            rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
            height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
            top, left = int(rows[0]), int(columns[0])
            grid = region.scene.grid.crop(top, left, height, width)
            grids.append((region.name, role, grid))
            areas.append(area[top : top + height, left : left + width])
    return grids, areas
