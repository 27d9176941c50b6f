import math

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from glacierseg.raster.grid import Grid
from glacierseg.report.furniture import north_degrees, scale_bar


@given(st.floats(1, 1e7))
def test_scale_bar_is_round_and_fits(width_m: float) -> None:
    bar = scale_bar(width_m)
    digit = bar.length_m / 10 ** math.floor(math.log10(bar.length_m) + 1e-9)
    assert min(abs(digit - nice) for nice in (1, 2, 5)) < 1e-6
    assert 0.25 * width_m / 2.5 <= bar.length_m * (1 + 1e-6)
    assert bar.length_m <= 0.25 * width_m * (1 + 1e-6)


def test_scale_bar_in_words() -> None:
    assert scale_bar(24_000).label == "5 km"
    assert scale_bar(900).label == "200 m"


@pytest.mark.parametrize("turn", [0, 30, 90, -120])
def test_north(turn: int) -> None:
    transform = Affine(30, 0, 5e5, 0, -30, 3e6)
    # Turning the raster's axes counter-clockwise makes north point clockwise of up.
    grid = Grid(CRS.from_epsg(32645), transform * Affine.rotation(-turn), 40, 60)
    assert north_degrees(grid) == pytest.approx(turn, abs=1e-9)


def test_north_of_a_polar_grid_is_where_the_pole_lies() -> None:
    # At 45 degrees east of 45 degrees west the pole lies to the left, in the direction of -x.
    grid = Grid(CRS.from_epsg(3413), Affine(30, 0, 2e6, 0, -30, 600), 40, 40)
    assert north_degrees(grid) == pytest.approx(-90, abs=0.1)


def test_north_up_grids_whose_pixels_are_oblong_have_it_up() -> None:
    assert north_degrees(
        Grid(CRS.from_epsg(4326), Affine(3e-4, 0, 20, 0, -1e-4, 70), 40, 40)
    ) == pytest.approx(0, abs=1e-6)
