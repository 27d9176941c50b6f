"""The recipes of the real benchmarks: what they ask for, what they count, what they see of a pixel."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine
from benchmarks.alps.recipe import find_chips as find_alps
from benchmarks.everest.recipe import cut as cut_everest
from benchmarks.everest.recipe import find_chips as find_everest
from benchmarks.recipes.boosting import boosting_method, pixel_features
from benchmarks.recipes.command import Benchmark, main
from benchmarks.recipes.ensemble import ensemble_methods, shipped_methods
from benchmarks.recipes.ground import scored_chips
from benchmarks.recipes.methods import Costs, Method
from benchmarks.recipes.pictures import draw_worst
from benchmarks.recipes.scores import score
from benchmarks.recipes.study import Chip, Study, WeightsPlan, pick, read_settings, weights_plan
from benchmarks.recipes.table import write_table
from benchmarks.zanskar.recipe import find_chips as find_zanskar
from rasterio.crs import CRS
from scipy.ndimage import generic_filter
from sklearn import metrics
from tests.helpers import blobs, easy_scene

from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.calibration import Calibration
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import load_truth
from glacierseg.raster.write import write_raster
from glacierseg.settings import parse_config
from glacierseg.settings.predict import PredictSettings

ROOT = Path(__file__).parents[2]
SIDE, STEP = 48, 32
BANDS = ["blue", "green", "red", "nir"]


def make_study(folder: Path) -> Study:
    """Four chips in a row that share a third of their ground; folds 1 and 2 test one, fold 3 two of them."""
    whole = blobs(SIDE, 3 * STEP + SIDE, 3)
    whole[14:28] = 1
    values = easy_scene(whole, 4)
    chips = []
    for number in range(4):
        part = np.s_[..., number * STEP : number * STEP + SIDE]
        grid = Grid(CRS.from_epsg(32643), Affine(10, 0, 10.0 * STEP * number, 0, -10, 0), SIDE, SIDE)
        chip = Chip(f"c{number}", folder / f"c{number}.tif", folder / f"m{number}.tif")
        write_raster(chip.scene, values[part], grid, bands=BANDS, nodata=0, cog=False)
        write_raster(chip.truth, whole[part], grid, bands=["glacier"], nodata=None, cog=False)
        chips.append(chip)
        for fold in (1, 2, 3):
            regions = folder / "out" / "networks" / f"fold{fold}" / "regions"
            tests = number == fold - 1 or (number, fold) == (3, 3)
            role = 3 if tests else 2 if number == fold % 3 else 1
            truth = whole[part].copy()
            truth[:2] = 255
            write_raster(regions / f"c{number}_truth.tif", truth, grid, bands=["glacier"], nodata=255)
            roles = np.full((SIDE, SIDE), role, np.uint8)
            write_raster(regions / f"c{number}_roles.tif", roles, grid, bands=["role"], nodata=None)
    models = [{"name": "m_landsnet", "patch_px": 32}, {"name": "glavitu", "patch_px": 32}]
    return Study("t", tuple(chips), {"networks": {"models": models}}, folder / "out")


def test_shared_ground_counts_once_and_scores_are_those_of_scikit_learn(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    chips = scored_chips(study)
    assert [(chip.fold, chip.name) for chip in chips] == [(1, "c0"), (2, "c1"), (3, "c2"), (3, "c3")]
    assert sum(int((chip.truth != 255).sum()) for chip in chips) == (SIDE - 2) * (3 * STEP + SIDE)
    assert (chips[1].truth[:, : SIDE - STEP] == 255).all()
    assert (chips[1].own_truth[2:] != 255).all()
    rng = np.random.default_rng(0)
    predictions = {}
    for chip in chips:
        mask = rng.integers(0, 2, (SIDE, SIDE)).astype(np.uint8)
        mask[5, 5] = 255  # not predicted, which is an error where there is glacier
        write_raster(tmp_path / f"p_{chip.name}.tif", mask, chip.grid, bands=["glacier"], nodata=255)
        predictions[chip.name] = np.where(mask == 255, 0, mask)
    method = Method("made up", "raw", lambda _, chip: tmp_path / f"p_{chip}.tif")
    result = score(method, chips)
    # The same ground twice is no more ground.
    assert score(method, chips[:1] * 2).intervals.blocks == score(method, chips[:1]).intervals.blocks
    known = [chip.truth != 255 for chip in chips]
    true = np.concatenate([chip.truth[k] for chip, k in zip(chips, known, strict=True)])
    found = np.concatenate([predictions[chip.name][k] for chip, k in zip(chips, known, strict=True)])
    assert result.scores.iou == pytest.approx(metrics.jaccard_score(true, found))
    assert result.scores.mean_iou == pytest.approx(metrics.jaccard_score(true, found, average="macro"))
    assert result.scores.mcc == pytest.approx(metrics.matthews_corrcoef(true, found))
    assert len(result.by_fold) == 3
    # The first two rows have no data, and the files of the truth know them.
    whole = [chip.whole_truth for chip in chips]
    assert sum(int((one != 255).sum()) for one in whole) == SIDE * (3 * STEP + SIDE)
    for chip, one in zip(chips, whole, strict=True):
        assert (one[chip.truth != 255] == chip.truth[chip.truth != 255]).all()
    true = np.concatenate([one[one != 255] for one in whole])
    found = np.concatenate([predictions[chip.name][chip.whole_truth != 255] for chip in chips])
    as_background = result.to_dict()["mcc_undefined_as_background"]
    assert as_background == pytest.approx(metrics.matthews_corrcoef(true, found))
    assert result.intervals.scores["iou"].low < result.scores.iou < result.intervals.scores["iou"].high
    write_table(study, [result], chips, "python -m x")
    text = (study.out / "table.md").read_text()
    assert f"| made up | raw | {result.scores.mean_iou:.3f} (" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    json.dumps(result.to_dict())
    drawn = [path.name for path in draw_worst(study, result, chips)]
    assert [name[:7] for name in drawn] == ["fold1_1", "fold2_1", "fold3_1", "fold3_2"]
    assert len((study.out / "worst" / "regions.csv").read_text().splitlines()) == 1 + len(chips)


def test_the_mean_of_the_networks_is_that_of_their_probabilities(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    chips = scored_chips(study)
    rng = np.random.default_rng(1)
    written: dict[tuple[int, str], list[np.ndarray]] = {}
    for fold in (1, 2, 3):
        for name in ("m_landsnet", "glavitu"):
            for chip in chips:
                chance = rng.random((SIDE, SIDE)).astype(np.float32)
                folder = study.run_folder("networks", fold) / name / "all"
                path = folder / f"{chip.name}_probability.tif"
                write_raster(path, chance, chip.grid, bands=["glacier"], nodata=np.nan)
                written.setdefault((fold, chip.name), []).append(chance)
    raw, refined = ensemble_methods(study, chips, [])
    assert [raw.stage, refined.stage] == ["raw", "refined"]
    for chip in chips:
        with rasterio.open(raw.mask(chip.fold, chip.name)) as file:
            mask = file.read(1)
        assert (mask == (np.mean(written[chip.fold, chip.name], axis=0) >= 0.5)).all()
        assert refined.mask(chip.fold, chip.name).exists()


def test_what_is_shipped_is_tested_in_its_windows_and_its_shares(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    chips = scored_chips(study)
    for fold in (1, 2, 3):
        for name in ("m_landsnet", "glavitu"):
            card = ModelCard(
                architecture=name, width=0.125, bands=tuple(BANDS), band_mean=(100,) * 4, band_std=(50,) * 4,
                patch_px=32,
            )  # fmt: skip
            torch.manual_seed(fold)
            folder = study.run_folder("networks", fold) / name / "all"
            save_model(folder, card.build(), card)
            for chip in study.chips:
                predict_scene(folder, replace(open_scene(chip.scene), name=chip.name), folder)
    models = [dict(model) for model in study.sets["networks"]["models"]]
    costs = {"m_landsnet": Costs(1, 0.0, 3.0), "glavitu": Costs(10, 0.0, 2.0)}
    stored = study.out / "shipped" / "calibration.json"
    for window_px, symmetries in ((40, True), (None, False)):
        plan = WeightsPlan(8, {1: [models[0]], 3: [models[1]], 5: [models[1]]}, window_px, symmetries)
        raw, refined = shipped_methods(study, chips, costs, plan)
        ways = ", eight symmetries" if symmetries else ""
        assert (raw.name, raw.costs.parameters) == (f"as shipped: m_landsnet + 2 x glavitu{ways}", 21)
        assert raw.costs.prediction_s_per_mpx == (8 if symmetries else 1) * 7
        assert json.loads(stored.read_text())["symmetries"] is symmetries
        for scored in chips:
            total = np.zeros((SIDE, SIDE))
            for name, share in (("m_landsnet", 1), ("glavitu", 2)):
                folder = study.run_folder("networks", scored.fold) / name / "all"
                scene = tmp_path / f"{scored.name}.tif"
                files = predict_scene(
                    folder,
                    scene,
                    tmp_path / "again",
                    PredictSettings(window_px=window_px, symmetries=symmetries),
                )
                total += share * rasterio.open(files.probability).read(1)
            mask = rasterio.open(raw.mask(scored.fold, scored.name)).read(1)
            clear = abs(total / 3 - 0.5) > 1e-6  # elsewhere rounding decides
            assert (mask == (total / 3 >= 0.5))[clear].all()
            assert clear.mean() > 0.99
            assert refined.mask(scored.fold, scored.name).exists()
    assert shipped_methods(study, chips, {"glavitu": Costs()}, plan) == []
    found = Calibration.from_dict(json.loads(stored.read_text()))
    assert found.pixels == sum(int((chip.truth != 255).sum()) for chip in chips)
    # One map: the four chips that overlap, each pixel as the fold that counts it predicts it.
    with rasterio.open(study.out / "shipped" / "probability.tif") as file:
        assert (file.shape, file.transform.c) == ((SIDE, 3 * STEP + SIDE), 0)
        whole = file.read(1)
    assert np.isnan(whole[:2]).all()
    last = chips[-1]
    shown = last.truth != 255
    assert ((whole[:, 3 * STEP :] >= 0.5)[shown] == (mask == 1)[shown]).all()


def test_boosting_learns_from_training_ground_and_predicts_all_that_is_tested(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    method = boosting_method(study, iterations=20)
    result = score(method, scored_chips(study))
    assert result.scores.iou > 0.6
    assert method.costs.training_s
    assert boosting_method(study).costs == method.costs  # not trained again


def test_features_look_at_known_pixels_only() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(10, 20, (3, 24, 30)).astype(np.float32)
    valid = rng.random((24, 30)) > 0.2
    found = pixel_features(np.where(valid, values, np.float32(1e6)), valid)
    assert found.shape[0] == 3 + 3 + 2 * 3 * 3
    known = np.where(valid, values[0].astype(float), np.nan)
    inner = np.s_[12:-12, 12:-12]
    for place, way in ((6, np.nanmean), (7, np.nanstd)):
        expected = generic_filter(known, way, size=3, mode="mirror")
        assert found[place][1:-1, 1:-1][valid[1:-1, 1:-1]] == pytest.approx(
            expected[1:-1, 1:-1][valid[1:-1, 1:-1]], abs=2e-2
        )
    assert np.isfinite(found[:, valid]).all()
    assert found[3][inner] == pytest.approx(
        np.where(valid, (values[0] - values[1]) / (values[0] + values[1]), 0)[inner], abs=1e-5
    )


@pytest.mark.parametrize(("name", "networks"), [("alps", 3), ("everest", 1), ("zanskar", 3)])
def test_settings_are_a_configuration(tmp_path: Path, name: str, networks: int) -> None:
    sets = read_settings(ROOT / "benchmarks" / name / "settings.yaml", epochs=2, width=0.125)
    assert [model["width"] for model in sets["networks"]["models"]] == [0.125] * networks
    study = Study(name, (Chip("a", tmp_path / "a.tif", tmp_path / "b.tif"),), sets, tmp_path)
    study.write_configs((1, 2, 3))
    for fold in (1, 2, 3):
        text = study.config_path("networks", fold).read_text()
        config = parse_config(yaml.safe_load(text), tmp_path / "c.yaml")
        assert (config.split.fold_over, config.split.fold, config.training.epochs) == ("places", fold, 2)
        assert config.prediction.regions == "scored"
    plan = weights_plan(ROOT / "benchmarks" / name / "settings.yaml")
    if name == "everest":  # its weights are the demo's
        assert plan is None
        return
    assert plan is not None
    assert all(1 <= fold <= plan.folds for fold in plan.members)
    assert set(plan.kinds) <= {model["name"] for model in sets["networks"]["models"]}


def test_a_fold_may_train_several_networks_to_ship(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "models: []\nweights: {folds: 3, members: {2: {name: b}, 1: [{name: a}, {name: b}], 3: {name: a}}}\n"
    )
    plan = weights_plan(settings)
    assert plan is not None
    assert plan.members == {2: [{"name": "b"}], 1: [{"name": "a"}, {"name": "b"}], 3: [{"name": "a"}]}
    assert plan.kinds == ["b", "b", "a", "a"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--models", "nothing"), "has none of these"),
        (("--jobs", "0"), "give 1 or more"),
        (("--settings", "nowhere.yaml"), "there is no such file"),
        (("--settings", "words.yaml"), "is no configuration of networks"),
        (("--settings", "bytes.yaml"), "is no configuration of networks"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.yaml").write_text("only words")
    Path("bytes.yaml").write_bytes(b"\xf0\xff")
    monkeypatch.setattr("sys.argv", ["recipe", ".", "--out", "out", *words])
    settings = ROOT / "benchmarks" / "alps" / "settings.yaml"
    with pytest.raises(SystemExit) as stop:
        main(Benchmark("made-up", settings, lambda _: [Chip("a", Path("a.tif"), Path("b.tif"))], ()))
    assert told in f"{stop.value} {capsys.readouterr().err}"
    assert not Path("out").exists()


def test_a_few_regions_are_spread_over_the_list() -> None:
    chips = [Chip(str(n), Path("a"), Path("b")) for n in range(10)]
    assert [chip.name for chip in pick(chips, 3)] == ["0", "3", "6"]
    assert len(pick(chips, None)) == len(pick(chips, 99)) == 10


@pytest.mark.real
@pytest.mark.parametrize(
    ("find", "folder"), [(find_alps, "alps_sentinel2"), (find_zanskar, "zanskar_landsat8")]
)
def test_truth_is_read_as_the_data_mean_it(data_dir: Path, find: Callable[[Path], Any], folder: str) -> None:
    """Background is not hidden by a declared nodata of 0; what is 0 in any band is no data."""
    chips = find(data_dir / folder)
    truths = {"alps_sentinel2": "masks/*.tif", "zanskar_landsat8": "*_label.tif"}[folder]
    assert len(chips) == len(list((data_dir / folder).glob(truths))) > 0
    for chip in chips[:: len(chips) // 17]:
        scene = open_scene(chip.scene)
        truth = load_truth(chip.truth, scene.grid)
        with rasterio.open(chip.scene) as image, rasterio.open(chip.truth) as mask:
            values, expected = image.read(), mask.read(1)
        assert (truth == expected).all()
        with scene.open() as reader:
            valid = np.concatenate([part[2] for part in reader.strips()])
        assert (valid == (values != 0).all(0)).all()


@pytest.mark.real
def test_tiles_of_everest_are_its_scene_and_outlines(data_dir: Path, tmp_path: Path) -> None:
    chips = find_everest(cut_everest(data_dir / "everest_landsat7", tmp_path))
    assert len(chips) == 12
    folder = data_dir / "everest_landsat7"
    files = [folder / f"LE71400412000304SGS00_{part}.tif" for part in ("RGB", "B4")]
    whole = np.concatenate([rasterio.open(file).read() for file in files])
    grid = open_scene(files).grid
    seen = np.zeros(grid.shape, int)
    shares = []
    for chip in chips:
        with rasterio.open(chip.scene) as image, rasterio.open(chip.truth) as mask:
            assert image.descriptions == ("red", "green", "blue", "nir")
            values, truth, own = image.read(), mask.read(1), Grid(image.crs, image.transform, *image.shape)
        row, column = grid.place_of(own)
        part = np.s_[..., row : row + own.height, column : column + own.width]
        assert (values == whole[part]).all()
        seen[part] += 1
        shares.append(truth.sum())
    assert (seen == 1).all()
    assert sum(shares) == (load_truth(folder / "15_rgi60_glacier_outlines.gpkg", grid) == 1).sum()
