"""Every set of weights that comes with the package: whole, small, and told of in the docs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glacierseg.models.card import load_model, read_card
from glacierseg.models.registry import count_parameters
from glacierseg.predict.calibration import read_calibration
from glacierseg.weights import Weights
from glacierseg.weights.pack import MOST_MEGABYTES
from glacierseg.weights.shelf import SHIPPED, list_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLACIERSEG_WEIGHTS_DIR", raising=False)


FOLDERS = sorted(path for path in SHIPPED.iterdir() if path.is_dir() and path.name != "__pycache__")


def test_every_folder_is_listed() -> None:
    assert [weights.folder for weights in list_weights()] == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_shipped_weights_are_whole(folder: Path) -> None:
    weights = {own.folder: own for own in list_weights()}[folder]
    check_weights(weights, ROOT / "docs" / "models" / f"{weights.name}.md")


def check_weights(weights: Weights, document: Path) -> None:
    """What must hold for all of them."""
    assert weights.megabytes < MOST_MEGABYTES
    known = {"card.json", "model.json", "model.safetensors"}
    assert {path.name for path in weights.folder.rglob("*") if path.is_file()} == known
    parameters = 0
    for folder in weights.folders:
        network, card = load_model(folder)
        assert card == read_card(folder)
        assert card.bands == tuple(band.name for band in weights.card.bands)
        parameters += count_parameters(network)
        medians = np.array([band.values.median for band in weights.card.bands])
        highs = np.array([band.values.high for band in weights.card.bands])
        size = weights.window_px
        rng = np.random.default_rng(0)
        values = rng.uniform(medians / 2, highs, (size, size, len(card.bands))).transpose(2, 0, 1)
        image = card.scaling.apply(values, np.ones((size, size), bool))
        # The scaling and the percentiles were measured on one ground: neither may be far from the other.
        assert np.abs(card.scaling.apply(medians[:, None, None], np.ones((1, 1), bool))).max() < 4
        with torch.inference_mode():
            assert torch.isfinite(network(torch.from_numpy(image)[None])).all()
        assert "/" not in str(card.training.get("started_from", ""))
    assert parameters == weights.card.parameters
    calibration = read_calibration(weights)
    assert calibration is None or calibration.symmetries == weights.card.symmetries
    assert weights.card.terms, "the card does not say what may be done with the weights"
    assert any(score.low is not None for score in weights.card.scores), "no score has an interval"
    text = document.read_text(encoding="utf-8")
    for heading in ("## Intended use", "## Limits", "## Where it fails"):
        assert heading in text, f"{document.name} lacks {heading!r}"
    assert weights.card.attribution in " ".join(text.split())


def test_the_check_can_fail(tmp_path: Path) -> None:
    """The walk above is over nothing while no weights are shipped, so here it is over made-up ones."""
    from tests.weights.shelves import packed

    weights = packed(tmp_path, members=2).weights
    document = tmp_path / "valley-s2.md"
    text = "## Intended use\n## Limits\n## Where it fails\nnobody\n"
    document.write_text(text)
    check_weights(weights, document)
    document.write_text(text.replace("## Limits", ""))
    with pytest.raises(AssertionError, match="lacks '## Limits'"):
        check_weights(weights, document)
    document.write_text(text)
    (weights.folders[0] / "optimizer.pt").write_bytes(b"1")
    with pytest.raises(AssertionError, match=r"optimizer\.pt"):
        check_weights(weights, document)
