import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glacierseg.raster.samples import BandValues, measure_values
from glacierseg.weights.card import WeightsBand, WeightsCard
from glacierseg.weights.values import doubts, likely_unit, offset_warning, strangeness
from tests.weights.shelves import BANDS, facts, reflectances

ROLES = ("blue", "green", "red", "nir")


def card(values: NDArray[np.generic] | None = None, **changes: object) -> WeightsCard:
    values = reflectances(200, 200, 7) if values is None else values
    bands = [
        WeightsBand(name=name, role=role, unit="x", values=BandValues.of(own.ravel().astype(np.float32)))
        for name, role, own in zip(BANDS, ROLES, values, strict=True)
    ]
    return WeightsCard(
        **facts(**changes).model_dump(), name="w", parameters=1, bands=tuple(bands), pixel_m=10
    )


def found(values: NDArray[np.generic]) -> list[BandValues]:
    measured = measure_values(values.reshape(len(values), -1).astype(np.float32))
    assert measured is not None
    return measured


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v * 1.0, None),
        (lambda v: v * 0.45, None),  # a dark scene
        (lambda v: v * 2.2, None),  # a bright one
        (lambda v: np.concatenate([v[:3] * 0.2, v[3:]]), None),  # forest: dark, but not in the near infrared
        (lambda v: v / 10_000, "has a median of 0."),
        (lambda v: v / 10, "every band is darker"),
        (lambda v: np.median(v, (1, 2), keepdims=True) * 3 + v / 100, None),  # firn all over
        (lambda v: np.median(v, (1, 2), keepdims=True) * 5 + v / 100, "every band is brighter"),
        (lambda v: v * 20.0, "has a median of"),
        (lambda v: np.concatenate([v[:3], v[3:] / 1000]), r"B8 \(nir\) has a median of 2"),
    ],
)
def test_units_are_told_apart_from_ground(change: Callable[..., Any], words: str | None) -> None:
    strange = strangeness(card(), found(change(reflectances().astype(float))))
    if words is None:
        assert strange is None
    else:
        assert strange is not None
        assert re.search(words, strange)


@given(st.sampled_from([1e-4, 1e-3, 1e3, 1e4]), st.integers(0, 99))
def test_another_power_of_ten_is_found_and_named(factor: float, seed: int) -> None:
    values = reflectances(40, 40, seed).astype(float) * factor
    known = card()
    assert strangeness(known, found(values)) is not None
    assert f"--scale {1 / factor:g} " in likely_unit(known, found(values), ["float32"] * 4)


def test_a_cure_is_named_only_where_the_whole_scene_is_alike_then() -> None:
    known = card().model_dump(mode="json")
    known["bands"][3] |= {"name": "heat", "role": "thermal"}
    expected = WeightsCard.model_validate(known)
    values = reflectances().astype(float)
    light = np.concatenate([values[:3] / 1e4, values[3:]])
    assert "--scale 10000 would" in likely_unit(expected, found(light), ["float32"] * 4)
    both = np.concatenate([values[:3] / 1e4, values[3:] / 1e4])
    assert "heat (thermal) has a median of 0.27" in (strangeness(expected, found(both)) or "")
    assert likely_unit(expected, found(both), ["float32"] * 4) == ""
    # Another season may be warmer than all that was seen.
    flat = known["bands"][3]["values"] | {
        "low": 2600.0,
        "p5": 2610.0,
        "p25": 2650.0,
        "p95": 2790.0,
        "high": 2800.0,
    }
    known["bands"][3]["values"] = flat
    warmer = np.concatenate([values[:3], 2900 + values[3:] / 1000])
    expected = WeightsCard.model_validate(known)
    assert strangeness(expected, found(warmer)) is None
    assert "heat (thermal) has a median of 290" in doubts(expected, found(warmer))[0]


def test_heat_does_not_hide_that_all_light_is_darker() -> None:
    known = card().model_dump(mode="json")
    known["bands"][3] |= {"name": "heat", "role": "thermal"}
    values = reflectances().astype(float)
    values[:3] /= 10
    assert "every band is darker" in (strangeness(WeightsCard.model_validate(known), found(values)) or "")
    assert strangeness(card(), found(values)) is None


def test_eight_bits_are_named() -> None:
    levels = (reflectances() / 65).clip(0, 255).astype(np.uint8)
    assert "8-bit levels" in likely_unit(card(), found(levels), ["uint8"] * 4)
    # Weights for 8-bit levels do not wonder about them.
    assert likely_unit(card(levels), found(levels), ["uint8"] * 4) == ""


def test_the_offset_of_new_sentinel_2_products_is_noticed() -> None:
    values = reflectances().astype(float)
    assert offset_warning(card(), found(values)) is None
    assert "--offset=-1000" in (offset_warning(card(), found(values + 1000)) or "")
    # Shadow may be everywhere in a forest.
    assert "--offset=-1000" in (offset_warning(card(), found(values / 4 + 1000)) or "")
    # Not for another sensor, nor where the training had the offset itself.
    assert offset_warning(card(sensor="landsat8"), found(values + 1000)) is None
    assert offset_warning(card(reflectances() + 1000), found(values + 1000)) is None
