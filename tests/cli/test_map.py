"""`map` and `predict` of products, as a user types them."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from glacierseg.predict.calibration import store_calibration
from tests.helpers import write_scene
from tests.products.shelves import SafeFacts, make_safe
from tests.weights.shelves import calibration, model_folder, packed

Run = Callable[..., CompletedProcess[str]]
LIGHT = ("blue", "green", "red", "nir")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = model_folder(tmp_path / "model", bands=LIGHT)
    store_calibration(folder, calibration())
    return folder


def test_a_product_becomes_an_inventory_and_a_page(tmp_path: Path, glacierseg: Run, model: Path) -> None:
    out = tmp_path / "maps"
    command = ["map", model, make_safe(tmp_path), "--out", out]
    done = glacierseg(*command)
    assert done.returncode == 0, done.stderr
    inventory = out / "T45RVL_20240930_inventory.gpkg"
    assert f"{inventory}: " in done.stdout
    assert "km2 with 90% confidence on ground like that of its calibration" in done.stdout
    assert f"{out / 'T45RVL_20240930.html'}: open it in a browser" in done.stdout
    again = glacierseg(*command)
    stages = (".tif", "_mask.tif", "_refined.tif", ".gpkg", "_inventory.gpkg", "_corrections.gpkg", ".qgz")
    expected = {f"{out / 'T45RVL_20240930'}{end}: is up to date" for end in (*stages, ".html")}
    assert {line for line in again.stdout.splitlines() if "is up to date" in line} == expected
    assert again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]


def test_weights_map_what_is_no_scene_yet(
    tmp_path: Path, glacierseg: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path)
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(tmp_path / "shelf"))
    product = make_safe(tmp_path)
    done = glacierseg("map", "--weights", "valley-s2", product / "MTD_MSIL2A.xml", "--out", tmp_path / "maps")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "maps/T45RVL_20240930.html").read_text()
    for text in ("valley-s2", "a made-up valley", "nobody", product.stem):
        assert text in page


def test_predict_takes_products_beside_scenes(tmp_path: Path, glacierseg: Run, model: Path) -> None:
    products = [make_safe(tmp_path, SafeFacts(tile=tile)) for tile in ("T45RVL", "T45RWL")]
    values = np.random.default_rng(1).uniform(100, 8000, (4, 40, 40)).astype(np.float32)
    scene = write_scene(tmp_path / "plain.tif", values, LIGHT)
    out = tmp_path / "maps"
    command = ["predict", model, products[0] / "MTD_MSIL2A.xml", scene, products[1], "--out", out]
    done = glacierseg(*command)
    assert done.returncode == 0, done.stderr
    for name in ("T45RVL_20240930", "plain", "T45RWL_20240930"):
        assert (out / f"{name}_mask.tif").exists()
    assert glacierseg(*command).stdout.count("is up to date") == 5
    doubled = glacierseg("predict", model, products[0], products[0], "--out", out)
    assert doubled.returncode == 1
    assert "two scenes are called T45RVL_20240930" in doubled.stderr


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("predict", 2, "--dem, --grow-m: used for products only, and none is given"),
        ("map", 1, "is no product, and --grow-m is for products; leave it out"),
    ],
)
def test_options_for_products_are_refused_with_scenes(
    tmp_path: Path, glacierseg: Run, model: Path, command: str, status: int, said: str
) -> None:
    scene = write_scene(tmp_path / "plain.tif", np.ones((4, 40, 40), np.float32), LIGHT)
    done = glacierseg(command, model, scene, "--grow-m", 3, "--dem", scene, "--out", tmp_path / "maps")
    assert done.returncode == status
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "maps").exists()
