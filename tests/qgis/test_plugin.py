"""The plug-in in a real QGIS, where there is one: installed from its zip into a new profile, and used."""

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest

from glacierseg.experiment import train_one
from glacierseg.raster.open import open_raster
from glacierseg.settings import parse_config
from glacierseg.synthetic.analyst import edit
from glacierseg.synthetic.demo import synthetic_scenes, synthetic_settings
from packing.build import NAME, build, contents
from tests.products.shelves import make_landsat
from tests.qgis.test_command import real_command

PYTHON = "/usr/bin/python3"
# Debian's `qgis_process` is a script that adds an option which only the window of QGIS knows.
PROCESS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")


def _has_qgis() -> bool:
    if PROCESS is None or not Path(PYTHON).exists():
        return False
    asked = [PYTHON, "-c", "import qgis.core"]
    return not subprocess.run(asked, env={}, cwd="/", capture_output=True, check=False).returncode


pytestmark = [
    pytest.mark.qgis,
    pytest.mark.skipif(
        not _has_qgis(), reason="QGIS is not installed (Debian: apt install qgis python3-qgis)"
    ),
]


class Profile:
    """A QGIS profile of its own, with the plug-in; nothing of the user's is read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "profiles" / "default" / "python" / "plugins"
        self.command = real_command(folder / "env é" / "bin" / "glacierseg")
        with zipfile.ZipFile(build(folder / "glacierseg-qgis.zip")) as file:
            file.extractall(self.plugins)  # as Install from ZIP does
        (folder / "run").mkdir(mode=0o700)

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LANG")
            if name in os.environ
        }
        return {
            **kept,
            "PATH": f"{self.command.parent}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "QGIS_CUSTOM_CONFIG_PATH": str(self.folder),
            "QT_QPA_PLATFORM": "offscreen",
            "GLACIERSEG_CACHE_DIR": str(self.folder / "cache"),
        }

    def process(self, *words: str, status: int = 0, **more: str) -> str:
        """Runs `qgis_process`; returns what it said."""
        done = subprocess.run(
            [str(PROCESS), *words],
            env=self.environment | more,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, algorithm: str, values: Mapping[str, object], *, status: int = 0, **more: str) -> str:
        """Runs an algorithm; `more` changes the environment."""
        words = [f"{name}={value}" for name, value in values.items()]
        return self.process("run", f"glacierseg:{algorithm}", "--", *words, status=status, **more)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    made = Profile(tmp_path_factory.mktemp("qgis"))
    made.process("plugins", "enable", NAME)
    return made


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The basins of the demo, and a small network that was trained on them for two epochs."""
    folder = tmp_path_factory.mktemp("demo")
    settings = synthetic_settings(synthetic_scenes(folder / "data"))
    settings["models"] = [{"name": "m_landsnet", "width": 0.125, "patch_px": 64, "learning_rate": 3e-3}]
    settings["training"]["epochs"] = 2
    train_one(parse_config(settings, folder / "demo.yaml"), "m_landsnet", None, folder / "run")
    shutil.copytree(folder / "run" / "m_landsnet" / "all", folder / "model")
    for name in ("scene", "mask", "dem"):
        shutil.copy(folder / "data" / f"basin_c_{name}.tif", folder / f"{name}.tif")
    shutil.copy(folder / "data" / "basin_a_mask.tif", folder / "elsewhere.tif")
    return folder


def test_qgis_lists_each_algorithm(profile: Profile) -> None:
    listed = profile.process("list")
    for algorithm in contents().algorithms:
        assert f"glacierseg:{algorithm.name}\t{algorithm.title}" in listed
    said = profile.process("help", "glacierseg:refine")
    assert "MIN_AREA_KM2: Smallest fragment that stays, in km2 (default: 0.03)" in said


def test_each_algorithm_runs(profile: Profile, demo: Path, tmp_path: Path) -> None:
    """With `qgis_process`, which finds the command on the search path."""
    left = {algorithm.name for algorithm in contents().algorithms}

    def run(name: str, **values: object) -> str:
        left.discard(name)
        return profile.run(name, values)

    said = run("check", SCENES=demo / "scene.tif", TRUTH=demo / "mask.tif")
    assert "every pixel can be read" in said
    product = next(make_landsat(tmp_path).glob("*_MTL.*"))
    scene = tmp_path / "scene é.tif"
    run("prepare_scene", PRODUCTS=product, RECIPE="red,nir", OUTPUT=scene)
    with open_raster(scene) as opened:
        assert opened.descriptions == ("red", "nir")
    model = {"MODEL": demo / "model", "SCENE": demo / "scene.tif"}
    said = run("predict", **model, OUTPUT=tmp_path / "maps")
    assert f"MASK:\t{tmp_path}/maps/scene_mask.tif" in said
    run("map", **model, DEM=demo / "dem.tif", OUTPUT=tmp_path / "karte é")
    assert len(pyogrio.read_dataframe(tmp_path / "karte é" / "scene_inventory.gpkg", layer="glaciers")) > 3
    refined, inventory, change = (tmp_path / name for name in ("r é.tif", "i é.gpkg", "c é.gpkg"))
    run("refine", MASK=tmp_path / "maps" / "scene_mask.tif", MIN_AREA_KM2=0.05, OUTPUT=refined)
    run("inventory", SOURCE=refined, DEM=demo / "dem.tif", DIVIDES="none", OUTPUT=inventory)
    run("change", OLD=demo / "mask.tif", NEW=f"{inventory}|layername=glaciers", OUTPUT=change)
    assert {"glaciers", "advance", "retreat"} <= {name for name, _ in pyogrio.list_layers(change)}
    mapped, corrected = tmp_path / "karte é", tmp_path / "corrected"
    before = {"SCENE": demo / "scene.tif", "MASK": mapped / "scene_refined.tif", "OUTPUT": corrected}
    said = run("suggest", MODEL=demo / "model", SUGGEST=12, **before)
    assert f"PLACES:\t{corrected}/places.gpkg|layername=places" in said
    edited = mapped / "scene_corrections.gpkg"
    places = gpd.read_file(corrected / "places.gpkg", layer="places")
    edit(edited, mapped / "scene_refined.tif", demo / "mask.tif", places, analyst="anna é")
    layers = {"OUTLINES": f"{edited}|layername=outlines", "CHECKED": f"{edited}|layername=checked"}
    said = run("correct", MODEL=demo / "run" / "m_landsnet" / "all", EPOCHS=1, **layers, **before)
    assert f"--outlines '{edited}' --layer outlines --checked checked" in said
    assert "were checked by anna é" in said
    assert (corrected / "verdict.json").exists()
    assert not left, "algorithms that no test runs"


def test_errors_are_the_line_of_the_command(profile: Profile, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.tif"
    said = profile.run("refine", {"MASK": demo / "scene.tif", "OUTPUT": out}, status=1)
    assert f"{demo}/scene.tif: is a scene; a mask belongs there" in said
    assert "Traceback" not in said
    said = profile.run("refine", {"MASK": demo / "mask.tif", "OUTPUT": out}, status=1, PATH="/usr/bin:/bin")
    assert "holds no glacierseg command that can be run" in said
    assert not out.exists()


@pytest.fixture(scope="module")
def sitting(profile: Profile, demo: Path) -> dict[str, Any]:
    drive = Path(__file__).with_name("drive.py")
    words = [PYTHON, str(drive), str(profile.plugins), str(profile.command), str(demo)]
    # Not the search path but the setting leads to the command.
    environment = {**profile.environment, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        words, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def styles(entry: dict[str, Any]) -> dict[str, tuple[str, str]]:
    assert all(layer["valid"] for layer in entry["layers"])
    return {layer["name"]: (layer["renderer"], layer["style"]) for layer in entry["layers"]}


def test_results_are_loaded_with_our_styles(sitting: dict[str, Any]) -> None:
    shown = styles(sitting["map"])
    assert {name: kind for name, (kind, _) in shown.items()} == {
        "scene inventory": "singleSymbol",
        "scene refined mask": "paletted",
        "scene probability": "singlebandpseudocolor",
    }
    assert "0,114,178" in shown["scene inventory"][1]
    assert sitting["predict"]["layers"] == []
    assert Path(sitting["predict"]["results"]["PROBABILITY"]).name == "scene_probability.tif"
    assert "0,114,178" in styles(sitting["inventory"])["Inventory"][1]
    changed = styles(sitting["change"])
    assert set(changed) == {"glaciers", "retreat", "advance"}
    assert "213,94,0" in changed["retreat"][1]
    assert styles(sitting["refine"]) == {"Refined mask": ("paletted", "")}


def test_what_the_command_says_reaches_the_log(sitting: dict[str, Any]) -> None:
    said = sitting["map"]["said"]
    assert next(text for kind, text in said if kind == "command").startswith("glacierseg map --out '")
    assert any(kind == "info" and text.startswith("note: ") for kind, text in said)
    assert max(sitting["map"]["shares"]) == 100
    assert len(sitting["map"]["shares"]) > 5


def test_it_runs_in_an_environment_of_nonsense(sitting: dict[str, Any]) -> None:
    """Since `map` on, PYTHONHOME and others lead nowhere in the process of QGIS."""
    assert "error" not in sitting["map"]


def test_failures_are_exceptions_with_a_cure(sitting: dict[str, Any]) -> None:
    assert "holds no glacierseg command" in sitting["missing"]["error"]
    assert "Settings > Options > Processing > Providers > glacierseg" in sitting["missing"]["error"]
    assert "scene.tif: is a scene; a mask belongs there" in sitting["wrong file"]["error"]
    assert sitting["unusable"]["error"].startswith("the command ended with status 1: ")
    assert any("failed" in text for kind, text in sitting["unusable"]["said"] if kind == "info")
    assert "im Speicher é: has edits that are not saved; save them" in sitting["unsaved"]["error"]


def glaciers_in(entry: dict[str, Any]) -> int:
    return len(pyogrio.read_dataframe(entry["results"]["OUTPUT"], layer="glaciers"))


@pytest.mark.parametrize(("key", "glaciers"), [("memory", 2), ("named layer", None), ("subset", None)])
def test_layers_of_any_kind_are_given_as_they_are_shown(
    key: str, glaciers: int | None, sitting: dict[str, Any]
) -> None:
    whole = glaciers_in(sitting["inventory"])
    wanted = {"memory": glaciers, "named layer": whole, "subset": sitting["in the part"]}[key]
    assert 0 < sitting["in the part"] < whole
    assert glaciers_in(sitting[key]) == wanted
    command = next(text for kind, text in sitting[key]["said"] if kind == "command")
    assert ("--layer glaciers" in command) == (key == "named layer")


def test_only_selected_features_are_given(sitting: dict[str, Any]) -> None:
    command = next(text for kind, text in sitting["selected"]["said"] if kind == "command")
    file = command.split("--existing ")[1].split(" --")[0]
    assert len(pyogrio.read_dataframe(file)) == 1


def test_a_cancelled_run_continues(sitting: dict[str, Any], demo: Path) -> None:
    assert sitting["cancelled"]["error"].startswith("cancelled; run the algorithm again")
    assert sitting["cancelled"]["shares"][-1] < 100
    assert "scene_probability.tif" not in sitting["left"]
    assert "error" not in sitting["resumed"]
    # It begins near where the other one was stopped, and not with its first windows.
    assert sitting["cancelled"]["shares"][0] < 10 < sitting["resumed"]["shares"][0]
    assert (demo / "slow" / "scene_mask.tif").exists()
