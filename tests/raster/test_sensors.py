import pytest

from glacierseg.errors import RequestError
from glacierseg.raster.sensors import parse_sensor, role_of


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
        # A file of one band may be called so; only `open_scene` makes up such names.
        ("band_2", "landsat7", "green"),
    ],
)
def test_role_of_band(band, sensor, role):
    assert role_of(band, sensor) == role


def test_sensor_however_it_is_written():
    assert parse_sensor("Sentinel-2") == "sentinel2"
    assert parse_sensor("LANDSAT 8") == "landsat8"
    with pytest.raises(RequestError, match="sensor 'landsat 77' is unknown"):
        parse_sensor("landsat 77")
