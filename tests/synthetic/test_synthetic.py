import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, sobel
from skimage.measure import label
from skimage.morphology import reconstruction
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import jaccard_score

from glacierseg.errors import GlaciersegError
from glacierseg.raster.facts import ranges_of
from glacierseg.raster.scene import open_scene
from glacierseg.synthetic import (
    BAND_NAMES,
    BAND_RANGES,
    DEMO_REGIONS,
    NOISE_BANDS,
    OPTICAL_BANDS,
    SyntheticBasin,
    make_basin,
    write_basin,
    write_demo,
)
from glacierseg.synthetic import ice as ice_model
from glacierseg.synthetic.light import Sun, cast_shadow, incidence
from glacierseg.synthetic.relief import fill_pits


def make_region(name: str) -> SyntheticBasin:
    facts = dataclasses.asdict(DEMO_REGIONS[name])
    return make_basin(facts.pop("seed"), 512, 512, noise=True, **facts)


@pytest.fixture(scope="module")
def train() -> SyntheticBasin:
    return make_region("basin_a")


@pytest.fixture(scope="module")
def test() -> SyntheticBasin:
    return make_region("basin_c")


@pytest.fixture(scope="module")
def small() -> SyntheticBasin:
    return make_basin(3, 64, 64)


def codes(basin: SyntheticBasin, name: str) -> NDArray[np.uint8]:
    return np.asarray(basin.bands[basin.band_names.index(name)])


def band(basin: SyntheticBasin, name: str) -> NDArray[np.float64]:
    """The band in its physical unit."""
    low, high = BAND_RANGES[name]
    return low + (codes(basin, name).astype(float) - 1) / 254 * (high - low)


def ndsi(basin: SyntheticBasin) -> NDArray[np.float64]:
    green, swir = band(basin, "green"), band(basin, "swir1")
    return np.asarray((green - swir) / (green + swir))


def glacier(basin: SyntheticBasin) -> NDArray[np.bool_]:
    return basin.clean_ice | basin.debris


def stony(basin: SyntheticBasin) -> NDArray[np.bool_]:
    """Ground that shows stones and nothing else: rock, and debris on ice."""
    green = band(basin, "nir") > 1.5 * band(basin, "red")
    return np.asarray(~(basin.clean_ice | basin.snow | basin.cloud | basin.lake | basin.shadow | green))


def arrays(basin: SyntheticBasin) -> dict[str, NDArray[Any]]:
    return {k: v for k, v in vars(basin).items() if isinstance(v, np.ndarray)}


def test_bands_are_those_of_the_mission_in_its_order(small: SyntheticBasin) -> None:
    mission = (
        "blue green red nir swir1 elevation coherence dh_dt divergence persistent_scatterer "
        "curvature_profile slope aspect curvature_tangential thermal unsphericity velocity backscatter"
    )
    assert BAND_NAMES == small.band_names == tuple(mission.split())
    assert set(BAND_RANGES) == {*BAND_NAMES, *NOISE_BANDS}


def test_noise_comes_before_the_bands_and_leaves_them_as_they_are(small: SyntheticBasin) -> None:
    noisy = make_basin(3, 64, 64, noise=True)
    assert noisy.band_names == (*NOISE_BANDS, *BAND_NAMES)
    np.testing.assert_array_equal(noisy.bands[3:], small.bands)
    np.testing.assert_array_equal(noisy.truth, small.truth)


def test_same_arguments_give_the_same_bytes(small: SyntheticBasin) -> None:
    again = make_basin(3, 64, 64)
    for name, layer in arrays(small).items():
        assert layer.tobytes() == arrays(again)[name].tobytes(), name


def test_another_seed_gives_another_basin(small: SyntheticBasin) -> None:
    assert (make_basin(4, 64, 64).bands != small.bands).mean() > 0.9


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 97), (127, 66)])
def test_any_size_from_64(height: int, width: int) -> None:
    basin = make_basin(5, height, width)
    assert basin.bands.shape == (18, height, width)
    assert basin.bands.dtype == basin.truth.dtype == np.uint8
    assert basin.elevation_m.dtype == np.float32
    assert {layer.shape[-2:] for layer in arrays(basin).values()} == {(height, width)}
    assert set(np.unique(basin.truth)) <= {0, 1, 255}
    assert 0.05 < glacier(basin).mean() < 0.6


@pytest.mark.parametrize(
    "arguments",
    [{"height_px": 63}, {"width_px": 10}, {"pixel_size_m": 30.0}, {"sun_elevation_deg": -3.0}],
)
def test_impossible_requests_are_one_clear_line(arguments: dict[str, Any]) -> None:
    with pytest.raises(GlaciersegError) as caught:
        make_basin(1, **arguments)
    assert "choose" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_snow_line_above_all_peaks_leaves_no_ice() -> None:
    basin = make_basin(3, 64, 64, snow_line_m=9000.0)
    assert not glacier(basin).any()
    assert (basin.truth == 0).all()


def test_higher_snow_line_means_less_ice(small: SyntheticBasin) -> None:
    high = make_basin(3, 64, 64, snow_line_m=5500.0)
    assert glacier(high).mean() < glacier(small).mean()


def test_layers_agree(test: SyntheticBasin) -> None:
    assert test.bands.min() >= 1
    assert not (test.clean_ice & test.debris).any()
    assert not (test.snow & glacier(test)).any()
    np.testing.assert_array_equal(test.truth == 255, glacier(test) & test.cloud)
    np.testing.assert_array_equal(test.truth == 1, glacier(test) & ~test.cloud)
    for name in ("debris", "snow", "cloud", "shadow", "lake"):
        assert 0.002 < getattr(test, name).mean() < 0.25, name


def test_elevation_band_is_the_elevation(test: SyntheticBasin) -> None:
    np.testing.assert_allclose(band(test, "elevation"), test.elevation_m, atol=9.0)


@pytest.mark.parametrize("name", ["train", "test"])
def test_glaciers_look_like_glaciers(name: str, request: pytest.FixtureRequest) -> None:
    basin = request.getfixturevalue(name)
    ice = glacier(basin)
    assert 0.15 < ice.mean() < 0.35
    areas_km2 = np.bincount(label(ice, connectivity=1).ravel())[1:] * basin.pixel_size_m**2 / 1e6
    assert len(areas_km2) >= 6
    assert areas_km2.max() > 1.0
    assert areas_km2.max() / areas_km2.min() > 100
    # What the rim does not cut is at least as large as the smallest glacier of an inventory.
    whole = label(np.pad(ice, 1, constant_values=True), connectivity=1)
    whole = np.bincount(whole[whole != whole[0, 0]])[1:]
    assert whole[whole > 0].min() * basin.pixel_size_m**2 >= 10_000
    # They lie high, on gentle ground; debris covers their lowest parts.
    slope = band(basin, "slope")
    assert basin.elevation_m[ice].mean() > basin.elevation_m[~ice].mean() + 100
    assert slope[ice].mean() < slope[~ice].mean() - 10
    assert basin.elevation_m[basin.debris].mean() < basin.elevation_m[basin.clean_ice].mean() - 100
    assert 0.1 < basin.debris.sum() / ice.sum() < 0.4


def test_relief_is_himalayan(test: SyntheticBasin) -> None:
    assert 3500 < test.elevation_m.min() < 4700
    assert 5500 < test.elevation_m.max() < 7000
    assert 25 < band(test, "slope").mean() < 42
    smooth = gaussian_filter(test.elevation_m.astype(float), 1.0)
    to_south, to_east = sobel(smooth, 0) / 80, sobel(smooth, 1) / 80
    slope = np.minimum(np.degrees(np.arctan(np.hypot(to_south, to_east))), 75)
    assert np.abs(band(test, "slope") - slope)[4:-4, 4:-4].max() < 0.3
    off = band(test, "aspect") - np.degrees(np.arctan2(-to_east, to_south))
    off = np.abs((off + 180) % 360 - 180)[4:-4, 4:-4]
    assert np.percentile(off, 99) < 1


@pytest.mark.parametrize("name", ["train", "test"])
def test_debris_has_the_light_of_rock(name: str, request: pytest.FixtureRequest) -> None:
    basin = request.getfixturevalue(name)
    rock, debris = stony(basin) & ~glacier(basin), stony(basin) & basin.debris
    # Compared in the same light: tongues lie as their valleys do.
    region = DEMO_REGIONS["basin_a" if name == "train" else "basin_c"]
    height, azimuth = np.radians([region.sun_elevation_deg, region.sun_azimuth_deg])
    slope, aspect = np.radians(band(basin, "slope")), np.radians(band(basin, "aspect"))
    light = np.cos(slope) * np.sin(height) + np.sin(slope) * np.cos(height) * np.cos(aspect - azimuth)
    classes = np.digitize(light, np.arange(0.1, 1, 0.1))
    weights = np.bincount(classes[debris], minlength=10) / np.bincount(classes[rock], minlength=10)
    for optical in OPTICAL_BANDS:
        values = band(basin, optical)
        alike = np.average(values[rock], weights=weights[classes[rock]])
        assert abs(values[debris].mean() - alike) < 0.25 * values[rock].std(), optical
    assert band(basin, "slope")[debris].mean() < band(basin, "slope")[rock].mean() - 5


def fitted(basin: SyntheticBasin, other: SyntheticBasin, names: tuple[str, ...]) -> float:
    """IoU on the stony ground of another basin of trees that know single pixels."""
    values, truth = samples(basin, names)
    some = np.random.default_rng(0).choice(len(truth), 20_000, replace=False)
    trees = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(values[some], truth[some])
    seen, values, truth = stony(other)[other.truth != 255], *samples(other, names)
    return float(jaccard_score(truth[seen], trees.predict(values[seen])))


def test_light_alone_does_not_find_debris_and_the_other_bands_do(
    train: SyntheticBasin, test: SyntheticBasin
) -> None:
    assert fitted(train, test, OPTICAL_BANDS) < 0.1
    assert fitted(train, test, BAND_NAMES) > 0.6


@pytest.mark.parametrize("name", ["train", "test"])
def test_heat_of_debris_goes_by_its_thickness(name: str, request: pytest.FixtureRequest) -> None:
    basin = request.getfixturevalue(name)
    # Beyond the reach of a coarse sensor's mixing, on ground of the same heights.
    around = gaussian_filter(basin.debris.astype(float), 6) > 0.8
    sunny = stony(basin) & (band(basin, "slope") < 35)
    kelvin = band(basin, "thermal") + 0.0065 * (basin.elevation_m - 4500)
    thin, thick = (sunny & around & part for part in (basin.debris_m < 0.06, basin.debris_m > 0.25))
    bare = sunny & (gaussian_filter(glacier(basin).astype(float), 6) < 0.05)
    assert thin.sum() > 300
    assert thick.sum() > 300
    assert kelvin[thin].mean() + 1 < kelvin[thick].mean() < kelvin[bare].mean() + 1


@pytest.mark.parametrize("name", ["train", "test"])
def test_radar_and_surveys_see_what_moves_melts_and_stands(name: str, request: pytest.FixtureRequest) -> None:
    basin = request.getfixturevalue(name)
    far = gaussian_filter(glacier(basin).astype(float), 6) < 0.02
    rock = stony(basin) & far
    coherence, points, echo = (
        band(basin, name) for name in ("coherence", "persistent_scatterer", "backscatter")
    )
    wet = basin.snow & far & ~basin.shadow
    for moving in (basin.debris, basin.clean_ice, wet, basin.lake):
        assert np.median(coherence[moving]) < np.median(coherence[rock]) - 0.2
    assert points[rock].mean() > 0.5
    assert points[~far & (gaussian_filter((~glacier(basin)).astype(float), 6) < 0.02)].max() < 0.02
    assert np.median(echo[wet]) < np.median(echo[rock]) - 5
    gentle = band(basin, "slope") < 30
    assert np.median(echo[gentle & basin.debris]) > np.median(echo[gentle & rock]) + 1
    facing = np.cos(np.radians(band(basin, "aspect") - 100))
    steep = rock & (band(basin, "slope") > 30)
    assert np.median(echo[steep & (facing > 0.7)]) > np.median(echo[steep & (facing < -0.7)]) + 5
    # Noise alone moves rock.
    speed, thinning = band(basin, "velocity"), -band(basin, "dh_dt")
    assert np.median(speed[rock]) < 4
    assert np.percentile(speed[glacier(basin)], 90) > 15
    assert abs(np.median(thinning[rock])) < 0.1
    assert abs(band(basin, "divergence")[rock].mean()) < 0.01
    low = basin.debris & (basin.debris_m < 0.1)
    assert np.median(thinning[low]) > np.median(thinning[basin.debris & (basin.debris_m > 0.3)]) + 0.1


def test_snow_and_cloud_are_false_friends(test: SyntheticBasin) -> None:
    seen = ~test.shadow & ~test.cloud
    assert ndsi(test)[test.snow & seen].mean() > 0.4
    assert ndsi(test)[test.clean_ice & seen].mean() > 0.4
    clouds = test.cloud
    assert band(test, "green")[clouds].mean() > 0.5
    assert band(test, "swir1")[clouds].mean() > 0.3
    assert band(test, "thermal")[clouds].mean() < band(test, "thermal")[test.clean_ice].mean() - 5


def test_noise_bands_know_nothing(train: SyntheticBasin, test: SyntheticBasin) -> None:
    """Correlated noise has few free values in one basin, so that the limit is that of chance in two."""
    for name in train.band_names:
        for noise in set(NOISE_BANDS) - {name}:
            found = [
                np.corrcoef(codes(basin, noise).ravel(), codes(basin, name).ravel())[0, 1]
                for basin in (train, test)
            ]
            assert abs(np.mean(found)) < 0.06, (noise, name)
    for noise in NOISE_BANDS:
        for basin in (train, test):
            assert abs(np.corrcoef(codes(basin, noise).ravel(), glacier(basin).ravel())[0, 1]) < 0.06, noise
    lag = {
        name: np.corrcoef(band(test, name)[:, 1:].ravel(), band(test, name)[:, :-1].ravel())[0, 1]
        for name in NOISE_BANDS
    }
    assert abs(lag["noise_1"]) < 0.02
    assert lag["noise_2"] > 0.9
    assert 0.3 < lag["noise_3"] < 0.9


def test_every_other_band_knows_something(train: SyntheticBasin) -> None:
    """The codes of ice and ground are spread differently, by far more than those of noise."""
    known = train.truth != 255
    ice = train.truth == 1
    apart = {}
    for name, values in zip(train.band_names, train.bands, strict=True):
        bins = np.linspace(0, 256, 17)
        shares = [np.histogram(values[part], bins)[0] / part.sum() for part in (ice & known, ~ice & known)]
        apart[name] = np.abs(shares[0] - shares[1]).sum() / 2
    noisiest = max(apart[name] for name in NOISE_BANDS)
    assert noisiest < 0.05
    assert min(value for name, value in apart.items() if name not in NOISE_BANDS) > 2 * noisiest


def samples(basin: SyntheticBasin, names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    known = basin.truth != 255
    return np.stack([codes(basin, name)[known] for name in names], 1), basin.truth[known] == 1


def test_hard_for_a_threshold_and_learnable_for_pixels(train: SyntheticBasin, test: SyntheticBasin) -> None:
    """Fitted in one region and asked in another."""
    (values, truth), (other_values, other_truth) = samples(train, BAND_NAMES), samples(test, BAND_NAMES)
    limits = np.linspace(-1, 1, 64)
    scores = [jaccard_score(truth, ndsi(train)[train.truth != 255] >= limit) for limit in limits]
    best = limits[int(np.argmax(scores))]
    by_threshold = jaccard_score(other_truth, ndsi(test)[test.truth != 255] >= best)
    some = np.random.default_rng(0).choice(len(truth), 20_000, replace=False)
    trees = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(values[some], truth[some])
    by_pixel = jaccard_score(other_truth, trees.predict(other_values))
    assert 0.4 < by_threshold < 0.65
    assert by_threshold + 0.15 < by_pixel < 0.88
    assert by_pixel > 0.7


def test_a_wall_throws_a_shadow_as_long_as_the_sun_is_low() -> None:
    ground = np.zeros((60, 40), dtype=np.float32)
    ground[40] = 100.0
    shadow = cast_shadow(ground, 10.0, Sun(azimuth_deg=180.0, elevation_deg=45.0))
    dark = np.flatnonzero(shadow[:, 20] > 0.5)
    # A wall of 100 m throws 100 m, away from the sun in the south; its top stays lit.
    assert dark.max() == 39
    assert dark.min() in (30, 31)


def test_incidence_is_that_of_a_tilted_plane() -> None:
    rows, columns = np.mgrid[:20, :20] * 10.0
    sun = Sun(azimuth_deg=120.0, elevation_deg=35.0)
    surface = (0.3 * rows - 0.5 * columns).astype(np.float32)
    # East, north, up: the plane falls 0.5 per metre to the east and rises 0.3 to the south.
    normal = np.array([0.5, 0.3, 1.0]) / np.linalg.norm([0.5, 0.3, 1.0])
    azimuth, height = np.radians([120.0, 35.0])
    towards = [np.cos(height) * np.sin(azimuth), np.cos(height) * np.cos(azimuth), np.sin(height)]
    np.testing.assert_allclose(incidence(surface, 10.0, sun), normal @ towards, rtol=1e-4)


def test_slopes_towards_the_sun_are_brighter(test: SyntheticBasin) -> None:
    facing = np.cos(np.radians(band(test, "aspect") - DEMO_REGIONS["basin_c"].sun_azimuth_deg))
    plain = ~glacier(test) & ~test.snow & ~test.cloud & (band(test, "slope") > 20)
    red = band(test, "red")
    assert red[plain & (facing > 0.7)].mean() > 2 * red[plain & (facing < -0.7)].mean()
    assert test.shadow[plain & (facing < -0.7)].mean() > 5 * test.shadow[plain & (facing > 0.7)].mean()


def test_filled_pits_are_the_morphological_reconstruction() -> None:
    elevation = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    rim = np.ones(elevation.shape, dtype=bool)
    rim[1:-1, 1:-1] = False
    seed = np.where(rim, elevation, elevation.max())
    expected = reconstruction(seed, elevation, method="erosion", footprint=np.ones((3, 3)))
    np.testing.assert_allclose(fill_pits(elevation, rim, rise=0), expected, atol=1e-6)


def test_ice_spreads_as_the_exact_solution_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halfar's similarity solution (1983) for a dome on flat ground without snow and melt."""
    monkeypatch.setattr(ice_model, "_balance", lambda surface, *_: np.zeros_like(surface))
    size_m, radius_m, height_m, years = 50.0, 1500.0, 200.0, 200.0
    rows, columns = (np.mgrid[:101, :101] - 50) * size_m
    distance_m = np.hypot(rows, columns)
    start = (7 / 4) ** 3 / 18 * radius_m**4 / height_m**7 / 2.15e-5

    def dome(time: float) -> NDArray[np.float64]:
        ratio = start / time
        inside = 1 - (ratio ** (1 / 18) * distance_m / radius_m) ** (4 / 3)
        return np.asarray(height_m * ratio ** (1 / 9) * np.maximum(inside, 0) ** (3 / 7))

    ground = np.zeros((101, 101), dtype=np.float32)
    found = ice_model.flow_ice(ground, dome(start).astype(np.float32), ground, size_m, years)
    expected = dome(start + years)
    assert expected.max() < 0.95 * height_m
    assert abs(found.max() - expected.max()) < 0.02 * height_m
    assert found.sum() == pytest.approx(dome(start).sum(), rel=1e-3)
    assert np.sqrt(np.mean((found - expected)[expected > 0] ** 2)) < 0.05 * height_m


def test_ice_moves_as_the_exact_solution_says() -> None:
    """A dome by Halfar spreads as the 18th root of time, so its ice moves outwards by r / (18 t)."""
    size_m, radius_m, height_m = 20.0, 1000.0, 110.0
    rows, columns = (np.mgrid[:201, :201] - 100) * size_m
    distance_m = np.hypot(rows, columns)
    dome = height_m * np.maximum(1 - (distance_m / radius_m) ** (4 / 3), 0) ** (3 / 7)
    time_years = (7 / 4) ** 3 / 18 * radius_m**4 / height_m**7 / 2.15e-5
    down, right = ice_model.ice_velocity(dome.astype(np.float32), dome.astype(np.float32), size_m)
    inside = (distance_m > 100) & (distance_m < 0.9 * radius_m)
    speed = distance_m / 18 / time_years
    assert speed[inside].max() > 0.5
    for found, way in ((down, rows), (right, columns)):
        expected = (speed * way / np.maximum(distance_m, 1))[inside]
        np.testing.assert_allclose(found[inside], expected, atol=0.02 * speed.max())
    diverging = np.gradient(down, size_m, axis=0) + np.gradient(right, size_m, axis=1)
    np.testing.assert_allclose(np.median(diverging[inside]), 1 / 9 / time_years, rtol=0.02)


def test_ice_thins_most_where_it_lies_low_and_bare() -> None:
    surface_m = np.array([4600, 5000, 5000, 5000, 5400], dtype=np.float32)
    debris_m = np.array([0, 0, 0.1, 1, 0], dtype=np.float32)
    change = ice_model.elevation_change(surface_m, np.full_like(surface_m, 5200), debris_m)
    assert change[0] < change[1] < change[2] < change[3] < 0 < change[4]
    # A metre of stones keeps nearly all of it.
    assert change[3] > 0.1 * change[1]


def test_written_rasters_come_back(small: SyntheticBasin, tmp_path: Path) -> None:
    paths = write_basin(small, tmp_path / "new", "here")
    with rasterio.open(paths.scene) as scene:
        assert scene.descriptions == BAND_NAMES
        assert scene.crs.to_epsg() == 32643
        assert scene.res == (10.0, 10.0)
        assert scene.nodata == 0
        assert scene.tags()["synthetic"] == "yes"
        np.testing.assert_array_equal(scene.read(), small.bands)
        assert ranges_of(open_scene(paths.scene).bands) == {name: BAND_RANGES[name] for name in BAND_NAMES}
        west, north = scene.lnglat()
        assert 76 < west < 78
        assert 32 < north < 33
        grid = scene.crs, scene.transform, scene.shape
    for path, values in ((paths.mask, small.truth), (paths.dem, small.elevation_m)):
        with rasterio.open(path) as dataset:
            assert (dataset.crs, dataset.transform, dataset.shape) == grid
            assert dataset.tags()["synthetic"] == "yes"
            np.testing.assert_array_equal(dataset.read(1), values)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["here_dem.tif", "here_mask.tif", "here_scene.tif"]


def test_demo_has_three_regions_apart_from_each_other(tmp_path: Path) -> None:
    written = write_demo(tmp_path, size_px=64)
    assert list(written) == ["basin_a", "basin_b", "basin_c"]
    lefts = []
    for paths in written.values():
        with rasterio.open(paths.scene) as scene, rasterio.open(paths.mask) as mask:
            lefts.append(scene.bounds.left)
            assert scene.shape == (64, 64)
            assert 0.02 < (mask.read(1) == 1).mean() < 0.8
    assert all(after - before > 640 for before, after in itertools.pairwise(lefts))
