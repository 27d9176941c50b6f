import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacierseg.errors import RequestError
from glacierseg.raster.ground import width_and_height_m
from glacierseg.refine.steps import largest_count, smallest_count, whole_pixels


@given(st.integers(1, 10**6), st.sampled_from([(10.0, 10.0), (30.0, 30.0), (0.1, 0.3), (26.63, 30.87)]))
def test_an_area_of_whole_pixels_is_that_many_pixels(pixels: int, size_m: tuple[float, float]) -> None:
    area_km2 = pixels * (size_m[0] * size_m[1] / 1e6)
    assert smallest_count(area_km2, size_m) == pixels == largest_count(area_km2, size_m)
    assert smallest_count(area_km2 * 1.001 + 1e-12, size_m) > pixels
    assert largest_count(area_km2 * 0.999, size_m) < pixels


def test_inventory_minimum_at_ten_metres() -> None:
    assert smallest_count(0.03, (10, 10)) == 300
    assert largest_count(math.inf, (10, 10)) == math.inf


@pytest.mark.parametrize(("distance_m", "side_m", "pixels"), [(9, 10, 0), (0.3, 0.1, 3), (29.9, 10, 2)])
def test_whole_pixels_in_a_distance(distance_m: float, side_m: float, pixels: int) -> None:
    assert whole_pixels(distance_m, side_m) == pixels


@pytest.mark.parametrize("given_m", [10, 10.0, np.float32(10), (10, 10), [10.0, 10.0]])
def test_a_pixel_size_is_one_number_or_two(given_m: Any) -> None:
    assert width_and_height_m(given_m) == (10.0, 10.0)


@pytest.mark.parametrize("given_m", [0, -3, (10, 0), (float("nan"), 10)])
def test_a_pixel_needs_a_size(given_m: int | tuple[float, int]) -> None:
    with pytest.raises(RequestError, match="larger than 0 m"):
        width_and_height_m(given_m)
