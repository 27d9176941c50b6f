import pytest

from glacierseg.errors import RequestError
from glacierseg.raster.sensors import contradiction, parse_sensor, role_of, sensor_of


@pytest.mark.parametrize(
    ("band", "sensor", "role"),
    [
        ("B02", None, "blue"),
        ("b8a", None, "nir_narrow"),
        ("B11", None, None),
        ("B11", "sentinel2", "swir1"),
        ("B8", "sentinel2", "nir"),
        ("B4", "landsat7", "nir"),
        ("B4", "landsat8", "red"),
        ("SR_B5", "landsat5", "swir1"),
        ("SR_B5", "landsat9", "nir"),
        ("ST_B10", "landsat8", "thermal"),
        ("B6_VCID_1", "landsat7", "thermal"),
        ("B6_VCID_2", "landsat7", None),
        ("B6", None, None),
        ("B2 blue", None, "blue"),
        ("B6 swir1", "sentinel2", "swir1"),
        ("Red", None, "red"),
        ("red edge 1", None, "red_edge_1"),
        ("surface.nir", None, "nir"),
        ("elevation", "sentinel2", None),
        ("infrared", None, None),
        # Neither ratios and indices nor what names several roles.
        ("red_swir1", None, None),
        ("nir_swir1", "sentinel2", None),
        ("red minus nir", None, None),
        ("ndvi nir", None, None),
        ("B5 red edge", "sentinel2", None),
        # Files of products tell their sensor too, whatever is said.
        ("T45RVL_20240930T045659_B02_10m", None, "blue"),
        ("T45RVL_20240930T045659_B8A_20m", None, "nir_narrow"),
        ("T45RVL_20240930T045659_SCL_20m", "sentinel2", None),
        ("S2A_MSIL1C_20200101T050000_B04", "landsat7", "red"),
        ("LC08_L2SP_140041_20201030_20201106_02_T1_SR_B2", None, "blue"),
        ("LC09_L2SP_140041_20231115_20231117_02_T1_ST_B10", None, "thermal"),
        ("LC09_L2SP_140041_20231115_20231117_02_T1_QA_PIXEL", None, None),
        ("LE07_L1TP_140041_20001030_20201106_02_T1_B6_VCID_1", None, "thermal"),
        ("LT05_L2SP_140041_19901030_20201106_02_T1_SR_B5", None, "swir1"),
        ("LT04_L2SP_140041_19891030_20201106_02_T1_SR_B4", None, "nir"),
        ("HLS.L30.T45RVL.2024274T045659.v2.0.B05", None, "nir"),
        # Another's name with a number in it stays what it was.
        ("B4", None, None),
        ("mean_B4", "sentinel2", None),
        # A file of one band may be called so; only `open_scene` makes up such names.
        ("band_2", "landsat7", "green"),
    ],
)
def test_role_of_band(band: str, sensor: str | None, role: str | None) -> None:
    assert role_of(band, sensor) == role


def test_sensor_however_it_is_written() -> None:
    assert parse_sensor("Sentinel-2") == "sentinel2"
    assert parse_sensor("LANDSAT 8") == "landsat8"
    with pytest.raises(RequestError, match="sensor 'landsat 77' is unknown"):
        parse_sensor("landsat 77")


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        ("T45RVL_20240930T045659_B02_10m", "sentinel2"),
        ("S2C_MSIL2A_20250101", "sentinel2"),
        ("LT04_L2SP_140041", "landsat5"),
        ("LE07_L2SP_140041", "landsat7"),
        ("LC08_L2SP_140041", "landsat8"),
        ("LC81400412014001LGN00_B5", "landsat8"),
        ("LC09_L2SP_140041", "landsat9"),
        ("HLS.S30.T45RVL", "sentinel2"),
        ("B02", None),
        ("landscape_B2", None),
        ("Lesotho", None),
    ],
)
def test_sensor_of_a_products_file(name: str, sensor: str | None) -> None:
    assert sensor_of(name) == sensor


@pytest.mark.parametrize(
    ("given", "own", "sensor", "words"),
    [
        (
            "B02",
            "T45RVL_20240930T045659_B03_10m",
            None,
            "is B3 (green) by its own name, and is given as 'B02'",
        ),
        ("blue", "T45RVL_20240930T045659_B03_10m", None, "is B3 (green)"),
        ("B2", "B3", None, "is B3 by its own name"),
        ("nir", "red", None, "is red by its own name"),
        ("green", "T45RVL_20240930T045659_B03_10m", None, None),
        ("SR_B2", "B2", None, None),
        ("blue", "B3", None, None),
        ("blue", "B3", "sentinel2", "is B3 (green)"),
        ("coherence", "B3", "sentinel2", None),
    ],
)
def test_names_that_contradict_the_files_own(
    given: str, own: str, sensor: str | None, words: str | None
) -> None:
    found = contradiction(given, own, sensor)
    assert found is None if words is None else found is not None and words in found
