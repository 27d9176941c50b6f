from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from sklearn import metrics

from glacierseg.errors import BandError, GridMismatchError, ValuesError
from glacierseg.evaluate.counts import Counts
from glacierseg.evaluate.debris import (
    BARE,
    CLEAN_ICE,
    DEBRIS,
    SNOW,
    IceRule,
    count_surfaces,
    find_ice_rule,
    otsu_threshold,
    score_surfaces,
    surface_classes,
)
from glacierseg.raster.facts import RANGES_TAG, SceneFacts
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.units import UNITS
from glacierseg.synthetic import BAND_NAMES, make_basin, write_basin
from tests.helpers import write_scene

# Reflectance of ice, stones and snow on rock.
ICE, STONES = {"blue": 0.6, "green": 0.55, "red": 0.5, "nir": 0.4, "swir1": 0.03}, 0.09
TRUTH = np.repeat(np.array([[1, 0, 1, 0, 255]], np.uint8), 20, axis=0).repeat(20, axis=1)
ICY = np.repeat(np.array([[True, True, False, False, True]]), 20, axis=0).repeat(20, axis=1)
EXPECTED = np.where(TRUTH == 1, np.where(ICY, CLEAN_ICE, DEBRIS), np.where(ICY, SNOW, BARE))
EXPECTED = np.where(TRUTH == 255, 255, EXPECTED)


def reflectance(*names: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    bands = [np.where(ICY, ICE[name], STONES) * rng.uniform(0.9, 1.1, TRUTH.shape) for name in names]
    return np.stack(bands).astype(np.float32)


def scene_of(folder: Path, values: NDArray[Any], names: tuple[str, ...], **more: Any) -> Scene:
    return open_scene(write_scene(folder / "scene.tif", values, names, **more))


@pytest.mark.parametrize(
    ("names", "ratio"),
    [
        (("swir1", "nir", "red", "green"), "red / swir1"),
        (("nir", "swir1", "green", "blue"), "nir / swir1"),
        (("blue", "green", "swir1"), "green / swir1"),
        (("B02", "B03", "B04", "B08", "B11"), "red / swir1"),
        (("blue", "green", "red", "nir"), "blue^2 / nir"),
    ],
)
def test_the_first_ratio_that_a_scene_has_tells_ice(
    tmp_path: Path, names: tuple[str, ...], ratio: str
) -> None:
    roles = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir1"}
    scene = scene_of(tmp_path, reflectance(*(roles.get(name, name) for name in names)), names)
    rule = find_ice_rule(scene)
    assert (rule.ratio, rule.chosen) == (ratio, "fixed, of reflectance")
    assert str(rule).startswith(f"{ratio} > ")
    assert (surface_classes(scene, TRUTH) == EXPECTED).all()


@pytest.mark.parametrize(
    ("scale", "offset", "unit"),
    [
        (1, 0, ""),
        (10000, 0, ""),
        # Values look like those with an offset, and the file says that they have none.
        (1, 0, "reflectance"),
        *((1 / unit.scale, unit.zero, unit.name) for unit in UNITS if unit.offset),
    ],
)
def test_units_are_undone(tmp_path: Path, scale: float, offset: float, unit: str) -> None:
    names = ("red", "swir1")
    values = (reflectance(*names) * scale + offset).astype(np.float32)
    scene = scene_of(tmp_path, values, names, tags=SceneFacts(unit=unit).tags)
    assert (surface_classes(scene, TRUTH) == EXPECTED).all()


@pytest.mark.parametrize("offset", [1000, 40000])
def test_numbers_with_an_offset_or_of_no_known_unit_are_refused(tmp_path: Path, offset: float) -> None:
    names = ("red", "swir1")
    scene = scene_of(tmp_path, (reflectance(*names) * 10000 + offset).astype(np.uint16), names)
    with pytest.raises(ValuesError, match=r"scene\.tif: the unit of red, swir1 .* --scale and --offset"):
        find_ice_rule(scene)


def test_levels_get_their_reflectance_back_by_the_ranges_of_the_file(tmp_path: Path) -> None:
    names, ranges = ("red", "swir1"), '{"red": [0, 1], "swir1": [0, 0.25]}'
    levels = np.rint(1 + 254 * (reflectance(*names) / [[[1]], [[0.25]]]).clip(0, 1)).astype(np.uint8)
    scene = scene_of(tmp_path, levels, names, nodata=0, tags={RANGES_TAG: ranges})
    assert find_ice_rule(scene).chosen == "fixed, of reflectance"
    assert (surface_classes(scene, TRUTH) == EXPECTED).all()


def test_a_threshold_of_levels_is_chosen_without_truth_and_on_training_ground_alone(tmp_path: Path) -> None:
    names = ("blue", "nir")
    levels = (reflectance(*names) * 255).astype(np.uint8)
    levels[0][ICY] = 255  # saturated
    levels[:, :10] = np.random.default_rng(1).integers(1, 255, (2, 10, 100))
    scene = scene_of(tmp_path, levels, names)
    area = np.zeros(TRUTH.shape, bool)
    area[10:] = True
    rule = find_ice_rule(scene, train=[(scene, area)])
    assert rule.chosen == "chosen by Otsu's method on training ground"
    ratios = np.log(levels[0][area].astype(float) ** 2 / levels[1][area])
    low, high = np.quantile(ratios, (0.001, 0.999))
    assert rule.threshold == pytest.approx(np.exp(threshold_otsu(ratios.clip(low, high))))
    assert (surface_classes(scene, TRUTH, rule)[10:] == EXPECTED[10:]).all()
    assert find_ice_rule(scene).threshold != rule.threshold
    with pytest.raises(ValuesError, match="too few pixels of training ground"):
        find_ice_rule(scene, train=[(scene, np.zeros_like(area))])


def test_otsu_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 5000), rng.normal(6, 2, 2000)]).clip(-2, 9)
    assert otsu_threshold(values) == pytest.approx(threshold_otsu(values))
    assert otsu_threshold(np.full(300, 2.0)) == 2


def test_what_has_no_data_or_no_light_is_unknown_and_no_light_at_swir_is_ice(tmp_path: Path) -> None:
    values = reflectance("red", "swir1")
    values[:, 0, 0] = np.nan
    values[:, 1, 0] = 0
    values[1, 2, 0] = -0.01
    classes = surface_classes(scene_of(tmp_path, values, ("red", "swir1")), TRUTH)
    assert classes[:3, 0].tolist() == [255, 255, CLEAN_ICE]


@pytest.mark.parametrize("names", [("thermal", "slope"), ("band_1", "band_2"), ("red", "ndsi"), ("B4", "B6")])
def test_scenes_without_the_bands_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    scene = scene_of(tmp_path, np.full((2, 20, 20), 0.5, np.float32), names)
    with pytest.raises(BandError, match="has none of the bands that tell ice from stones"):
        find_ice_rule(scene)
    if names == ("B4", "B6"):
        assert find_ice_rule(scene, sensor="landsat8").ratio == "red / swir1"


def test_another_grid_and_a_rule_of_other_bands_are_refused(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, reflectance("red", "swir1"), ("red", "swir1"))
    with pytest.raises(GridMismatchError):
        surface_classes(scene, TRUTH[1:])
    with pytest.raises(BandError, match=r"is of blue\^2 / nir, .* is red / swir1; "):
        surface_classes(scene, TRUTH, IceRule("blue^2 / nir", 1.0, "given"))


def test_scores_are_those_of_scikit_learn_on_ground_without_ice() -> None:
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([BARE, CLEAN_ICE, DEBRIS, SNOW, 255], np.uint8), (40, 50))
    mask = rng.choice(np.array([0, 1, 255], np.uint8), classes.shape)
    found = score_surfaces(count_surfaces(mask, classes))
    stones = np.isin(classes, (BARE, DEBRIS)) & (mask != 255)
    debris, called = classes[stones] == DEBRIS, mask[stones] == 1
    assert found.debris_recall == pytest.approx(metrics.recall_score(debris, called))
    assert found.debris_precision == pytest.approx(metrics.precision_score(debris, called))
    assert found.debris_iou == pytest.approx(metrics.jaccard_score(debris, called))
    clean = (classes == CLEAN_ICE) & (mask != 255)
    assert found.clean_ice_recall == pytest.approx((mask[clean] == 1).mean())
    assert (found.clean_ice_px, found.debris_px) == (clean.sum(), debris.sum())


def test_ratios_of_nothing_are_no_scores() -> None:
    nothing = score_surfaces((Counts(), Counts(fp=3, tn=5)))
    assert set(nothing.to_dict().values()) == {None, 0}
    missed = score_surfaces((Counts(tp=2), Counts(fn=4, tn=5)))
    assert (missed.debris_recall, missed.debris_precision, missed.debris_iou) == (0, None, 0)


@pytest.mark.parametrize(("bands", "least"), [(BAND_NAMES, 0.9), (("blue", "green", "red", "nir"), 0.85)])
def test_the_rule_finds_the_debris_that_the_made_up_basin_knows(
    tmp_path: Path, bands: tuple[str, ...], least: float
) -> None:
    basin = make_basin(11, 128, 128)
    scene = open_scene(write_basin(basin, tmp_path, "b").scene).select(bands)
    assert find_ice_rule(scene).chosen == "fixed, of reflectance"
    classes = surface_classes(scene, basin.truth)
    seen = (basin.truth != 255) & ~basin.cloud & ~basin.lake
    assert metrics.jaccard_score(basin.debris[seen], classes[seen] == DEBRIS) > least
    assert (classes[seen & basin.snow] == SNOW).mean() > 0.8
    assert (classes[basin.truth == 255] == 255).all()
