"""The commands that refine masks and search how, as a user types them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from glacierseg.cli import main
from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.refine.steps import refine_mask
from glacierseg.settings import RefineSettings
from tests.helpers import present

GRID = Grid(CRS.from_epsg(32643), Affine(10, 0, 5e5, 0, -10, 36e5), 200, 220)


TUNE, REFINE = "tune --out t.json", "refine --out r.tif"


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["glacierseg", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def truth_and_mask(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rows, columns = np.indices(GRID.shape)
    truth = (np.hypot(rows - 100, columns - 110) < 80).astype(np.uint8)
    mask = np.where(np.random.default_rng(seed).random(GRID.shape) < 0.05, 1 - truth, truth)
    mask[80:86, 100:106] = 0
    return truth, mask.astype(np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, seed in (("a", 1), ("b", 2)):
        truth, mask = truth_and_mask(seed)
        write_raster(tmp_path / f"{name}_truth.tif", truth, GRID, bands=["glacier"], nodata=255)
        write_raster(tmp_path / f"{name}.tif", mask, GRID, bands=["glacier"], nodata=255)
    # A region of scattered small glaciers, which every removal harms.
    scattered = np.zeros(GRID.shape, np.uint8)
    scattered[::9, ::9] = 1
    write_raster(tmp_path / "c.tif", scattered, GRID, bands=["glacier"], nodata=255)
    for name, value in (("empty", 0), ("full", 1), ("nodata", 255)):
        write_raster(
            tmp_path / f"{name}.tif",
            np.full(GRID.shape, value, np.uint8),
            GRID,
            bands=["glacier"],
            nodata=255,
        )
    return tmp_path


def test_the_search_tells_what_it_is_worth_elsewhere(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [
        "tune", files / "a.tif", "--truth", files / "a_truth.tif", "--out", files / "t.json",
        "--merge-distance-m", 0, "--merge-distance-m", 20, "--min-area-km2", 0, "--min-area-km2", 0.03,
        "--iterations", 0, "--iterations", 3, "--max-hole-km2", 0, "--max-hole-km2", "inf",
        "--test-mask", files / "b.tif", "--test-truth", files / "b_truth.tif",
        "--test-mask", files / "c.tif", "--test-truth", files / "c.tif",
        "--plot", files / "surface.png",
    ]  # fmt: skip
    assert call(monkeypatch, *words) == 0
    said = capfd.readouterr().out
    record = json.loads((files / "t.json").read_text())
    assert len(record["table"]) == 16
    assert {row["max_hole_km2"] for row in record["table"]} == {0, None}  # inf on the command line is null
    assert [(r["region"], r["use"]) for r in record["gains"]] == [
        ("a.tif", "tuned"), ("b.tif", "test"), ("c.tif", "test"),
    ]  # fmt: skip
    a, b, c = record["gains"]
    assert (a["raw"]["iou"], a["refined"]["iou"]) == (record["raw_iou"], record["best_iou"])
    assert b["refined"]["iou"] > b["raw"]["iou"]
    assert c["raw"]["iou"] == 1 > c["refined"]["iou"]
    assert "made 1 of 2 test regions WORSE: c.tif (IoU 1.0000 -> 0.0000)" in said
    assert "improved 1 of 2 test regions: b.tif" in said
    assert "the best 10 of 16 combinations by iou" in said
    assert present(cv2.imread(str(files / "surface.png"))).std() > 0

    assert (
        call(
            monkeypatch, "refine", files / "b.tif", "--out", files / "r.tif", "--parameters", files / "t.json"
        )
        == 0
    )
    with rasterio.open(files / "r.tif") as dataset:
        refined = dataset.read(1)
    best = record["best"] | {"steps": tuple(record["best"]["steps"])}
    np.testing.assert_array_equal(refined, refine_mask(truth_and_mask(2)[1], 10, **best))


def test_several_masks_and_areas(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", files / "a.tif", files / "b.tif", "--out", files / "t.json", "--objective", "area"]
    truths = ["--truth", files / "a_truth.tif", "--truth", files / "b_truth.tif"]
    assert call(monkeypatch, *words, *truths) == 0
    record = json.loads((files / "t.json").read_text())
    assert record["objective"] == "area"
    assert all(abs(r["refined"]["area_error"]) < abs(r["raw"]["area_error"]) for r in record["gains"])
    assert "no test region was given" in capfd.readouterr().out
    assert call(monkeypatch, *words, *truths[:2]) == 1
    assert "2 x mask and 1 x --truth" in capfd.readouterr().err


def test_truth_on_another_grid_is_brought_over_and_said_so(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    coarse = Grid(GRID.crs, GRID.transform * Affine.scale(2), 100, 110)
    truth = truth_and_mask(1)[0][::2, ::2]
    write_raster(files / "coarse.tif", truth, coarse, bands=["glacier"], nodata=255)
    words = ["tune", files / "a.tif", "--truth", files / "coarse.tif", "--out", files / "t.json"]
    assert call(monkeypatch, *words) == 0
    assert "lies on another grid than" in capfd.readouterr().out
    assert json.loads((files / "t.json").read_text())["best_iou"] > 0.95


def test_options_take_precedence_over_a_file_of_parameters(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"min_area_km2": 0.5, "iterations": 2, "max_hole_km2": None, "steps": ["fill", "remove"]}
    (files / "p.json").write_text(json.dumps({"best": found}))
    words = ["refine", files / "a.tif", "--out", files / "r.tif", "--parameters", files / "p.json"]
    assert call(monkeypatch, *words, "--preset", "rgi", "--steps", "smooth,fill") == 0
    with rasterio.open(files / "r.tif") as dataset:
        tags = dataset.tags()
    assert tags["refine_min_area_km2"] == "0.01"
    assert tags["refine_iterations"] == "2"
    assert tags["refine_max_hole_km2"] == "all"
    assert tags["refine_steps"] == "smooth,fill"
    assert "refine_preset" not in tags


def test_a_mask_that_carries_tuned_parameters_is_refined_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"best": {"min_area_km2": 0.5}}))
    mask, out = tmp_path / "a.tif", tmp_path / "r.tif"

    def refined(*words: object, **tags: str) -> tuple[float, int]:
        write_raster(mask, truth_and_mask(1)[1], GRID, bands=["glacier"], nodata=255, tags=tags)
        assert call(monkeypatch, "refine", mask, "--out", out, *words) == 0
        with rasterio.open(out) as dataset:
            found = dataset.tags()
        return float(found["refine_min_area_km2"]), int(found["refine_iterations"])

    assert refined() == (0.03, 10)
    assert f"{mask}: refinement parameters: defaults, as it carries no tuned ones" in capfd.readouterr().out
    tuned = RefineSettings(min_area_km2=0.2, iterations=2).model_dump_json()
    assert refined(refinement=tuned) == (0.2, 2)
    assert f"{mask}: refinement parameters: tuned by its network's run" in capfd.readouterr().out
    assert refined("--iterations", 3, refinement=tuned) == (0.2, 3)
    assert refined("--preset", "rgi", refinement=tuned) == (0.01, 2)
    assert refined("--parameters", tmp_path / "p.json", refinement=tuned) == (0.5, 10)
    # Another version's: a line that says what to do, which works.
    assert refined("--parameters", tmp_path / "p.json", refinement='{"brand_new": 1}') == (0.5, 10)
    assert call(monkeypatch, "refine", mask, "--out", out) == 1
    assert "its tag 'refinement' holds no refinement parameters of this version" in capfd.readouterr().err


def test_a_choice_that_does_not_exist_is_wrong_usage(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", files / "a.tif", "--truth", files / "a.tif", "--out", files / "t.json"]
    assert call(monkeypatch, *words, "--objective", "iuo") == 2
    said = " ".join(capfd.readouterr().err.replace("│", " ").split())
    assert "'--objective': 'iuo' is not one of 'iou', 'f1', 'area' (did you mean 'iou'?)" in said


@pytest.mark.parametrize("name", ["empty", "full", "nodata"])
def test_masks_without_an_outline_are_refined_and_drawn(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    out, picture = files / "r.tif", files / "p.png"
    assert call(monkeypatch, "refine", files / f"{name}.tif", "--out", out, "--plot", picture) == 0
    with rasterio.open(out) as dataset:
        assert (dataset.read(1) == {"empty": 0, "full": 1, "nodata": 255}[name]).all()
    assert picture.stat().st_size > 1000
    assert capfd.readouterr().out.count("->") == 12


@pytest.mark.parametrize(
    ("mask", "truth", "iou"),
    [("empty", "empty", 0), ("empty", "full", 0), ("full", "full", 1), ("full", "empty", 0)],
)
def test_tuning_takes_masks_without_an_outline(
    files: Path, monkeypatch: pytest.MonkeyPatch, mask: str, truth: str, iou: int
) -> None:
    words = ["tune", files / f"{mask}.tif", "--truth", files / f"{truth}.tif", "--out", files / "t.json"]
    few = [
        "--merge-distance-m", 0, "--merge-distance-m", 20, "--iterations", 0, "--iterations", 3,
        "--max-hole-km2", 0.1,
    ]  # fmt: skip
    assert call(monkeypatch, *words, *few, "--plot", files / "s.png") == 0
    record = json.loads((files / "t.json").read_text())
    assert record["raw_iou"] == record["best_iou"] == iou


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"{TUNE} a.tif --truth nodata.tif", "a.tif: no pixel is known in both"),
        (f"{TUNE} nodata.tif --truth a.tif", "nodata.tif: no pixel is known in both"),
        (f"{TUNE} a.tif --truth a.tif --smoothing open", "--smoothing must be 'majority'"),
        (f"{TUNE} a.tif --truth a.tif --smoothing majority --smoothing opning", "did you mean 'opening'"),
        (f"{TUNE} a.tif --truth a.tif --iterations -1", "--iterations must be"),
        (f"{TUNE} a.tif --truth a.tif --plot s.gif", ".png, .svg, .pdf"),
        (f"{TUNE} a.tif --truth a.tif --max-hole-slope-deg 40", "with --dem"),
        (f"{TUNE} a.tif --truth a.tif --dem b.tif --dem b.tif", "give one --dem for each mask"),
        (f"{TUNE} a.tif --truth a.tif --preset rgi --min-area-km2 1", "give one of them"),
        (f"{REFINE} a.tif --max-hole-slope-deg 40", "with --dem"),
        (f"{REFINE} a.tif --steps merge,fil", "did you mean 'fill'"),
        (f"{REFINE} a.tif --preset rgi --min-area-km2 1", "give one of them"),
        (f"{REFINE} a.tif --plot p.tif", ".png, .svg, .pdf"),
        (f"{REFINE} a.tif --parameters none.json", "none.json: no such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    monkeypatch.chdir(files)
    assert call(monkeypatch, *words.split()) == 1
    said = capfd.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (files / "r.tif").exists()
    assert not (files / "t.json").exists()


def test_steep_holes_stay_open(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.ones(GRID.shape, np.uint8)
    mask[50:60, 50:60] = mask[50:60, 150:160] = 0
    write_raster(files / "holes.tif", mask, GRID, bands=["glacier"], nodata=255)
    height_m = np.tile(np.where(np.arange(220) < 110, 0, (np.arange(220) - 110) * 12.0), (200, 1))
    write_raster(files / "dem.tif", height_m.astype(np.float32), GRID, bands=["z"], nodata=-9999)
    words = [
        "refine",
        files / "holes.tif",
        "--out",
        files / "r.tif",
        "--steps",
        "fill",
        "--max-hole-km2",
        "inf",
    ]
    assert call(monkeypatch, *words, "--max-hole-slope-deg", 40, "--dem", files / "dem.tif") == 0
    with rasterio.open(files / "r.tif") as dataset:
        refined = dataset.read(1)
        assert dataset.tags()["refine_steps"] == "fill"
    mask[50:60, 50:60] = 1
    np.testing.assert_array_equal(refined, mask)


def test_an_option_without_use_is_said_so(
    files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mask = files / "a.tif"
    assert call(monkeypatch, "refine", mask, "--out", files / "r.tif", "--dem", files / "b.tif") == 0
    assert "--dem was not used; it is for --max-hole-slope-deg" in capfd.readouterr().out
    sought = ["tune", mask, "--truth", mask, "--out", files / "t.json", "--dem", files / "b.tif"]
    assert (
        call(monkeypatch, *sought, *["--iterations", "0", "--merge-distance-m", "0", "--preset", "rgi"]) == 0
    )
    assert "--dem was not used; it is for --max-hole-slope-deg" in capfd.readouterr().out
    drawn = ["vectorize", mask, "--out", files / "o.gpkg", "--probability", files / "b.tif"]
    assert call(monkeypatch, *drawn) == 0
    assert "--probability was not used" in capfd.readouterr().out
