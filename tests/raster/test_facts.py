"""Facts survive a round trip through a file's tags."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glacierseg.raster.facts import SceneFacts, days_apart_in_year, facts_of, facts_of_bands
from glacierseg.raster.open import open_raster
from glacierseg.raster.prepare.align import align_raster
from glacierseg.raster.prepare.normalize import normalize_scene
from glacierseg.raster.prepare.recipes import RECIPES
from glacierseg.raster.prepare.select import select_bands
from glacierseg.raster.prepare.stack import stack_rasters
from glacierseg.raster.scene import open_scene
from glacierseg.raster.units import UNITS
from glacierseg.raster.write import write_raster
from glacierseg.settings.prepare import StackSettings
from tests.helpers import utm_grid

FACTS = SceneFacts(
    first_date=date(2024, 9, 30),
    last_date=date(2024, 10, 2),
    sensor="sentinel2",
    products=("S2B_A", "S2A_B"),
    baseline="05.11",
    unit="reflectance x 10000",
    recipe="sentinel2-18",
    masked=("cloud",),
)


@pytest.mark.parametrize("facts", [FACTS, SceneFacts(), SceneFacts(products=("one",))])
def test_facts_survive_a_file(tmp_path: Path, facts: SceneFacts) -> None:
    path = tmp_path / "a.tif"
    write_raster(
        path, np.zeros((1, 8, 8), np.uint8), utm_grid(8, 8), bands=["a"], nodata=None, tags=facts.tags
    )
    assert facts_of(path) == facts


def test_a_date_that_is_none_is_unknown() -> None:
    assert SceneFacts.from_tags({"GLACIERSEG_FIRST_DATE": "last autumn"}) == SceneFacts()


def test_tags_of_other_programs_become_one_short_line() -> None:
    found = SceneFacts.from_tags(
        {
            "GLACIERSEG_FIRST_DATE": "2024-09-30T05:01:02Z",
            "GLACIERSEG_SENSOR": "my\ncamera",
            "GLACIERSEG_PRODUCTS": "; a ;;" + "x" * 100_000,
            "GLACIERSEG_MASKED": ";",
        }
    )
    assert (found.first_date, found.sensor, found.masked) == (date(2024, 9, 30), "my camera", ())
    assert found.products[0] == "a"
    assert len(found.products) == 2
    assert len(found.in_words) < 300


def raster(path: Path, bands: list[str], facts: SceneFacts) -> Path:
    values = np.tile(np.arange(64, dtype=np.uint16).reshape(8, 8), (len(bands), 1, 1))
    write_raster(path, values, utm_grid(8, 8), bands=bands, nodata=None, tags=facts.tags, cog=False)
    return path


def test_several_files_say_together_what_they_agree_on(tmp_path: Path) -> None:
    later = replace(FACTS, first_date=date(2024, 10, 5), last_date=None, products=("S2A_B", "S2A_C"))
    paths = [
        raster(tmp_path / "a.tif", ["green"], FACTS),
        raster(tmp_path / "b.tif", ["nir"], replace(later, baseline="05.10", masked=("cirrus",))),
        raster(tmp_path / "dem.tif", ["elevation"], SceneFacts()),
    ]
    assert facts_of_bands(open_scene(paths).bands) == SceneFacts(
        first_date=date(2024, 9, 30),
        last_date=date(2024, 10, 5),
        sensor="sentinel2",
        products=("S2B_A", "S2A_B", "S2A_C"),
        unit="reflectance x 10000",
        recipe="sentinel2-18",
        masked=("cloud", "cirrus"),
    )


def test_the_unit_is_unknown_beside_light_that_has_none(tmp_path: Path) -> None:
    paths = [
        raster(tmp_path / "a.tif", ["green"], FACTS),
        raster(tmp_path / "b.tif", ["nir"], SceneFacts()),
    ]
    assert facts_of_bands(open_scene(paths).bands) == replace(FACTS, unit="")
    raster(paths[1], ["nir"], replace(FACTS, unit="reflectance"))
    assert facts_of_bands(open_scene(paths).bands) == replace(FACTS, unit="")


def test_the_unit_of_bands_without_a_name_is_that_of_their_files(tmp_path: Path) -> None:
    scene = open_scene(raster(tmp_path / "a.tif", ["one", "two"], FACTS))
    assert facts_of_bands(scene.bands) == FACTS


def mosaic(path: Path, files: list[Path], *, change: str = "") -> Path:
    """Shows the first band of some files one below the other, as `gdalbuildvrt` writes it."""
    sources = "".join(
        f'<ComplexSource><SourceFilename relativeToVRT="1">{file.name}</SourceFilename><SourceBand>1'
        f'</SourceBand><SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/>'
        f'<DstRect xOff="0" yOff="{8 * row}" xSize="8" ySize="8"/>{change}</ComplexSource>'
        for row, file in enumerate(files)
    )
    grid = utm_grid(8, 8)
    numbers = ", ".join(map(str, grid.transform.to_gdal()))
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="{8 * len(files)}"><SRS>{grid.crs.to_wkt()}</SRS>'
        f'<GeoTransform>{numbers}</GeoTransform><VRTRasterBand dataType="UInt16" band="1">'
        f"<Description>green</Description>{sources}</VRTRasterBand></VRTDataset>"
    )
    return path


def test_a_mosaic_says_what_its_files_say_together(tmp_path: Path) -> None:
    later = replace(FACTS, first_date=date(2024, 10, 5), last_date=None, products=("S2A_C",))
    files = [raster(tmp_path / "a.tif", ["green"], FACTS), raster(tmp_path / "b.tif", ["green"], later)]
    together = replace(FACTS, last_date=date(2024, 10, 5), products=("S2B_A", "S2A_B", "S2A_C"))
    vrt = mosaic(tmp_path / "both.vrt", files)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert facts_of(vrt) == together
    assert facts_of(mosaic(tmp_path / "nested.vrt", [vrt])) == together
    assert open_scene(vrt).facts == together
    assert facts_of(
        mosaic(tmp_path / "plain.vrt", [raster(tmp_path / "c.tif", ["green"], SceneFacts())])
    ) == (SceneFacts())
    mixed = mosaic(tmp_path / "mixed.vrt", [files[0], tmp_path / "c.tif"])
    assert facts_of(mixed) == replace(FACTS, unit="")


def test_a_mosaic_that_computes_has_no_unit_of_its_files(tmp_path: Path) -> None:
    file = raster(tmp_path / "a.tif", ["green"], FACTS)
    scaled = mosaic(tmp_path / "scaled.vrt", [file], change="<ScaleRatio>0.0001</ScaleRatio>")
    assert facts_of(scaled) == replace(FACTS, unit="")


@pytest.mark.parametrize(
    ("one", "other", "days"),
    [
        ((2023, 12, 20), (2024, 1, 10), 21),
        ((2020, 7, 1), (2001, 8, 15), 45),
        ((2021, 12, 31), (2020, 12, 31), 0),
        ((2021, 3, 1), (2021, 9, 1), 181),
    ],
)
def test_days_apart_in_year_go_across_new_year(
    one: tuple[int, int, int], other: tuple[int, int, int], days: int
) -> None:
    assert abs(days_apart_in_year(date(*one), date(*other)) - days) <= 1  # of leap years
    assert days_apart_in_year(date(*one), date(*other)) == days_apart_in_year(date(*other), date(*one))


def test_facts_in_words_name_two_products_and_count_the_rest() -> None:
    many = replace(FACTS, products=("S2B_A", "S2A_B", "S2A_C", "S2A_D"), masked=("cloud", "shadow"))
    assert many.in_words == (
        "2024-09-30 to 2024-10-02, sentinel2, S2B_A, S2A_B, 2 more products, baseline 05.11, "
        "reflectance x 10000, masked: cloud, shadow"
    )
    assert SceneFacts(first_date=date(2024, 9, 30), last_date=date(2024, 9, 30)).in_words == "2024-09-30"
    assert SceneFacts().in_words == ""


def test_rasters_made_of_a_raster_keep_its_facts(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", ["green", "nir", "swir1"], FACTS)
    like = raster(tmp_path / "like.tif", ["a"], SceneFacts())
    made = tmp_path / "made.tif"
    assert facts_of(select_bands(open_scene(scene), ["nir"], made)) == FACTS
    assert facts_of(align_raster(scene, like, made)) == FACTS
    assert facts_of(align_raster(like, scene, made)) == SceneFacts()
    assert facts_of(normalize_scene(open_scene(scene), made, tmp_path / "ranges.json")) == replace(
        FACTS, unit="8-bit levels"
    )
    assert facts_of(stack_rasters([scene, like], made)) == FACTS
    mask = tmp_path / "mask.tif"
    write_raster(
        mask, np.eye(8, dtype=np.uint8), utm_grid(8, 8), bands=["glacier"], nodata=255, tags=FACTS.tags
    )
    assert facts_of(align_raster(mask, like, made)) == FACTS


@pytest.mark.parametrize(
    ("settings", "unit"),
    [
        ({"scale": 1e-4}, "reflectance"),
        ({"scale": 3.0}, ""),
        ({"offset": 1000.0}, UNITS[2].name),
        ({}, "reflectance x 10000"),
    ],
)
def test_a_stack_by_a_recipe_says_its_unit(tmp_path: Path, settings: dict[str, Any], unit: str) -> None:
    scene = raster(tmp_path / "scene.tif", ["green", "nir", "swir1"], FACTS)
    made = stack_rasters(scene, tmp_path / "made.tif", StackSettings(recipe="green,ndsi", **settings))
    assert facts_of(made) == replace(FACTS, unit=unit, recipe="")


def test_files_that_a_recipe_does_not_use_say_nothing_of_it(tmp_path: Path) -> None:
    used = raster(tmp_path / "used.tif", ["green", "swir1"], FACTS)
    other = raster(
        tmp_path / "other.tif", ["nir"], SceneFacts(first_date=date(1999, 1, 1), sensor="landsat5")
    )
    made = stack_rasters([used, other], tmp_path / "made.tif", StackSettings(recipe="green,ndsi"))
    assert facts_of(made) == replace(FACTS, recipe="")


def test_rasters_without_facts_stay_without_tags(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", ["green", "nir", "swir1"], SceneFacts())
    made = [
        stack_rasters(scene, tmp_path / "a.tif", StackSettings(recipe="green,ndsi")),
        stack_rasters(scene, tmp_path / "b.tif"),
        select_bands(open_scene(scene), ["nir"], tmp_path / "c.tif"),
    ]
    light = raster(tmp_path / "light.tif", [*RECIPES["sentinel2-18"][:6]], SceneFacts())
    settings = StackSettings(recipe="sentinel2-18")
    made.append(stack_rasters(light, tmp_path / "d.tif", settings, dem=scene))
    for path in made:
        with open_raster(path) as dataset:
            assert not [key for key in dataset.tags() if key.startswith("GLACIERSEG_")]
