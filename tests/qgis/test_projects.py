"""Every kind of project in QGIS itself: all layers valid, and the colours that were meant."""

import shutil
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from glacierseg.experiment import run_experiment
from glacierseg.inventory.files import make_inventory
from glacierseg.mapping.chain import map_glaciers
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_own
from glacierseg.raster.probability import LEVELS
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_raster
from glacierseg.report.images import composite_recipes, frame_of, read_composites
from glacierseg.report.project import write_map_project
from glacierseg.review.corrections import write_corrections
from glacierseg.review.edits import read_edits
from glacierseg.review.places import suggest_places
from glacierseg.runs.layout import MapFolder
from glacierseg.settings.outlines import InventorySettings
from glacierseg.settings.predict import PredictSettings
from glacierseg.vectors.polygons import vectorize_mask
from tests.experiment.test_run import config
from tests.helpers import blobs, easy_scene, write_mask, write_scene
from tests.qgis.conftest import Look, in_qgis
from tests.weights.shelves import model_folder

pytestmark = pytest.mark.qgis
EDIT = Path(__file__).with_name("edit.py")
LIGHT = ("blue", "green", "red", "nir")
SIDE_PX = 60
SMALL = InventorySettings(min_area_km2=0.001)
GRIDS = {
    "UTM": Grid(CRS.from_epsg(32645), Affine(10, 0, 480_000, 0, -10, 3_100_000), SIDE_PX, SIDE_PX),
    "degrees": Grid(CRS.from_epsg(4326), Affine(2e-4, 0, 86.8, 0, -2e-4, 28.0), SIDE_PX, SIDE_PX),
    "no code": Grid(
        CRS.from_proj4("+proj=laea +lat_0=28 +lon_0=87 +ellps=WGS84 +units=m"),
        Affine(10, 0, 1000, 0, -10, 2000),
        SIDE_PX,
        SIDE_PX,
    ),
    # As QGIS knows it, with south up: rows that run northward.
    "south up": Grid(CRS.from_epsg(32645), Affine(10, 0, 480_000, 0, 10, 3_100_000), SIDE_PX, SIDE_PX),
}


def light(seed: int = 1) -> Any:
    values = np.random.default_rng(seed).uniform(200, 9000, (4, SIDE_PX, SIDE_PX)).astype(np.float32)
    values[:, :8, :15] = -1
    return values


def made_map(folder: Path, scene: Scene, grid: Grid, *, dtype: str = "float32") -> MapFolder:
    """The files of a map, drawn rather than predicted."""
    made, name = MapFolder(folder), scene.name
    mask = blobs(SIDE_PX, SIDE_PX, 4)
    mask[:8, :15] = 255
    for path in (made.mask(name), made.refined(name)):
        write_raster(path, mask, grid, bands=["glacier"], nodata=255)
    probability = np.stack([mask * np.float32(0.8) + 0.1, np.full(mask.shape, 0.05, np.float32)])
    probability[:, mask == 255] = np.nan
    bands = ["glacier_probability", "spread"]
    if dtype == "uint8":
        levels = np.where(np.isnan(probability), 255, np.rint(LEVELS * np.nan_to_num(probability)))
        write_raster(
            made.probability(name), levels.astype(np.uint8), grid, bands=bands, nodata=255, cog=False
        )
        with rasterio.open(made.probability(name), "r+") as dataset:
            dataset.scales = (1 / LEVELS,) * 2
    else:
        write_raster(made.probability(name), probability, grid, bands=bands, nodata=np.nan)
    vectorize_mask(made.mask(name), made.outlines(name), refined_path=made.refined(name))
    glaciers = make_inventory(made.refined(name), made.inventory(name), SMALL).glaciers
    places = suggest_places(made.probability(name), count=3, place_m=60)
    write_corrections(made.corrections(name), made.refined(name), glaciers, places, scene=scene)
    assert write_map_project(made, scene, "drawn", glaciers.total_bounds)
    return made


def require_all_valid(found: Mapping[str, Any]) -> None:
    assert found["opened"]
    assert found["errors"] == []
    assert [layer["name"] for layer in found["layers"] if not layer["valid"]] == []


@pytest.mark.parametrize("where", GRIDS)
def test_a_map_on_any_grid_opens_and_looks_like_its_page(tmp_path: Path, look: Look, where: str) -> None:
    grid = GRIDS[where]
    path = tmp_path / "Glaciers & <ice> of Bhagīrathī.tif"
    write_raster(path, light(), grid, bands=LIGHT, nodata=-1)
    scene = open_scene(path)
    made = made_map(tmp_path / "my maps", scene, grid)
    project = made.project(scene.name)
    found, seen = look(project)
    require_all_valid(found)
    assert found["wkt"]
    if where != "no code":
        assert found["crs"] == f"EPSG:{grid.crs.to_epsg()}"
    assert {layer["crs"] for layer in found["layers"]} == {found["crs"]}
    assert "Outlines (edit here)" in found["shown"]
    # Something is drawn within the rim.
    assert np.unique(seen[..., :3].reshape(-1, 3), axis=0).shape[0] > 50
    images = read_composites(scene, composite_recipes(LIGHT), frame_of(grid))
    expected = images[-1].pixels
    _, seen = look(project, images[-1].recipe.label)
    if where == "south up":
        expected = expected[::-1]
    np.testing.assert_array_equal(seen[..., 3] == 0, expected[..., 3] == 0)
    assert np.abs(seen[..., :3].astype(int) - expected[..., :3])[expected[..., 3] > 0].max() <= 2


def test_only_corrections_can_be_edited_and_know_who_and_when(tmp_path: Path, look: Look) -> None:
    grid = GRIDS["UTM"]
    write_raster(tmp_path / "s.tif", light(), grid, bands=LIGHT, nodata=-1)
    made = made_map(tmp_path, open_scene(tmp_path / "s.tif"), grid)
    found, _ = look(made.project("s"))
    editable = {layer["name"] for layer in found["layers"] if layer.get("editable")}
    assert editable == {"Outlines (edit here)", "Checked ground (draw here)"}
    assert set(found["avoids"]) == editable
    assert found["snapping"]
    assert found["topological"]
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["Checked ground (draw here)"]["defaults"].keys() == {"analyst", "date"}
    assert layers["Outlines (edit here)"]["defaults"].keys() == {"analyst"}
    assert layers["Outlines (edit here)"]["features"] == layers["Inventory"]["features"] > 0
    assert layers["Outlines (edit here)"]["labels"]
    assert layers["Places to look at"]["features"] == 3


def test_what_is_edited_in_qgis_is_read_and_kept(tmp_path: Path, look: Look, qgis_python: str) -> None:
    grid = GRIDS["UTM"]
    write_raster(tmp_path / "s.tif", light(), grid, bands=LIGHT, nodata=-1)
    scene = open_scene(tmp_path / "s.tif")
    made = made_map(tmp_path / "maps", scene, grid)
    project = made.project("s")
    done = in_qgis([qgis_python, str(EDIT), str(project), *map(str, grid.bounds)])
    assert done.returncode == 0, done.stderr
    mask = read_mask(made.refined("s"))
    edits = read_edits(made.refined("s"), made.corrections("s"), scene=scene)
    assert edits.lost_km2 > 0 == edits.gained_km2
    assert edits.checked_km2 == pytest.approx((mask != 255).sum() * 1e-4, rel=1e-3)
    assert edits.analyst
    checked = read_own(made.corrections("s"), "checked")
    drawn = date.fromisoformat(checked["date"][0])
    assert abs(datetime.now(tz=UTC).date() - drawn) <= timedelta(days=1)
    # Only what was edited says by whom.
    outlines = read_own(made.corrections("s"), "outlines")
    assert outlines["analyst"].notna().sum() == 1
    # Both stay, and still open, however often the map is made again.
    before = [path.read_bytes() for path in (project, made.corrections("s"))]
    assert not write_map_project(made, scene, "another", grid.bounds)
    assert not write_corrections(made.corrections("s"), made.mask("s"), scene=None)
    assert [path.read_bytes() for path in (project, made.corrections("s"))] == before
    shutil.move(tmp_path / "maps", tmp_path / "new")
    found, _ = look(tmp_path / "new" / project.name)
    require_all_valid(found)


def test_a_moved_folder_opens(tmp_path: Path, look: Look) -> None:
    old = tmp_path / "old"
    grid = GRIDS["UTM"]
    write_raster(old / "blue and green.tif", light()[:2], grid, bands=LIGHT[:2], nodata=-1)
    write_raster(old / "red & nir.tif", light()[2:], grid, bands=LIGHT[2:], nodata=-1)
    scene = open_scene([old / "blue and green.tif", old / "red & nir.tif"])
    images = read_composites(scene, composite_recipes(LIGHT), frame_of(grid))
    made = made_map(old / "maps", scene, grid)
    name = made.project(scene.name).relative_to(old)
    shutil.move(old, tmp_path / "new place")
    found, _ = look(tmp_path / "new place" / name)
    require_all_valid(found)
    _, seen = look(tmp_path / "new place" / name, images[0].recipe.label)
    expected = images[0].pixels
    np.testing.assert_array_equal(seen[..., 3] == 0, expected[..., 3] == 0)
    assert np.abs(seen[..., :3].astype(int) - expected[..., :3])[expected[..., 3] > 0].max() <= 2


@pytest.mark.parametrize("kind", ["scaled", "dark", "masked", "alpha"])
def test_images_look_as_on_the_page_however_the_file_stores_them(
    tmp_path: Path, look: Look, kind: str
) -> None:
    grid, path = GRIDS["UTM"], tmp_path / "s.tif"
    values = light()
    if kind == "dark":
        values = np.where(values < 0, values, values**4 / 9000**3).astype(np.float32)
    if kind == "scaled":
        write_raster(path, values.astype(np.int16), grid, bands=LIGHT, nodata=-1, cog=False)
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = (0.0001,) * 4, (-0.1,) * 4
    elif kind == "masked":
        write_raster(path, values.clip(0).astype(np.uint16), grid, bands=LIGHT, nodata=None, cog=False)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(values[0] >= 0)
    elif kind == "alpha":
        alpha = np.where(values[:1] >= 0, 65535, 0)
        both = np.concatenate([values.clip(0), alpha]).astype(np.uint16)
        write_raster(path, both, grid, bands=[*LIGHT, "alpha"], nodata=None, cog=False)
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = [*dataset.colorinterp[:4], rasterio.enums.ColorInterp.alpha]
    else:
        write_raster(path, values, grid, bands=LIGHT, nodata=-1)
    scene = open_scene(path)
    image = read_composites(scene, composite_recipes(LIGHT), frame_of(grid))[-1]
    assert (image.exponent < 1) == (kind == "dark")
    made = made_map(tmp_path / "maps", scene, grid)
    _, seen = look(made.project("s"), image.recipe.label)
    unseen = (values < 0).any(axis=0)
    np.testing.assert_array_equal(seen[..., 3] == 0, unseen)
    # QGIS brightens whole levels of 0 to 255, of which the darkest are far apart then.
    most = 13 if kind == "dark" else 2
    assert np.abs(seen[..., :3].astype(int) - image.pixels[..., :3])[~unseen].max() <= most


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_probability_and_spread_have_their_colours(tmp_path: Path, look: Look, dtype: str) -> None:
    grid = GRIDS["UTM"]
    write_raster(tmp_path / "s.tif", light(), grid, bands=LIGHT, nodata=-1)
    made = made_map(tmp_path / "maps", open_scene(tmp_path / "s.tif"), grid, dtype=dtype)
    _, seen = look(made.project("s"), "Probability")
    with rasterio.open(made.mask("s")) as dataset:
        mask = dataset.read(1)
    np.testing.assert_array_equal(seen[..., 3] == 0, mask == 255)
    # Yellow where glacier is likely, dark blue where it is not.
    assert (seen[mask == 1][:, 0].astype(int) > 150).all()
    assert (seen[mask == 0][:, 0] < 40).all()
    _, seen = look(made.project("s"), "Spread of the probability")
    assert len(np.unique(seen[mask != 255], axis=0)) == 1
    assert (seen[mask == 255][:, 3] == 0).all()


def test_the_project_of_a_real_map(tmp_path: Path, look: Look) -> None:
    model = model_folder(tmp_path / "model", bands=LIGHT)
    values = easy_scene(blobs(64, 64, 4)).astype(np.float32) * 30
    scene = write_scene(tmp_path / "valley.tif", values, LIGHT)
    made = map_glaciers(model, scene, tmp_path / "out", settings=PredictSettings(dtype="uint8"))
    found, _ = look(made.project)
    require_all_valid(found)
    groups = [layer["group"] for layer in found["layers"]]
    assert list(dict.fromkeys(groups)) == ["Corrections", "m_landsnet", "Scene"]


def test_the_project_of_a_run(tmp_path: Path, look: Look) -> None:
    outputs = {"report": False, "inventory": True}
    training = {"epochs": 1, "patches_per_epoch": 8}
    run = run_experiment(
        config(tmp_path, bands={"top": 0}, outputs=outputs, training=training), tmp_path / "out"
    )
    found, _ = look(run / "project.qgz")
    require_all_valid(found)
    layers = [(layer["group"], layer["name"]) for layer in found["layers"]]
    for group in ("M-LandsNet, all bands", "Threshold"):
        for name in ("Inventory", "Errors", "Refined mask, smooth"):
            assert layers.count((group, name)) == 2
    assert layers.count(("Corrections", "Outlines (edit here)")) == 2
    # The region that tests is seen first; the best network alone is switched on.
    assert found["layers"][0]["source"].rpartition("/")[2].startswith("r1_")
    assert found["shown"].count("Errors") == 2


def test_the_project_of_an_inventory(tmp_path: Path, look: Look, glacierseg: Any) -> None:
    mask = blobs(SIDE_PX, SIDE_PX, 4)
    write_mask(tmp_path / "mask.tif", mask)
    write_scene(tmp_path / "scene.tif", easy_scene(mask), LIGHT)
    done = glacierseg(
        "inventory", tmp_path / "mask.tif", "--out", tmp_path / "i.gpkg", "--min-area-km2", "0.001",
        "--project", tmp_path / "i.qgz", "--scene", tmp_path / "scene.tif",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, _ = look(tmp_path / "i.qgz")
    require_all_valid(found)
    assert [layer["name"] for layer in found["layers"]] == [
        "Checked ground (draw here)", "Outlines (edit here)", "Inventory", "Mask", "Natural colour",
        "False colour (NIR-red-green)",
    ]  # fmt: skip
