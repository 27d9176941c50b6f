"""`fetch` and `map` of places, as a user types them."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import geopandas as gpd
import pandas as pd
import pytest

from tests.catalogues.ground import PLACE, SEASONS, box_around
from tests.catalogues.scenes import box_option, require_numbers, write_glacier
from tests.catalogues.shelf import Shelf
from tests.weights.shelves import model_folder

Run = Callable[..., CompletedProcess[str]]
AUTUMN = replace(SEASONS["autumn"], side_m=2700)
DATE = ("--date", "2024-08-01/2024-10-31")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLACIERSEG_CACHE_DIR", str(tmp_path / "cache"))
    shelf = Shelf(tmp_path / "shelf")
    shelf.add(AUTUMN)
    for latitude in (27.9, 28.1):
        shelf.add_elevation((PLACE[0], latitude))
    return shelf.catalogue()


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return write_glacier(tmp_path / "known.gpkg")


@pytest.fixture
def basins(tmp_path: Path) -> Path:
    shapes = [
        box_around((86.795, 28.0), 1200),
        box_around((80.0, 28.0), 1200),
        box_around((86.785, 28.0), 1200),
    ]
    table = gpd.GeoDataFrame({"name": ["East", "Far away", "West"]}, geometry=shapes, crs=4326)
    table.to_file(tmp_path / "basins.gpkg")
    return tmp_path / "basins.gpkg"


def said(done: CompletedProcess[str]) -> str:
    return " ".join(done.stderr.replace("│", " ").split())


def test_a_place_becomes_a_scene_and_then_is_up_to_date(
    tmp_path: Path, glacierseg: Run, root: Path, known: Path
) -> None:
    command = ["fetch", "--bbox", box_option(), *DATE, "--catalogue", root, "--existing", known]
    command += ["--recipe", "blue,nir", "--out", tmp_path / "out"]
    done = glacierseg("--json", *command)
    assert done.returncode == 0, done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    labels = [line["label"] for line in lines if "progress" in line]
    assert any(re.fullmatch(r"reading: 9 of 9 windows, \d+ of \d+ MB", label) for label in labels), labels
    assert any(f"{AUTUMN.facts.name}: the only one of T45RVL" in line.get("message", "") for line in lines)
    require_numbers(tmp_path / "out/T45RVL_20241005.tif", [AUTUMN])
    again = glacierseg(*command)
    assert again.stdout.splitlines() == [
        f"{tmp_path / 'out/provenance.json'}: is up to date",
        f"{tmp_path / 'out/T45RVL_20241005.tif'}: is up to date",
    ]


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--bbox", "86,27,87,28"], 2, "give days: --date FROM/TO"),
        ([*DATE], 2, "give a place: --bbox W,S,E,N, or outlines with --area FILE"),
        ([*DATE, "--bbox", "86,27,87"], 1, "--bbox: must be west, south, east and north in degrees"),
        ([*DATE, "--bbox", "86,27,87,28", "--area", "a.gpkg"], 1, "--bbox and --area exclude each other"),
        ([*DATE, "--bbox", "86,27,87,28", "--area-name", "x"], 1, "--area-name goes with --area FILE"),
        ([*DATE, "--bbox", "86,27,87,28", "--workers", 2], 2, "go with --area FILE"),
        (["--bbox", "86,27,87,28", "--date", "August"], 1, "--date: must be a day, or the first and"),
        (
            [*DATE, "--bbox", "86,27,87,28", "--max-cloud", 20],
            1,
            "--max-cloud must be less than or equal to 1",
        ),
        ([*DATE, "--bbox", "28,96,29,97"], 1, "did you mean --bbox 96,28,97,29?"),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    tmp_path: Path, glacierseg: Run, words: list[object], status: int, text: str
) -> None:
    done = glacierseg("fetch", *words, "--out", tmp_path / "out")
    assert done.returncode == status
    assert text in said(done)
    assert not (tmp_path / "out").exists()


def test_areas_have_their_folders_and_a_failed_one_is_said(
    tmp_path: Path, glacierseg: Run, root: Path, known: Path, basins: Path
) -> None:
    out = tmp_path / "out"
    command = ["fetch", "--area", basins, *DATE, "--catalogue", root, "--recipe", "blue,nir", "--max-snow", 1]
    done = glacierseg(*command, "--out", out)
    assert done.returncode == 1
    assert "error: Far_away: " in done.stderr
    assert f"glacierseg: {out / 'areas.csv'}: 1 of 3 areas failed (Far_away)" in done.stderr
    for name in ("East", "West"):
        require_numbers_inside(out / name / "T45RVL_20241005.tif")
    table = pd.read_csv(out / "areas.csv")
    assert table["result"][0] == "T45RVL_20241005.tif"
    assert table["area"].tolist() == ["East", "Far_away", "West"]
    assert table["status"].tolist() == ["done", "failed", "done"]
    assert "offers no image of Sentinel-2" in table["result"][1]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tif")}
    assert glacierseg(*command, "--out", out).stdout.count("is up to date") == 4
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.tif")} == before


def require_numbers_inside(path: Path) -> None:
    import numpy as np

    from tests.catalogues.scenes import read, seen_by

    values, transform, _ = read(path)
    left = round((transform.c - AUTUMN.corner[0]) / 10)
    top = round((AUTUMN.corner[1] - transform.f) / 10)
    height, width = values.shape[1:]
    for number, band in enumerate(("02", "08")):
        inside = np.isfinite(values[number])
        assert inside.mean() > 0.9
        wanted = seen_by(AUTUMN, band)[top : top + height, left : left + width]
        np.testing.assert_array_equal(values[number][inside], wanted[inside].astype(np.float32))


def test_a_place_becomes_an_inventory_and_a_page_that_names_the_choice(
    tmp_path: Path, glacierseg: Run, root: Path, known: Path
) -> None:
    model = model_folder(tmp_path / "model", bands=("blue", "green", "red", "nir"))
    out = tmp_path / "out"
    command = ["map", model, "--bbox", box_option(), *DATE, "--catalogue", root, "--existing", known]
    done = glacierseg(*command, "--out", out)
    assert done.returncode == 0, done.stderr
    page = (out / "T45RVL_20241005.html").read_text()
    item = next(root.parent.glob("sentinel-2-c1-l2a/*/*.json")).stem
    assert f"{item} (sentinel-2-c1-l2a): the only one of T45RVL: cloud 0 %" in page
    assert f"{out / 'T45RVL_20241005_inventory.gpkg'}: " in done.stdout
    assert "zmed_m" in gpd.read_file(out / "T45RVL_20241005_inventory.gpkg", layer="glaciers")
    assert {path.name[-11:] for path in out.rglob("*_B*.tif")} >= {"B02_10m.tif", "B08_10m.tif"}
    again = glacierseg(*command, "--out", out)
    # Provenance, scene, mask, refined mask, outlines, inventory, corrections, project and page.
    assert again.stdout.count("is up to date") == 9


def test_a_map_of_areas_goes_on_after_one_that_fails(
    tmp_path: Path, glacierseg: Run, root: Path, basins: Path
) -> None:
    model = model_folder(tmp_path / "model", bands=("blue", "green", "red", "nir"))
    command = ["map", model, "--area", basins, *DATE, "--catalogue", root, "--max-snow", 1]
    done = glacierseg(*command, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert (tmp_path / "out/West/T45RVL_20241005.html").exists()
    result = pd.read_csv(tmp_path / "out/areas.csv")["result"]
    assert re.search(r"T45RVL_20241005_inventory\.gpkg: \d+ glaciers?, [\d.]+ \+- [\d.]+ km2", result[2])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["model", "scene.tif", "--bbox", "86,27,87,28"], "leave scene.tif out"),
        (["--bbox", "86,27,87,28"], "give a MODEL_DIR, or --weights NAME"),
        (["--weights", "x", "scene.tif", "--bbox", "86,27,87,28"], "leave scene.tif out"),
        (["model", "scene.tif", "--date", "2024-08-01"], "--date goes with a place; give --bbox W,S,E,N"),
        (["model", "scene.tif", "--max-cloud", 0.1], "--max-cloud goes with a place"),
        ([], "give a MODEL_DIR and a PRODUCT, or a place with --bbox W,S,E,N"),
    ],
)
def test_a_map_says_what_goes_with_a_place(
    tmp_path: Path, glacierseg: Run, words: list[object], text: str
) -> None:
    done = glacierseg("map", *words, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert text in said(done)


def test_a_band_that_the_satellites_lack_is_refused_of_weights_too(
    tmp_path: Path, glacierseg: Run, root: Path
) -> None:
    words = ("--bbox", box_option(), *DATE, "--catalogue", root, "--recipe", "landsat-18")
    done = glacierseg("map", "--weights", "alps-sentinel2", *words, "--out", tmp_path / "out")
    assert (done.returncode, said(done).count("no band for thermal")) == (1, 1)
