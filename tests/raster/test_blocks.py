from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from glacierseg.errors import OutputError, RasterError
from glacierseg.raster.blocks import (
    Block,
    LayerWriter,
    common_storage,
    iterate_blocks,
    open_layers,
    open_writer,
)
from glacierseg.raster.environment import bounded_gdal
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import open_scene


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 5000), st.integers(1, 300), st.integers(1, 3000))
def test_blocks_cover_a_raster_exactly_once(rows: int, columns: int, height_px: int, width_px: int) -> None:
    shares: list[float] = []
    covered = np.zeros((rows, columns), np.uint8)
    for block in iterate_blocks(
        (rows, columns), shares.append, height_px=height_px, width_px=max(width_px, 50)
    ):
        covered[block.window.toslices()] += 1
    assert (covered == 1).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_each_band_has_its_own_gaps(make_raster: Callable[..., Path]) -> None:
    first = np.array([[1, 2], [3, 0]], np.uint8)
    second = np.array([[np.nan, 2], [3, 4]], np.float32)
    scene = open_scene(
        [make_raster("a.tif", first, nodata=0), make_raster("b.tif", second)], bands=["a", "b"]
    )
    with open_layers(scene) as reader:
        values, valid = reader.read(Block(0, 0, 2, 2))
        assert not reader.has_masks
    np.testing.assert_array_equal(valid, [[[1, 1], [1, 0]], [[0, 1], [1, 1]]])
    np.testing.assert_array_equal(values[0], first)


def test_mask_of_one_file_is_not_that_of_another(make_raster: Callable[..., Path]) -> None:
    mask = np.array([[True, False]])
    ones = np.ones((1, 2), np.uint8)
    scene = open_scene([make_raster("a.tif", ones, mask=mask), make_raster("b.tif", ones)], bands=["a", "b"])
    with open_layers(scene) as reader:
        np.testing.assert_array_equal(reader.read(Block(0, 0, 1, 2))[1], [[[1, 0]], [[1, 1]]])
        assert reader.has_masks


@pytest.mark.parametrize(
    ("bands", "stored"),
    [
        ([("uint8", None), ("uint16", None)], ("uint16", None)),
        ([("uint8", 0), ("uint16", 0)], ("uint16", 0)),
        ([("uint8", 0), ("uint8", None)], ("float32", np.nan)),
        ([("int32", 0), ("uint8", None)], ("float64", np.nan)),
        ([("float32", -9999), ("float32", -9999)], ("float32", -9999)),
        ([("float32", -9999), ("float32", None)], ("float32", np.nan)),
        ([("float32", None)], ("float32", np.nan)),
        ([("float64", np.nan), ("uint8", None)], ("float64", np.nan)),
    ],
)
def test_common_storage_loses_nothing(
    make_raster: Callable[..., Path], bands: list[tuple[str, float | None]], stored: tuple[str, float | None]
) -> None:
    files = [
        make_raster(f"{i}.tif", np.ones((2, 2), dtype), nodata=nodata)
        for i, (dtype, nodata) in enumerate(bands)
    ]
    with open_layers(open_scene(files, bands=[str(i) for i in range(len(bands))])) as reader:
        dtype, nodata = common_storage(reader)
    assert dtype == stored[0]
    np.testing.assert_equal(nodata, stored[1])


def test_truncated_file_is_named(make_raster: Callable[..., Path]) -> None:
    path = make_raster("a.tif", np.random.default_rng(0).random((1, 200, 200)))
    path.write_bytes(path.read_bytes()[:100_000])
    with (
        open_layers(open_scene(path)) as reader,
        pytest.raises(RasterError, match=r"a\.tif: .* row 0 .*truncated"),
    ):
        reader.read(Block(0, 0, 200, 200))


def test_written_blocks_read_back(tmp_path: Path, make_grid: Callable[..., Grid]) -> None:
    values = np.random.default_rng(0).integers(0, 255, (3, 600, 700)).astype(np.uint8)
    ways: dict[str, dict[str, Any]] = {"c": {}, "u": {"compress": False}}
    for name, options in ways.items():
        path = tmp_path / f"{name}.tif"
        with bounded_gdal(), open_writer(path, make_grid(600, 700), "xyz", "uint8", 255, **options) as writer:
            for block in iterate_blocks((600, 700)):
                part = values[(slice(None), *block.window.toslices())].copy()
                writer.write(block, part, part != 7)
        with rasterio.open(path) as dataset:
            np.testing.assert_array_equal(dataset.read(), np.where(values == 7, 255, values))
            assert dataset.descriptions == ("x", "y", "z")
            assert dataset.profile["tiled"]
            assert (dataset.compression is None) == (name == "u")


def test_failure_while_writing_leaves_nothing(tmp_path: Path, make_grid: Callable[..., Grid]) -> None:
    def fail(writer: LayerWriter) -> None:
        writer.write(Block(0, 0, 5, 5), np.zeros((1, 5, 5), np.uint8), np.ones((1, 5, 5), bool))
        writer.write(Block(50, 50, 5, 5), np.zeros((1, 5, 5), np.uint8), np.ones((1, 5, 5), bool))

    with (
        pytest.raises(OutputError, match="cannot be written"),
        open_writer(tmp_path / "a.tif", make_grid(10, 10), ["x"], "uint8", None) as writer,
    ):
        fail(writer)
    assert list(tmp_path.iterdir()) == []


def test_band_that_is_marked_as_transparency_is_data_when_it_is_read(
    make_raster: Callable[..., Path],
) -> None:
    values = np.random.default_rng(0).integers(0, 3, (4, 20, 30)).astype(np.uint8)
    scene = open_scene(make_raster("a.tif", values, photometric="RGB", alpha="yes"))
    with open_layers(scene) as reader:
        assert reader.read(Block(0, 0, 20, 30))[1].all()
    with open_layers(scene.select([1, 2])) as reader:
        assert reader.read(Block(0, 0, 20, 30))[1].all()
