"""What several fields, or a field and its kind, allow together; bounds of one field are pydantic's own."""

import math
from pathlib import Path
from typing import Any

import pytest

from glacierseg.errors import RequestError
from glacierseg.settings import PredictSettings, RefineSettings, TuneSettings
from glacierseg.settings.base import Settings
from glacierseg.settings.predict import ClusterSettings, ExportSettings
from glacierseg.settings.prepare import NormalizeSettings, StackSettings
from glacierseg.settings.scene import InputSettings, SceneSettings
from glacierseg.settings.score import BootstrapSettings, ScoreInputs, ScoreSettings
from glacierseg.settings.train import TrainingPlan
from tests.helpers import present


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (PredictSettings, {"overlap": 1}, "overlap must be less than 1"),
        (PredictSettings, {"prune_level": 5}, "prune_level must be less than or equal to 4"),
        (PredictSettings, {"batch_size": 0}, "batch_size must be greater than or equal to 1"),
        (ExportSettings, {"prune_level": 5}, "prune_level must be less than or equal to 4"),
        (ClusterSettings, {"workers": 2, "dask": "tcp://a:1"}, "workers and dask exclude each other"),
        (NormalizeSettings, {"percentiles": (2, 2)}, "percentiles 2 and 2 are not in order"),
        (NormalizeSettings, {"percentiles": (-1, 50)}, "give two numbers from 0 to 100"),
        (NormalizeSettings, {"percentiles": (50, 101)}, "give two numbers from 0 to 100"),
        (StackSettings, {"scale": 0}, "scale: must not be 0"),
        (InputSettings, {"scale": 0}, "scale: must not be 0"),
        (InputSettings, {"offset": math.nan}, "offset must be a finite number"),
        (BootstrapSettings, {"draws": 19}, "draws must be greater than or equal to 20"),
        (ScoreSettings, {"draws": 19}, "draws: must be 0 or at least 20"),
        (ScoreInputs, {"model": "a", "weights": "b"}, "model and weights exclude each other"),
        (TuneSettings, {"iterations": ()}, "iterations: is empty"),
        (TuneSettings, {"smoothing": ()}, "smoothing: is empty"),
        (TuneSettings, {"preset": "rgi", "min_areas_km2": (0, 1)}, "preset and min_areas_km2 both set"),
        (RefineSettings, {"max_hole_slope_deg": 91}, "max_hole_slope_deg must be less than or equal to 90"),
    ],
)
def test_what_cannot_be_is_refused(kind: type[Settings], wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        kind(**wrong)


def test_missing_data_may_be_nan() -> None:
    for kind in (StackSettings, SceneSettings):
        assert math.isnan(present(kind(nodata=math.nan).nodata))


def test_no_draws_are_for_scores_alone() -> None:
    assert ScoreSettings(draws=0).draws == 0
    assert ScoreSettings(draws=20).draws == BootstrapSettings(draws=20).draws == 20


def test_work_is_shared_by_either_means() -> None:
    shared = [ClusterSettings(), ClusterSettings(workers=1), ClusterSettings(dask="tcp://a:1")]
    assert [each.asked_for for each in shared] == [False, True, True]


def test_a_recipe_may_be_a_list_and_a_single_name_stays_a_band() -> None:
    given: Any = ["red", "nir"], ["velocity"], "landsat-18", None
    assert [StackSettings(recipe=each).recipe for each in given] == [
        "red,nir,", "velocity,", "landsat-18", None,
    ]  # fmt: skip


def test_probabilities_are_calibrated_by_a_folder_or_by_weights() -> None:
    assert ScoreInputs(weights="alps").calibrated_by == Path("weights:alps")
    assert ScoreInputs(model=Path("m")).calibrated_by == Path("m")


def test_one_method_of_smoothing_needs_no_list() -> None:
    assert TuneSettings(smoothing="closing").smoothing == ("closing",)  # type: ignore[arg-type]
    assert TuneSettings(preset="rgi", min_areas_km2=(0, 0.01, 0.03, 0.1)).preset == "rgi"


@pytest.mark.parametrize(("monitor", "mode"), [("val_loss", "min"), ("val_iou", "max"), ("last", "max")])
def test_a_loss_is_better_when_it_is_smaller(monitor: Any, mode: str) -> None:
    assert TrainingPlan(loss="focal", learning_rate=0.1, monitor=monitor).mode == mode
