"""From corrections to a model that is replaced or stays."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from glacierseg.correct import learning, retraining
from glacierseg.correct.learning import learn
from glacierseg.correct.store import Store
from glacierseg.correct.verdict import Verdict
from glacierseg.errors import RequestError
from glacierseg.experiment.windows import Part
from glacierseg.models.card import load_model, read_card
from glacierseg.predict.calibration import calibration_of
from glacierseg.predict.ensemble import Ensemble
from glacierseg.raster.write import read_json
from glacierseg.settings.correct import CorrectSettings
from glacierseg.training.states import EpochRecord
from tests.correct.kept import checked_only, corners, correction, run_folder, scene_of, stripes
from tests.helpers import blobs, present
from tests.weights.shelves import calibration, model_folder, packed


class Kept(Store):
    """A store whose corrections lie anywhere."""

    corrections = ()


def store(folder: Path, places: int = 12, *, name: str = "0001_basin", turned: bool = False) -> Store:
    truth = stripes(80, 104)
    kept = checked_only(1 - truth if turned else truth, corners(places))
    made = Kept(folder / "out")
    object.__setattr__(made, "corrections", (correction(folder, scene_of(folder), kept, name),))
    return made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "base", calibration=calibration().to_dict())


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Trains nothing and counts how often; a new network is right as often as the last number says."""
    calls: list[float] = []
    right = {"before": 0.7, "after": 1.0}

    def retrain(ensemble: Ensemble, *_: Any) -> nn.Module:
        calls.append(right["after"])
        network = copy.deepcopy(ensemble.networks[0])
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01)
        return network

    def probabilities(ensemble: Ensemble, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
        share = right["before" if ensemble.folders else "after"]
        rng, found = np.random.default_rng(0), []
        for part in parts:
            truth = np.tile(stripes(1, 104)[0], (part.truth.shape[0], 1))
            column = part.scene.column  # type: ignore[attr-defined]
            truth = truth[:, column : column + part.truth.shape[1]]
            if part.scene.name != "basin":
                truth = part.truth
            wrong = rng.random(truth.shape) >= share
            found.append(np.where(truth ^ wrong, 0.9, 0.1).astype(np.float32))
        return found

    monkeypatch.setattr(learning, "retrain", retrain)
    monkeypatch.setattr(learning, "_probabilities", probabilities)
    monkeypatch.setattr(trained_as, "right", right, raising=False)
    return calls


def trained_as(share: float) -> None:
    trained_as.right["after"] = share  # type: ignore[attr-defined]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_better_model_tells_its_story(tmp_path: Path, base: Path, trained: list[float]) -> None:
    out = tmp_path / "out"
    verdict = learn(base, store(tmp_path), out)
    assert verdict.accepted, verdict.sentence
    assert Verdict.from_dict(read_json(out / "verdict.json")) == verdict
    network, card = load_model(out / "model")
    before, old_card = load_model(base)
    assert not torch.equal(next(network.parameters()), next(before.parameters()))
    facts = card.training["corrected"]
    assert (facts["model"], facts["corrections"], facts["places"]) == (str(base), ["0001_basin"], 12)
    assert facts["sentence"] == verdict.sentence
    assert facts["checked_km2"] == pytest.approx(12 * 16**2 * 1e-4)
    assert card.training["started_from"] == old_card.training["started_from"]
    # The calibration is of the probabilities before.
    assert old_card.calibration is not None
    assert card.calibration is None
    assert {path.name for path in out.iterdir()} == {".lock", "verdict.json", "model"}
    assert len(trained) == 1


def test_old_ground_is_compared_and_calibrates(tmp_path: Path, trained: list[float]) -> None:
    run = run_folder(tmp_path / "run")
    base = model_folder(run.model("m_landsnet", "all").path)
    trained_as(0.97)
    verdict = learn(base, store(tmp_path), tmp_path / "out")
    assert verdict.accepted, verdict.sentence
    old = present(verdict.old)
    assert old.a < old.b
    assert f"from {old.a:.3f} to {old.b:.3f}" in verdict.sentence
    known = present(calibration_of(read_card(tmp_path / "out" / "model"), base))
    # The half of the valley that validates, where 97 % get 0.9 for glacier and 0.1 for none.
    share = blobs(96, 80)[48:].mean()
    expected = 0.97 * share / (0.97 * share + 0.03 * (1 - share))
    assert known.apply(np.array([0.9], np.float32))[0] == pytest.approx(expected, abs=0.02)
    assert len(trained) == 1


def test_what_is_no_better_is_refused(tmp_path: Path, base: Path, trained: list[float]) -> None:
    out = tmp_path / "out"
    assert learn(base, store(tmp_path), out).accepted
    before = contents(out / "model")
    trained_as(0.7)
    verdict = learn(base, store(tmp_path, places=11, name="0002_basin"), out)
    assert not verdict.accepted
    assert "chance" in verdict.sentence
    assert contents(out / "model") == before
    assert not read_json(out / "verdict.json")["accepted"]
    assert len(trained) == 2


def test_what_was_judged_is_not_trained_again(tmp_path: Path, base: Path, trained: list[float]) -> None:
    out = tmp_path / "out"
    first = learn(base, store(tmp_path), out)
    assert learn(base, store(tmp_path), out) == first
    assert len(trained) == 1
    (out / "model").rename(tmp_path / "elsewhere")
    learn(base, store(tmp_path), out)
    learn(base, store(tmp_path), out, CorrectSettings(seed=1))
    assert len(trained) == 3
    assert (out / "model").is_dir()


def test_a_stop_between_two_models_loses_none(tmp_path: Path, base: Path, trained: list[float]) -> None:
    out = tmp_path / "out"
    learn(base, store(tmp_path), out)
    before = contents(out / "model")
    (out / "model").rename(out / ".model.before")
    trained_as(0.7)
    learn(base, store(tmp_path, places=11), out)
    assert contents(out / "model") == before
    assert not (out / ".model.before").exists()
    assert trained


def test_a_kill_while_models_change_places_loses_none(
    tmp_path: Path, base: Path, trained: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert learn(base, store(tmp_path), out).accepted
    before, rename = contents(out / "model"), Path.rename

    def killed(path: Path, target: Path) -> Path:
        if target == out / "model":
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            learn(base, store(tmp_path, 11), out)
    trained_as(0.5)
    assert not learn(base, store(tmp_path, 10), out).accepted
    assert contents(out / "model") == before


def test_wrong_corrections_are_not_trained_on(tmp_path: Path, base: Path, trained: list[float]) -> None:
    verdict = learn(base, store(tmp_path, turned=True), tmp_path / "out")
    assert not verdict.accepted
    assert present(present(verdict.doubts).reason) in verdict.sentence
    assert not trained
    assert not (tmp_path / "out" / "model").exists()


def test_few_places_are_not_trained_on(tmp_path: Path, base: Path, trained: list[float]) -> None:
    verdict = learn(base, store(tmp_path, places=3), tmp_path / "out")
    assert not verdict.accepted
    assert "3 separate places" in verdict.sentence
    assert not trained


def test_a_corrected_model_begins_where_it_began(tmp_path: Path, base: Path, trained: list[float]) -> None:
    learn(base, store(tmp_path), tmp_path / "out")
    first = load_model(tmp_path / "out" / "model")[0].state_dict()
    learn(tmp_path / "out" / "model", store(tmp_path), tmp_path / "again")
    assert read_card(tmp_path / "again" / "model").training["corrected"]["model"] == str(base)
    again = load_model(tmp_path / "again" / "model")[0].state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert len(trained) == 2


def test_of_several_networks_one_is_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[float]
) -> None:
    packed(tmp_path, "valley-s2", members=2)
    monkeypatch.setenv("GLACIERSEG_WEIGHTS_DIR", str(tmp_path / "shelf"))
    with pytest.raises(RequestError, match="weights:valley-s2/1 to weights:valley-s2/2"):
        learn("weights:valley-s2", store(tmp_path), tmp_path / "out")
    assert learn("weights:valley-s2/2", store(tmp_path), tmp_path / "out").accepted
    card = read_card(tmp_path / "out" / "model")
    assert card.training["corrected"]["model"] == "weights:valley-s2/2"
    assert len(trained) == 1


def test_an_interrupted_training_goes_on(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Doubts aside: the network is untrained.
    monkeypatch.setattr("glacierseg.correct.doubts.Doubts.reason", None)
    told: list[int] = []

    def tell(record: EpochRecord) -> None:
        if record.epoch == 2 and len(told) == 1:
            told.append(-1)
            raise KeyboardInterrupt
        told.append(record.epoch)

    monkeypatch.setattr(retraining, "_tell", tell)
    settings = CorrectSettings(epochs=3, patches_per_epoch=8, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        learn(base, store(tmp_path), tmp_path / "out", settings)
    assert not (tmp_path / "out" / "verdict.json").exists()
    learn(base, store(tmp_path), tmp_path / "out", settings)
    assert told == [1, -1, 2, 3]
    assert (tmp_path / "out" / "verdict.json").exists()
    assert not (tmp_path / "out" / ".training").exists()
