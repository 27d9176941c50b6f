"""Where to look next: against sums and masks made with numpy."""

import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from shapely.geometry import box

from glacierseg.errors import GridMismatchError, RequestError
from glacierseg.predict.files import CALIBRATION_TAG
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import rasterize_outlines
from glacierseg.raster.write import write_raster
from glacierseg.review.places import LARGEST_SHARE, PLACE_M, suggest_places
from tests.helpers import blobs, utm_grid, write_mask
from tests.weights.shelves import calibration


def write_probability(path: Path, values: NDArray[Any], grid: Grid | None = None, **more: Any) -> Path:
    grid = grid or utm_grid(*values.shape)
    write_raster(
        path,
        values[None].astype(np.float32),
        grid,
        bands=["glacier_probability"],
        nodata=np.nan,
        cog=False,
        **more,
    )
    return path


def uncertain(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Glaciers with probabilities that are mostly sure, and doubtful in places."""
    rng = np.random.default_rng(seed)
    logit = 6.0 * blobs(height, width, seed) - 3 + rng.normal(0, 1.5, (height, width))
    probability: NDArray[np.float32] = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return probability


def pixels_of(place: Any, grid: Grid) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = rasterize_outlines(gpd.GeoDataFrame(geometry=[place]), grid) == 1
    return inside


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("place_m", [None, 70.0, 200.0])
def test_places_are_apart_inside_and_hold_the_sum_of_their_pixels(
    tmp_path: Path, seed: int, place_m: float | None
) -> None:
    rng = np.random.default_rng(seed)
    p = uncertain(181, 263, seed)
    p[:40, :90] = np.nan
    mask = blobs(181, 263, seed + 10)
    mask[100:110] = 255
    grid = utm_grid(*p.shape)
    checked = gpd.GeoDataFrame(
        geometry=[
            box(x, y - 150, x + 220, y)
            for x, y in rng.uniform((700_000, 3_598_300), (702_400, 3_600_000), (3, 2))
        ],
        crs=32643,
    )
    places = suggest_places(
        write_probability(tmp_path / "p.tif", p),
        count=8,
        place_m=place_m,
        checked=checked.to_crs(4326),
        mask=write_mask(tmp_path / "m.tif", mask),
    )
    assert len(places) == 8
    assert list(places["rank"]) == list(range(1, 9))
    assert places.crs == "EPSG:32643"
    assert places["expected_error_km2"].is_monotonic_decreasing
    side = np.sqrt(places.area.iloc[0])
    for at, (place, expected, false, missed) in enumerate(
        zip(
            places.geometry,
            places["expected_error_km2"],
            places["false_km2"],
            places["missed_km2"],
            strict=True,
        )
    ):
        assert box(*grid.bounds).covers(place)
        corners = (np.array(place.exterior.coords) - (700_000, 3_600_000)) / 10
        np.testing.assert_allclose(corners, np.round(corners), atol=1e-6)
        inside = pixels_of(place, grid)
        known = inside & ~np.isnan(p) & (mask != 255)
        assert known.sum() >= inside.sum() / 2
        np.testing.assert_allclose(false, (1 - p)[known & (mask == 1)].sum() * 1e-4, rtol=1e-5)
        np.testing.assert_allclose(missed, p[known & (mask == 0)].sum() * 1e-4, rtol=1e-5)
        np.testing.assert_allclose(expected, false + missed, rtol=1e-12)
        assert places.geometry.iloc[at + 1 :].distance(place).min() >= side / 2 or at == 7
        assert checked.distance(place).min() >= side / 2
    if place_m is None:
        ground = (~np.isnan(p) & (mask != 255)).sum() * 1e-4
        assert places.area.sum() / 1e6 <= LARGEST_SHARE * ground
    else:
        assert side == pytest.approx(place_m, abs=10)


def test_the_first_place_is_where_the_largest_error_lies(tmp_path: Path) -> None:
    p = np.full((300, 300), 0.01, np.float32)
    p[200:240, 100:140] = 0.6
    p[40:60, 40:60] = 0.45
    first, second = suggest_places(write_probability(tmp_path / "p.tif", p), count=2, place_m=400).geometry
    assert first.intersection(box(701_000, 3_597_600, 701_400, 3_598_000)).area > 0.8 * 400**2
    assert second.intersects(box(700_400, 3_599_400, 700_600, 3_599_600))


def test_a_scene_with_too_little_ground_gives_fewer_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_probability(tmp_path / "p.tif", uncertain(60, 60))
    with caplog.at_level(logging.INFO, "glacierseg"):
        places = suggest_places(path, count=20, place_m=200)
    assert 1 <= len(places) < 20
    assert f"{len(places)} of 20 places" in caplog.text
    assert "not calibrated" in caplog.text
    everywhere = gpd.GeoDataFrame(geometry=[box(*utm_grid(60, 60).bounds)], crs=32643)
    nothing = suggest_places(path, checked=everywhere)
    assert len(nothing) == 0
    assert list(nothing.columns) == list(places.columns)
    assert nothing.crs == places.crs


def test_places_on_large_scenes_have_the_side_of_one_look(tmp_path: Path) -> None:
    path = write_probability(tmp_path / "p.tif", uncertain(1400, 1400))
    assert suggest_places(path, count=20).area.to_numpy() == pytest.approx(PLACE_M**2)


def test_probabilities_are_calibrated_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    p = uncertain(120, 120)
    how = calibration()
    raw = write_probability(tmp_path / "raw.tif", p)
    done = write_probability(tmp_path / "done.tif", how.apply(p), tags={CALIBRATION_TAG: "temperature 2"})
    mask = write_mask(tmp_path / "m.tif", (p >= 0.5).astype(np.uint8))
    with caplog.at_level(logging.INFO, "glacierseg"):
        one = suggest_places(raw, calibration=how, count=3)
        two = suggest_places(done, calibration=how, count=3, mask=mask)
    assert "not calibrated" not in caplog.text
    np.testing.assert_allclose(one["expected_error_km2"], two["expected_error_km2"], rtol=1e-5)
    plain = suggest_places(raw, count=3)
    assert (np.abs(plain["expected_error_km2"] / one["expected_error_km2"] - 1) > 0.05).all()


@pytest.mark.parametrize(
    ("epsg", "transform"),
    [
        (4326, Affine(0.0002, 0, 77, 0, -0.0001, 60)),
        (3857, Affine(20, 0, 8.6e6, 0, -20, 8.4e6)),
        (32643, Affine(10, 0, 7e5, 0, -12, 3.6e6) * Affine.rotation(30)),
        (32643, Affine(10, 0, 7e5, 0, 10, 3.6e6)),
    ],
    ids=["degrees", "Mercator", "turned", "south-up"],
)
def test_metres_are_those_of_the_ground(tmp_path: Path, epsg: int, transform: Affine) -> None:
    grid = Grid(CRS.from_epsg(epsg), transform, 240, 200)
    p = uncertain(*grid.shape)
    places = suggest_places(write_probability(tmp_path / "p.tif", p, grid), count=3, place_m=200)
    areas_m2 = places.to_crs(32643).area.to_numpy()
    # Sides are whole cells, at most 200 m.
    assert np.sqrt(areas_m2) == pytest.approx(185, rel=0.09)
    errors = np.minimum(p, 1 - p)[pixels_of(places.geometry.iloc[0], grid)]
    assert places["expected_error_km2"].iloc[0] == pytest.approx(errors.mean() * areas_m2[0] / 1e6, rel=0.003)


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    path = write_probability(tmp_path / "p.tif", uncertain(60, 60))
    with pytest.raises(RequestError, match="at least 1"):
        suggest_places(path, count=0)
    with pytest.raises(RequestError, match="more than 0 m"):
        suggest_places(path, place_m=-1)
    other = write_mask(tmp_path / "m.tif", blobs(50, 60))
    with pytest.raises(GridMismatchError):
        suggest_places(path, mask=other)


def test_empty_and_missing_shapes_count_as_nothing_checked(tmp_path: Path) -> None:
    path = write_probability(tmp_path / "p.tif", uncertain(90, 90))
    odd = gpd.GeoDataFrame(geometry=[None, shapely.Polygon()], crs=4326)
    assert suggest_places(path, checked=odd).equals(suggest_places(path))
