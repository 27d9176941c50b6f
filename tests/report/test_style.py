import pytest

from glacierseg.report import style


@pytest.mark.parametrize(
    ("value", "score", "area", "count"),
    [
        (None, "–", "–", "–"),
        (0.12345, "0.123", "0.12", "0.1235"),
        (12.0, "12.000", "12.0", "12"),
        (1234567.0, "1234567.000", "1,234,567", "1\u2009234\u2009567"),
    ],
)
def test_numbers(value: float | None, score: str, area: str, count: str) -> None:
    assert style.score_text(value) == score
    assert style.area_text(value) == area
    assert style.count_text(value) == count


def test_names() -> None:
    assert style.variant_label("m_landsnet", "top6", "raw") == "M-LandsNet, top bands, raw"
    assert style.variant_label("threshold", "all", "raw") == "Threshold, raw"
    assert style.variant_label("new", "all") == "new, all bands"
    assert style.difference_text(-0.01) == "−0.010"


@pytest.mark.parametrize(
    ("sensor", "label"),
    [("sentinel2", "Sentinel-2"), ("landsat8", "Landsat 8"), ("", ""), ("aster", "Aster")],
)
def test_sensors(sensor: str, label: str) -> None:
    assert style.sensor_label(sensor) == label
