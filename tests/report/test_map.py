import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from glacierseg.report.map import glacier_layers, outline, paint_probability
from glacierseg.report.page import render
from glacierseg.report.views import view_region
from glacierseg.runs.read import read_results
from tests.helpers import present

FOLDER = "unetplusplus/all"


def rings(path: str) -> Iterator[NDArray[np.int64]]:
    """Corners of the rings of an SVG path of moves, relative lines and closings."""
    for ring in re.findall(r"M([^z]+)z", path):
        start, steps = ring.split("l")
        moves = np.array([start.split(), *np.array(steps.split()).reshape(-1, 2)], int)
        yield np.cumsum(moves, axis=0)


def fill(path: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fills an SVG path (even-odd) at pixel centres, by OpenCV at twice the size."""
    canvas = np.zeros((2 * shape[0] + 1, 2 * shape[1] + 1), np.uint8)
    for ring in rings(path):
        own = np.zeros_like(canvas)
        cv2.fillPoly(own, [(2 * ring).astype(np.int32)], 1)
        canvas ^= own
    result: NDArray[np.bool_] = canvas[1::2, 1::2] == 1
    return result


def test_blocks_are_drawn_exactly() -> None:
    mask = np.zeros((40, 50), bool)
    mask[5:25, 10:40] = True
    mask[10:20, 20:30] = False
    mask[30:38, 1:9] = True
    drawn = present(outline("truth", mask, "red", "1 2"))
    assert (drawn.key, drawn.colour, drawn.dashes) == ("truth", "red", "1 2")
    assert (fill(drawn.path, mask.shape) == mask).all()
    x, y = drawn.label_at
    assert mask[int(y), int(x)]


@settings(deadline=None)
@given(arrays(bool, (3, 4)))
def test_any_blocks_are_drawn(blocks: NDArray[np.bool_]) -> None:
    mask = np.kron(blocks, np.ones((8, 8))).astype(bool)
    drawn = outline("x", mask)
    if drawn is None:
        assert not mask.any()
        return
    # Corners that touch may be drawn in either of two ways; inside the blocks there is no doubt.
    inner = np.zeros((8, 8), bool)
    inner[2:-2, 2:-2] = True
    sure = np.tile(inner, (3, 4))
    assert (fill(drawn.path, mask.shape) == mask)[sure].all()


def test_a_chequerboard_is_not_drawn() -> None:
    assert outline("x", (np.indices((600, 600)) // 3).sum(axis=0) % 2 == 0) is None


def test_probability_is_clear_without_data() -> None:
    pixels = paint_probability(np.array([[0.0, 1.0, np.nan]], np.float32))
    assert pixels[0, :, 3].tolist() == [255, 255, 0]
    assert pixels[0, 1, :2].min() > 200  # yellow


def test_the_inventory_is_a_layer_of_refined_masks(run_dir: Path) -> None:
    results = read_results(run_dir)
    view = present(view_region(results, results.regions[0]))
    assert not any(key.endswith("inventory") for key in glacier_layers(results, view, 10**6))
    assert 'value="inventory"' not in render(results)
    outlines = run_dir / FOLDER / "khumbu.gpkg"
    table = gpd.read_file(outlines, layer="refined").assign(zmin_m=4321.0)
    pyogrio.write_dataframe(table, run_dir / FOLDER / "khumbu_inventory.gpkg", layer="glaciers")
    layers = glacier_layers(results, view, 10**6)
    found = layers["unetplusplus-all-refined-inventory"]
    assert "zmin_m" in found.columns
    assert len(found.paths) == len(table)
    assert "unetplusplus-all-raw-inventory" not in layers
    assert 'value="inventory"' in render(results)
