from pathlib import Path

import numpy as np
import pytest

from glacierseg.errors import DataError, RequestError
from glacierseg.evaluate.counts import count, scores_of
from glacierseg.experiment.benchmark import compare_runs
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_json
from glacierseg.runs.layout import RunFolder
from glacierseg.settings.score import BootstrapSettings
from tests.helpers import blobs, write_mask, write_scene

TRUTH = blobs(150, 150, seed=1)
TRUTH[:3] = 255


def make_run(
    path: Path,
    shift: int,
    model: str = "unetplusplus",
    test_from: int = 50,
    regions: tuple[str, ...] = ("north",),
) -> Path:
    folder = RunFolder(path)
    roles = np.ones(TRUTH.shape, np.uint8)
    roles[:, test_from:] = 3
    own = folder.model(model, "all")
    mask = np.roll(np.where(TRUTH == 255, 0, TRUTH).astype(np.uint8), shift, axis=1)
    write_json(path / "regions.json", [{"name": name} for name in regions])
    for name in regions:
        write_scene(folder.truth(name), TRUTH[None], ["glacier"], nodata=255)
        write_mask(folder.roles(name), roles)
        write_mask(own.mask(name), mask)
        write_mask(own.refined(name), mask)
    return path


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for run in ("a", "b", "c"):
        (tmp_path / run / "regions").mkdir(parents=True)


def test_runs_are_compared_on_test_pixels_of_both(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 9, test_from=40), make_run(tmp_path / "b", 2, test_from=60)
    raw, refined = compare_runs(a, b, BootstrapSettings(draws=200))
    assert (raw.stage, refined.stage) == ("raw", "refined")
    assert raw.regions == ("north",)
    truth = TRUTH.copy()
    truth[:, :60] = 255
    mask = np.roll(np.where(TRUTH == 255, 0, TRUTH), 2, axis=1)
    assert raw.comparison.scores["iou"].b == pytest.approx(scores_of(count(mask, truth)).iou)
    assert raw.comparison.scores["iou"].low > 0
    assert raw.to_dict()["scores"]["iou"]["more_than_noise"]


def test_undefined_pixels_count_as_background_where_a_run_kept_their_truth(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 9, test_from=40), make_run(tmp_path / "b", 2, test_from=60)
    assert (
        "iou_undefined_as_background"
        not in compare_runs(a, b, BootstrapSettings(draws=20))[0].comparison.scores
    )
    whole = TRUTH.copy()
    whole[:3] = 1
    for run in (a, b):
        write_mask(RunFolder(run).whole_truth("north"), whole)
        path = RunFolder(run).model("unetplusplus", "all").mask("north")
        write_mask(path, np.where(TRUTH == 255, 255, read_mask(path)))
    found = compare_runs(a, b, BootstrapSettings(draws=20))[0].comparison
    whole[:, :60] = 255
    for side, shift in (("a", 9), ("b", 2)):
        mask = np.roll(np.where(TRUTH == 255, 0, TRUTH), shift, axis=1)
        mask[:3] = 0
        expected = scores_of(count(mask, whole)).mcc
        assert getattr(found.scores["mcc_undefined_as_background"], side) == pytest.approx(expected)
        assert getattr(found.scores["mcc"], side) > expected


def test_regions_without_glacier_count_too(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / run, shift, regions=("north", "plain")) for run, shift in (("a", 9), ("b", 2))
    ]
    false = np.zeros(TRUTH.shape, np.uint8)
    false[10:20, 60:90] = 1
    for run, mask in zip(runs, (false, np.zeros_like(false)), strict=True):
        nowhere = np.where(TRUTH == 255, 255, 0).astype(np.uint8)
        write_scene(RunFolder(run).truth("plain"), nowhere[None], ["glacier"], nodata=255)
        write_mask(RunFolder(run).model("unetplusplus", "all").mask("plain"), mask)
    raw = compare_runs(runs[0], runs[1], BootstrapSettings(draws=50))[0]
    assert raw.regions == ("north", "plain")
    truth = TRUTH.copy()
    truth[:, :50] = 255
    alarms = count(false, np.where(truth == 255, 255, 0).astype(np.uint8))
    assert alarms.fp == 300
    shifted = np.roll(np.where(TRUTH == 255, 0, TRUTH).astype(np.uint8), 9, axis=1)
    assert raw.comparison.scores["iou"].a == pytest.approx(scores_of(count(shifted, truth) + alarms).iou)


def test_regions_that_show_the_same_ground_make_no_difference_more_certain(tmp_path: Path) -> None:
    once = compare_runs(
        make_run(tmp_path / "a", 9), make_run(tmp_path / "b", 2), BootstrapSettings(draws=50)
    )[0].comparison
    both = ("north", "north again")
    a, b = (make_run(tmp_path / run, shift, regions=both) for run, shift in (("a", 9), ("b", 2)))
    twice = compare_runs(a, b, BootstrapSettings(draws=50))[0].comparison
    assert twice.pixels == 2 * once.pixels
    assert (twice.blocks, twice.scores["iou"]) == (once.blocks, once.scores["iou"])


def test_other_models_must_be_named(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 3), make_run(tmp_path / "b", 3, model="glavitu")
    with pytest.raises(RequestError, match="no model is in both"):
        compare_runs(a, b)
    with pytest.raises(RequestError, match="of neither"):
        compare_runs(a, b, model_a="unetplusplus/all")
    with pytest.raises(RequestError, match="has no glavitu/top6"):
        compare_runs(a, b, model_a="unetplusplus/all", model_b="glavitu/top6")
    found = compare_runs(
        a, b, model_a="unetplusplus/all", model_b="glavitu/all", settings=BootstrapSettings(draws=50)
    )
    assert found[0].comparison.changed == 0


def test_what_is_no_pair_of_runs_is_refused(tmp_path: Path) -> None:
    a, c = make_run(tmp_path / "a", 3), make_run(tmp_path / "c", 3, test_from=150)
    with pytest.raises(DataError, match="not a run folder"):
        compare_runs(a, tmp_path / "b")
    with pytest.raises(RequestError, match="share no test pixels"):
        compare_runs(a, c)
    write_mask(RunFolder(tmp_path / "b").truth("north"), TRUTH)
    b = make_run(tmp_path / "b", 3)
    other = TRUTH.copy()
    other[60, 100:] = 1 - (other[60, 100:] == 1)
    write_mask(RunFolder(b).truth("north"), other)
    with pytest.raises(RequestError, match="another truth"):
        compare_runs(a, b)
