"""What files say of themselves, held against their values and against truth."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box
from tests.helpers import utm_grid

from glacierseg.raster.check import CheckResult, check_scene
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.write import write_raster

SIDE = 96
GRID = utm_grid(SIDE, SIDE)
FACTS = SceneFacts(
    first_date=date(2020, 8, 20),
    last_date=date(2020, 8, 20),
    sensor="sentinel2",
    products=("S2A_1",),
    unit="reflectance x 10000",
    masked=("cloud", "shadow"),
)


def scene(folder: Path, facts: SceneFacts, scale: float = 1.0, dtype: str = "float32") -> Path:
    values = np.random.default_rng(0).uniform(50, 9000, (2, SIDE, SIDE)) * scale
    path = folder / "scene.tif"
    write_raster(
        path, values.astype(dtype), GRID, bands=["green", "nir"], nodata=None, tags=facts.tags, cog=False
    )
    return path


def results(path: Path, truth: Path | None = None) -> dict[str, CheckResult]:
    return {result.name: result for result in check_scene(path, truth, patch_px=64)}


def test_what_the_file_says_is_shown(tmp_path: Path) -> None:
    found = results(scene(tmp_path, FACTS))["origin"]
    assert (found.status, found.message) == ("passed", FACTS.in_words)
    assert "2020-08-20, sentinel2, S2A_1, reflectance x 10000, masked: cloud, shadow" in found.message
    assert "origin" not in results(scene(tmp_path, SceneFacts()))


@pytest.mark.parametrize(
    ("unit", "scale", "dtype", "looks"),
    [
        ("reflectance x 10000", 1e-4, "float32", "reflectance"),
        ("reflectance x 10000", 0.02, "uint8", "8-bit levels"),
        ("reflectance", 1.0, "uint16", "reflectance x 10000"),
        ("8-bit levels", 1.0, "uint16", "reflectance x 10000"),
        ("reflectance", 1e-4, "float32", ""),
        ("8-bit levels", 0.02, "uint8", ""),
        ("radiance", 1.0, "float32", ""),
    ],
)
def test_a_unit_that_the_values_belie_is_a_warning(
    tmp_path: Path, unit: str, scale: float, dtype: str, looks: str
) -> None:
    found = results(scene(tmp_path, replace(FACTS, unit=unit), scale, dtype))["origin"]
    assert found.status == ("warning" if looks else "passed")
    assert found.message.endswith(f"look like {looks}") or not looks


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"src_date": ["2000-07-21T00:00:00", "2002-07-21T00:00:00"]},
            "to 2002-07-21, 19.1 years",
        ),
        ({"BgnDate": ["20019999", "20019999"]}, "2001-07-01, 19.1 years"),
        ({"BgnDate": ["20210899", "20210899"], "EndDate": ["-9999999"] * 2}, "2021-08-15, 1.0 years after"),
    ],
)
def test_years_between_truth_and_scene(tmp_path: Path, columns: dict[str, list[str]], words: str) -> None:
    left, _, right, top = GRID.bounds
    outlines = [
        box(left + 100, top - 400, left + 300, top - 100),
        box(right - 300, top - 700, right - 90, top - 500),
    ]
    truth = tmp_path / "rgi.gpkg"
    gpd.GeoDataFrame(columns, geometry=outlines, crs="EPSG:32643").to_file(truth)
    found = results(scene(tmp_path, FACTS), truth)["truth date"]
    assert words in found.message
    assert found.status == ("warning" if "19" in words else "passed")
    assert "truth date" not in results(scene(tmp_path, SceneFacts()), truth)


def test_the_date_of_a_mask_is_in_its_tags(tmp_path: Path) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:50, 30:60] = 1
    truth = tmp_path / "mask.tif"
    tags = SceneFacts(first_date=date(2016, 8, 20)).tags
    write_raster(truth, mask, GRID, bands=["glacier"], nodata=255, tags=tags)
    found = results(scene(tmp_path, FACTS), truth)["truth date"]
    assert (found.status, found.message) == ("passed", "truth is of 2016-08-20, 4.0 years before the scene")
