"""What is refused or doubted of a scene's values and bands, and its cure, typed as it is printed."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from glacierseg.models.card import save_model
from glacierseg.raster.scene import open_scene
from glacierseg.weights.pack import pack_weights
from tests.helpers import write_scene
from tests.weights.shelves import facts, model_folder, packed, reflectances
from tests.weights.test_own import BANDS as OWN_BANDS
from tests.weights.test_own import card_of, ground

Run = Callable[..., CompletedProcess[str]]
NAMES = ("blue", "green", "red", "nir")
VALUES = reflectances(64, 64, 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights on a shelf, and a network of one's own of the same bands and the same training scene."""
    folder = tmp_path_factory.mktemp("trained")
    values = tuple(band.values for band in packed(folder).weights.card.bands)
    known: dict[str, Any] = {"band_values": values, "unit": "reflectance x 10000", "pixel_m": 10.0}
    model_folder(folder / "own", bands=NAMES, **known)
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(trained / "shelf"))
    write_scene(Path("right.tif"), VALUES, NAMES)
    return tmp_path


MODELS = {"weights": ["--weights", "valley-s2"], "own": ["{trained}/own"]}


def predict(glacierseg: Run, trained: Path, model: str, scene: str, *more: str) -> CompletedProcess[str]:
    words = [word.format(trained=trained) for word in MODELS[model]]
    return glacierseg("predict", *words, scene, "--out", "maps", "--precision", "float32", *more)


def probability(scene: str) -> NDArray[Any]:
    with rasterio.open(f"maps/{scene}_probability.tif") as dataset:
        result: NDArray[Any] = dataset.read(1)
        return result


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("scale", "offset", "options"),
    [
        (1e-4, 0.0, "--scale 10000"),
        (1e-4, -0.1, "--scale 10000 --offset 1000"),
        (1e-4, 0.1, "--scale 10000 --offset -1000"),
        (1e-2, 0.0, "--scale 100"),
    ],
)
def test_the_options_that_bring_values_to_the_unit(
    glacierseg: Run, trained: Path, place: Path, model: str, scale: float, offset: float, options: str
) -> None:
    write_scene(Path("a scene.tif"), (VALUES * scale + offset).astype(np.float32), NAMES)
    done = predict(glacierseg, trained, model, "a scene.tif")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    found = re.search(r"; (--[^;]*) would make them alike; or go on all the same with (--force)", done.stderr)
    assert found, done.stderr
    assert found[1] == options
    done = predict(glacierseg, trained, model, "a scene.tif", *shlex.split(found[1]))
    assert (done.returncode, done.stderr) == (0, "")
    assert predict(glacierseg, trained, model, "right.tif").returncode == 0
    np.testing.assert_allclose(probability("a scene"), probability("right"), atol=1e-3)
    done = predict(glacierseg, trained, model, "a scene.tif", "--again", found[2])
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ")


@pytest.mark.parametrize("model", MODELS)
def test_the_offset_that_is_to_be_taken_off(glacierseg: Run, trained: Path, place: Path, model: str) -> None:
    write_scene(Path("lifted.tif"), VALUES + np.uint16(1000), NAMES)
    done = predict(glacierseg, trained, model, "lifted.tif")
    assert done.returncode == 0
    found = re.search(r"take it off with (\S+)", done.stderr)
    assert found, done.stderr
    done = predict(glacierseg, trained, model, "lifted.tif", found[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert predict(glacierseg, trained, model, "right.tif").returncode == 0
    np.testing.assert_allclose(probability("lifted"), probability("right"), atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_zeros_are_declared(glacierseg: Run, trained: Path, place: Path, model: str) -> None:
    values = VALUES.copy()
    values[:, :40] = 0
    write_scene(Path("zeros.tif"), values, NAMES)
    done = predict(glacierseg, trained, model, "zeros.tif")
    found = re.search(r"if they have no data, say (--nodata 0);", done.stderr)
    assert found, done.stderr
    done = predict(glacierseg, trained, model, "zeros.tif", *found[1].split())
    assert (done.returncode, done.stderr) == (0, "")
    assert np.isnan(probability("zeros")[:40]).all()
    assert np.isfinite(probability("zeros")[40:]).all()


def test_bands_are_named(glacierseg: Run, trained: Path, place: Path) -> None:
    assert predict(glacierseg, trained, "weights", "right.tif").returncode == 0
    for number, names in enumerate((["x", "y", "z", "w"], ["red one", "red two", "green", "nir"])):
        write_scene(Path(f"s{number}.tif"), VALUES, names)
        done = predict(glacierseg, trained, "weights", f"s{number}.tif")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        found = re.search(r"(--band-names)( \S+)?$", done.stderr.strip())
        assert found, done.stderr
        named = (found[2] or " B2,B3,B4,B8").split()
        assert predict(glacierseg, trained, "weights", f"s{number}.tif", found[1], *named).returncode == 0
        np.testing.assert_array_equal(probability(f"s{number}"), probability("right"))


def test_bands_that_go_by_number_are_those_of_another_sensor(
    glacierseg: Run, trained: Path, place: Path
) -> None:
    # On Landsat 8 these are blue, green, red and near infrared; nir is no B8 there.
    write_scene(Path("l8.tif"), VALUES[[3, 0, 1, 2]], ["B5", "B2", "B3", "B4"], pixel_m=30.0)
    five = np.concatenate([VALUES, VALUES[3:]])
    write_scene(Path("five.tif"), five, ["B2", "B3", "B4", "B5", "B8"], pixel_m=30.0)
    done = predict(glacierseg, trained, "weights", "five.tif")
    assert done.returncode == 0
    assert "bands that go by number are taken for those of sentinel2, else say --sensor" in done.stderr
    done = predict(glacierseg, trained, "weights", "l8.tif", "--sensor", "landsat8")
    assert done.returncode == 0, done.stderr
    assert "else say --sensor" not in done.stderr
    done = predict(glacierseg, trained, "weights", "five.tif", "--sensor", "landsat8", "--again")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(probability("l8"), probability("five"))


def test_bands_that_can_be_made_are_stacked_by_the_command_that_is_printed(
    glacierseg: Run, trained: Path, place: Path
) -> None:
    bands = [*NAMES[:2], "slope", "ndwi"]
    stacked = ("prepare", "stack", "right.tif", "--recipe", ",".join(bands), "--dem", "DEM.tif")
    slope = np.tile(np.linspace(2000, 2600, 64, dtype=np.float32), (64, 1))
    write_scene(Path("DEM.tif"), (slope + slope.T)[None], ["elevation"])
    done = glacierseg(*stacked, "--out", "training.tif")
    assert done.returncode == 0, done.stderr
    folder = model_folder(
        place / "m", bands=bands, band_mean=(1600.0, 2000.0, 10.0, 0.0), band_std=(900.0, 900.0, 9.0, 0.5)
    )
    shelf = place / "shelf"
    shutil.copytree(trained / "shelf", shelf)
    scenes = [open_scene(Path("training.tif"))]
    pack_weights([folder], "made", facts(units={"slope": "degrees"}), scenes, shelf)
    shutil.copy("right.tif", "a scene.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLACIERSEG_WEIGHTS_DIR", str(shelf))
        asked = ("predict", "--weights", "made", "--out", "maps")
        done = glacierseg(*asked, "a scene.tif")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        program, *typed = shlex.split(done.stderr.split("`")[1])
        assert program == "glacierseg"
        done = glacierseg(*typed)
        assert done.returncode == 0, done.stderr
        done = glacierseg(*asked, "STACK.tif")
        assert (done.returncode, done.stderr) == (0, "")
    with rasterio.open("STACK.tif") as one, rasterio.open("training.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())


def test_bands_in_files_of_their_own_are_stacked(glacierseg: Run, trained: Path, place: Path) -> None:
    for number, name in enumerate(NAMES):
        write_scene(Path(f"{name}.tif"), VALUES[number : number + 1], [name])
    done = predict(glacierseg, trained, "weights", "blue.tif")
    assert "stack the bands into one file with `glacierseg prepare stack`" in done.stderr
    typed = shlex.split(done.stderr.split("`")[1])[1:]
    assert glacierseg(*typed, *(f"{name}.tif" for name in NAMES), "--out", "all.tif").returncode == 0
    for scene in ("all.tif", "right.tif"):
        assert predict(glacierseg, trained, "weights", scene).returncode == 0
    np.testing.assert_array_equal(probability("all"), probability("right"))


def test_levels_are_made_by_the_ranges_of_the_training(
    glacierseg: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def normalize(name: str, ranges: str = "r.json") -> str:
        typed = ("prepare", "normalize", f"{name}.tif", "--ranges", ranges, "--out", f"{name}_levels.tif")
        done = glacierseg(*typed)
        assert done.returncode == 0, done.stderr
        return f"{name}_levels.tif"

    lifted = ground(1)
    lifted[:3] += 1000
    for name, values in (("training", ground()), ("raw", ground(1)), ("lifted", lifted)):
        write_scene(Path(f"{name}.tif"), values, OWN_BANDS)
    card = card_of(open_scene(normalize("training")))
    save_model(Path("net"), card.build(), card)

    def told(scene: str) -> tuple[int, str]:
        done = glacierseg("predict", "net", scene, "--out", "maps", "--again")
        return done.returncode, done.stderr

    status, said = told("raw.tif")
    assert (status, said.count("\n")) == (1, 1)
    assert "normalize it as its training scenes were, with their --ranges; or go on" in said
    assert told(normalize("raw")) == (0, "")
    status, said = told(normalize("raw", "other.json"))
    assert (status, said.count("\n")) == (1, 1)
    assert "normalize it again with the --ranges of the training; or go on" in said
    assert told(normalize("raw")) == (0, "")
    status, said = told(normalize("lifted"))
    assert status == 0
    found = re.search(r"stack it again with (--\S+ \S+) and normalize that", said)
    assert found, said
    stack = ("prepare", "stack", "lifted.tif", "--recipe", ",".join(OWN_BANDS), *found[1].split())
    assert glacierseg(*stack, "--out", "taken.tif").returncode == 0
    assert told(normalize("taken")) == (0, "")
