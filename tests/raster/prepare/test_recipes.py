import pytest

from glacierseg.errors import BandError, RequestError
from glacierseg.raster.prepare.recipes import (
    PHYSICAL_RANGES,
    RECIPES,
    find_inputs,
    modality_of,
    parse_recipe,
    sensor_of_recipe,
)
from glacierseg.settings.prepare import recipe_as_text

SENTINEL = ("B02", "B03", "B04", "B08", "B11", "B12")


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_have_eighteen_different_bands(name: str) -> None:
    assert len(set(RECIPES[name])) == len(RECIPES[name]) == 18


def test_recipe_by_name_by_commas_and_as_a_list() -> None:
    assert parse_recipe("sentinel2-18") == RECIPES["sentinel2-18"]
    assert parse_recipe("red, ndvi,slope") == ("red", "ndvi", "slope")
    assert parse_recipe(recipe_as_text(["B8A", "ndsi"]) or "") == ("B8A", "ndsi")
    assert parse_recipe(recipe_as_text(["velocity"]) or "") == ("velocity",)
    for alone in ("ndsi", "slope", "red", "velocity"):
        assert parse_recipe(alone) == (alone,)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("sentinel-18", "did you mean 'sentinel2-18'"),
        ("red,ndvi,red", "names band 'red' twice"),
        (",", "names no band"),
    ],
)
def test_unusable_recipe(recipe: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        parse_recipe(recipe)


def test_sensor_comes_from_the_recipe_unless_given() -> None:
    assert sensor_of_recipe("sentinel2-18", None) == "sentinel2"
    assert sensor_of_recipe("landsat-18", "Landsat-5") == "landsat5"
    assert sensor_of_recipe("landsat-18", None) is None


def test_inputs_of_a_recipe() -> None:
    inputs = find_inputs(RECIPES["sentinel2-18"], SENTINEL, sensor="sentinel2", source="a.tif")
    assert inputs == dict(zip(("blue", "green", "red", "nir", "swir1", "swir2"), SENTINEL, strict=True))


def test_exact_names_win_over_making() -> None:
    assert find_inputs(["ndsi", "B8A"], ["ndsi", "B8A"], sensor=None, source="a") == {
        "ndsi": "ndsi",
        "B8A": "B8A",
    }


@pytest.mark.parametrize(
    ("wanted", "available", "words"),
    [
        (["thermal"], SENTINEL, "has no band for thermal"),
        (["ndsi"], ("B02", "B03"), "no band for swir1, which ndsi is made from"),
        (["brightnes"], SENTINEL, "knows no band 'brightnes' .did you mean 'brightness'"),
        (["thermal"], SENTINEL, "say what they are in file order with --band-names, or leave thermal out"),
        (["thermal"], SENTINEL, "give its file with --layer thermal=FILE, say what they are"),
        (
            ["red", "dh_dt"],
            SENTINEL,
            "no band for dh_dt; give files with --layer dh_dt=FILE, or .* red,$",
        ),
        (["red"], ("red", "B04 red"), None),
        (["ndvi"], ("red 1", "red 2", "nir"), "'red 1' and 'red 2' both look like red"),
    ],
)
def test_inputs_that_are_missing_or_ambiguous(
    wanted: list[str], available: tuple[str, ...], words: str | None
) -> None:
    if words is None:
        assert find_inputs(wanted, available, sensor="sentinel2", source="a.tif") == {"red": "red"}
        return
    with pytest.raises(BandError, match=words):
        find_inputs(wanted, available, sensor="sentinel2", source="a.tif")


def test_light_that_is_missing_is_no_layer() -> None:
    with pytest.raises(BandError) as refused:
        find_inputs(["swir1"], ["B02"], sensor="sentinel2", source="a")
    assert "--layer" not in str(refused.value)


def test_an_exact_name_wins_over_a_part_of_one() -> None:
    available = ("nir_swir1", "red 1", "Red", "nir", "red_swir1")
    assert find_inputs(["ndvi"], available, sensor=None, source="a") == {"nir": "nir", "red": "Red"}
    with pytest.raises(BandError, match="with --sensor, or what they are in file order with --band-names"):
        find_inputs(["ndvi"], ("nir_swir1", "red_swir1"), sensor=None, source="a")


def test_a_layer_may_be_an_input_band_already() -> None:
    assert find_inputs(["coherence"], ["coherence"], sensor=None, source="a") == {"coherence": "coherence"}


@pytest.mark.parametrize(
    ("modality", "names"),
    [
        ("terrain", ("slope", "aspect")),
        ("radar", ("coherence",)),
        ("motion", ("velocity", "velocity_x", "velocity_y")),
        ("thermal", ("thermal",)),
        (None, ("red", "ndsi", "anything")),
    ],
)
def test_bands_are_told_apart_by_what_they_are_measured_by(modality: str | None, names: tuple[str]) -> None:
    assert {modality_of(name) for name in names} == {modality}


def test_physical_ranges_are_those_by_definition() -> None:
    assert PHYSICAL_RANGES["slope"] == (0.0, 90.0)
    assert PHYSICAL_RANGES["ndsi"] == (-1.0, 1.0)
    assert "red_swir1" not in PHYSICAL_RANGES
    assert "elevation" not in PHYSICAL_RANGES
    assert PHYSICAL_RANGES["aspect"] == (0.0, 360.0)
    assert PHYSICAL_RANGES["coherence"] == (0.0, 1.0)
    assert "velocity" not in PHYSICAL_RANGES
