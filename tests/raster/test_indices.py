import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.raster.indices import INDICES

# Reflectances of a patch of clean ice, and each index of it worked out by hand.
ICE = {"blue": 0.6, "green": 0.5, "red": 0.4, "nir": 0.3, "swir1": 0.1}
BY_HAND = {
    "ndsi": 0.4 / 0.6,
    "ndwi": 0.2 / 0.8,
    "ndvi": -0.1 / 0.7,
    "ndgi": 0.1 / 0.9,
    "ndmi": 0.2 / 0.4,
    "red_swir1": 4.0,
    "nir_swir1": 3.0,
    "s3": 0.3 * 0.3 / (0.7 * 0.4),
    "brightness": np.sqrt(0.77 / 3),
}


def compute(name: str, values: dict[str, float]) -> NDArray[np.float32]:
    index = INDICES[name]
    return index.compute(*(np.array([values[role]], np.float32) for role in index.roles))


def test_every_index_is_worked_out_here() -> None:
    assert set(BY_HAND) == set(INDICES)


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_index_agrees_with_hand_calculation(name: str) -> None:
    result = compute(name, ICE)
    assert result.dtype == np.float32
    assert result[0] == pytest.approx(BY_HAND[name], rel=1e-6)


@pytest.mark.parametrize("name", sorted(set(BY_HAND) - {"brightness"}))
def test_undefined_where_the_denominator_is_not_positive(name: str) -> None:
    assert np.isnan(compute(name, dict.fromkeys(ICE, 0.0)))[0]
    assert np.isnan(compute(name, dict.fromkeys(ICE, -0.1)))[0]


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_missing_input_is_missing(name: str) -> None:
    for role in INDICES[name].roles:
        assert np.isnan(compute(name, ICE | {role: np.nan}))[0]


reflectance = st.floats(0, 2, width=32)


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(ICE, reflectance)))
def test_bounded_indices_stay_in_their_range(values: dict[str, float]) -> None:
    for name, index in INDICES.items():
        if index.physical_range:
            result = compute(name, values)[0]
            assert (
                np.isnan(result) or index.physical_range[0] - 1e-6 <= result <= index.physical_range[1] + 1e-6
            )


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(ICE, st.floats(-1, 2, width=32))))
def test_negative_reflectance_has_no_index(values: dict[str, float]) -> None:
    for name, index in INDICES.items():
        if name == "brightness":
            continue
        result = compute(name, values)[0]
        if min(values[role] for role in index.roles) < 0:
            assert np.isnan(result)
        elif index.physical_range and np.isfinite(result):
            assert index.physical_range[0] <= result <= index.physical_range[1]
