import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from skimage.morphology import reconstruction
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import jaccard_score

from glacierseg.errors import GlaciersegError
from glacierseg.synthetic import (
    BAND_NAMES,
    BAND_RANGES,
    DEMO_REGIONS,
    NOISE_BANDS,
    SyntheticBasin,
    make_basin,
    write_basin,
    write_demo,
)
from glacierseg.synthetic import ice as ice_model
from glacierseg.synthetic.light import Sun, cast_shadow, incidence
from glacierseg.synthetic.relief import fill_pits

OPTICAL = ("blue", "green", "red", "nir", "swir1", "swir2")


def make_region(name: str) -> SyntheticBasin:
    facts = dataclasses.asdict(DEMO_REGIONS[name])
    return make_basin(facts.pop("seed"), 512, 512, **facts)


@pytest.fixture(scope="module")
def train() -> SyntheticBasin:
    return make_region("basin_a")


@pytest.fixture(scope="module")
def test() -> SyntheticBasin:
    return make_region("basin_c")


@pytest.fixture(scope="module")
def small() -> SyntheticBasin:
    return make_basin(3, 64, 64)


def band(basin: SyntheticBasin, name: str) -> np.ndarray:
    """The band in its physical unit."""
    low, high = BAND_RANGES[name]
    result: np.ndarray = low + (basin.bands[BAND_NAMES.index(name)].astype(float) - 1) / 254 * (high - low)
    return result


def glacier(basin: SyntheticBasin) -> np.ndarray:
    return basin.clean_ice | basin.debris


def arrays(basin: SyntheticBasin) -> dict[str, np.ndarray]:
    return {k: v for k, v in vars(basin).items() if isinstance(v, np.ndarray)}


def test_has_18_bands_of_which_three_are_noise_among_the_others() -> None:
    assert len(BAND_NAMES) == len(set(BAND_NAMES)) == 18
    assert len(NOISE_BANDS) == 3
    places = [BAND_NAMES.index(name) for name in NOISE_BANDS]
    assert max(places) < 17
    assert all(after - before > 1 for before, after in itertools.pairwise(places))


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
    steepness = np.hypot(*np.gradient(gaussian_filter(test.elevation_m.astype(float), 1.0), 10.0))
    expected = np.degrees(np.arctan(steepness))
    assert np.abs(band(test, "slope") - np.minimum(expected, 75))[2:-2, 2:-2].max() < 2


@pytest.mark.parametrize("name", ["train", "test"])
def test_debris_looks_like_rock_and_is_colder(name: str, request: pytest.FixtureRequest) -> None:
    basin = request.getfixturevalue(name)
    seen = ~basin.cloud & ~basin.shadow & ~basin.lake & ~basin.snow
    green = band(basin, "nir") > 1.5 * band(basin, "red")
    rock, debris = seen & ~glacier(basin) & ~green, seen & basin.debris
    # Compared in the same light: tongues lie as their valleys do.
    region = DEMO_REGIONS["basin_a" if name == "train" else "basin_c"]
    height, azimuth = np.radians([region.sun_elevation_deg, region.sun_azimuth_deg])
    slope = np.radians(band(basin, "slope"))
    facing = band(basin, "aspect_sin") * np.sin(azimuth) + band(basin, "aspect_cos") * np.cos(azimuth)
    light = np.cos(slope) * np.sin(height) + np.sin(slope) * np.cos(height) * facing
    classes = np.digitize(light, np.arange(0.1, 1, 0.1))
    weights = np.bincount(classes[debris], minlength=10) / np.bincount(classes[rock], minlength=10)
    for optical in OPTICAL:
        values = band(basin, optical)
        alike = np.average(values[rock], weights=weights[classes[rock]])
        assert abs(values[debris].mean() - alike) < 0.25 * values[rock].std(), optical
    kelvin = band(basin, "thermal")
    assert kelvin[debris].mean() < kelvin[rock].mean() - 1.0 * kelvin[rock].std()
    assert band(basin, "slope")[debris].mean() < band(basin, "slope")[rock].mean() - 5
    assert np.median(band(basin, "ruggedness")[debris]) < np.median(band(basin, "ruggedness")[rock])


def test_snow_and_cloud_are_false_friends(test: SyntheticBasin) -> None:
    seen = ~test.shadow & ~test.cloud
    ndsi = band(test, "ndsi")
    assert ndsi[test.snow & seen].mean() > 0.4
    assert ndsi[test.clean_ice & seen].mean() > 0.4
    clouds = test.cloud
    assert band(test, "green")[clouds].mean() > 0.5
    assert band(test, "swir1")[clouds].mean() > 0.3
    assert band(test, "thermal")[clouds].mean() < band(test, "thermal")[test.clean_ice].mean() - 5


def test_noise_bands_know_nothing(train: SyntheticBasin, test: SyntheticBasin) -> None:
    """Correlated noise has few free values in one basin, so that the limit is that of chance in two."""
    for number, name in enumerate(BAND_NAMES):
        for noise in NOISE_BANDS:
            if name == noise:
                continue
            found = []
            for basin in (train, test):
                values = basin.bands[BAND_NAMES.index(noise)].ravel()
                found.append(np.corrcoef(values, basin.bands[number].ravel())[0, 1])
            assert abs(np.mean(found)) < 0.06, (noise, name)
    for noise in NOISE_BANDS:
        for basin in (train, test):
            values = basin.bands[BAND_NAMES.index(noise)]
            assert abs(np.corrcoef(values.ravel(), glacier(basin).ravel())[0, 1]) < 0.06, noise
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
    for name, values in zip(BAND_NAMES, train.bands, strict=True):
        bins = np.linspace(0, 256, 17)
        shares = [np.histogram(values[part], bins)[0] / part.sum() for part in (ice & known, ~ice & known)]
        apart[name] = np.abs(shares[0] - shares[1]).sum() / 2
    noisiest = max(apart[name] for name in NOISE_BANDS)
    assert noisiest < 0.05
    assert min(value for name, value in apart.items() if name not in NOISE_BANDS) > 2 * noisiest


def samples(basin: SyntheticBasin) -> tuple[np.ndarray, np.ndarray]:
    known = basin.truth != 255
    return basin.bands[:, known].T, basin.truth[known] == 1


def test_hard_for_a_threshold_and_learnable_for_pixels(train: SyntheticBasin, test: SyntheticBasin) -> None:
    """Fitted in one region and asked in another."""
    (values, truth), (other_values, other_truth) = samples(train), samples(test)
    ndsi = BAND_NAMES.index("ndsi")
    limits = range(1, 256, 4)
    scores = [jaccard_score(truth, values[:, ndsi] >= limit) for limit in limits]
    by_threshold = jaccard_score(other_truth, other_values[:, ndsi] >= limits[int(np.argmax(scores))])
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
    azimuth = np.radians(DEMO_REGIONS["basin_c"].sun_azimuth_deg)
    facing = band(test, "aspect_sin") * np.sin(azimuth) + band(test, "aspect_cos") * np.cos(azimuth)
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
        result: NDArray[np.float64] = height_m * ratio ** (1 / 9) * np.maximum(inside, 0) ** (3 / 7)
        return result

    ground = np.zeros((101, 101), dtype=np.float32)
    found = ice_model.flow_ice(ground, dome(start).astype(np.float32), ground, size_m, years)
    expected = dome(start + years)
    assert expected.max() < 0.95 * height_m
    assert abs(found.max() - expected.max()) < 0.02 * height_m
    assert found.sum() == pytest.approx(dome(start).sum(), rel=1e-3)
    assert np.sqrt(np.mean((found - expected)[expected > 0] ** 2)) < 0.05 * height_m


def test_written_rasters_come_back(small: SyntheticBasin, tmp_path: Path) -> None:
    paths = write_basin(small, tmp_path / "new", "here")
    with rasterio.open(paths.scene) as scene:
        assert scene.descriptions == BAND_NAMES
        assert scene.crs.to_epsg() == 32643
        assert scene.res == (10.0, 10.0)
        assert scene.nodata == 0
        assert scene.tags()["synthetic"] == "yes"
        np.testing.assert_array_equal(scene.read(), small.bands)
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
