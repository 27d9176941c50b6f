"""Corrections held against what a network knew."""

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from glacierseg.correct.doubts import REACH_PX, Doubts, find_doubts
from glacierseg.experiment.windows import Part
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale
from glacierseg.raster.scene import open_scene
from tests.helpers import write_scene

SIDE, COUNT = 40, 6


def ground(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Probabilities, and a truth drawn with them: calibrated to the letter, and in patches like ice."""
    rng = np.random.default_rng(seed)
    smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(SIDE + 2 * REACH_PX,) * 2), 7)
    chance = 1 / (1 + np.exp(-4 * smooth / smooth.std()))
    return chance.astype(np.float32), (rng.random(chance.shape) < chance).astype(np.uint8)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    side = SIDE + 2 * REACH_PX
    return write_scene(tmp_path_factory.mktemp("scene") / "basin.tif", np.ones((1, side, side), np.uint8))


def doubts(scene: Path, change: str = "right", calibration: Calibration | None = None) -> Doubts:
    rng = np.random.default_rng(9)
    parts, chances = [], []
    for seed in range(COUNT):
        chance, truth = ground(seed)
        if change == "inverted":
            truth = 1 - truth
        elif change in {"all glacier", "all background"}:
            truth = np.full_like(truth, change == "all glacier")
        elif change == "moved":
            truth = np.roll(truth, (7, -6), (0, 1))
        elif change == "blobs":
            noise = scipy.ndimage.gaussian_filter(rng.normal(size=truth.shape), 8)
            truth = (noise > 0).astype(np.uint8)
        elif change == "snow":
            truth = np.where(chance < 0.01, 1, truth).astype(np.uint8)
        inside = np.full_like(truth, 255)
        inside[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX] = truth[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
        parts.append(Part(open_scene(scene), inside))
        chances.append(chance)
    return find_doubts(chances, parts, calibration)


def test_corrections_to_the_truth_are_believed(scene: Path) -> None:
    found = doubts(scene)
    assert found.reason is None
    # As the truth was drawn with the probabilities.
    assert found.slope == pytest.approx(1, abs=0.05)
    assert found.shift_px <= 3
    assert found.contradicted == pytest.approx(found.expected, rel=0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("inverted", "too little to do"),
        ("all glacier", "too little to do"),
        ("all background", "too little to do"),
        ("blobs", "look"),
        ("moved", "moved by 9 px"),
        ("snow", "sure"),
    ],
)
def test_wrong_corrections_are_told(scene: Path, change: str, said: str) -> None:
    reason = doubts(scene, change).reason
    assert reason is not None
    assert said in reason


def test_figures_are_those_of_a_plain_count(scene: Path) -> None:
    chances, truths = zip(*(ground(seed) for seed in range(COUNT)), strict=True)
    inner = np.s_[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    chance, truth = (np.stack([one[inner] for one in many]).astype(float) for many in (chances, truths))
    low, high = chance < 0.02, chance > 0.98
    found = doubts(scene)
    assert found.contradicted == pytest.approx(((low & (truth == 1)) | (high & (truth == 0))).mean())
    assert found.expected == pytest.approx(
        np.where(low | high, np.minimum(chance, 1 - chance), 0).mean(), rel=1e-4
    )
    spread, risen = (
        sum(((t - t.mean()) * (p - p.mean())).sum() for t, p in zip(first, chance, strict=True))
        for first in (chance, truth)
    )
    assert found.slope == pytest.approx(risen / spread, rel=1e-4)
    flat = [(t - t.mean()).ravel() for t in truth], [(p - p.mean()).ravel() for p in chance]
    plain = np.corrcoef(np.concatenate(flat[0]), np.concatenate(flat[1]))[0, 1]
    assert found.fit == pytest.approx(plain, rel=1e-3)


def test_probabilities_are_calibrated_first(scene: Path) -> None:
    scale = LogitScale(4.0)
    calibration = Calibration(scale, 9, ("a",), 0.5, 0.4, 0.1, 0.02, Dispersion(12.5, 64, 9.5, 7.5, 1e9))
    assert doubts(scene, calibration=calibration).slope > 1.2
    assert doubts(scene, calibration=calibration).expected < doubts(scene).expected
