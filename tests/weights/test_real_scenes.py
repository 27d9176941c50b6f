"""Which real scenes are taken for those of the training, and which are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glacierseg.errors import ValuesError
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.values import measure_values, sample_values
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.card import WeightsCard
from glacierseg.weights.expectation import WeightsBand
from glacierseg.weights.fitting import fit_scene
from tests.weights.shelves import BANDS, facts

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def chips(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "alps_sentinel2" / "images").glob("*.tif"))


@pytest.fixture(scope="module")
def card(chips: list[Path]) -> WeightsCard:
    """A card that knows every tenth chip of the Alps."""
    values = measure_values(np.concatenate([sample_values(open_scene(chip)) for chip in chips[::10]], axis=1))
    assert values is not None
    roles = ("blue", "green", "red", "nir")
    bands = tuple(
        WeightsBand(name=name, role=role, unit="reflectance x 10000", values=own)
        for name, role, own in zip(BANDS, roles, values, strict=True)
    )
    return WeightsCard(**facts().model_dump(), name="alps", parameters=1, bands=bands, pixel_m=10)


def refused(card: WeightsCard, scene: Scene, **how: Any) -> bool:
    try:
        fit_scene(card, scene, InputSettings(**how))
    except ValuesError:
        return True
    return False


def test_no_chip_of_the_same_ground_is_refused_or_warned_of(card: WeightsCard, chips: list[Path]) -> None:
    others = [chip for number, chip in enumerate(chips) if number % 10][::4]
    assert [fit_scene(card, open_scene(chip)).warnings for chip in others] == [()] * len(others)


def test_chips_in_other_units_are_refused(card: WeightsCard, chips: list[Path]) -> None:
    for chip in map(open_scene, chips[::12]):
        assert refused(card, chip, scale=255 / 10_000)  # 8 bits
        assert refused(card, chip, scale=255 / 4000)  # 8 bits, stretched
        assert refused(card, chip, scale=1 / 10_000)  # reflectance from 0 to 1
        assert refused(card, chip, scale=1 / 0.275, offset=0.2 / 0.0000275)  # Landsat Collection 2


@pytest.mark.parametrize("season", ["spring", "summer", "autumn", "winter"])
def test_khumbu_needs_its_scale_and_a_word_on_its_pixels(
    card: WeightsCard, data_dir: Path, season: str
) -> None:
    scene = open_scene(data_dir / "khumbu_sentinel2" / f"khumbu_s2_{season}_2024.tif")
    with pytest.raises(ValuesError, match="--scale 10000 would make them alike"):
        fit_scene(card, scene)
    (warning,) = fit_scene(card, scene, InputSettings(scale=10_000)).warnings
    assert "24.1 m wide on the ground, and alps was trained on 10 m" in warning


def test_everest_in_eight_bits_is_refused_also_when_its_bands_are_named(
    card: WeightsCard, data_dir: Path
) -> None:
    folder = data_dir / "everest_landsat7"
    files = [folder / f"LE71400412000304SGS00_{part}.tif" for part in ("RGB", "B4")]
    scene = open_scene(files, bands=["B3", "B2", "B1", "B4"])
    with pytest.raises(ValuesError, match=r"B8 \(nir\) has a median of 123, .*8-bit levels"):
        fit_scene(card, scene, InputSettings(sensor="landsat7"))
