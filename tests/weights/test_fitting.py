import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from glacierseg.errors import BandError, RequestError, ValuesError
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.settings.scene import InputSettings
from glacierseg.weights.card import WeightsCard
from glacierseg.weights.fitting import fit_scene, match_bands
from tests.helpers import utm_grid, write_scene
from tests.weights.shelves import BANDS, reflectances
from tests.weights.test_expectation import weights_card

VALUES = reflectances(64, 64, 3)


def scene(folder: Path, names: list[str], values: np.ndarray = VALUES, pixel_m: float = 10.0) -> Scene:
    from glacierseg.raster.write import write_raster

    path = folder / "scene.tif"
    height, width = values.shape[1:]
    write_raster(path, values, utm_grid(height, width, pixel_m), bands=names, nodata=None, cog=False)
    return open_scene(path)


@pytest.mark.parametrize(
    ("names", "sensor", "numbers"),
    [
        (["B2", "B3", "B4", "B8"], None, [1, 2, 3, 4]),
        (["B8", "B4", "B3", "B2"], None, [4, 3, 2, 1]),
        (["B02", "B03", "B04", "B08"], None, [1, 2, 3, 4]),
        (["blue", "Green", "RED", "nir"], None, [1, 2, 3, 4]),
        (["B3 green", "B2 blue", "B8 nir", "B4 red"], None, [2, 1, 4, 3]),
        (["sr_b2", "SR_B3", "SR_B4", "SR_B5"], "landsat 8", [1, 2, 3, 4]),
        # On Landsat 7 the same numbers mean other bands.
        (["B1", "B2", "B3", "B4"], "landsat7", [1, 2, 3, 4]),
        (["thermal", "swir1", "blue", "green", "red", "nir"], None, [3, 4, 5, 6]),
        # What `prepare stack` makes: an exact name wins over a part of one.
        (["blue", "green", "red", "nir", "swir1", "ndsi", "red_swir1", "nir_swir1"], None, [1, 2, 3, 4]),
        (["blue_2", "blue", "green", "red", "nir"], None, [2, 3, 4, 5]),
        # B8A is not B8.
        (["B8A", "B2", "B3", "B4", "B8"], None, [2, 3, 4, 5]),
    ],
)
def test_bands_are_found_by_what_their_names_mean(
    tmp_path: Path, names: list[str], sensor: str | None, numbers: list[int]
) -> None:
    values = np.concatenate([VALUES, VALUES])[: len(names)]
    found = match_bands(weights_card(), scene(tmp_path, names, values), sensor and "".join(sensor.split()))
    assert [band.index for band in found] == numbers


@pytest.mark.parametrize(
    ("scale", "offset"), [(float("nan"), 0), (float("inf"), 0), (0, 0), (1, float("nan")), (1, float("inf"))]
)
def test_a_scale_that_is_no_number_is_refused(tmp_path: Path, scale: float, offset: float) -> None:
    with pytest.raises(RequestError, match=r"scale: must not be 0|(scale|offset) must be a finite number"):
        fit_scene(weights_card(), scene(tmp_path, list(BANDS)), InputSettings(scale=scale, offset=offset))


def test_a_fitted_scene_has_the_names_and_order_that_the_networks_know(tmp_path: Path) -> None:
    own = scene(tmp_path, ["nir", "blue", "green", "red"], VALUES[[3, 0, 1, 2]])
    fitted = fit_scene(weights_card(), own)
    assert fitted.scene.band_names == BANDS
    assert fitted.warnings == ()
    with fitted.scene.open() as reader:
        assert (reader.read(0, 0, 64, 64)[0] == VALUES).all()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["B2", "B3", "B4"], r"lacks B8 \(nir\), which w needs; it has B2, B3, B4: stack"),
        (["B2", "B3", "B4", "B11"], r"lacks B8 \(nir\).*say which they are .* --band-names B2,B3,B4,B8"),
        (["blue", "B2", "green", "red", "nir"], None),  # the exact name wins
        (["blue_1", "blue_2", "green", "red", "nir"], "blue_1 and blue_2 may each be"),
        (["nir one", "nir two", "B2", "B3", "B4"], r"nir one and nir two may each be B8 \(nir\)"),
    ],
)
def test_missing_and_doubled_bands_are_named(tmp_path: Path, names: list[str], words: str | None) -> None:
    own = scene(tmp_path, names, np.concatenate([VALUES, VALUES])[: len(names)])
    if words is None:
        assert match_bands(weights_card(), own)[0].name == "B2"
        return
    with pytest.raises(BandError, match=words) as caught:
        match_bands(weights_card(), own)
    assert "\n" not in str(caught.value)


def test_numbers_of_a_file_without_names_are_no_numbers_of_a_sensor(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", np.concatenate([VALUES, VALUES]), ["x"] * 8)
    import rasterio

    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = (None,) * 8
    own = open_scene(path)
    assert own.band_names[1] == "band_2"
    with pytest.raises(BandError, match=r"lacks B2 .*, B3 .*, B4 .*, B8 .*the bands have no names"):
        match_bands(weights_card(), own)


def test_an_index_that_is_missing_comes_with_the_command_that_makes_it(tmp_path: Path) -> None:
    wanted = weights_card().model_dump(mode="json")
    wanted["bands"][3] |= {"name": "ndwi", "role": None}
    own = scene(tmp_path, ["blue", "green", "red", "nir"])
    with pytest.raises(BandError, match=r"prepare stack \S+ --recipe blue,green,red,ndwi --sensor sentinel2"):
        match_bands(WeightsCard.model_validate(wanted), own)


def test_another_unit_is_refused_unless_scaled_or_forced(tmp_path: Path) -> None:
    own = scene(tmp_path, list(BANDS), (VALUES / 1e4).astype(np.float32))
    with pytest.raises(ValuesError, match=r"median of 0\..*--scale 10000 would") as caught:
        fit_scene(weights_card(), own)
    assert "\n" not in str(caught.value)
    scaled = fit_scene(weights_card(), own, InputSettings(scale=1e4))
    assert scaled.warnings == ()
    with scaled.scene.open() as reader:
        assert np.abs(reader.read(0, 0, 64, 64)[0] - VALUES).max() < 1e-2
    forced = fit_scene(weights_card(), own, InputSettings(force=True))
    assert len(forced.warnings) == 1
    assert "is unlike what w was trained on" in forced.warnings[0]


@pytest.mark.parametrize("unit", ["reflectance x 10000", ""])
def test_a_conversion_of_a_unit_that_the_tags_say_is_doubted(tmp_path: Path, unit: str) -> None:
    own = scene(tmp_path, list(BANDS), (VALUES / 10).astype(np.uint16))
    with rasterio.open(own.paths[0], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(**SceneFacts(unit=unit).tags)
    with pytest.raises(ValuesError, match="is unlike what w was trained on") as caught:
        fit_scene(weights_card(), open_scene(own.paths[0]))
    assert ("if they are right take another image" in str(caught.value)) == bool(unit)


def test_only_reflected_light_is_scaled(tmp_path: Path) -> None:
    wanted = weights_card().model_dump(mode="json")
    wanted["bands"][2] |= {"name": "slope", "role": None}
    wanted["bands"][3] |= {"name": "heat", "role": "thermal"}
    fitted = fit_scene(
        WeightsCard.model_validate(wanted),
        scene(tmp_path, ["B2", "B3", "slope", "heat"]),
        InputSettings(scale=2, offset=-5),
    )
    with fitted.scene.open() as reader:
        values = reader.read(0, 0, 64, 64)[0]
    assert (values[:2] == 2.0 * VALUES[:2] - 5).all()
    assert (values[2:] == VALUES[2:]).all()


def test_zeros_that_nobody_declares_are_pointed_out(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[:, :40] = 0
    with pytest.raises(ValuesError, match=r"6\d% of its pixels are 0 in every band.*--nodata 0"):
        fit_scene(weights_card(), scene(tmp_path, list(BANDS), values))
    fit_scene(weights_card(), open_scene(tmp_path / "scene.tif", nodata=0))


@pytest.mark.parametrize(
    ("pixel_m", "words"),
    [(10.0, None), (14.9, None), (30.0, "30 m .* 10 m; .* 3 times too small"), (5.0, "2 times too large")],
)
def test_other_pixel_sizes_are_told(tmp_path: Path, pixel_m: float, words: str | None) -> None:
    told = fit_scene(weights_card(), scene(tmp_path, list(BANDS), pixel_m=pixel_m)).warnings
    assert len(told) == (words is not None)
    if words:
        assert re.search(words, told[0])
        assert "--sensor" in told[0]  # B4 may be Landsat's


def test_other_sensors_are_told(tmp_path: Path) -> None:
    own = scene(tmp_path, ["B2", "B3", "B4", "B5"])
    assert (
        "is of landsat9, and w was trained on sentinel2"
        in fit_scene(weights_card(), own, InputSettings(sensor="landsat9")).warnings[0]
    )
    assert fit_scene(weights_card(sensor="landsat8"), own, InputSettings(sensor="landsat9")).warnings == ()
    with pytest.raises(RequestError, match="unknown"):
        fit_scene(weights_card(), own, InputSettings(sensor="landsat99"))


def test_a_scene_without_data_is_left_to_prediction(tmp_path: Path) -> None:
    scene(tmp_path, list(BANDS), np.zeros_like(VALUES))
    assert fit_scene(weights_card(), open_scene(tmp_path / "scene.tif", nodata=0)).warnings == ()
