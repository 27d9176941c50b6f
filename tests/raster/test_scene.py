import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from glacierseg.errors import BandError, GridMismatchError, RasterError
from glacierseg.raster.blocks import Block, open_layers
from glacierseg.raster.facts import SceneFacts
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene
from glacierseg.raster.values import Band


@pytest.fixture
def values() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 200, (3, 20, 30)).astype(np.uint8)


def test_bands_from_several_files_in_order(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    first = make_raster("a.tif", values[:2], names=["blue", "green"])
    second = make_raster("b.tif", values[2].astype(np.float32), names=["red"])
    scene = open_scene([first, second])
    assert scene.name == "a"
    assert scene.band_names == ("blue", "green", "red")
    assert scene.paths == (first, second)
    assert scene.dtype == np.float32
    with scene.open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    np.testing.assert_array_equal(read, values)
    assert valid.all()


def test_bands_without_names_are_numbered(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    assert open_scene(make_raster("a.tif", values)).band_names == ("band_1", "band_2", "band_3")


def test_given_names_replace_those_of_the_file(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    path = make_raster("a.tif", values, names=["x", "y", "z"])
    assert open_scene(path, bands=["blue", "green", "red"]).band_names == ("blue", "green", "red")
    with pytest.raises(BandError, match="3 bands, but 2 names"):
        open_scene(path, bands=["blue", "green"])


def test_select_by_name_and_number_in_the_order_asked_for(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    scene = open_scene(make_raster("a.tif", values, names=["blue", "green", "red"])).select(["red", 1])
    assert scene.band_names == ("red", "blue")
    with scene.open() as reader:
        np.testing.assert_array_equal(reader.read(2, 3, 4, 5)[0], values[[2, 0], 2:6, 3:8])


def test_rescaled_bands_are_read_as_other_values_and_travel_with_the_scene(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    values = values.astype(np.uint16)
    values[0, 5] = 0
    path = make_raster("a.tif", values, names=["blue", "red", "slope"], nodata=0)
    scene = open_scene(path).rescaled(["blue", "red"], 0.5, -3).rescaled(["blue"], 10)
    assert [band.dtype for band in scene.bands] == ["float32", "float32", "uint16"]
    expected = np.stack([(values[0] * 0.5 - 3) * 10, values[1] * 0.5 - 3, values[2]])
    with pickle.loads(pickle.dumps(scene)).open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    # Pixels without data are told by what is stored.
    assert not valid[5].any()
    assert valid.sum() == 19 * 30
    np.testing.assert_allclose(read[:, valid], expected[:, valid], rtol=1e-6)
    with open_layers(scene) as layers:
        by_band, where = layers.read(Block(0, 0, 20, 30))
    np.testing.assert_allclose(by_band[where], expected[where], rtol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["gren"], r"no band 'gren' \(did you mean 'green'\?\)"),
        ([4], "no band 4; its bands are 1 to 3"),
        (["0"], "no band 0"),
        (["red", 3], "'red' is asked for twice"),
    ],
)
def test_select_refuses(
    make_raster: Callable[..., Path], values: NDArray[np.uint8], wanted: list[str | int], words: str
) -> None:
    scene = open_scene(make_raster("a.tif", values, names=["blue", "green", "red"]))
    with pytest.raises(BandError, match=words):
        scene.select(wanted)


def test_valid_only_where_every_band_has_data(make_raster: Callable[..., Path]) -> None:
    values = np.ones((2, 4, 4), np.float32)
    values[0, 0, 0], values[1, 1, 1], values[1, 2, 2] = -9999, np.nan, np.inf
    with open_scene(make_raster("a.tif", values, nodata=-9999)).open() as reader:
        read, valid = reader.read(0, 0, 4, 4)
    expected = np.ones((4, 4), bool)
    expected[[0, 1, 2], [0, 1, 2]] = False
    np.testing.assert_array_equal(valid, expected)
    assert (read[:, ~valid] == 0).all()


def test_nodata_given_where_the_file_declares_none(make_raster: Callable[..., Path]) -> None:
    values = np.eye(4, dtype=np.uint8)
    with open_scene(make_raster("a.tif", values), nodata=0).open() as reader:
        np.testing.assert_array_equal(reader.read(0, 0, 4, 4)[1], values == 1)


def test_mask_inside_the_file_counts(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    mask = np.random.default_rng(1).random((20, 30)) > 0.3
    with open_scene(make_raster("a.tif", values, mask=mask)).open() as reader:
        np.testing.assert_array_equal(reader.read(0, 0, 20, 30)[1], mask)


def test_window_beyond_the_rim_is_a_mirror_and_not_valid(
    make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    with open_scene(make_raster("a.tif", values)).open() as reader:
        read, valid = reader.read(-2, 25, 10, 10)
    wide = np.pad(values, ((0, 0), (2, 0), (0, 5)), mode="symmetric")
    np.testing.assert_array_equal(read, wide[:, :10, 25:])
    assert valid[2:, :5].all()
    assert valid.sum() == 8 * 5


def test_window_that_misses_the_scene(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    with (
        open_scene(make_raster("a.tif", values)).open() as reader,
        pytest.raises(RasterError, match="misses"),
    ):
        reader.read(100, 0, 5, 5)


def test_refuses_what_is_no_raster(
    tmp_path: Path, make_raster: Callable[..., Path], values: NDArray[np.uint8]
) -> None:
    (tmp_path / "text.tif").write_text("not a raster")
    for path, words in (("missing.tif", "no such file"), ("text.tif", "not a raster")):
        with pytest.raises(RasterError, match=words):
            open_scene(tmp_path / path)
    with pytest.raises(RasterError, match="has no CRS"):
        open_scene(make_raster("nowhere.tif", values, crs=False))
    with pytest.raises(RasterError, match="at least one file"):
        open_scene([])


def test_refuses_files_on_different_grids(
    make_raster: Callable[..., Path], make_grid: Callable[..., Grid], values: NDArray[np.uint8]
) -> None:
    first = make_raster("a.tif", values)
    second = make_raster("b.tif", values, make_grid(20, 30, left=300010))
    with pytest.raises(GridMismatchError, match=r"b.tif: lies on another grid .* prepare align"):
        open_scene([first, second])


def test_refuses_doubled_names(make_raster: Callable[..., Path], values: NDArray[np.uint8]) -> None:
    with pytest.raises(BandError, match="'blue' is named twice"):
        open_scene(make_raster("a.tif", values, names=["blue", "blue", "red"]))


def test_truncated_file_is_named(make_raster: Callable[..., Path]) -> None:
    path = make_raster("a.tif", np.random.default_rng(0).random((1, 200, 200)))
    path.write_bytes(path.read_bytes()[:100_000])
    with open_scene(path).open() as reader, pytest.raises(RasterError, match=r"a.tif: .* truncated"):
        reader.read(0, 0, 200, 200)


def test_has_data_of_integers_and_floats() -> None:
    def has_data(layer: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
        return Band("b", Path("b.tif"), 1, str(layer.dtype), nodata).has_data(layer)

    assert has_data(np.array([0, 1], np.uint8), 0).tolist() == [False, True]
    assert has_data(np.array([0, np.nan, np.inf, 1]), None).tolist() == [True, False, False, True]
    assert has_data(np.array([0, np.nan, 1]), np.nan).tolist() == [True, False, True]


def test_fourth_band_that_is_marked_as_transparency_is_data(make_raster: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).integers(0, 3, (4, 20, 30)).astype(np.uint8)
    path = make_raster("a.tif", values, photometric="RGB", alpha="yes", names=["red", "green", "blue", "nir"])
    scene = open_scene(path)
    with scene.open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    assert valid.all()
    np.testing.assert_array_equal(read, values)
    with scene.select(["red", "green", "blue"]).open() as reader:
        assert reader.read(0, 0, 20, 30)[1].all()


def test_scene_shows_itself_in_three_lines(make_raster: Callable[..., Path], values: Any) -> None:
    path = make_raster("a<b>.tif", values.astype(np.uint16), names=["blue", "<red>", "nir"])
    size, bands, origin = repr(open_scene(path)).splitlines()
    grid = open_scene(path).grid
    assert size == f"Scene a<b>: 30 x 20 px of {grid.transform.a:g} m, EPSG:{grid.crs.to_epsg()}"
    assert bands == "3 bands of uint16: blue, <red>, nir"
    assert origin == "unit unknown, date unknown, sensor unknown"
    with rasterio.open(path, "r+") as dataset:
        day = date(2024, 9, 30)
        facts = SceneFacts(day, day, sensor="landsat8", unit="reflectance x 10000")
        dataset.update_tags(**facts.tags)
    scene = open_scene(path)
    assert scene.facts == facts
    assert repr(scene).splitlines()[2] == "unit reflectance x 10000, date 2024-09-30, sensor landsat8"
    cells = re.findall(r"<th[^>]*>(.*?)</th><td[^>]*>(.*?)</td>", scene._repr_html_())
    assert dict(cells)["bands"] == "blue, &lt;red&gt;, nir"
    assert dict(cells)["date"] == "2024-09-30"
    assert "a&lt;b&gt;" in scene._repr_html_()
    path.unlink()
    assert repr(scene).splitlines()[2] == origin


def test_scene_reads_all_or_a_window_or_every_nth_pixel(
    make_raster: Callable[..., Path], values: Any
) -> None:
    values[1, 3, 4] = 0
    scene = open_scene(make_raster("a.tif", values, nodata=0))
    valid = (values != 0).all(axis=0)
    expected = np.where(valid, values, 0)
    for window, max_px, part in (
        (None, None, np.s_[:, :]),
        (Window(4, 2, 10, 7), None, np.s_[2:9, 4:14]),
        (None, 15, np.s_[::2, ::2]),
        (None, 11, np.s_[::3, ::3]),
        (Window(1, 3, 20, 9), 5, np.s_[3:12:4, 1:21:4]),
        (None, 100, np.s_[:, :]),
    ):
        read, where = scene.read(window, max_px)
        np.testing.assert_array_equal(where, valid[part])
        np.testing.assert_array_equal(read, expected[(slice(None), *part)])
    for window, max_px in ((Window(25, 0, 10, 5), None), (Window(0, -1, 3, 3), None), (None, 0)):
        with pytest.raises(RasterError, match="the scene has 30 x 20 px"):
            scene.read(window, max_px)


def test_band_and_grid_are_short(make_raster: Callable[..., Path], values: Any) -> None:
    scene = open_scene(make_raster("a.tif", values, names=["blue", "red", "nir"]))
    assert repr(scene.bands[1]) == "Band('red', uint8, band 2 of a.tif)"
    degrees = Grid(CRS.from_epsg(4326), Affine(2e-4, 0, 86.5, 0, -1e-4, 28), 20, 30)
    assert repr(degrees) == "Grid(30 x 20 px of 0.0002 x 0.0001 degrees, EPSG:4326, from 86.5 28)"
    turned = replace(degrees, crs=CRS.from_epsg(2225), transform=Affine.rotation(90) @ Affine.scale(5))
    assert repr(turned) == "Grid(30 x 20 px of 5 US survey foot, EPSG:2225, from 0 0, turned)"


def test_filled_bands_have_a_value_where_they_have_no_data(make_raster: Callable[..., Path]) -> None:
    """A gap is filled, a band that is not there is made, and needed bands still decide what is valid."""
    values = np.random.default_rng(0).integers(1, 200, (3, 20, 30)).astype(np.uint8)
    values[0, :4] = 0
    values[1, :, :6] = 0
    scene = open_scene(make_raster("a.tif", values, names=["blue", "green", "red"], nodata=0))
    filled = scene.filled({"green": 7.25, "velocity": -3.5})
    assert filled.band_names == ("blue", "green", "red", "velocity")
    assert [band.is_constant for band in filled.bands] == [False, False, False, True]
    assert filled.dtype == np.float32
    wanted = filled.select(["velocity", "red", "green"])
    with wanted.open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    assert valid.all()
    assert (read[0] == -3.5).all()
    np.testing.assert_array_equal(read[1], values[2])
    np.testing.assert_array_equal(read[2], np.where(values[1] == 0, np.float32(7.25), values[1]))
    with filled.open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    np.testing.assert_array_equal(valid, values[0] != 0)
    assert (read[:, ~valid] == 0).all()
    # Of bands that are all filled, one that is there must have data.
    with scene.select(["blue", "green"]).filled({"blue": 1, "green": 1, "dh_dt": 0}).open() as reader:
        np.testing.assert_array_equal(reader.read(0, 0, 20, 30)[1], (values[:2] != 0).any(axis=0))
    assert filled.rescaled(["velocity", "red"], 2.0).bands[3].offset == -3.5


def test_what_a_mask_hides_in_every_band_stays_hidden(make_raster: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32)
    mask = np.ones((20, 30), bool)
    mask[3:5] = False
    scene = open_scene(make_raster("a.tif", values, names=["red", "green"], mask=mask))
    with scene.filled({"green": 9.0}).open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    np.testing.assert_array_equal(valid, mask)
    with scene.select(["green"]).filled({"green": 9.0}).open() as reader:
        read, valid = reader.read(0, 0, 20, 30)
    np.testing.assert_array_equal(valid, mask)
    np.testing.assert_array_equal(read[0][mask], values[1][mask])
