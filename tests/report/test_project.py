"""What is in the projects; whether QGIS shows it, tests/qgis asks QGIS."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest
import shapely

from tests.helpers import blobs, easy_scene, write_mask, write_scene

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def valley(tmp_path: Path) -> Path:
    mask = blobs(60, 60, 4)
    write_mask(tmp_path / "mask.tif", mask)
    write_scene(tmp_path / "scene.tif", easy_scene(mask), ["blue", "green", "red", "nir"])
    probability = (mask * 0.8 + 0.1).astype(np.float32)
    write_scene(tmp_path / "probability.tif", probability[None], ["glacier_probability"])
    return tmp_path


def layers(path: Path) -> dict[str, str]:
    """Sources by the name of the layer, in their order."""
    with zipfile.ZipFile(path) as archive:
        root = ET.fromstring(archive.read(f"{path.stem}.qgs"))  # noqa: S314  (our own)
    found = root.findall("projectlayers/maplayer")
    return {str(one.findtext("layername")): str(one.findtext("datasource")) for one in found}


def test_an_inventory_of_a_mask_can_be_corrected(valley: Path, glacierseg: Command) -> None:
    done = glacierseg(
        "inventory", valley / "mask.tif", "--out", valley / "out" / "i.gpkg", "--min-area-km2", "0.001",
        "--probability", valley / "probability.tif", "--project", valley / "i.qgz",
        "--scene", valley / "scene.tif",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert layers(valley / "i.qgz") == {
        "Checked ground (draw here)": "./i_corrections.gpkg|layername=checked",
        "Places to look at": "./i_corrections.gpkg|layername=places",
        "Outlines (edit here)": "./i_corrections.gpkg|layername=outlines",
        "Inventory": "./out/i.gpkg|layername=glaciers",
        "Probability": "./probability.tif",
        "Mask": "./mask.tif",
        "Natural colour": "./scene.tif",
        "False colour (NIR-red-green)": "./scene.tif",
    }
    ids = gpd.read_file(valley / "out" / "i.gpkg", layer="glaciers")["inv_id"]
    assert set(gpd.read_file(valley / "i_corrections.gpkg", layer="outlines")["glacier_id"]) >= set(ids)


def test_an_inventory_of_outlines_shows_these_and_the_existing_one(valley: Path, glacierseg: Command) -> None:
    boxes = [shapely.box(700_000 + x, 3_599_600, 700_200 + x, 3_599_900) for x in (0, 300)]
    gpd.GeoDataFrame(geometry=boxes, crs=32643).to_file(valley / "drawn.gpkg", layer="mine")
    gpd.GeoDataFrame({"RGIId": ["a", "b"]}, geometry=boxes, crs=32643).to_crs(4326).to_file(
        valley / "rgi.shp"
    )
    done = glacierseg(
        "inventory", valley / "drawn.gpkg", "--out", valley / "i.gpkg", "--existing", valley / "rgi.shp",
        "--project", valley / "i.qgz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert layers(valley / "i.qgz") == {
        "Inventory": "./i.gpkg|layername=glaciers",
        "Outlines before": "./drawn.gpkg|layername=mine",
        "Existing inventory": "./rgi.shp|layername=rgi",
    }
    with zipfile.ZipFile(valley / "i.qgz") as archive:
        root = ET.fromstring(archive.read("i.qgs"))  # noqa: S314
    wkts = [str(one.findtext("srs/spatialrefsys/wkt")) for one in root.findall("projectlayers/maplayer")]
    assert [wkt.partition("[")[0] for wkt in wkts] == ["PROJCRS", "PROJCRS", "GEOGCRS"]


def test_a_scene_without_a_project_and_a_wrong_name_are_refused_before_any_work(
    valley: Path, glacierseg: Command
) -> None:
    asked = ["inventory", valley / "mask.tif", "--out", valley / "i.gpkg"]
    alone = glacierseg(*asked, "--scene", valley / "scene.tif")
    assert alone.returncode == 1
    assert "give --project FILE.qgz too" in alone.stderr
    wrong = glacierseg(*asked, "--project", valley / "i.qgs")
    assert wrong.returncode == 1
    assert "end the name in .qgz" in wrong.stderr
    assert not (valley / "i.gpkg").exists()
