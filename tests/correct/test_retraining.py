"""The training on corrections: what it draws, what it changes and what it leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from glacierseg.correct import retraining
from glacierseg.correct.ground import OldGround, Place, checked_ground
from glacierseg.correct.retraining import between, mixed, retrain, with_own_map
from glacierseg.data.patches import Patch, PatchDataset
from glacierseg.data.regions import Region
from glacierseg.predict.ensemble import Ensemble, load_ensemble
from glacierseg.predict.samples import CroppedScene, predicted
from glacierseg.raster.scene import open_scene
from glacierseg.settings import PredictSettings, RunConfig
from glacierseg.settings.correct import CorrectSettings
from glacierseg.settings.train import TrainingPlan
from tests.correct.kept import checked_only, corners, correction, scene_of, stripes
from tests.helpers import blobs, present, write_mask, write_scene
from tests.weights.shelves import BANDS, model_folder, reflectances

SETTINGS = CorrectSettings(epochs=1, patches_per_epoch=8, batch_size=4)


@pytest.fixture
def ground(tmp_path: Path) -> tuple[Ensemble, list[Region], list[Place]]:
    ensemble = load_ensemble(model_folder(tmp_path / "base", training={"loss": "dice_focal"}))
    kept = [correction(tmp_path, scene_of(tmp_path), checked_only(stripes(80, 104), corners(9)))]
    return ensemble, *checked_ground(kept, ensemble, 1 / 3)


def old(folder: Path) -> OldGround:
    scene = write_scene(folder / "old.tif", reflectances(96, 96, seed=3), BANDS, nodata=0)
    truth = blobs(96, 96)
    section = {"name": "old", "scene": scene, "truth": write_mask(folder / "t.tif", truth), "roles": "train"}
    config = RunConfig.model_validate(
        {"name": "old", "regions": [section], "models": [{"name": "m_landsnet", "patch_px": 32}]}
    )
    region = Region("old", open_scene(scene), truth, np.ones(truth.shape, np.uint8))
    return OldGround(config, (region,), {})


def fitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keeps what the training is called with, and trains nothing."""
    seen: dict[str, Any] = {}

    def fit(
        network: nn.Module,
        train: PatchDataset,
        validate: PatchDataset,
        plan: TrainingPlan,
        *_: Any,
        **__: Any,
    ) -> None:
        seen.update(network=network, train=train, validate=validate, plan=plan)

    monkeypatch.setattr(retraining, "fit", fit)
    return seen


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75])
def test_old_ground_has_its_share_of_the_patches(
    tmp_path: Path,
    ground: tuple[Ensemble, list[Region], list[Place]],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
) -> None:
    ensemble, regions, places = ground
    seen = fitted(monkeypatch)
    settings = SETTINGS.replaced(replay_share=share, unchecked_share=0.1)
    retrain(ensemble, tmp_path / "base", regions, places, old(tmp_path), settings, tmp_path / "work")
    train = seen["train"]
    replayed = np.mean([patch.region == 1 for patch in train.patches])
    assert replayed == pytest.approx(share, abs=0.1)
    judging = [place for place in places if place.judges]
    assert len(seen["validate"]) == len(judging)
    assert (seen["plan"].loss, seen["plan"].monitor, seen["plan"].frozen_norms) == (
        "dice_focal",
        "last",
        True,
    )


def test_unchecked_ground_keeps_the_map_where_it_is_sure(
    tmp_path: Path, ground: tuple[Ensemble, list[Region], list[Place]]
) -> None:
    ensemble, regions, _ = ground
    (own,), base = regions, tmp_path / "base"
    (taught,), patches = with_own_map(ensemble, present(ensemble.cards[0]), base, regions, 0)
    known = own.truth != 255
    assert (taught.truth[known] == own.truth[known]).all()
    assert (taught.roles[known] == own.roles[known]).all()
    new = (taught.truth != 255) & ~known
    assert new.any()
    assert (taught.roles[new] == 1).all()
    # Windows of a patch that do not overlap: each is predicted alone.
    for patch in patches:
        window = np.s_[patch.row : patch.row + 32, patch.column : patch.column + 32]
        part = CroppedScene.of(own.scene, patch.row, patch.column, 32, 32)
        (chance,) = predicted(ensemble, [part], ensemble.resolved(PredictSettings()))
        expected = np.where(chance < 0.05, 0, np.where(chance > 0.95, 1, 255))
        assert (taught.truth[window][~known[window]] == expected[~known[window]]).all()


def test_kinds_of_patches_make_up_their_shares() -> None:
    kinds = [[Patch(number, 0, column) for column in range(count)] for number, count in enumerate((3, 0, 70))]
    counts = np.bincount([patch.region for patch in mixed(kinds, [0.5, 0.3, 0.2])], minlength=3)
    assert counts[1] == 0
    assert counts[0] / counts[2] == pytest.approx(2.5, rel=0.1)
    assert mixed([kinds[0], kinds[1]], [0.5, 0.5]) == kinds[0]


def test_weights_change_and_statistics_of_batch_norm_stay(
    tmp_path: Path, ground: tuple[Ensemble, list[Region], list[Place]]
) -> None:
    ensemble, regions, places = ground
    before = {key: value.clone() for key, value in ensemble.networks[0].state_dict().items()}
    base, work = tmp_path / "base", tmp_path / "work"
    trained = retrain(ensemble, base, regions, places, old(tmp_path), SETTINGS, work).state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, trained[key])}
    assert any(key.endswith("weight") for key in moved)
    assert not any("running" in key or "num_batches" in key for key in moved)
    after = ensemble.networks[0].state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_between_two_networks(tmp_path: Path) -> None:
    first, second = (load_ensemble(model_folder(tmp_path / str(seed), seed)).networks[0] for seed in (1, 2))
    mixed = between(first, second, 0.25).state_dict()
    for key, value in first.state_dict().items():
        expected = 0.75 * value + 0.25 * second.state_dict()[key] if value.is_floating_point() else value
        assert torch.allclose(mixed[key], expected, atol=1e-6)
    assert all(
        torch.equal(between(first, second, 1.0).state_dict()[k], v) for k, v in second.state_dict().items()
    )
