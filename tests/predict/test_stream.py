from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import from_origin

from glacierseg.predict.stream import StripsFolder, _Rows, blended_strips
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.tiling import Tiling, blend_weights, stride_of, window_starts
from glacierseg.raster.values import Band
from tests.helpers import write_scene


def identity(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    return values[:, 0].astype(np.float32)


def whole(scene: Scene, predictor: Any = identity, **settings: Any) -> NDArray[np.float32]:
    out = np.full(scene.grid.shape, -5, np.float32)
    tops: list[int] = []
    tiling = Tiling(*(settings.pop(key, 0) for key in ("window_px", "overlap")))
    for _, top, (rows,) in blended_strips(scene, [predictor], tiling, **settings):
        out[top : top + len(rows)] = rows
        tops += range(top, top + len(rows))
    assert tops == list(range(scene.grid.height))
    return out


def random_scene(folder: str, height: int, width: int, holes: float = 0.0) -> tuple[Scene, NDArray[Any]]:
    values = np.random.default_rng(height * 1000 + width).random((1, height, width)).astype(np.float32)
    values[0][np.random.default_rng(1).random((height, width)) < holes] = np.nan
    return open_scene(write_scene(Path(folder) / "s.tif", values, nodata=float("nan"))), values[0]


def facts_of_scene(height: int, *, width: int, bands: int) -> Scene:
    grid = Grid(CRS.from_epsg(32643), from_origin(0, 0, 10, 10), height, width)
    layers = [Band(f"band{n}", Path("no.tif"), n, "int64", None) for n in range(bands)]
    return Scene("facts", grid, tuple(layers))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.floats(0, 0.9), st.integers(1, 5))
def test_a_network_that_returns_its_input_gives_it_back(
    height: int, width: int, window: int, overlap: float, batch: int
) -> None:
    with TemporaryDirectory() as folder:
        scene, values = random_scene(folder, height, width)
        out = whole(scene, window_px=window, overlap=overlap, batch_size=batch)
        np.testing.assert_allclose(out, values, atol=1e-6)


def test_pixels_without_data_come_out_as_nan_and_windows_without_data_are_skipped() -> None:
    with TemporaryDirectory() as folder:
        scene, values = random_scene(folder, 40, 50, holes=0.3)
        out = whole(scene, window_px=16, overlap=0.5, batch_size=3)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(values))
        empty = open_scene(
            write_scene(Path(folder) / "e.tif", np.full((1, 20, 20), np.nan, np.float32), nodata=float("nan"))
        )

        def never(values: Any, valid: Any) -> Any:
            raise AssertionError

        assert np.isnan(whole(empty, never, window_px=8, overlap=0.5, batch_size=2)).all()


def test_equals_a_plain_sum_over_all_windows_with_a_network_that_sees_its_window() -> None:
    def positional(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        rows, columns = np.mgrid[: values.shape[2], : values.shape[3]]
        mean = values[:, 0].mean((1, 2), keepdims=True)
        result: NDArray[np.float32] = ((mean + (rows * 7 + columns * 3) % 11 / 11) / 2).astype(np.float32)
        return result

    with TemporaryDirectory() as folder:
        scene, values = random_scene(folder, 45, 61)
        window, overlap = 16, 0.5
        total, weight = np.zeros((45, 61)), np.zeros((45, 61))
        plain = np.outer(blend_weights(window), blend_weights(window))
        for r in window_starts(45, window, stride_of(window, overlap)):
            for c in window_starts(61, window, stride_of(window, overlap)):
                part = np.s_[r : r + window, c : c + window]
                total[part] += positional(values[part][None, None], np.ones((1, 16, 16), bool))[0] * plain
                weight[part] += plain
        for batch in (1, 3, 100):
            out = whole(scene, positional, window_px=window, overlap=overlap, batch_size=batch)
            np.testing.assert_allclose(out, total / weight, atol=1e-5)


def test_progress_rises_to_one() -> None:
    seen: list[float] = []
    with TemporaryDirectory() as folder:
        scene, _ = random_scene(folder, 40, 30)
        whole(scene, window_px=16, overlap=0.5, batch_size=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def neighbours(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A network that looks two pixels far, whatever lies beyond the window being zero."""
    padded = np.pad(values[:, 0], ((0, 0), (2, 2), (2, 2)))
    height, width = valid.shape[1:]
    shifted = [padded[:, r : r + height, c : c + width] for r in range(5) for c in range(5)]
    result: NDArray[np.float32] = np.mean(shifted, 0).astype(np.float32)
    return result


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(4, 24), st.floats(0, 0.9), st.data())
def test_some_strips_are_those_of_the_whole_scene_byte_for_byte(
    height: int, window: int, overlap: float, data: st.DataObject
) -> None:
    tiling = Tiling(window, overlap)
    with TemporaryDirectory() as folder:
        scene, _ = random_scene(folder, height, 33, holes=0.1)
        everything = list(blended_strips(scene, [neighbours], tiling, batch_size=3))
        first = data.draw(st.integers(0, len(everything) - 1))
        last = data.draw(st.integers(first, len(everything) - 1))
        part = list(blended_strips(scene, [neighbours], tiling, batch_size=3, first=first, last=last))
        assert [number for number, _, _ in part] == list(range(first, last + 1))
        for own, other in zip(part, everything[first : last + 1], strict=True):
            assert own[:2] == other[:2]
            assert own[2].tobytes() == other[2].tobytes()


def test_members_are_blended_each_on_its_own() -> None:
    with TemporaryDirectory() as folder:
        scene, values = random_scene(folder, 30, 40)
        members = [identity, lambda v, ok: 1 - identity(v, ok)]
        out = np.concatenate(
            [rows for _, _, rows in blended_strips(scene, members, Tiling(16), batch_size=3)], 1
        )
        np.testing.assert_allclose(out, np.stack([values, 1 - values]), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 900),
    side=st.integers(1, 300),
    data=st.data(),
)
def test_rows_that_are_kept_are_those_that_a_reader_gives(
    height: int, side: int, data: st.DataObject
) -> None:
    """Any strips from top to bottom, with gaps too, over the heights at which reading pauses."""
    scene = facts_of_scene(height, width=3, bands=2)
    across = max(3, side)
    values = np.arange(2 * height * across).reshape(2, height, across)

    class Reader:
        def read(self, row: int, column: int, rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
            assert (column, width) == (0, across)
            inside = np.clip(np.arange(row, row + rows), 0, height - 1)
            return values[:, inside], inside[:, None] % 7 > np.zeros(width)

    steps = data.draw(st.lists(st.integers(1, 2 * side), max_size=12))
    tops = [top for top in np.cumsum([0, *steps]).tolist() if top < height]
    with patch("glacierseg.predict.stream.BLOCK_HEIGHT_PX", data.draw(st.sampled_from((2, 7, 256)))):
        kept, plain = _Rows(Reader(), scene, side), Reader()
        before = None
        for top in tops:
            found = kept.read(top)
            wanted = plain.read(top, 0, side, across)
            # The strip before is still worked on when this one is read.
            for strip in filter(None, (before, (found, wanted))):
                np.testing.assert_array_equal(strip[0][0].transpose(2, 0, 1), strip[1][0])
                np.testing.assert_array_equal(strip[0][1], strip[1][1])
            before = found, wanted


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    side=st.integers(1, 60),
    block=st.integers(1, 20),
)
def test_a_rim_read_in_pieces_is_the_mirror_of_the_whole(height: int, side: int, block: int) -> None:
    with TemporaryDirectory() as folder:
        scene, _ = random_scene(folder, height, 9)
        with scene.open() as reader, patch("glacierseg.predict.stream.BLOCK_HEIGHT_PX", block):
            rows = _Rows(reader, scene, side)
            for top in Tiling(side).starts(height):
                values, valid = rows.read(top)
                whole = reader.read(top, 0, side, max(9, side))
                np.testing.assert_array_equal(values.transpose(2, 0, 1), whole[0])
                np.testing.assert_array_equal(valid, whole[1])


def test_every_row_inside_is_read_once() -> None:
    asked: list[tuple[int, int]] = []

    class Reader:
        def read(self, row: int, column: int, rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
            del column
            asked.append((row, rows))
            return np.zeros((1, rows, width)), np.ones((rows, width), bool)

    tiling = Tiling(128)
    rows = _Rows(Reader(), facts_of_scene(1000, width=4, bands=1), tiling.window_px)
    for top in tiling.starts(1000):
        rows.read(top)
    assert asked == [(0, 256), (256, 256), (512, 256), (768, 232)]


def test_strips_of_what_was_given_up_do_not_mix_with_others(tmp_path: Path) -> None:
    folder = tmp_path / ".valley.strips"
    old = StripsFolder(folder, {"overlap": 0.5})
    new = StripsFolder(folder, {"overlap": 0.25})
    old.write(0, np.zeros((1, 2, 3), np.float32))
    assert new.missing(1) == [0]
    new.remove_if_empty()
    assert not folder.exists()
