import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from sklearn.metrics import jaccard_score

from glacierseg.data.regions import Region
from glacierseg.experiment import windows
from glacierseg.experiment.predict import predict_regions
from glacierseg.experiment.windows import candidates, choose_windows, costs_no_iou
from glacierseg.models.card import ModelCard, WindowChoice, read_card, save_model, update_card
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.raster.tiling import passes_of
from glacierseg.raster.truth import read_mask
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings import ModelConfig, PredictSettings
from tests.helpers import blobs, write_scene

SIDE, PATCH = 160, 16


@pytest.fixture
def trained(tmp_path: Path) -> tuple[ModelFolder, Region]:
    """A network of random weights whose threshold the truth is made by, and a region that validates."""
    torch.manual_seed(0)
    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red", "nir"), patch_px=PATCH,
        band_mean=(120.0, 120.0), band_std=(60.0, 60.0),
    )  # fmt: skip
    save_model(tmp_path / "model", card.build(), card)
    truth = blobs(SIDE, SIDE, 5)
    values = np.random.default_rng(0).integers(1, 255, (2, SIDE, SIDE), np.uint8)
    write_scene(tmp_path / "scene.tif", values, ["red", "nir"], nodata=0)
    region = Region("valley", open_scene(tmp_path / "scene.tif"), truth, np.full((SIDE, SIDE), 2, np.uint8))
    return ModelFolder(tmp_path / "model"), region


def choose(folder: ModelFolder, region: Region, **settings: Any) -> WindowChoice | None:
    model = ModelConfig(name="m_landsnet", width=0.125, patch_px=PATCH)
    truths = {region.name: region.truth}
    choose_windows(model, lambda: truths, [region], folder, PredictSettings(precision="float32", **settings))
    return read_card(folder.path).windows


def test_windows_are_tried_from_the_cheapest_on_and_a_transformer_gets_no_wide_ones() -> None:
    wide = [(t.window_px, t.overlap) for t in candidates(64, convolutional=True)]
    narrow = [(t.window_px, t.overlap) for t in candidates(64, convolutional=False)]
    assert wide[:2] == [(128, 1 / 16), (256, 1 / 16)]
    assert {side for side, _ in wide} == {64, 128, 256}
    assert narrow == [way for way in wide if way[0] <= 128]
    costs = [passes_of(overlap) for _, overlap in wide]
    assert costs == sorted(costs)
    assert max(costs) < passes_of(0.5) == 4


def test_the_cheapest_windows_that_lose_nothing_are_kept(
    trained: tuple[ModelFolder, Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, region = trained
    seen = []

    def third_is_good(counts: np.ndarray, blend: np.ndarray) -> bool:
        seen.append((counts, blend))
        return len(seen) == 3

    monkeypatch.setattr(windows, "costs_no_iou", third_is_good)
    found = choose(folder, region)
    third = candidates(PATCH, convolutional=True)[2]
    assert found is not None
    assert (found.window_px, found.overlap) == (third.window_px, third.overlap)
    assert found.cost == pytest.approx(passes_of(third.overlap) / 4)
    # A second call finds it done.
    assert choose(folder, region) == found
    assert len(seen) == 3


def test_scores_are_those_of_whole_predictions(trained: tuple[ModelFolder, Region], tmp_path: Path) -> None:
    folder, region = trained
    found = choose(folder, region)
    assert found is not None
    plain = PredictSettings(precision="float32")
    for name, iou, way in (
        ("blend", found.blend_iou, plain.replaced(overlap=0.5)),
        ("own", found.iou, plain.replaced(window_px=found.window_px, overlap=found.overlap)),
    ):
        files = predict_scene(folder.path, region.scene, tmp_path / name, way)
        wanted = jaccard_score(region.truth.ravel(), read_mask(files.mask).ravel())
        assert iou == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("asked", [{"overlap": 0.5}, {"window_px": 32}])
def test_what_the_configuration_says_is_not_measured(
    trained: tuple[ModelFolder, Region], asked: dict[str, Any]
) -> None:
    assert choose(*trained, **asked) is None


def test_a_run_that_has_predicted_already_keeps_its_windows(trained: tuple[ModelFolder, Region]) -> None:
    folder, region = trained
    folder.mask(region.name).touch()
    assert choose(folder, region) is None


def test_little_ground_leaves_the_blend(trained: tuple[ModelFolder, Region]) -> None:
    folder, region = trained
    region.truth[:, 24:], region.truth[24:] = 255, 255
    assert choose(folder, region) is None


def test_regions_are_predicted_with_what_the_card_says(trained: tuple[ModelFolder, Region]) -> None:
    folder, region = trained
    update_card(
        folder.path, windows=WindowChoice(window_px=32, overlap=0.125, iou=0.8, blend_iou=0.8, cost=0.33)
    )
    model = ModelConfig(name="m_landsnet", width=0.125, patch_px=PATCH)
    predict_regions(model, [region], folder, PredictSettings(), {})
    with rasterio.open(folder.mask(region.name)) as mask:
        assert (mask.tags()["window_px"], mask.tags()["overlap"]) == ("32", "0.125")


def test_a_difference_that_may_be_luck_is_none() -> None:
    rng = np.random.default_rng(1)
    blend = rng.integers(800, 1000, (40, 1)) * np.array([[8, 1, 1]])
    assert costs_no_iou(blend, blend)
    # 0.01 IoU lost, or noise of as much in every block, is too much; a hair lost in every block is not.
    assert not costs_no_iou(blend + np.array([-100, 0, 100]), blend)
    noisy = rng.normal(0, 400, 40).astype(int)
    assert not costs_no_iou(blend + np.stack([-noisy, 0 * noisy, noisy], 1), blend)
    assert costs_no_iou(blend + np.array([-4, 0, 4]), blend)
    # Two blocks know of no error.
    assert not costs_no_iou(blend[:2], blend[:2])


def test_the_error_is_that_of_the_jackknife() -> None:
    """Against draws of the bootstrap, which estimate the same."""
    rng = np.random.default_rng(3)
    blend = np.stack([rng.integers(300, 900, 60), rng.integers(0, 90, 60), rng.integers(0, 90, 60)], 1)
    shift = rng.integers(-12, 13, 60)
    counts = blend + np.stack([-shift, 0 * shift, shift], 1)
    draws = rng.integers(0, 60, (4000, 60))
    gains = windows.iou_of(counts[draws].sum(1)) - windows.iou_of(blend[draws].sum(1))
    error = gains.std()
    for tolerance, good in ((error * 0.7, False), (error * 1.3, True)):
        difference = float(windows.iou_of(counts.sum(0)) - windows.iou_of(blend.sum(0)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "TOLERANCE", tolerance - difference)
            assert costs_no_iou(counts, blend) is good


def test_a_card_of_an_earlier_version_knows_no_windows(trained: tuple[ModelFolder, Region]) -> None:
    folder, _ = trained
    stored = json.loads(folder.card.read_text(encoding="utf-8"))
    del stored["windows"]
    folder.card.write_text(json.dumps(stored), encoding="utf-8")
    assert read_card(folder.path).windows is None


@pytest.mark.parametrize("glacier_px", [0, 50])
def test_ground_where_the_blend_finds_no_glacier_decides_nothing(glacier_px: int) -> None:
    nothing = np.zeros((40, 3), int)
    nothing[:, 1] = 5
    nothing[:, 2] = glacier_px
    assert not costs_no_iou(nothing, nothing)
    found = nothing + np.array([1, 0, 0])
    assert costs_no_iou(found, found)
