import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from glacierseg.errors import CheckpointError, TruthError
from glacierseg.models.card import ModelCard, read_card, save_model
from glacierseg.predict.calibration import (
    TEMPERATURES,
    Calibration,
    Dispersion,
    GlacierClass,
    LogitScale,
    fit_logit_scale,
    read_calibration,
    store_calibration,
)

STORED = Calibration(
    LogitScale(1.7, -0.3), 4711, ("a", "b"), 0.5, 0.4, 0.1, 0.02,
    Dispersion(12.5, 64, 9.5, 7.5, 1234.5, smaller=(Dispersion(3.5, 32, 30.5, 28.5, 1234.5),)),
    glaciers=(GlacierClass(0.0, -2.5, 1.5, 80, 12), GlacierClass(0.1, -1.5, 1.25, 20, 10)), massifs=12,
)  # fmt: skip


def test_a_card_of_an_earlier_version_has_the_bounds_of_its_time_and_none_of_single_glaciers() -> None:
    stored = STORED.to_dict()
    for name in ("glaciers", "massifs"):
        stored.pop(name)
    stored["dispersion"].pop("smaller")
    found = Calibration.from_dict(json.loads(json.dumps(stored)))
    assert found.dispersion == Dispersion(12.5, 64, 9.5, 7.5, 1234.5)
    assert found.glaciers == ()
    assert "9 squares of 10 km or more, and the calibration has them in 0" in found.without_glaciers
    assert STORED.without_glaciers == ""


def simulated(temperature: float, bias: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels whose logits must be divided by the temperature and shifted by the bias to be right."""
    rng = np.random.default_rng(seed)
    centres = np.linspace(-12, 12, 241)
    total = rng.integers(1000, 4000, centres.size)
    glacier = rng.binomial(total, expit(centres / temperature + bias))
    return centres, total - glacier, glacier


def nll(scale: tuple[float, float], data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    scaled = data[0] * scale[0] + scale[1]
    result: float = (
        float(data[1] @ np.logaddexp(0, scaled) + data[2] @ np.logaddexp(0, -scaled)) / data[1:][0].sum()
    )
    return result


@given(st.floats(0.2, 6), st.floats(-2, 2), st.integers(0, 99))
def test_a_known_scale_is_found_again(temperature: float, bias: float, seed: int) -> None:
    data = simulated(temperature, bias, seed)
    found = fit_logit_scale(*data)
    assert not found.at_bound
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.bias == pytest.approx(bias, abs=0.1)


@pytest.mark.parametrize(("temperature", "bias"), [(0.4, 0.5), (1.0, 0.0), (3.0, -1.0)])
def test_the_fit_is_scipys(temperature: float, bias: float) -> None:
    data = simulated(temperature, bias)
    both = minimize(nll, (1.0, 0.0), args=(data,), tol=1e-12)
    found = fit_logit_scale(*data)
    assert (1 / found.temperature, found.bias) == pytest.approx(tuple(both.x), rel=1e-4, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=9, max_size=9))
def test_a_fit_never_makes_it_worse_and_keeps_the_area(pixels: list[tuple[int, int]]) -> None:
    data = np.linspace(-8, 8, 9), *np.array(pixels).T
    if not (data[1].any() and data[2].any()):
        with pytest.raises(TruthError, match="the role validate to ground with both"):
            fit_logit_scale(*data)
        return
    found = fit_logit_scale(*data)
    scale = 1 / found.temperature, found.bias
    assert TEMPERATURES[0] <= found.temperature <= TEMPERATURES[1]
    if data[1].sum():
        assert nll(scale, data) <= nll((1.0, 0.0), data) + 1e-9
    expected = expit(data[0] * scale[0] + scale[1]) @ (data[1] + data[2])
    assert expected == pytest.approx(data[2].sum(), abs=1e-6)


def test_useless_and_perfect_probabilities_are_reported() -> None:
    centres, few, many = np.array([-5.0, 5.0]), np.array([0, 90]), np.array([90, 0])
    upside_down = fit_logit_scale(centres, few, many)
    assert upside_down.at_bound
    assert upside_down.temperature == pytest.approx(TEMPERATURES[1])
    perfect = fit_logit_scale(centres, many, few)
    assert perfect.at_bound
    assert perfect.temperature == pytest.approx(TEMPERATURES[0])


@given(st.lists(st.floats(0, 1, width=32), min_size=2), st.floats(0.05, 20), st.floats(-5, 5))
def test_order_stays_and_nan_stays(values: list[float], temperature: float, bias: float) -> None:
    probability = np.array([*sorted(values), np.nan], np.float32)
    scaled = LogitScale(temperature, bias).apply(probability)
    assert scaled.dtype == np.float32
    assert (np.diff(scaled[:-1]) >= 0).all()
    assert ((scaled[:-1] >= 0) & (scaled[:-1] <= 1)).all()
    assert np.isnan(scaled[-1])
    inside = probability[(probability > 2e-7) & (probability < 1 - 2e-7)].astype(float)
    np.testing.assert_allclose(
        LogitScale(temperature, bias).apply(inside), expit(logit(inside) / temperature + bias), atol=1e-7
    )
    np.testing.assert_allclose(LogitScale(1.0).apply(probability), probability, atol=2e-7)


CARD = ModelCard(
    architecture="m_landsnet", width=0.125, bands=("red",), band_mean=(1.5,), band_std=(0.1,), patch_px=32
)


def test_a_stored_calibration_is_read_back_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    save_model(tmp_path, CARD.build(), CARD)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert read_calibration(tmp_path) is None
    store_calibration(tmp_path, STORED)
    assert read_calibration(tmp_path) == STORED
    assert read_card(tmp_path).model_copy(update={"calibration": None}) == CARD
    text = (tmp_path / "model.json").read_text()
    store_calibration(tmp_path, STORED)
    assert (tmp_path / "model.json").read_text() == text
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_a_card_from_before_calibration_still_loads(tmp_path: Path) -> None:
    old = CARD.model_dump(mode="json")
    del old["calibration"]
    (tmp_path / "model.json").write_text(json.dumps(old))
    assert read_calibration(tmp_path) is None


@pytest.mark.parametrize("stored", [{}, {**STORED.to_dict(), "more": 1}, {**STORED.to_dict(), "scale": None}])
def test_a_foreign_calibration_is_refused_in_one_line(tmp_path: Path, stored: dict[str, object]) -> None:
    card = CARD.model_copy(update={"calibration": stored})
    (tmp_path / "model.json").write_text(card.model_dump_json())
    with pytest.raises(CheckpointError, match=r"model\.json: calibration has other fields"):
        read_calibration(tmp_path)
