import json
from pathlib import Path

import pytest

from glacierseg.bands import read_measures
from glacierseg.errors import BandError, ConfigError
from glacierseg.experiment import run_experiment
from glacierseg.settings import BandsConfig, parse_config
from tests.experiment.test_run import BANDS, config, settings


def bands_of(run: Path) -> list[str]:
    found: list[str] = json.loads((run / "m_landsnet/top6/model.json").read_text())["bands"]
    return found


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("importance")


def test_a_run_chooses_by_one_measure_and_checks_by_the_other(
    quick: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "glacierseg")
    plan = config(quick / "a", bands={"top": 3, "measure": "permutation"}, outputs={"report": False})
    run = run_experiment(plan, quick / "run")
    measures = read_measures(run / "m_landsnet/all/band_importance.csv")
    assert list(measures) == ["permutation", "gradient"]
    for measure, ranked in measures.items():
        # The network may find most of what band_b shows in band_a; the other six are noise.
        assert "band_a" in {entry.band for entry in ranked[:2]}, measure
    best = {entry.band for entry in measures["permutation"][:3]}
    assert set(bands_of(run)) == best
    assert (run / "m_landsnet/all/band_importance.png").read_bytes().startswith(b"\x89PNG")
    told = caplog.text
    assert "best bands by permutation: " in told
    assert "patches of validate pixels" in told
    assert "permutation and gradient agree on " in told


def test_own_presets_are_taken_in_scene_order_and_without_a_check_there_is_one_measure(
    quick: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "glacierseg")
    preset = {"m_landsnet": [4, "band_a"]}
    plan = config(
        quick / "b", bands={"top": 3, "top_preset": preset, "check": False}, outputs={"report": False}
    )
    run = run_experiment(plan, quick / "run2")
    assert bands_of(run) == ["band_a", "band_d"]
    assert list(read_measures(run / "m_landsnet/all/band_importance.csv")) == ["gradient"]
    assert "bands of the preset: band_a, band_d" in caplog.text


def test_the_original_preset_wants_the_original_bands(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    given = settings(tmp_path / "c", bands={"top_preset": "original", "recipe": "sentinel2-18"})
    with pytest.raises(ConfigError, match="only himalaya-18 makes"):
        parse_config(given, tmp_path / "c.yaml")
    assert BandsConfig(top_preset="original", recipe="himalaya-18").top == 6
    plan = config(tmp_path / "c", bands={"top": 3, "top_preset": "original"})
    assert len(BANDS) == 8
    with pytest.raises(BandError, match="these scenes have 8"):
        run_experiment(plan, tmp_path / "run")
