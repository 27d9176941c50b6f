"""Attributes of RGI 6.0 outlines around Everest against the published ones."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from glacierseg.inventory.files import make_inventory
from glacierseg.raster.prepare.rasterize import rasterize_file
from glacierseg.settings.outlines import InventoryInputs, InventorySettings
from tests.helpers import present

pytestmark = pytest.mark.real
# Published elevations are above the geoid, some 30 to 40 m below the ellipsoid; the model's are above the
# ellipsoid. See `docs/inventory.md`.
GEOID_M = -35


@pytest.fixture(scope="module")
def everest(data_dir: Path) -> tuple[Path, Path]:
    folder = data_dir / "everest_landsat7"
    return folder / "15_rgi60_glacier_outlines.gpkg", folder / "hma_dem_median_30m.tif"


def test_attributes_are_those_of_rgi(everest: tuple[Path, Path], tmp_path: Path) -> None:
    outlines, dem = everest
    made = make_inventory(
        outlines,
        tmp_path / "rgi.gpkg",
        inputs=InventoryInputs(dem=(dem,), existing=outlines),
        settings=InventorySettings(min_area_km2=0),
    )
    best = present(made.links).sort_values("share_of_ours").groupby("inv_id").tail(1)
    table = made.glaciers.merge(best, on="inv_id").merge(
        gpd.read_file(outlines).drop(columns="geometry"), left_on="existing_id", right_on="RGIId"
    )
    assert len(table) == table["RGIId"].nunique() == 86
    assert (table["area_km2"] / table["Area"] - 1).abs().median() < 0.01
    known = table[table["zmin_m"].notna()]
    assert len(known) >= 30
    for ours, theirs in (("zmin_m", "Zmin"), ("zmax_m", "Zmax"), ("zmed_m", "Zmed")):
        assert (known[ours] - known[theirs]).abs().median() < 60
    assert (known["zmin_m"] - known["Zmin"] - GEOID_M).abs().median() < 15
    turned = (known["aspect_deg"] - known["Aspect"] + 180) % 360 - 180
    assert turned.abs().median() < 8
    assert (known["slope_deg"] - known["Slope"]).abs().median() < 3
    assert 0.9 < (known["lmax_m"] / known["Lmax"]).median() < 1.2


def test_ice_bodies_are_divided_as_rgi_does(everest: tuple[Path, Path], tmp_path: Path) -> None:
    outlines, dem = everest
    rasterize_file(outlines, dem, tmp_path / "mask.tif")
    made = make_inventory(
        tmp_path / "mask.tif",
        tmp_path / "x.gpkg",
        inputs=InventoryInputs(dem=(dem,), existing=outlines),
        settings=InventorySettings(divides="existing"),
    )
    shapes = made.glaciers.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    overlap = shapely.area(shapes).sum() - shapely.union_all(shapes).area
    assert abs(overlap) < 1
    rgi = gpd.read_file(outlines).to_crs(made.glaciers.crs)
    west, south, east, north = made.glaciers.total_bounds
    inside = rgi[
        rgi.within(shapely.box(west - 30, south - 30, east + 30, north + 30)) & (rgi["Area"] >= 0.05)
    ]
    links = present(made.links).set_index("existing_id")
    agreement = [
        links.loc[[name], ["share_of_ours", "share_of_existing"]].min(axis=1).max()
        for name in inside["RGIId"]
    ]
    assert np.median(agreement) > 0.95
    assert np.mean(np.array(agreement) > 0.9) > 0.85
