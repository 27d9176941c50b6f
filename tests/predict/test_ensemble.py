from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from glacierseg.errors import RequestError
from glacierseg.models.card import ModelCard, WindowChoice, save_model, update_card
from glacierseg.predict.calibration import store_calibration
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.write import write_raster
from glacierseg.settings import PredictSettings
from tests.helpers import utm_grid
from tests.weights.shelves import calibration, model_folder, packed


@pytest.fixture
def weights(tmp_path: Path) -> Ensemble:
    """Two networks under a name, whose card has a threshold, symmetries and a window of its own."""
    return load_ensemble(packed(tmp_path, members=2, threshold=0.6, symmetries=True, window_px=48).weights)


def test_what_is_left_open_is_what_weights_or_training_say(tmp_path: Path, weights: Ensemble) -> None:
    own = load_ensemble(model_folder(tmp_path / "own"))
    left_open = PredictSettings(overlap=0.25)
    for ensemble, expected in ((weights, (48, 0.6, True)), (own, (32, 0.5, False))):
        found = ensemble.resolved(left_open)
        assert (found.window_px, found.threshold, found.symmetries) == expected
        assert (found.overlap, found.int8_model) == (0.25, None)
        assert ensemble.resolved(found) == found
    assert weights.tags["trained_weights"] == "valley-s2"
    assert own.tags == {}


def test_what_is_asked_for_goes_before_what_weights_say(weights: Ensemble) -> None:
    asked = PredictSettings(window_px=64, threshold=0.5, symmetries=False)
    assert weights.resolved(asked) == asked.replaced(overlap=0.5)


ENOUGH = WindowChoice(window_px=64, overlap=0.125, iou=0.8, blend_iou=0.8, cost=0.33)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (64, 0.125)),
        ({"overlap": 0.5}, (32, 0.5)),
        ({"overlap": 0.0}, (32, 0.0)),
        ({"window_px": 48}, (48, 0.5)),
        ({"window_px": 64, "overlap": 0.25}, (64, 0.25)),
        ({"precision": "int8"}, (32, 0.5)),
    ],
)
def test_windows_are_the_cards_unless_any_are_asked_for(
    tmp_path: Path, asked: dict[str, Any], expected: tuple[int, float]
) -> None:
    folder = model_folder(tmp_path / "own")
    plain, settings = load_ensemble(folder), PredictSettings(**asked)
    usual = plain.resolved(settings)
    assert plain.told_of_choices(settings) == []
    update_card(folder, windows=ENOUGH)
    ensemble = load_ensemble(folder)
    found = ensemble.resolved(settings)
    assert (found.window_px, found.overlap) == expected
    assert ensemble.resolved(found) == found
    if asked:
        assert found == usual
        assert ensemble.told_of_choices(settings) == []
    else:
        assert (usual.window_px, usual.overlap) == (32, 0.5)
        (line,) = ensemble.told_of_choices(settings)
        assert "windows of 64 px, overlap 0.125" in line
        assert "--overlap 0.5" in line


def test_networks_that_predict_together_agree_on_windows_or_take_the_usual_ones(tmp_path: Path) -> None:
    folders = [model_folder(tmp_path / name) for name in "ab"]
    for own, expected in ((ENOUGH, (64, 0.125)), (ENOUGH.model_copy(update={"overlap": 0.25}), (32, 0.5))):
        for folder, windows in zip(folders, (ENOUGH, own.model_copy(update={"iou": 0.7})), strict=True):
            update_card(folder, windows=windows)
        found = load_ensemble(folders).resolved(PredictSettings())
        assert (found.window_px, found.overlap) == expected


def test_weights_say_an_overlap_beside_their_window(tmp_path: Path) -> None:
    weights = load_ensemble(packed(tmp_path, members=2, window_px=48, overlap=0.25).weights)
    found = weights.resolved(PredictSettings())
    assert (found.window_px, found.overlap) == (48, 0.25)
    assert "overlap 0.25" in weights.told_of_choices(PredictSettings())[0]
    original = weights.resolved(PredictSettings(overlap=0.5))
    assert (original.window_px, original.overlap) == (48, 0.5)


def test_a_quantised_network_lies_where_export_writes_it(tmp_path: Path, weights: Ensemble) -> None:
    int8 = PredictSettings(precision="int8")
    folder = model_folder(tmp_path / "own")
    assert weights.resolved(int8).int8_model == Path("valley-s2_int8.xml")
    assert load_ensemble(folder).resolved(int8).int8_model == folder / "model_int8.xml"
    assert weights.resolved(int8.replaced(int8_model=Path("my.xml"))).int8_model == Path("my.xml")


def test_networks_of_several_patch_sizes_want_a_window(tmp_path: Path) -> None:
    folders = [model_folder(tmp_path / str(side), patch_px=side) for side in (32, 64)]
    ensemble = load_ensemble(folders)
    with pytest.raises(RequestError, match="patches of 32, 64 px; choose one size for all with window_px"):
        ensemble.resolved(PredictSettings())
    assert ensemble.resolved(PredictSettings(window_px=40)).window_px == 40


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"symmetries": True}, "without symmetries; add --no-symmetries, or leave --calibrated out"),
        ({"precision": "int8"}, "of predictions not in int8; leave --precision int8 out"),
        ({"prune_level": 1}, "has no calibration for this"),
    ],
)
def test_a_calibration_is_for_what_was_calibrated(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    folder = model_folder(tmp_path / "own")
    store_calibration(folder, calibration())
    ensemble, settings = load_ensemble(folder), PredictSettings()
    assert ensemble.calibration(ensemble.resolved(settings)) == calibration()
    with pytest.raises(RequestError, match=words):
        ensemble.calibration(ensemble.resolved(settings.replaced(**asked)))
    with pytest.raises(RequestError, match="has no calibration for this"):
        load_ensemble([folder, folder]).calibration(ensemble.resolved(settings))


@pytest.mark.parametrize(
    ("turn", "back"),
    [
        (Affine.translation(0, 48) @ Affine.scale(1, -1), np.s_[::-1]),
        (Affine.translation(40, 0) @ Affine.scale(-1, 1), np.s_[:, ::-1]),
        (Affine.translation(40, 48) @ Affine.scale(-1, -1), np.s_[::-1, ::-1]),
    ],
    ids=["rows run north", "columns run west", "both"],
)
def test_networks_see_north_at_the_top(tmp_path: Path, turn: Affine, back: Any) -> None:
    rng = np.random.default_rng(2)
    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red", "nir"), patch_px=16,
        band_mean=(0.5, 0.5), band_std=(0.2, 0.2),
    )  # fmt: skip
    save_model(tmp_path / "model", card.build(), card)
    values = rng.random((2, 48, 40)).astype(np.float32)
    grid = utm_grid(48, 40)
    turned = Grid(grid.crs, grid.transform @ turn, 48, 40)
    maps = []
    mirrored = np.stack([layer[back] for layer in values])
    for name, layers, own in (("plain", values, grid), ("turned", mirrored, turned)):
        write_raster(tmp_path / f"{name}.tif", layers, own, bands=["red", "nir"], nodata=None, cog=False)
        files = predict_scene(
            tmp_path / "model",
            open_scene(tmp_path / f"{name}.tif"),
            tmp_path / "maps",
            PredictSettings(precision="float32"),
        )
        with rasterio.open(files.probability) as dataset:
            maps.append(dataset.read(1))
            assert Grid(dataset.crs, dataset.transform, 48, 40).difference(own) is None
    assert np.ptp(maps[0]) > 1e-3
    np.testing.assert_allclose(maps[1][back], maps[0], atol=1e-5)
