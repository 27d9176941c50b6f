import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from scipy.special import expit

from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.errors import (
    BandError,
    GlaciersegError,
    GridMismatchError,
    RequestError,
)
from glacierseg.experiment import run_experiment
from glacierseg.experiment.distil import more_ground, predict_teachers, taught
from glacierseg.experiment.teachers import find_teachers, notice_of_teachers
from glacierseg.models.device import InputScaling
from glacierseg.models.registry import create_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.raster.write import write_raster
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import PredictSettings, RunConfig, parse_config
from glacierseg.settings.train import TrainingPlan
from glacierseg.training.fit import fit
from glacierseg.weights.pack import pack_weights
from tests.experiment.test_run import BANDS, read, read_all, settings, table
from tests.helpers import blobs, easy_scene, write_scene
from tests.weights.shelves import facts, model_folder

STUDENT = {"name": "m_landsnet", "width": 0.125, "patch_px": 32, "batch_size": 4, "learning_rate": 5e-3}


def config(folder: Path, distil: dict[str, Any], **changes: Any) -> RunConfig:
    folder.mkdir(exist_ok=True)
    told = {"bands": {"top": 0}, "outputs": {"outlines": "none", "report": False}, **changes}
    return parse_config(settings(folder, distil={"student": STUDENT, **distil}, **told), folder / "c.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one network in eight symmetries and its student, which also sees a scene without truth."""
    folder = tmp_path_factory.mktemp("distil")
    rest = easy_scene(blobs(48, 48, 9), len(BANDS), seed=5)
    write_scene(folder / "rest.tif", rest, BANDS, nodata=0)
    move(folder / "rest.tif", 5000)
    asked = config(folder, {"scenes": ["rest.tif"]}, outputs={"outlines": "none", "report": True})
    return run_experiment(asked, folder / "out")


def move(path: Path, east_m: float) -> None:
    with rasterio.open(path, "r+") as dataset:
        dataset.transform = rasterio.Affine.translation(east_m, 0) @ dataset.transform


def asked_for(run: Path) -> RunConfig:
    import yaml

    return parse_config(yaml.safe_load((run / "config.yaml").read_text()), run / "config.yaml")


def copy_of(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def distances(finished: Path) -> list[dict[str, str]]:
    with (finished / "distil.csv").open() as file:
        return list(csv.DictReader(file))


def test_student_and_teachers_are_networks_of_the_run(finished: Path) -> None:
    student = finished / "m_landsnet_distilled" / "all"
    for name in ("model.safetensors", "model.json", "epochs.csv", "scores.json", "reliability.csv"):
        assert (student / name).exists()
    for folder in (student, finished / "teacher/all"):
        for end in ("probability", "mask", "refined"):
            assert (folder / f"r1_{end}.tif").exists()
    card = json.loads((student / "model.json").read_text())
    assert card["calibration"] is not None
    assert card["training"]["loss"] == "cross_entropy"
    assert card["training"]["regions"] == ["r0", "rest"]
    assert card["training"]["distilled_from"] == {
        "teachers": ["m_landsnet"], "networks": 1, "parameters": card["training"]["parameters"],
        "symmetries": True, "scenes_without_truth": 1, "truth_weight": 0.0,
    }  # fmt: skip
    assert {row["model"] for row in table(finished)} == {
        "threshold", "m_landsnet", "teacher", "m_landsnet_distilled"
    }  # fmt: skip
    page = (finished / "report.html").read_text()
    assert "Teachers and student" in page
    assert "M-LandsNet, distilled" in page


def test_the_teachers_are_seen_in_all_symmetries_and_kept(finished: Path, tmp_path: Path) -> None:
    seen = PredictSettings(symmetries=True, window_px=32)
    made = predict_scene(finished / "m_landsnet/all", finished.parent / "s1.tif", tmp_path, seen)
    np.testing.assert_array_equal(read(made.probability), read(finished / "teacher/all/r1_probability.tif"))
    assert (finished / "teacher/all/rest_probability.tif").exists(), "scenes without truth are taught, too"


def test_the_table_tells_scores_time_and_size(finished: Path) -> None:
    teacher, student = distances(finished)
    assert (teacher["model"], student["model"]) == ("teacher", "m_landsnet_distilled")
    truth = read(finished.parent / "m1.tif")
    for row in (teacher, student):
        folder = finished / row["model"] / "all"
        probability, mask = read(folder / "r1_probability.tif"), read(folder / "r1_mask.tif")
        known = (truth != 255) & np.isfinite(probability)
        p, t = probability[known].astype(float), truth[known] == 1
        hit, all_of_it = ((mask == 1) & (truth == 1)).sum(), ((mask[known] == 1) | t).sum()
        assert float(row["iou"]) == pytest.approx(hit / all_of_it)
        bins = np.minimum((p * 15).astype(int), 14)
        gaps = [abs((p - t)[bins == number].sum()) for number in range(15)]
        assert float(row["ece"]) == pytest.approx(sum(gaps) / len(p), abs=2e-3)
        assert float(row["seconds_per_megapixel"]) > 0
    weights = finished / "m_landsnet_distilled/all/model.safetensors"
    card = weights.with_name("model.json")
    assert float(student["megabytes"]) == (weights.stat().st_size + card.stat().st_size) / 1e6


def test_a_finished_student_stays_and_an_interrupted_one_ends_the_same(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = copy_of(finished, tmp_path), asked_for(finished)
    monkeypatch.setattr("glacierseg.report.write_report", lambda run: run / "report.html")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.tif")}
    weights = run / "m_landsnet_distilled/all/model.safetensors"
    whole = weights.read_bytes()
    shutil.rmtree(weights.parents[1])

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("glacierseg.experiment.training.fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(asked, run)
    run_experiment(asked, run)
    assert weights.read_bytes() == whole
    kept = [path for path in before if "m_landsnet_distilled" not in path.parts]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)


def test_teachers_that_changed_take_the_student_with_them(finished: Path, tmp_path: Path) -> None:
    run, asked = copy_of(finished, tmp_path), asked_for(finished)
    folder, student = RunFolder(run), run / "m_landsnet_distilled/all"
    ensemble = find_teachers(asked, folder)
    predict_teachers(ensemble, asked, [], folder)
    assert (student / "model.safetensors").exists()
    with torch.no_grad():
        next(ensemble.networks[0].parameters()).add_(1)
    predict_teachers(ensemble, asked, [], folder)
    assert not (student / "model.safetensors").exists()
    assert not list((run / "teacher/all").glob("*.tif"))
    # Beside it the report still says what is there; the table of the student is made again by the next call.


def test_another_configuration_is_refused(finished: Path, tmp_path: Path) -> None:
    asked = asked_for(finished)
    changed = asked.model_copy(update={"distil": asked.distil.replaced(truth_weight=0.25)})
    with pytest.raises(RequestError, match=r"distil\.truth_weight was 0\.0 and is now 0\.25"):
        run_experiment(changed, copy_of(finished, tmp_path))


def regions_of(folder: Path) -> list[Region]:
    """Left half trains, right half tests; truth is unknown in a corner, and data miss in another."""
    mask = blobs(40, 60, 3)
    mask[:5, :5] = 255
    roles = np.where(np.arange(60) < 30, 1, 3).astype(np.uint8)
    scene = open_scene(write_scene(folder / "s.tif", easy_scene(mask == 1, len(BANDS)), BANDS))
    return [Region("r", scene, mask, np.broadcast_to(roles, mask.shape).copy())]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_soft_labels_are_the_teachers_probability_and_a_share_of_the_truth(
    tmp_path: Path, weight: float
) -> None:
    (region,) = regions_of(tmp_path)
    asked = config(tmp_path, {"truth_weight": weight})
    probability = np.random.default_rng(0).random(region.truth.shape).astype(np.float32)
    probability[35:, :9] = np.nan
    own = RunFolder(tmp_path / "out").model("teacher", "all")
    grid = region.scene.grid
    write_raster(own.probability("r"), probability, grid, bands=["p"], nodata=float("nan"))
    (found,) = taught(asked, [region], RunFolder(tmp_path / "out"))
    expected = np.where(
        region.truth == 255, probability, weight * (region.truth == 1) + (1 - weight) * probability
    )
    assert found.soft is not None
    known = np.isfinite(probability)
    assert np.abs(found.soft[known] / 254 - expected[known]).max() < 0.5 / 254 + 1e-6
    assert (found.soft[~known] == 255).all()
    # Where the truth is unknown patches still lie; test ground and known truth stay as they are.
    filled = (region.truth == 255) & (region.roles == 1)
    np.testing.assert_array_equal(found.truth[filled], (probability[filled] >= 0.5).astype(np.uint8))
    np.testing.assert_array_equal(found.truth[~filled], region.truth[~filled])


def test_each_teacher_looks_in_windows_of_its_own_size(tmp_path: Path) -> None:
    asked = config(tmp_path, {"teachers": ["a", "b", "c"]}, models=[])
    told = {"bands": BANDS, "band_mean": (100.0,) * 8, "band_std": (30.0,) * 8}
    for name, patch_px in (("a", 16), ("b", 32), ("c", 32)):
        model_folder(tmp_path / name, ord(name), **told, patch_px=patch_px)
    folder = RunFolder(tmp_path / "out")
    ensemble = find_teachers(asked, folder)
    (region,) = regions_of(tmp_path)
    predict_teachers(ensemble, asked, [region], folder)
    singly = [
        read(
            predict_scene(
                tmp_path / name,
                region.scene,
                tmp_path / f"maps-{name}",
                PredictSettings(symmetries=True),
            ).probability
        )
        for name in "abc"
    ]
    own = folder.model("teacher", "all")
    np.testing.assert_allclose(read(own.probability("r")), np.mean(singly, 0), atol=1e-6)
    np.testing.assert_array_equal(read(own.mask("r")) == 1, read(own.probability("r")) >= 0.5)
    assert not [path for path in own.path.iterdir() if path.is_dir()]
    assert json.loads(own.timings.read_text())["predicted_px"] == region.truth.size
    same = asked.model_copy(update={"prediction": PredictSettings(window_px=24)})
    predict_teachers(ensemble, same, [region], folder)
    whole = predict_scene(
        [tmp_path / name for name in "abc"],
        region.scene,
        tmp_path / "together",
        PredictSettings(symmetries=True, window_px=24),
    )
    np.testing.assert_allclose(read(own.probability("r")), read(whole.probability), atol=1e-6)


def datasets(folder: Path, soft: NDArray[np.uint8], values: NDArray[np.uint8]) -> list[PatchDataset]:
    scene = open_scene(write_scene(folder / "taught.tif", values))
    roles = np.where(np.arange(soft.shape[1]) < 64, 1, 2).astype(np.uint8)
    truth = (soft >= 127).astype(np.uint8)
    region = Region("r", scene, truth, np.broadcast_to(roles, soft.shape).copy(), soft=soft)
    reader, scaling = PatchReader([region], 32), Scaling((100.0, 100.0), (30.0, 30.0))
    changes = Augmentation(brightness=0.1, noise=0.05)
    return [
        PatchDataset(
            reader,
            place_patches([region], "train", 32, overlap=0.5),
            "train",
            scaling,
            augmentation=changes,
            soft=True,
        ),
        PatchDataset(reader, place_patches([region], "validate", 32, overlap=0), "validate", scaling),
    ]


def test_a_student_comes_nearer_to_its_teacher_than_one_taught_nonsense(tmp_path: Path) -> None:
    values = easy_scene(blobs(64, 96, 4), 2)
    # A teacher that is never sure: between 0.2 and 0.8, by the two bands alone.
    teacher = 0.2 + 0.6 * expit((values[0].astype(float) - values[1]) / 20)
    soft = np.rint(teacher * 254).astype(np.uint8)
    shuffled = np.random.default_rng(1).permutation(soft.ravel()).reshape(soft.shape)

    def distance(labels: NDArray[np.uint8] | None) -> float:
        """Mean distance of the probabilities on ground that no student saw."""
        torch.manual_seed(0)
        network = create_model("m_landsnet", 2, 2, 0.125)
        train, validate = datasets(tmp_path, soft if labels is None else labels, values)
        if labels is not None:
            plan = TrainingPlan(
                loss="cross_entropy", learning_rate=5e-3, batch_size=4, epochs=6, monitor="last",
                patches_per_epoch=48, schedule="cosine",
            )  # fmt: skip
            fit(network, train, validate, plan, tmp_path / str(labels is soft))
        shown = torch.from_numpy(values[:, :, 64:]).permute(1, 2, 0)[None]
        scaled = InputScaling(train.scaling)(shown, torch.ones(1, 64, 32, dtype=torch.bool))
        with torch.inference_mode():
            found = network.eval()(scaled).softmax(1)[0, 1].numpy()
        return float(np.abs(found - teacher[:, 64:]).mean())

    learned, untrained, nonsense = distance(soft), distance(None), distance(shuffled)
    assert learned < 0.6 * untrained
    assert learned < 0.6 * nonsense


def test_scenes_without_truth_must_lie_off_all_ground_that_is_scored(tmp_path: Path) -> None:
    values = easy_scene(blobs(40, 60, 3), len(BANDS))
    write_scene(tmp_path / "far.tif", values, BANDS)
    asked = config(tmp_path, {"scenes": ["far.tif"]})
    regions = regions_of(tmp_path)
    with pytest.raises(RequestError, match=r"far\.tif: shares ground that validates or tests in region r"):
        more_ground(asked, regions)
    # Its east end touches the training half only.
    move(tmp_path / "far.tif", -10 * 30)
    (found,) = more_ground(asked, regions)
    assert (found.truth == 255).all()
    assert list(found.areas) == ["train"]
    move(tmp_path / "far.tif", -10)
    assert more_ground(asked, regions)
    move(tmp_path / "far.tif", 20)
    with pytest.raises(RequestError, match="leave it out"):
        more_ground(asked, regions)


def test_scenes_without_truth_have_the_bands_and_pixels_of_the_regions(tmp_path: Path) -> None:
    values = easy_scene(blobs(40, 60, 3), len(BANDS))
    regions = regions_of(tmp_path)
    write_scene(tmp_path / "few.tif", values[:7], BANDS[:7])
    with pytest.raises(BandError, match=r"few\.tif: lacks band_h of the bands of the regions; it has band_a"):
        more_ground(config(tmp_path, {"scenes": ["few.tif"]}), regions)
    write_scene(tmp_path / "coarse.tif", values, BANDS, pixel_m=30)
    with pytest.raises(GridMismatchError, match=r"coarse\.tif: has pixels of 30 m and the regions have 10 m"):
        more_ground(config(tmp_path, {"scenes": ["coarse.tif"]}), regions)
    (tmp_path / "more").mkdir()
    for name in ("b.tif", "more/b.tif"):
        write_scene(tmp_path / name, values, BANDS)
        move(tmp_path / name, 9000)
    with pytest.raises(RequestError, match="another region or scene called b; rename"):
        more_ground(config(tmp_path, {"scenes": ["b.tif", "more/b.tif"]}), regions)


def test_what_teachers_from_elsewhere_know_of_the_test_ground_is_said(finished: Path, tmp_path: Path) -> None:
    """The left 60 % of r0 trained the teacher; here its left 90 % tests: two thirds of it are known."""
    asked = config(tmp_path, {"teachers": [str(finished / "m_landsnet/all")]}, models=[])
    scene = open_scene(finished.parent / "s0.tif")
    trained = read(finished / "regions/r0_roles.tif") == 1
    roles = np.zeros(trained.shape, np.uint8)
    roles[:, :80] = 3
    region = Region("other", scene, np.zeros(trained.shape, np.uint8), roles)
    (said,) = notice_of_teachers(asked, [region])
    assert f"{trained[:, :80].mean():.1%} of the test pixels trained them" in said
    unknown = replace(region, roles=np.where(trained, 0, 3).astype(np.uint8))
    assert notice_of_teachers(asked, [unknown]) == []
    shutil.copytree(finished / "m_landsnet/all", tmp_path / "alone")
    asked = config(tmp_path, {"teachers": ["alone"]}, models=[])
    (said,) = notice_of_teachers(asked, [region])
    assert "whether they know the test ground is not known" in said


def test_teachers_may_all_come_from_elsewhere_and_the_student_is_packed_like_any_network(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "m_landsnet/all", tmp_path / "old")
    asked = config(
        tmp_path,
        {"teachers": ["old"], "symmetries": False, "student": {**STUDENT, "epochs": 1}},
        models=[],
        training={"patches_per_epoch": 8},
        prediction={"regions": "scored"},
    )
    run = run_experiment(asked, tmp_path / "out")
    np.testing.assert_array_equal(
        read(run / "teacher/all/r1_probability.tif"), read(finished / "m_landsnet/all/r1_probability.tif")
    )
    student = run / "m_landsnet_distilled/all"
    units = {"unit": "levels", "sensor": "Sentinel-2", "roles": {}, "units": {}}
    scenes = [open_scene(tmp_path / "s0.tif")]
    packed = pack_weights([student], "tiny", facts(**units), scenes, tmp_path / "shelf")
    made = predict_scene(packed.weights, tmp_path / "s1.tif", tmp_path / "maps")
    own = read_all(student / "r1_probability.tif")[0]
    np.testing.assert_allclose(read(made.probability), own, atol=0.01)
    # A teacher that changes under a run that was begun is noticed.
    (tmp_path / "old/model.json").write_text((tmp_path / "old/model.json").read_text() + " ")
    with pytest.raises(RequestError, match=r"old/model\.json: changed since"):
        run_experiment(asked, tmp_path / "out")


@pytest.mark.parametrize(
    ("distil", "words"),
    [
        ({"teachers": ["nowhere"]}, "nowhere: is no model folder"),
        ({"teachers": ["weights:nothing"]}, "no weights are named 'nothing'"),
        ({"teachers": ["others"]}, "lacks B2, B3, B4, B8 that the model was trained on; it has band_a"),
        ({"teachers": ["unfinished"]}, "unfinished: has no model.safetensors"),
        ({"scenes": ["nowhere.tif"]}, "nowhere.tif: no such file; check the path in distil.scenes"),
        ({"student": {**STUDENT, "start_from": "nowhere"}}, "nowhere: is no model folder"),
    ],
)
def test_what_cannot_teach_is_said_before_anything_is_trained(
    tmp_path: Path, distil: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("others", "unfinished"):
        model_folder(tmp_path / name)
    (tmp_path / "unfinished/model.safetensors").unlink()

    def trained(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("glacierseg.experiment.run.train", trained)
    with pytest.raises(GlaciersegError, match=words.replace(".", r"\.")) as raised:
        run_experiment(config(tmp_path, distil), tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out/config.yaml").exists()
