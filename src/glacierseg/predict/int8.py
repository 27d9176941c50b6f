"""Networks in 8-bit integers for OpenVINO, and what that costs.

Quantisation is calibrated on windows of a scene and changes outlines. So it is used only on request, and
every quantised file is compared with its network on windows that it was not calibrated on.
"""

import io
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from glacierseg.errors import RasterError, TruthError
from glacierseg.models.blocks import MapTransformer
from glacierseg.models.card import load_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.engines import OpenVinoPredictor, missing_as_nan
from glacierseg.predict.export import (
    facts_of,
    openvino_model,
    require,
    target_path,
    write_openvino,
)
from glacierseg.predict.matching import matching_scene
from glacierseg.predict.stream import Predictor
from glacierseg.raster.grid import Grid
from glacierseg.raster.outputs import writes
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import GLACIER, IGNORE, load_truth
from glacierseg.settings.base import fields_as_keywords
from glacierseg.settings.predict import ExportSettings
from glacierseg.weights.own import warn_of_values

INT8_STEM = "model_int8"
# As many for the ranges of the activations as for the comparison.
MOST_WINDOWS = 128

Cell = tuple[int, int]


@dataclass(frozen=True)
class QuantizationCost:
    """What becomes of a network's masks in int8.

    Attributes:
        windows: Windows compared; none of them served for the calibration.
        pixels: Their pixels with data, and with truth where there is one.
        agreement: Share of the pixels that have the same class in float32 and int8.
        iou_float32: IoU of glacier against the truth in float32; None without truth.
        iou_int8: The same in int8.
    """

    windows: int
    pixels: int
    agreement: float
    iou_float32: float | None = None
    iou_int8: float | None = None


@fields_as_keywords(settings=ExportSettings)
@writes(out=())
def quantize_model(
    model_dir: Path | str,
    scene: Scene | Path | str | Sequence[Path | str],
    out: Path | str | None = None,
    settings: ExportSettings | None = None,
    *,
    cost_scene: Scene | Path | str | Sequence[Path | str] | None = None,
) -> tuple[Path, QuantizationCost]:
    """Writes a network in int8 for OpenVINO and measures what that costs.

    The scene is cut into a checkerboard of windows: up to 128 of the one colour calibrate, up to 128 of the
    other one show the cost.

    Args:
        model_dir: A model folder.
        scene: A scene with the network's bands, or its files. Best one of the training: a scene that sets
            the ranges can no longer test the network.
        out: The .xml file; `model_int8.xml` in the model folder when None, where prediction looks for it.
        settings: Window, pruning, and the truth of the scene that shows the cost; its fields may be given as
            keywords instead.
        cost_scene: Another scene that shows the cost, such as one for validation; all its windows where
            it covers other ground.

    Returns:
        Path of the file, and the cost.

    Raises:
        BandError: The scene lacks bands that the network needs.
        CheckpointError: The folder is not a model folder.
        OutputError: The file cannot be written.
        RasterError: The scene cannot be read, or has less than two windows with data.
        RequestError: A setting is out of its bounds, or a package is not installed.
        TruthError: The truth cannot be used, or shows no glacier where the cost is measured.
    """
    path = target_path(model_dir, "openvino", out, INT8_STEM)
    settings = settings or ExportSettings()
    network, card = load_model(model_dir, prune_level=settings.prune_level)
    window_px = settings.window_px or card.patch_px
    scene = matching_scene(scene if isinstance(scene, Scene) else open_scene(scene), card.bands)
    warn_of_values(model_dir, card, scene)
    calibrating, scoring = checkerboard(scene.grid, window_px)
    scored = scene
    if cost_scene is not None:
        opened = cost_scene if isinstance(cost_scene, Scene) else open_scene(cost_scene)
        scored = matching_scene(opened, card.bands)
        warn_of_values(model_dir, card, scored)
        if _ground(scored.grid) != _ground(scene.grid):
            scoring = [cell for colour in checkerboard(scored.grid, window_px) for cell in colour]
    truth = None
    if settings.truth:
        truth = load_truth(settings.truth, scored.grid, layer=settings.truth_layer)
    samples = [missing_as_nan(*pixels) for _, *pixels in windows_with_data(scene, calibrating, window_px)]
    if not samples:
        raise _too_small(scene, window_px)
    model = quantised(network, card.scaling, samples)
    predictors = (
        OpenVinoPredictor(openvino_model(network, card.scaling, window_px), "float32"),
        OpenVinoPredictor(model, "int8"),
    )
    cost = _compare(predictors, scored, scoring, window_px, truth, settings.truth)
    facts = {
        "int8_calibration": f"{len(samples)} windows of {scene.name}",
        "int8_ground": _ground(scene.grid),
        "int8_cost": json.dumps(asdict(cost)),
    }
    write_openvino(model, path, facts_of(network, card, window_px) | facts)
    return path, cost


def quantised(network: nn.Module, scaling: Scaling, samples: Sequence[NDArray[np.float32]]) -> Any:
    """Quantises weights and activations after training.

    Args:
        network: `(B, C, H, W)` scaled to logits.
        scaling: How band values become input; it stays in float32, since bands differ in their units.
        samples: Windows `(C, H, W)` in the scene's units, NaN where there is no data.

    Returns:
        An `openvino.Model` for windows of the samples' size.
    """
    nncf = require("nncf", "int8")
    nncf.set_log_level(logging.ERROR)
    exact = ["^/(?!network/).*"]  # all that is not the network itself
    has_attention = any(isinstance(module, MapTransformer) for module in network.modules())
    model = openvino_model(network, scaling, samples[0].shape[-1])
    with redirect_stdout(io.StringIO()):  # where it draws its bars
        return nncf.quantize(
            model,
            nncf.Dataset([sample[None] for sample in samples]),
            subset_size=len(samples),
            model_type=nncf.ModelType.TRANSFORMER if has_attention else None,
            ignored_scope=nncf.IgnoredScope(patterns=exact, validate=False),
        )


def checkerboard(grid: Grid, window_px: int) -> tuple[list[Cell], list[Cell]]:
    """Cuts a grid into windows side by side and deals them out like the fields of a checkerboard.

    Returns:
        First row and column of the windows of each colour; the last ones may reach beyond the grid.
    """
    colours: tuple[list[Cell], list[Cell]] = [], []
    for row in range(0, grid.height, window_px):
        for column in range(0, grid.width, window_px):
            colours[(row + column) // window_px % 2].append((row, column))
    return colours


def windows_with_data(
    scene: Scene, cells: Sequence[Cell], window_px: int
) -> Iterator[tuple[Cell, NDArray[Any], NDArray[np.bool_]]]:
    """Reads up to 128 windows that hold data, drawn at random from all over the scene, always the same.

    Yields:
        Row and column, values `(C, H, W)` and valid `(H, W)`.
    """
    found = 0
    with scene.open() as reader:
        for number in np.random.default_rng(0).permutation(len(cells)):
            row, column = cells[number]
            values, valid = reader.read(row, column, window_px, window_px)
            if valid.any():
                yield (row, column), values, valid
                found += 1
            if found == MOST_WINDOWS:
                return


def _compare(
    predictors: tuple[Predictor, Predictor],
    scene: Scene,
    cells: Sequence[Cell],
    window_px: int,
    truth: NDArray[np.uint8] | None,
    path: Path | None,
) -> QuantizationCost:
    windows = same = pixels = 0
    # Rows: float32, int8. Columns: pixels in both prediction and truth, pixels in either.
    overlap = np.zeros((2, 2), np.int64)
    for (row, column), values, valid in windows_with_data(scene, cells, window_px):
        exact, rough = (predict(values[None], valid[None])[0] >= 0.5 for predict in predictors)
        counted = valid.copy()
        if truth is not None:
            known = np.full(valid.shape, IGNORE, np.uint8)
            inside = truth[row : row + window_px, column : column + window_px]
            known[: inside.shape[0], : inside.shape[1]] = inside
            counted &= known != IGNORE
            glacier = known == GLACIER
            for number, predicted in enumerate((exact, rough)):
                overlap[number] += (
                    (predicted & glacier & counted).sum(),
                    ((predicted | glacier) & counted).sum(),
                )
        windows += 1
        pixels += int(counted.sum())
        same += int((exact == rough)[counted].sum())
    if not windows:
        raise _too_small(scene, window_px)
    if truth is None:
        return QuantizationCost(windows, pixels, same / pixels)
    if not overlap[:, 1].all():
        raise TruthError(
            f"{path}: shows no glacier in the windows that show the cost; take a scene with more glacier"
        )
    exact_iou, rough_iou = (float(both / either) for both, either in overlap)
    return QuantizationCost(windows, pixels, same / pixels, exact_iou, rough_iou)


def _ground(grid: Grid) -> str:
    return f"{grid.crs} {tuple(grid.transform)[:6]} {grid.shape}"


def _too_small(scene: Scene, window_px: int) -> RasterError:
    return RasterError(
        f"{scene.paths[0]}: has less than two windows of {window_px} px with data, one to calibrate and "
        "one to compare; take a larger scene or a smaller --window-px"
    )
