from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest

from glacierseg.experiment.postprocess import write_inventories
from glacierseg.raster.write import write_raster
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings import parse_config
from glacierseg.vectors.polygons import vectorize_mask
from tests.inventory.ground import grid_of, two_valleys, write_dem, write_mask


@pytest.fixture
def inventories(tmp_path: Path) -> Callable[..., ModelFolder]:
    """Refined masks of regions with and without elevation; returns what writes their inventories."""
    elevation, mask, _ = two_valleys()
    grid = grid_of(*mask.shape)
    write_dem(tmp_path / "dem.tif", elevation, grid)
    write_mask(tmp_path / "mask.tif", mask, grid)
    vectorize_mask(tmp_path / "mask.tif", tmp_path / "truth.gpkg")
    folder = ModelFolder(tmp_path / "model")
    for name in ("high", "plain"):
        write_mask(folder.refined(name), mask, grid)
    write_raster(folder.probability("high"), mask.astype(np.float32), grid, bands=["p"], nodata=None)
    common = {"scene": "scene.tif", "truth": "truth.gpkg", "truth_layer": "raw", "roles": "train"}

    def write(settings: dict[str, str | int] | None = None, **outputs: Any) -> ModelFolder:
        data = {
            "name": "x",
            "regions": [{"name": "high", "dem": "dem.tif", **common}, {"name": "plain", **common}],
            "models": [{"name": "m_landsnet"}],
            "outputs": outputs,
            "inventory": settings or {},
        }
        if "inventory" not in outputs:
            data["bands"] = {"recipe": "terrain"}
        config = parse_config(data, tmp_path / "c.yaml")
        write_inventories(config.regions, config.outputs, config.inventory, folder)
        return folder

    return write


def test_regions_with_elevation_get_an_inventory(inventories: Callable[..., ModelFolder]) -> None:
    folder = inventories(inventory=True)
    high, plain = (gpd.read_file(folder.inventory(name), layer="glaciers") for name in ("high", "plain"))
    assert high["divides"].tolist() == ["terrain", "terrain"]
    assert high["probability_mean"].min() > 0.95
    assert high["inv_id"].str.startswith("high-G").all()
    assert plain["divides"].tolist() == ["none"]
    assert "zmin_m" not in plain
    assert len(gpd.read_file(folder.inventory("plain"), layer="links")) == 1
    written = folder.inventory("high").stat().st_mtime_ns
    inventories(inventory=True)
    assert folder.inventory("high").stat().st_mtime_ns == written


def test_settings_of_the_run_count(inventories: Callable[..., ModelFolder]) -> None:
    folder = inventories({"divides": "existing", "prefix": "x", "buffer_m": 3}, inventory=True)
    high = gpd.read_file(folder.inventory("high"), layer="glaciers")
    assert high["divides"].tolist() == ["none"]
    assert high["inv_id"].str.startswith("x-G").all()
    facts = pyogrio.read_info(folder.inventory("high"), layer="glaciers")["layer_metadata"]
    assert facts["uncertainty_buffer_m"] == "3"


def test_without_inventories_elevation_still_serves_the_scores(
    inventories: Callable[..., ModelFolder],
) -> None:
    assert not inventories(inventory=False).inventory("high").exists()
