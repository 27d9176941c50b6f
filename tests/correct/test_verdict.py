"""What is said of a training on corrections."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from glacierseg.correct.doubts import Doubts
from glacierseg.correct.ground import Place
from glacierseg.correct.verdict import Verdict, compare
from glacierseg.evaluate.paired import Difference
from glacierseg.experiment.windows import Part
from glacierseg.predict.samples import CroppedScene
from glacierseg.raster.bounds import middle_of
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.settings.correct import CorrectSettings
from tests.correct.kept import stripes
from tests.helpers import write_scene

BETTER = Difference(0.5, 0.7, 0.2, 0.1, 0.3, 0.01)
CHANCE = Difference(0.5, 0.7, 0.2, -0.1, 0.5, 0.3)
BEGUN = Verdict(accepted=False, sentence="", places=9, checked_km2=1.5, judging=3)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return open_scene(write_scene(tmp_path / "basin.tif", np.ones((1, 20, 30), np.uint8)))


def masks(scene: Scene) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]], list[Part]]:
    truth = stripes(20, 30)
    wrong = truth.copy()
    wrong[:10] = 1 - wrong[:10]
    return [1 - truth, wrong], [1 - truth, truth], [Part(scene, truth), Part(scene, truth)]


def test_a_rise_above_its_interval_is_accepted_and_says_where(scene: Scene) -> None:
    found = replace(BEGUN, gain=BETTER).judged(*masks(scene))
    assert found.accepted
    longitude, latitude = middle_of(scene.grid)
    assert "from 0.500 to 0.700 (by +0.100 to +0.300)" in found.sentence
    assert "no old ground is known" in found.sentence
    # 300 pixels of 100 m2.
    assert f"most at {latitude:.4f} N {longitude:.4f} E (0.03 km2, scene basin)" in found.sentence


def test_a_rise_that_may_be_chance_is_refused(scene: Scene) -> None:
    for gain in (CHANCE, replace(BETTER, low=math.nan, high=math.nan)):
        found = replace(BEGUN, gain=gain).judged(*masks(scene))
        assert not found.accepted
        assert found.sentence.startswith("the model stays as it was: ")
        assert "chance" in found.sentence


@pytest.mark.parametrize(
    ("difference", "high", "accepted"), [(-0.03, -0.01, False), (-0.03, 0.01, True), (-0.005, -0.001, True)]
)
def test_old_ground_may_lose_little_or_by_chance(
    scene: Scene, difference: float, high: float, accepted: bool
) -> None:
    old = Difference(0.8, 0.8 + difference, difference, difference - 0.02, high, 0.1)
    found = replace(BEGUN, gain=BETTER, old=old).judged(*masks(scene))
    assert found.accepted is accepted
    assert f"from 0.800 to {0.8 + difference:.3f}" in found.sentence


def test_few_places_teach_nothing() -> None:
    places = [Place(0, 0, 0, np.ones((2, 2), np.uint8), judges=number == 1, km2=0.5) for number in range(3)]
    found = Verdict.of(places)
    assert (found.places, found.checked_km2, found.judging) == (3, 1.5, 1)
    assert found.too_few is not None
    assert "3 separate places" in found.too_few
    assert Verdict.of([replace(place, judges=True) for place in places]).too_few is None


def test_a_verdict_is_read_back_as_it_was(scene: Scene) -> None:
    doubts = Doubts(0.1, 0.01, 0.9, 2.0, 0.5, 0.6)
    found = replace(BEGUN, gain=BETTER, doubts=doubts, key="word").judged(*masks(scene))
    assert Verdict.from_dict(found.to_dict()) == found
    assert Verdict.from_dict(BEGUN.to_dict()) == BEGUN


def test_the_interval_is_that_of_blocks_of_ground(scene: Scene) -> None:
    truth = stripes(20, 30)
    parts = [Part(CroppedScene.of(scene, row, 0, 4, 30), truth[:4]) for row in range(0, 20, 4)]
    before, after = [1 - part.truth for part in parts], [part.truth for part in parts]
    found = compare(before, after, parts, CorrectSettings())
    assert (found.a, found.b, found.low, found.high) == (0, 1, 1, 1)
    mixed = compare(before, [after[0], *before[1:]], parts, CorrectSettings())
    assert mixed.low <= 0 < mixed.difference
    # The same ground shown twice is no more ground.
    doubled = compare(before * 2, [after[0], *before[1:]] * 2, parts * 2, CorrectSettings())
    assert (doubled.low, doubled.high) == pytest.approx((mixed.low, mixed.high))
