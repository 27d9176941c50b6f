"""Heights of the sun against published ones."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from glacierseg.catalogues.sun import sun_height_deg


@pytest.mark.parametrize(
    ("time", "longitude", "latitude", "height_deg"),
    [
        # Reda and Andreas, Solar Position Algorithm (NREL/TP-560-34302), the example: without refraction.
        (
            datetime(2003, 10, 17, 12, 30, 30, tzinfo=timezone(timedelta(hours=-7))),
            -105.1786,
            39.742476,
            39.872,
        ),
        # Meeus, Astronomical Algorithms, example 25.a: the declination is the height over the pole.
        (datetime(1992, 10, 13, tzinfo=UTC), 12.3, 90.0, -7.785),
        # Solstice and equinox of 2024 as almanacs give them.
        (datetime(2024, 6, 20, 20, 51, tzinfo=UTC), 0.0, 90.0, 23.436),
        (datetime(2024, 12, 21, 9, 21, tzinfo=UTC), 0.0, -90.0, 23.436),
        (datetime(2024, 3, 20, 3, 6, tzinfo=UTC), 0.0, 90.0, 0.0),
    ],
)
def test_heights_are_those_of_the_books(
    time: datetime, longitude: float, latitude: float, height_deg: float
) -> None:
    assert sun_height_deg(time, longitude, latitude) == pytest.approx(height_deg, abs=0.01)


def test_zones_and_turns_make_no_difference() -> None:
    utc = datetime(2024, 9, 30, 4, 57, tzinfo=UTC)
    height = sun_height_deg(utc, 86.8, 28.0)
    assert sun_height_deg(utc.astimezone(timezone(timedelta(hours=5, minutes=45))), 86.8, 28.0) == height
    assert sun_height_deg(utc, 86.8 - 360, 28.0) == pytest.approx(height)
    # The sun has not risen on the other side of the earth.
    assert sun_height_deg(utc, 86.8 - 180, -28.0) == pytest.approx(-height)
