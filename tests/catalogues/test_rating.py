"""What images show, counted by hand, and how that is rated."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from glacierseg.catalogues.choice import choose
from glacierseg.catalogues.rating import Rating, Seen, in_words, look, rate
from glacierseg.catalogues.sun import sun_height_deg
from glacierseg.products.classes import CIRRUS, CLEAR, CLOUD, MISSING, SHADOW, SNOW, classify
from glacierseg.raster.open import grid_of
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.looks import AUTUMN, candidate, grid, seen

SETTINGS = FetchSettings(date=(date(2024, 8, 1), date(2024, 10, 31)))


def place() -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Classes, the place and its glaciers: 30 pixels of which 12 are ice."""
    classes = np.full((6, 10), SHADOW, np.uint8)
    ground, glaciers = np.zeros((2, 6, 10), bool)
    ground[:5, 3:9] = glaciers[:2, 3:9] = True
    # Glaciers and cloud beyond the place count nowhere.
    glaciers[5] = True
    classes[ground] = CLEAR
    return classes, ground, glaciers


def looked(
    classes: NDArray[np.uint8], ground: NDArray[np.bool_], glaciers: NDArray[np.bool_] | None, **how: Any
) -> Seen:
    own = grid(*classes.shape)
    return look(
        how.get("own", candidate()),
        classes,
        own,
        ground,
        glaciers,
        onto=how.get("onto", own),
        settings=how.get("settings", SETTINGS),
    )


def test_shares_are_counted_on_their_own_ground() -> None:
    classes, ground, glaciers = place()
    classes[0, 3], classes[0, 4:6], classes[1, 3] = MISSING, CLOUD, SHADOW
    classes[4, 3:5], classes[4, 5:8], classes[3, 3], classes[1, 8] = MISSING, SNOW, CIRRUS, SNOW
    found = looked(classes, ground, glaciers)
    assert found.glaciers == 12 / 30
    assert found.no_data == 1 / 12
    assert found.cloud == pytest.approx(3 / 11)
    assert found.cloud_beside == pytest.approx(1 / 16)
    assert found.snow == pytest.approx(3 / 15)
    whole = looked(classes, ground, None)
    assert (whole.glaciers, whole.cloud_beside) == (None, None)
    assert whole.no_data == 3 / 30
    assert whole.cloud == pytest.approx(4 / 27)
    assert whole.snow == pytest.approx(4 / 23)
    assert found.age_days == 31
    assert found.sun_deg == pytest.approx(sun_height_deg(AUTUMN, 87.0, 28.0), abs=0.1)
    expected = np.full((6, 10), 2)
    expected[np.isin(classes, (CLOUD, CIRRUS, SHADOW))] = 1
    expected[classes == MISSING] = 0
    np.testing.assert_array_equal(found.cells, expected)


def test_cells_lie_on_the_common_grid() -> None:
    classes = np.full((6, 6), CLEAR, np.uint8)
    classes[:3] = CLOUD
    found = looked(classes, np.ones((6, 6), bool), None, onto=grid(4, 4, pixel_m=60))
    np.testing.assert_array_equal(found.cells, [[1, 1, 0, 0], [2, 2, 0, 0], [0] * 4, [0] * 4])


def test_without_an_inventory_nothing_is_known_of_glaciers() -> None:
    classes, ground, _ = place()
    found = looked(classes, ground, None)
    assert found.glaciers is None
    assert in_words(found) == "cloud 0 % of the place, snow 0 %, sun 55 degrees"


def test_a_place_of_nothing_but_ice_or_without_any_is_rated_by_what_it_has() -> None:
    classes, ground, _ = place()
    classes[2] = SNOW
    classes[0, 3:9] = CLOUD
    none = looked(classes, ground, np.zeros_like(ground))
    assert in_words(none) == "cloud 20 % of the place, snow 25 %, sun 55 degrees"
    (rating,) = rate([none], SETTINGS)
    assert rating.factors["cloud"] == pytest.approx(0.8)
    assert rating.factors["snow"] == pytest.approx(0.75)
    whole = looked(classes, ground, np.ones_like(ground))
    assert in_words(whole) == "cloud 20 % over the glaciers, sun 55 degrees"
    (rating,) = rate([whole], SETTINGS)
    assert rating.factors["snow"] == 1
    nothing = looked(np.full_like(classes, MISSING), ground, None)
    assert nothing.cloud == 1
    assert rate([nothing], SETTINGS)[0].refused == "shows nothing of the place"
    outside = looked(classes, np.zeros_like(ground), None)
    assert rate([outside], SETTINGS)[0].refused == "shows nothing of the place"


@pytest.mark.parametrize(
    ("time", "north", "days"),
    [
        (datetime(2024, 9, 15, tzinfo=UTC), True, 0),
        (datetime(2024, 10, 30, tzinfo=UTC), True, 0),
        (datetime(2024, 11, 15, tzinfo=UTC), True, 16),
        (datetime(2024, 1, 15, tzinfo=UTC), True, 76),
        (datetime(2024, 1, 15, tzinfo=UTC), False, 15),
        (datetime(2024, 9, 15, tzinfo=UTC), False, 136),
        (datetime(2024, 10, 31, tzinfo=UTC), True, 1),
    ],
)
def test_the_season_is_that_of_the_hemisphere(time: datetime, north: bool, days: int) -> None:
    classes = np.full((3, 3), CLEAR, np.uint8)
    ground, epsg = np.ones((3, 3), bool), 32645 if north else 32745
    own = grid(3, 3, epsg=epsg)
    # The same northing counts from 10 000 km in the south, 62 degrees beyond the equator.
    found = look(candidate(time), classes, own, ground, None, onto=own, settings=SETTINGS)
    assert found.off_season_days == days


def of(**values: Any) -> Rating:
    return rate([seen(**values)], SETTINGS)[0]


def test_each_factor_is_what_is_left() -> None:
    assert of().score == 1
    assert of(cloud=0.1).score == pytest.approx(0.9)
    assert of(no_data=0.25).score == pytest.approx(0.75)
    assert of(sun_deg=30.0).score == pytest.approx(0.5 / 0.5**0.5)
    assert of(age_days=365 * 2).score == pytest.approx(0.98**2, abs=1e-4)
    assert of(off_season_days=55).score == pytest.approx(1 - 0.4 * 0.4)
    known = of(glaciers=0.3, cloud=0.1, no_data=0.2, snow=0.3, cloud_beside=0.9)
    assert known.score == pytest.approx(0.9 * 0.8 * 0.7)


def test_without_an_inventory_the_least_snow_of_a_tile_is_ice() -> None:
    least, more = seen(snow=0.3), seen(candidate(letter="A"), snow=0.4)
    elsewhere = seen(candidate(tile="T45RWL"), snow=0.05)
    # Cloud hides what snow there is.
    hidden = seen(candidate(letter="C"), snow=0.0, cloud=0.6)
    bare = seen(candidate(letter="D"), snow=0.0, no_data=0.6)
    found = [one.factors["snow"] for one in rate([more, elsewhere, least, hidden, bare], SETTINGS)]
    assert found == [pytest.approx(0.9), 1, 1, 1, 1]
    # An inventory tells ice from snow.
    known = seen(glaciers=0.2, snow=0.3)
    assert rate([known], SETTINGS)[0].factors["snow"] == pytest.approx(0.7)


def test_limits_refuse_in_words_and_say_what_would_allow_it() -> None:
    assert of(cloud=0.2, snow=0.5, sun_deg=20.0).refused is None
    found = of(cloud=0.204, snow=1.0, sun_deg=19.6)
    assert found.refused == (
        "cloud 20.4 % of the place, more than --max-cloud 0.2; snow 100 % of the place, more than --max-snow "
        "0.5; sun 19.6 degrees, less than --min-sun-deg 20"
    )
    assert found.cure == {"max_cloud": 0.21, "max_snow": 1.0, "min_sun_deg": 19.0}
    assert of(sun_deg=-3.0).refused == "the sun stands 3 degrees below the horizon"
    assert of(sun_deg=-3.0).cure is None
    over = {"glaciers": 0.2, "snow": 0.71}
    found = of(**over, cloud=0.1)
    assert found.refused == "snow 71 % beside the glaciers, more than --max-snow 0.5"
    # Such cloud stops at the rim of the ice.
    found = of(**over, cloud=0.6, cloud_beside=0.02)
    assert "cloud 60 % over the glaciers" in str(found.refused)
    assert "(beside them 2 %, so it may be bright ice that is called cloud)" in str(found.refused)
    assert "bright ice" not in str(of(**over, cloud=0.6, cloud_beside=0.5).refused)
    hidden = of(glaciers=0.2, no_data=1.0)
    assert hidden.refused == "shows nothing of the glaciers"


def test_a_share_has_the_digits_that_show_that_it_is_more() -> None:
    found = of(cloud=0.2000001, sun_deg=19.98)
    assert (
        found.refused == "cloud 20.1 % of the place, more than --max-cloud 0.2; sun 19.9 degrees, less than "
        "--min-sun-deg 20"
    )
    assert found.cure == {"max_cloud": 0.21, "min_sun_deg": 19.0}
    # 100 * 0.29 is not 29 in binary.
    assert of(cloud=0.29).cure == {"max_cloud": 0.29}


@pytest.mark.real
@pytest.mark.parametrize("has_inventory", [True, False])
def test_autumn_is_better_than_winter_in_khumbu(data_dir: Path, has_inventory: bool) -> None:
    folder = data_dir / "khumbu_sentinel2"
    with rasterio.open(folder / "khumbu_rgi60_mask.tif") as dataset:
        glaciers = dataset.read(1) == 1
    days = {"winter": (1, 15), "spring": (5, 25), "summer": (7, 15), "autumn": (9, 30)}
    settings, found = FetchSettings(date=(date(2024, 1, 1), date(2024, 12, 31))), {}
    for season, day in days.items():
        with rasterio.open(folder / f"khumbu_s2_{season}_2024.tif") as dataset:
            _, green, _, _, swir, _ = dataset.read().astype(float)
            own = grid_of(dataset)
        numbers = np.where(((green - swir) / (green + swir) > 0.4) & (green > 0.2), 11, 5).astype(np.uint8)
        if season == "summer":
            # What the monsoon is like.
            numbers[:128] = 9
        image = candidate(datetime(2024, *day, 4, 57, tzinfo=UTC))
        ground, ice = np.ones(own.shape, bool), glaciers if has_inventory else None
        classes = classify(numbers, "scl")
        found[season] = look(image, classes, own, ground, ice, onto=own, settings=settings)
    chosen = choose(list(found.values()), np.ones(own.shape, bool), settings)
    assert chosen.taken == (found["autumn"].candidate,)
    why = {one.candidate.acquired.month: one.why for one in chosen.choices}
    assert "lower sun and longer shadows" in why[1]
    assert "farther outside the season of bare ice" in why[1]
    assert "sun 37 degrees" in why[1]
    assert "more than --max-cloud 0.2" in why[7]
