from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from glacierseg.errors import ValuesError
from glacierseg.raster.scene import open_scene
from glacierseg.raster.units import (
    UNITS,
    Conversion,
    ReflectanceUnit,
    best_conversion,
    conversion_cure,
    converted_unit,
    find_left_offset,
    light_among,
    look_for_left_offset,
    reflected_bands,
    require_unit,
    unit_of,
)
from glacierseg.raster.values import BandValues


def found(values: NDArray[np.float64], scale: float = 1.0, offset: float = 0.0) -> list[BandValues]:
    return [BandValues.of(scale * band.ravel() + offset) for band in values]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name[:40])
def test_each_unit_is_told_by_its_darkest_pixels(
    reflectance: Callable[..., NDArray[np.float64]], unit: ReflectanceUnit
) -> None:
    values = found(reflectance(), 1 / unit.scale, -unit.offset / unit.scale)
    left = find_left_offset(values)
    assert (left is not None) == (unit.offset != 0)
    assert unit_of(values) == unit.name
    # Of some bands alone too, as long as shadow lies in them.
    assert unit_of(values[:4]) == unit.name


def test_levels_have_no_unit(reflectance: Callable[..., NDArray[np.float64]]) -> None:
    assert unit_of(found(reflectance(), 150, 20)) == ""
    assert unit_of([]) == ""
    assert find_left_offset([]) is None


def test_only_shadow_counts_and_a_few_odd_pixels_do_not(
    reflectance: Callable[..., NDArray[np.float64]],
) -> None:
    values = 1e4 * reflectance(100, 100) + 1000
    values[:, 0, :5] = 0
    assert find_left_offset(found(values)) is not None
    values[4, :2] = 30  # two percent of the shortwave infrared: real darkness
    assert find_left_offset(found(values)) is None


def test_reflected_light_by_name() -> None:
    names = ("blue", "B4", "thermal", "B10", "ndsi", "red_swir1", "slope", "coherence", "band_3")
    assert reflected_bands(names) == ("blue", "B4")
    assert reflected_bands(("B10", "B6"), "landsat8") == ("B6",)
    assert light_among({"red": "x", "thermal": "y", "slope": "z"}, None, 2, None, "a.tif") == ("red",)


def test_the_conversion_that_fits_best_is_found() -> None:
    for wanted in (
        Conversion(10000, 0),
        Conversion(1, -1000),
        Conversion(0.0000275, -0.2),
        Conversion(1000, 0),
    ):

        def misfit(one: Conversion, wanted: Conversion = wanted) -> float:
            return abs(one.scale / wanted.scale - 1) + abs(one.offset - wanted.offset)

        best = best_conversion(misfit)
        assert best == wanted
    assert best_conversion(lambda _: float("inf")) is None
    assert Conversion(1, -1000).options == "--offset -1000"
    assert Conversion(0.0001, -0.1).options == "--scale 0.0001 --offset -0.1"


@pytest.mark.parametrize("before", UNITS, ids=lambda unit: unit.name[:40])
def test_a_conversion_names_the_unit_that_it_leads_to(before: ReflectanceUnit) -> None:
    """Ground of a reflectance of 0.3 has the number of the new unit after the conversion."""
    for after in UNITS:
        scale = before.scale / after.scale
        number, wanted = ((0.3 - unit.offset) / unit.scale for unit in (before, after))
        assert converted_unit(before.name, scale, wanted - scale * number) == after.name
    assert converted_unit(before.name, 1.0, 0.0) == before.name
    assert converted_unit(before.name, 3.0, 0.0) == converted_unit(before.name, 1.0, 7.0) == ""


def test_a_unit_that_is_not_known_stays_only_without_a_conversion() -> None:
    assert converted_unit("radiance", 1.0, 0.0) == "radiance"
    assert converted_unit("radiance", 2.0, 0.0) == converted_unit("radiance", 1.0, 2.0) == ""


def test_who_gives_an_offset_is_believed(reflectance: Callable[..., NDArray[np.float64]]) -> None:
    lifted = found(reflectance(), 1e4, 1000)
    with pytest.raises(ValuesError, match="makes ndsi wrong"):
        require_unit(lifted, None, None, ["ndsi"], "a.tif")
    assert "add --offset -1000" in (require_unit(lifted, None, None, [], "a.tif") or "")
    assert require_unit(lifted, None, 0.0, ["ndsi"], "a.tif") is None
    assert require_unit(lifted, None, -1000.0, ["ndsi"], "a.tif") is None
    assert require_unit(None, None, None, ["ndsi"], "a.tif") is None


def test_what_mends_a_scene(
    make_raster: Callable[..., Path], reflectance: Callable[..., NDArray[np.float64]]
) -> None:
    values = (1e4 * reflectance() + 1000).astype(np.float32)
    names = ["blue", "green", "red", "nir", "swir1", "swir2"]
    scene = open_scene(make_raster("a b.tif", values, names=names))
    assert look_for_left_offset(scene) is not None
    assert "prepare stack '" in conversion_cure(scene, "--offset -1000")
    numbered = open_scene(make_raster("b.tif", values[:2], names=["B4", "B6"]))
    assert "--sensor SENSOR" in conversion_cure(numbered, "--offset -1000")
    made = open_scene(make_raster("c.tif", values[:2], names=["blue", "ndsi"]))
    assert "stack it again" in conversion_cure(made, "--offset -1000")
    assert "--recipe blue,ndsi --scale 2" in conversion_cure(made, "--scale 2")
    assert look_for_left_offset(open_scene(make_raster("d.tif", values[:1], names=["velocity"]))) is None
