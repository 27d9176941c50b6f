import csv
import hashlib
import json
import os
import shutil
import signal
import time
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml
from sklearn import metrics

from glacierseg.errors import BandError, DataError, GlaciersegError, RequestError
from glacierseg.experiment import run_experiment
from glacierseg.experiment.calibration import PROBABILITY_COLUMNS
from glacierseg.predict.calibration import read_calibration
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.facts import SceneFacts, facts_of
from glacierseg.raster.write import write_json
from glacierseg.refine.files import refine_file, tuned_parameters
from glacierseg.runs.layout import RunFolder
from glacierseg.runs.results import read_results
from glacierseg.runs.write import begin, locked
from glacierseg.settings import RefineSettings, RunConfig, parse_config
from tests.helpers import blobs, easy_scene, forks, write_mask, write_scene

BANDS = [f"band_{name}" for name in "abcdefgh"]
HEIGHT, WIDTH = 64, 96
FACTS = SceneFacts(
    first_date=date(2020, 8, 20),
    last_date=date(2020, 8, 23),
    sensor="sentinel2",
    products=("S2A_1", "S2B_2"),
    unit="8-bit levels",
    masked=("cloud",),
)


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Two regions: one trains and validates by parts, the other tests; a nodata corner in both."""
    regions = []
    for number, roles in enumerate([{"train": {"x": [0, 0.6]}, "validate": {"x": [0.6, 1]}}, "test"]):
        mask = blobs(HEIGHT, WIDTH, 4 + 3 * number)
        values = easy_scene(mask, len(BANDS), seed=number)
        values[:, :6, :9] = 0
        mask[20:22] = 255
        tags = SceneFacts().tags if number else FACTS.tags
        write_scene(folder / f"s{number}.tif", values, BANDS, nodata=0, tags=tags)
        write_mask(folder / f"m{number}.tif", mask)
        regions.append(
            {"name": f"r{number}", "scene": f"s{number}.tif", "truth": f"m{number}.tif", "roles": roles}
        )
    return {
        "name": "tiny",
        "regions": regions,
        "models": [
            {"name": "m_landsnet", "width": 0.125, "patch_px": 32, "batch_size": 4, "learning_rate": 5e-3},
        ],
        "training": {"epochs": 5, "patches_per_epoch": 32, "schedule": "cosine"},
        "bands": {"top": 3},
        "outputs": {"report": False, "project": False},
        **changes,
    }  # fmt: skip


def config(folder: Path, **changes: Any) -> RunConfig:
    folder.mkdir(exist_ok=True)
    return parse_config(settings(folder, **changes), folder / "c.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return run_experiment(config(folder, outputs={"report": True}), folder / "out")


def again(finished: Path, asked: RunConfig | None = None) -> None:
    """Continues a finished run. Its page is drawn again each time, which takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glacierseg.report.write_report", lambda run: run / "report.html")
        run_experiment(asked or _same(finished), finished)


def table(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        result: np.ndarray = dataset.read(1)
        return result


def read_all(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        result: np.ndarray = dataset.read()
        return result


def test_every_file_of_the_contract_is_there(finished: Path) -> None:
    for name in ("config.yaml", "environment.json", "metrics.csv", "report.html"):
        assert (finished / name).stat().st_size > 0
    for bands in ("all", "top6"):
        folder = finished / "m_landsnet" / bands
        for name in ("model.safetensors", "model.json", "epochs.csv"):
            assert (folder / name).exists()
        for region in ("r0", "r1"):
            for end in ("_probability.tif", "_mask.tif", "_refined.tif", ".gpkg"):
                assert (folder / f"{region}{end}").exists()
    assert (finished / "m_landsnet/all/band_importance.csv").exists()
    assert (finished / "project.qgz").exists()
    assert not list(finished.rglob("*.part-*"))
    assert not list(finished.rglob("checkpoints"))


def test_outlines_of_the_network_that_validates_best_can_be_corrected(finished: Path) -> None:
    rows = [row for row in table(finished) if (row["role"], row["stage"]) == ("validate", "refined")]
    best = max((row for row in rows if row["model"] != "threshold"), key=lambda row: float(row["iou"]))
    found = {path.relative_to(finished) for path in finished.rglob("*_corrections.gpkg")}
    assert found == {
        Path(best["model"], best["bands"], f"{region}_corrections.gpkg") for region in ("r0", "r1")
    }
    for path in found:
        assert {"outlines", "checked", "places"} <= set(gpd.list_layers(finished / path)["name"])


def test_the_top_bands_are_the_first_of_the_table_in_scene_order(finished: Path) -> None:
    card = json.loads((finished / "m_landsnet/top6/model.json").read_text())
    with (finished / "m_landsnet/all/band_importance.csv").open() as file:
        ranked = [row["band"] for row in csv.DictReader(file)]
    assert card["bands"] == sorted(ranked[:3])
    assert sorted(ranked) == BANDS


def test_the_card_keeps_what_the_network_saw(finished: Path) -> None:
    card = json.loads((finished / "m_landsnet/all/model.json").read_text())
    assert card["unit"] == "8-bit levels"
    assert card["ranges"] == {}
    regions = json.loads((finished / "regions.json").read_text())
    assert card["pixel_m"] == pytest.approx(regions[0]["pixel_size_m"][0], abs=0.01)
    scene, roles = read_all(Path(regions[0]["scene_paths"][0])), read(finished / "regions/r0_roles.tif")
    truth = read(finished / "regions/r0_truth.tif")
    pixels = scene[:, (roles == 1) & (truth != 255)]
    for name, values in zip(card["bands"], card["band_values"], strict=True):
        own = pixels[card["bands"].index(name)]
        assert values["median"] == pytest.approx(np.median(own), abs=1)
        assert values["high"] == pytest.approx(np.percentile(own, 99.9), abs=3)


def test_facts_of_the_scene_follow_it_to_maps_card_inventory_and_page(finished: Path) -> None:
    for region, facts in (("r0", FACTS), ("r1", SceneFacts())):
        for model in ("m_landsnet/all", "threshold/all"):
            for end in ("mask", "refined"):
                assert facts_of(finished / model / f"{region}_{end}.tif") == facts
        assert facts_of(finished / f"m_landsnet/all/{region}_probability.tif") == facts
    card = json.loads((finished / "m_landsnet/all/model.json").read_text())
    assert card["training_dates"] == ["2020-08-20", "2020-08-23"]
    regions = {one.name: one.facts for one in read_results(finished).regions}
    assert regions == {"r0": FACTS, "r1": SceneFacts()}
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert (
        "EPSG:32643; 2020-08-20 to 2020-08-23, sentinel2, S2A_1, S2B_2, 8-bit levels, masked: cloud" in page
    )


def test_scores_equal_scikit_learn_on_the_same_pixels(finished: Path) -> None:
    rows = table(finished)
    roles = {"train": 1, "validate": 2, "test": 3}
    assert {(r["model"], r["bands"]) for r in rows} == {
        ("threshold", "all"), ("m_landsnet", "all"), ("m_landsnet", "top6"),
    }  # fmt: skip
    for row in rows:
        folder = finished / row["model"] / row["bands"]
        predicted = read(folder / f"{row['region']}_{'mask' if row['stage'] == 'raw' else 'refined'}.tif")
        truth = read(finished / "regions" / f"{row['region']}_truth.tif")
        role = read(finished / "regions" / f"{row['region']}_roles.tif")
        keep = (truth != 255) & (predicted != 255) & (role == roles[row["role"]])
        t, p = truth[keep], predicted[keep]
        expected = {
            "overall_accuracy": metrics.accuracy_score(t, p),
            "iou": metrics.jaccard_score(t, p),
            "f1": metrics.f1_score(t, p),
            "precision": metrics.precision_score(t, p),
            "recall": metrics.recall_score(t, p),
            "kappa": metrics.cohen_kappa_score(t, p),
        }
        for key, value in expected.items():
            assert float(row[key]) == pytest.approx(value, abs=1e-12), (key, row)
        tn, fp, fn, tp = metrics.confusion_matrix(t, p).ravel().tolist()
        assert [int(row[key]) for key in ("tn", "fp", "fn", "tp")] == [tn, fp, fn, tp]


def read_table(run: Path, name: str) -> list[dict[str, str]]:
    with (run / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_score_of_a_run_lies_within_its_bounds(finished: Path) -> None:
    for row in table(finished):
        if float(row["interval_blocks"]) >= 2:
            for name in ("iou", "f1", "precision", "recall", "overall_accuracy"):
                assert float(row[f"{name}_low"]) <= float(row[name]) + 0.02
                assert float(row[name]) <= float(row[f"{name}_high"]) + 0.02


def test_the_tables_beside_the_metrics_add_up_to_them(finished: Path) -> None:
    metrics = table(finished)
    whose = ("model", "bands", "role", "stage")
    for pooled in read_table(finished, "pooled"):
        assert pooled["region"] == "all"
        own = [row for row in metrics if all(row[key] == pooled[key] for key in whose)]
        for count in ("tp", "fp", "fn", "tn"):
            assert int(pooled[count]) == sum(int(row[count]) for row in own)
    zones, glaciers = read_table(finished, "zones"), read_table(finished, "glaciers")
    boundaries = read_table(finished, "boundaries")
    assert len(boundaries) == len(metrics)
    for row, boundary in zip(metrics, boundaries, strict=True):
        same = [key for key in (*whose, "region") if row[key] == boundary[key]]
        assert len(same) == 5
        sizes = [z for z in zones if z["kind"] == "size_km2" and all(z[k] == row[k] for k in same)]
        assert sum(int(zone["tp"]) for zone in sizes) == int(row["tp"])
        assert sum(int(zone["fp"]) for zone in sizes) == int(row["fp"])
        own = [glacier for glacier in glaciers if all(glacier[key] == row[key] for key in same)]
        assert sum(float(g["truth_km2"]) for g in own) == pytest.approx(float(row["truth_km2"]))
        if boundary["polis_m"]:
            assert float(boundary["mean_m"]) <= float(boundary["hausdorff_m"])
            assert 0 <= float(boundary["iou_buffer_10m"]) <= 1


def test_pixels_without_data_count_as_background_too(finished: Path) -> None:
    scores = {
        row["stage"]: row for row in table(finished) if (row["model"], row["region"]) == ("threshold", "r1")
    }
    truth = read(finished.parent / "m1.tif")
    for stage, name in (("raw", "mask"), ("refined", "refined")):
        mask = read(finished / f"threshold/all/r1_{name}.tif")
        assert (mask[:6, :9] == 255).all()
        known = truth != 255
        found, true = np.where(mask == 255, 0, mask)[known], truth[known]
        row = scores[stage]
        assert int(row["undefined_px"]) == 6 * 9
        assert float(row["iou_undefined_as_background"]) == pytest.approx(metrics.jaccard_score(true, found))
        assert float(row["mcc_undefined_as_background"]) == pytest.approx(
            metrics.matthews_corrcoef(true, found)
        )
        # No band tells ice from stones.
        assert row["debris_recall"] == row["ice_rule"] == ""
    with (finished / "pooled.csv").open() as file:
        pooled = next(row for row in csv.DictReader(file) if row["role"] == "test")
    assert pooled["iou_undefined_as_background"] == scores["raw"]["iou_undefined_as_background"]


def test_pixels_without_data_come_out_as_nodata(finished: Path) -> None:
    for bands in ("all", "top6"):
        mask = read(finished / "m_landsnet" / bands / "r1_mask.tif")
        assert (mask[:6, :9] == 255).all()
        assert (mask == 255).sum() == 54
        assert np.isnan(read(finished / "m_landsnet" / bands / "r1_probability.tif")[:6, :9]).all()
        assert (read(finished / "m_landsnet" / bands / "r1_refined.tif")[:6, :9] == 255).all()


def test_outlines_are_valid_and_as_large_as_their_masks(finished: Path) -> None:
    folder = finished / "m_landsnet/all"
    for layer, mask in (("raw", "mask"), ("refined", "refined")):
        outlines = gpd.read_file(folder / "r1.gpkg", layer=layer)
        with rasterio.open(folder / f"r1_{mask}.tif") as dataset:
            assert outlines.crs == dataset.crs
            area_m2 = (dataset.read(1) == 1).sum() * 100
        assert outlines.is_valid.all()
        assert outlines.area.sum() == pytest.approx(area_m2, rel=1e-9)


def test_refinement_is_tuned_on_validation_pixels_only(finished: Path) -> None:
    found = json.loads((finished / "m_landsnet/all/refinement.json").read_text())
    assert found["tuned_on"] == ["r0"]
    assert found["best_iou"] >= found["raw_iou"]
    validated = next(
        row for row in table(finished)
        if (row["model"], row["bands"], row["role"], row["stage"]) == ("m_landsnet", "all", "validate", "raw")
    )  # fmt: skip
    assert float(validated["iou"]) == pytest.approx(found["raw_iou"])


def test_refinement_tells_what_it_changed_and_what_that_is_worth_on_test_pixels(finished: Path) -> None:
    rows = table(finished)
    found = json.loads((finished / "m_landsnet/all/refinement.json").read_text())
    assert found["objective"] == "iou"
    assert set(found["changes"]) == {row["region"] for row in rows}
    for region, changes in found["changes"].items():
        assert [change["step"] for change in changes] == ["merge", "smooth", "fill", "remove"]
        before, after = (
            read(finished / f"m_landsnet/all/{region}_{end}.tif") == 1 for end in ("mask", "refined")
        )
        assert changes[0]["area_before_km2"] == pytest.approx(before.sum() / 1e4)
        assert changes[-1]["area_after_km2"] == pytest.approx(after.sum() / 1e4)
    uses = {("tuned", "validate"), ("test", "test")}
    assert {(gain["region"], gain["use"]) for gain in found["gains"]} == {
        (row["region"], use) for use, role in uses for row in rows if row["role"] == role
    }
    for gain in found["gains"]:
        role = dict(uses)[gain["use"]]
        for stage in ("raw", "refined"):
            score = next(
                row for row in rows
                if (row["model"], row["bands"], row["region"], row["role"], row["stage"])
                == ("m_landsnet", "all", gain["region"], role, stage)
            )  # fmt: skip
            assert gain[stage]["iou"] == pytest.approx(float(score["iou"]))


def test_what_was_tuned_goes_with_the_network_to_other_scenes(finished: Path, tmp_path: Path) -> None:
    for bands in ("all", "top6"):
        folder = finished / "m_landsnet" / bands
        best = json.loads((folder / "refinement.json").read_text())["best"]
        assert json.loads((folder / "model.json").read_text())["refinement"] == best
        # The run's own masks were there before; the file beside them tells.
        assert tuned_parameters(folder / "r1_mask.tif") == RefineSettings(**best)
        assert tuned_parameters(folder / "r1_refined.tif") is None
    moved = write_scene(tmp_path / "moved.tif", read_all(finished.parent / "s1.tif"), BANDS, nodata=0)
    shutil.copytree(folder.parent / "all", tmp_path / "network")
    (tmp_path / "network/refinement.json").unlink()
    mask = predict_scene(tmp_path / "network", moved, tmp_path / "maps").mask
    best = json.loads((finished / "m_landsnet/all/refinement.json").read_text())["best"]
    assert tuned_parameters(mask) == RefineSettings(**best)
    refine_file(mask, tmp_path / "refined.tif")
    np.testing.assert_array_equal(
        read(tmp_path / "refined.tif"), read(finished / "m_landsnet/all/r1_refined.tif")
    )


def test_probabilities_are_calibrated_on_validation_pixels_and_scored_with_the_raw_masks(
    finished: Path,
) -> None:
    stored = json.loads((finished / "m_landsnet/all/model.json").read_text())["calibration"]
    assert stored["regions"] == ["r0"]
    assert stored["nll_after"] <= stored["nll_before"]  # equal where the network needs no calibration
    roles = {"train": 1, "validate": 2, "test": 3}
    for row in table(finished):
        if row["model"] == "threshold" or row["stage"] == "refined":
            assert not any(row[column] for column in PROBABILITY_COLUMNS)
            continue
        folder = finished / row["model"] / row["bands"]
        calibration = read_calibration(folder)
        assert calibration is not None
        probability = read(folder / f"{row['region']}_probability.tif")
        truth = read(finished / "regions" / f"{row['region']}_truth.tif")
        role = read(finished / "regions" / f"{row['region']}_roles.tif")
        keep = (truth != 255) & ~np.isnan(probability) & (role == roles[row["role"]])
        p, t = probability[keep].astype(float), truth[keep]
        better = calibration.apply(p).astype(float)
        assert float(row["brier"]) == pytest.approx(metrics.brier_score_loss(t, p), abs=1e-7)
        assert float(row["brier_calibrated"]) == pytest.approx(metrics.brier_score_loss(t, better), abs=1e-7)
        if calibration.scale.at_bound:  # rounding decides whether so small a network separates the classes
            assert not any(row[f"area_km2_{name}"] for name in ("expected", "lower", "upper"))
        else:  # a pixel is 10 m wide
            assert float(row["area_km2_expected"]) == pytest.approx(better.sum() * 1e-4, rel=1e-6)
            assert 0 <= float(row["area_km2_lower"]) < float(row["area_km2_expected"])
            assert float(row["area_km2_expected"]) < float(row["area_km2_upper"]) <= t.size * 1e-4
        if row["role"] == "validate":
            assert calibration.pixels == t.size
            assert better.sum() == pytest.approx(t.sum(), rel=1e-3)


def test_reliability_diagrams_are_those_of_the_rasters(finished: Path) -> None:
    folder = finished / "m_landsnet" / "all"
    calibration = read_calibration(folder)
    assert calibration is not None
    with (folder / "reliability.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["region"], row["role"], row["kind"]) for row in rows} == {
        (region, role, kind)
        for region, role in (("r0", "train"), ("r0", "validate"), ("r1", "test"))
        for kind in ("raw", "calibrated")
    }
    truth, probability = read(finished / "regions/r1_truth.tif"), read(folder / "r1_probability.tif")
    known = (truth != 255) & ~np.isnan(probability)
    for kind, chance in (("raw", probability), ("calibrated", calibration.apply(probability))):
        for row in (row for row in rows if row["region"] == "r1" and row["kind"] == kind):
            lower, upper = float(row["lower"]), float(row["upper"])
            inside = known & (chance > lower - (lower == 0)) & (chance <= upper)
            assert int(row["pixels"]) == inside.sum()
            assert float(row["confidence"]) == pytest.approx(chance[inside].mean(dtype=float), abs=1e-6)
            assert float(row["glacier_share"]) == pytest.approx((truth[inside] == 1).mean(), abs=1e-9)


def test_a_run_predicts_with_symmetries_on_request(tmp_path: Path) -> None:
    asked = config(
        tmp_path,
        prediction={"symmetries": True, "window_px": 48},
        training={"epochs": 1, "patches_per_epoch": 8},
        bands={"top": 0},
    )
    folder = run_experiment(asked, tmp_path / "out") / "m_landsnet" / "all"
    with rasterio.open(folder / "r1_probability.tif") as dataset:
        assert dataset.descriptions == ("glacier_probability", "spread")
        assert dataset.tags()["window_px"] == "48"
        assert dataset.tags()["spread_of"] == "8 symmetries"
    calibration = read_calibration(folder)
    assert calibration is None or calibration.symmetries


def test_running_again_changes_nothing_that_is_finished(finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*.tif")}
    before |= {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    again(finished)
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in before.items())


def _same(finished: Path) -> RunConfig:
    return parse_config(yaml.safe_load((finished / "config.yaml").read_text()), finished / "config.yaml")


def test_another_configuration_is_refused_by_the_key_that_changed(finished: Path) -> None:
    changed = _same(finished)
    changed = changed.model_copy(update={"training": changed.training.model_copy(update={"epochs": 9})})
    with pytest.raises(RequestError, match=r"training\.epochs was 5 and is now 9"):
        run_experiment(changed, finished)


@pytest.mark.parametrize("digests", [True, False])
def test_a_changed_input_is_refused(tmp_path: Path, digests: bool) -> None:
    asked = config(tmp_path / "data", models=["m_landsnet"])
    folder = RunFolder(tmp_path / "out")
    inputs = [asked.regions[0].scene[0]]
    assert begin(folder, asked, inputs) is False
    assert begin(folder, asked, inputs) is True
    stamps = json.loads((folder.path / "inputs.json").read_text())
    assert stamps[str(inputs[0])][2] == hashlib.sha256(inputs[0].read_bytes()).hexdigest()
    if not digests:  # an earlier version kept none
        stamps = {path: stamp[:2] for path, stamp in stamps.items()}
        write_json(folder.path / "inputs.json", stamps)
        assert begin(folder, asked, inputs) is True
    os.utime(inputs[0], (1, 1))
    if digests:  # the same bytes at another time, as a copy has them
        assert begin(folder, asked, inputs) is True
        content = bytearray(inputs[0].read_bytes())
        content[-1] ^= 1
        inputs[0].write_bytes(content)
    with pytest.raises(RequestError, match=r"s0\.tif: changed since .* another --out, or remove that"):
        begin(folder, asked, inputs)
    assert begin(RunFolder(tmp_path / "other"), asked, inputs) is False
    shutil.rmtree(folder.path)
    assert begin(folder, asked, inputs) is False


def test_an_input_that_cannot_be_read_is_named_and_leaves_no_run(tmp_path: Path) -> None:
    asked = config(tmp_path / "data", models=["m_landsnet"])
    folder = RunFolder(tmp_path / "out")
    with pytest.raises(DataError, match=r"data: cannot be read \(Is a directory\)"):
        begin(folder, asked, [tmp_path / "data"])
    assert not (folder.path / "config.yaml").exists()


def test_an_input_of_another_size_is_refused(tmp_path: Path) -> None:
    asked = config(tmp_path / "data", models=["m_landsnet"])
    folder = RunFolder(tmp_path / "out")
    inputs = [asked.regions[0].scene[0]]
    begin(folder, asked, inputs)
    stat = inputs[0].stat()
    inputs[0].write_bytes(inputs[0].read_bytes() + b"x")
    os.utime(inputs[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(RequestError, match=r"s0\.tif: changed since"):
        begin(folder, asked, inputs)


def test_regions_with_other_bands_are_refused_by_name(tmp_path: Path) -> None:
    asked = settings(tmp_path)
    write_scene(tmp_path / "s1.tif", np.ones((7, HEIGHT, WIDTH), np.uint8), BANDS[:7])
    with pytest.raises(BandError, match="they differ in band_h"):
        run_experiment(parse_config(asked, tmp_path / "c.yaml"), tmp_path / "out")


def test_random_split_says_that_it_leaks(tmp_path: Path) -> None:
    data = settings(tmp_path, split={"method": "random"}, bands={"top": 0})
    for region in data["regions"]:
        region["roles"] = ["train", "test"]
    data["training"]["epochs"] = 1
    run = run_experiment(parse_config(data, tmp_path / "c.yaml"), tmp_path / "out")
    assert any("leak" in notice for notice in json.loads((run / "notices.json").read_text()))
    card = json.loads((run / "m_landsnet/all/model.json").read_text())
    assert card["training"]["validation_pixels_seen_in_training"] > 0.5
    assert card["training"]["validation_patches"] == round(
        0.2 * (card["training"]["patches"] + card["training"]["validation_patches"])
    )
    assert {row["role"] for row in table(run)} == {"train", "test"}


def test_without_a_validate_role_blocks_of_the_train_part_validate(tmp_path: Path) -> None:
    data = settings(tmp_path, bands={"top": 0}, outputs={"report": False, "outlines": "none"})
    data["regions"][0]["roles"] = {"train": {"x": [0, 0.8]}, "test": {"x": [0.8, 1]}}
    data["models"][0]["patch_px"] = 16
    data["training"]["epochs"] = 1
    run = run_experiment(parse_config(data, tmp_path / "c.yaml"), tmp_path / "out")
    roles = read(run / "regions" / "r0_roles.tif")
    assert (roles[:, 77:] == 3).all()
    assert 0.1 < (roles[:, :77] == 2).mean() < 0.35
    card = json.loads((run / "m_landsnet/all/model.json").read_text())
    assert card["training"]["validation_pixels_seen_in_training"] == 0


def test_a_scene_smaller_than_a_patch_works(tmp_path: Path) -> None:
    data = settings(tmp_path, bands={"top": 0})
    data["models"][0]["patch_px"] = 128
    data["training"] = {"epochs": 1}
    run = run_experiment(parse_config(data, tmp_path / "c.yaml"), tmp_path / "out")
    assert read(run / "m_landsnet/all/r1_mask.tif").shape == (HEIGHT, WIDTH)


IMPORTS = """
from pathlib import Path
import yaml
import glacierseg.report
from glacierseg.settings import parse_config
from glacierseg.cli.output import shown
from glacierseg.experiment import run_experiment
"""
RUN = """
path = Path(words[0])
with shown():
    run_experiment(parse_config(yaml.safe_load(path.read_text()), path), path.parent / "out")
"""


def test_killed_at_any_stage_it_goes_on_and_ends_with_the_same_table(tmp_path: Path) -> None:
    paths = []
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "c.yaml")
        asked = settings(tmp_path / name, training={"epochs": 4, "patches_per_epoch": 16})
        paths[-1].write_text(yaml.safe_dump(asked))
    killed, whole = paths
    with forks(IMPORTS, RUN) as start:
        for sign in ("refinement:", "epoch    2", "kept epoch", "best bands", "[m_landsnet top6] epoch    1"):
            process = start(killed)
            for line in process.lines():
                if sign in line:
                    time.sleep(0.1)
                    process.kill()
                    break
            assert process.wait() == -signal.SIGKILL
        assert start(killed).wait() == 0
        scores = table(killed.parent / "out")
        again = start(killed)
        assert again.wait() == 0
        assert "trained already" in again.told
        assert table(killed.parent / "out") == scores
        assert start(whole).wait() == 0
    assert table(whole.parent / "out") == scores


def test_a_removed_mask_is_made_again_with_all_that_follows_from_it(finished: Path) -> None:
    folder = finished / "m_landsnet/all"
    before = (finished / "metrics.csv").read_text()
    (folder / "r1_mask.tif").unlink()
    stale = {
        name: (folder / name).stat().st_mtime_ns for name in ("r1_refined.tif", "r1.gpkg", "scores.json")
    }
    again(finished)
    assert all((folder / name).stat().st_mtime_ns > stamp for name, stamp in stale.items())
    assert (finished / "metrics.csv").read_text() == before


def test_two_processes_do_not_work_in_one_folder(finished: Path) -> None:
    with (
        locked(RunFolder(finished)),
        pytest.raises(RequestError, match="another process is working there"),
    ):
        again(finished)


def test_a_beginning_that_failed_does_not_bind_the_corrected_configuration(tmp_path: Path) -> None:
    data = settings(tmp_path, bands={"top": 0}, outputs={"report": False, "outlines": "none"})
    data["training"]["epochs"] = 1
    wrong = {**data, "bands": {"use": ["ultraviolet"], "top": 0}}
    with pytest.raises(GlaciersegError, match="ultraviolet"):
        run_experiment(parse_config(wrong, tmp_path / "c.yaml"), tmp_path / "out")
    run_experiment(parse_config(data, tmp_path / "c.yaml"), tmp_path / "out")
    assert (tmp_path / "out/metrics.csv").exists()


def test_what_was_made_with_removed_weights_is_made_again(finished: Path) -> None:
    folder = finished / "m_landsnet/top6"
    before = (finished / "metrics.csv").read_text()
    (folder / "model.safetensors").unlink()
    stale = (folder / "r1_mask.tif").stat().st_mtime_ns
    again(finished)
    assert (folder / "r1_mask.tif").stat().st_mtime_ns > stale
    assert (finished / "metrics.csv").read_text() == before


@pytest.mark.parametrize(
    "name", ["threshold/all/threshold.json", "m_landsnet/all/scores.json", "config.yaml"]
)
def test_a_damaged_file_of_a_run_is_named_in_one_line(finished: Path, name: str) -> None:
    whole = (finished / name).read_text()
    asked = _same(finished)
    try:
        (finished / name).write_text(whole[: len(whole) // 2] + "\n: [")
        with pytest.raises(DataError, match="is damaged"):
            again(finished, asked)
    finally:
        (finished / name).write_text(whole)


def test_only_what_is_scored_is_predicted_on_request(tmp_path: Path) -> None:
    asked = settings(tmp_path, bands={"top": 0}, prediction={"regions": "scored"})
    asked["training"]["epochs"] = 1
    asked["regions"][0]["roles"] = "train"
    extra = write_scene(tmp_path / "s2.tif", easy_scene(blobs(HEIGHT, WIDTH, 9), len(BANDS)), BANDS, nodata=0)
    write_mask(tmp_path / "m2.tif", blobs(HEIGHT, WIDTH, 9))
    asked["regions"].append({"name": "r2", "scene": str(extra), "truth": "m2.tif", "roles": "validate"})
    run = run_experiment(parse_config(asked, tmp_path / "c.yaml"), tmp_path / "out")
    for folder in (run / "threshold" / "all", run / "m_landsnet" / "all"):
        assert {path.name for path in folder.glob("*_mask.tif")} == {"r1_mask.tif", "r2_mask.tif"}
    assert {(row["region"], row["role"]) for row in table(run)} == {("r1", "test"), ("r2", "validate")}
    timings = json.loads((run / "m_landsnet" / "all" / "timings.json").read_text())
    assert timings["predicted_px"] == 2 * HEIGHT * WIDTH
    assert timings["prediction_s"] > 0


def test_a_run_of_a_version_without_some_setting_is_continued(finished: Path) -> None:
    written = finished / "config.yaml"
    asked = _same(finished)
    known = yaml.safe_load(written.read_text())
    del known["prediction"]["regions"]
    written.write_text(yaml.safe_dump(known))
    again(finished, asked)
    known["prediction"]["overlap"] = 0.25
    written.write_text(yaml.safe_dump(known))
    with pytest.raises(RequestError, match=r"prediction\.overlap was 0\.25"):
        again(finished, asked)
    written.write_text(yaml.safe_dump({**known, "prediction": {**known["prediction"], "overlap": 0.5}}))
