import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin
from sklearn.metrics import jaccard_score

from glacierseg.choices import Precision
from glacierseg.errors import RasterError, RequestError, TruthError
from glacierseg.models import create_model
from glacierseg.models.card import ModelCard, load_model, save_model
from glacierseg.predict.engines import make_predictor
from glacierseg.predict.int8 import (
    QuantizationCost,
    checkerboard,
    quantize_model,
)
from glacierseg.predict.stream import Predictor
from glacierseg.raster.scene import open_scene
from glacierseg.settings.predict import ExportSettings
from tests.helpers import blobs, easy_scene, present, utm_grid, write_mask, write_scene

SIDE, WINDOW = 128, 32
# Elevation in metres beside an index between -1 and 1, as in real stacks.
BANDS, GAIN, OFFSET = ("ndsi", "elevation", "red"), (0.01, 10.0, 1.0), (-1.0, 4000.0, 0.0)


def basin(folder: Path, seed: int) -> tuple[Path, Path]:
    """A scene whose glaciers show through noise, with a hole, and its mask."""
    mask = blobs(SIDE, SIDE, seed)
    values = easy_scene(mask, 3, seed) * np.array(GAIN)[:, None, None] + np.array(OFFSET)[:, None, None]
    values[:, :20, :40] = np.nan
    scene = write_scene(folder / f"s{seed}.tif", values.astype(np.float32), BANDS, nodata=float("nan"))
    truth = write_mask(folder / f"m{seed}.tif", mask)
    for path in (scene, truth):
        with rasterio.open(path, "r+") as dataset:
            dataset.transform = from_origin(500_000 + 5_000 * seed, 3_600_000, 10, 10)
    return scene, truth


def train_a_little(card: ModelCard, scene: Path, truth: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    network = card.build().train()
    with open_scene(scene).open() as reader, open_scene(truth).open() as truth_reader:
        values, valid = reader.read(0, 0, SIDE, SIDE)
        target = torch.from_numpy(truth_reader.read(0, 0, SIDE, SIDE)[0][0].astype(np.int64))
    image = torch.from_numpy(card.scaling.apply(values, valid))
    cut = [
        np.s_[r : r + WINDOW, c : c + WINDOW] for r in range(0, SIDE, WINDOW) for c in range(0, SIDE, WINDOW)
    ]
    images = torch.stack([image[:, rows, columns] for rows, columns in cut])
    targets = torch.stack([target[place] for place in cut])
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module", params=["m_landsnet", "glavitu"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its own basin (seed 4) and another one (seed 2) beside it."""
    folder = tmp_path_factory.mktemp(request.param)
    scene, mask = basin(folder, 4)
    basin(folder, 2)
    mean, std = (tuple(np.array([100.0, 100, 100]) * GAIN + OFFSET), tuple(np.array([25.0, 25, 20]) * GAIN))
    card = ModelCard(
        architecture=request.param, width=0.125, bands=BANDS, band_mean=mean, band_std=std, patch_px=WINDOW
    )
    save_model(folder, train_a_little(card, scene, mask), card)
    return folder


@pytest.fixture(scope="module")
def made(trained: Path) -> tuple[Path, QuantizationCost]:
    """The network in int8, calibrated on its own basin."""
    return quantize_model(trained, trained / "s4.tif", settings=ExportSettings(truth=trained / "m4.tif"))


# What does not depend on the architecture is tested with the quicker one.
with_one_network = pytest.mark.parametrize("trained", ["m_landsnet"], indirect=True)


def test_int8_keeps_the_masks_and_its_cost_is_the_truth(
    trained: Path, made: tuple[Path, QuantizationCost]
) -> None:
    path, cost = made
    assert path == trained / "model_int8.xml"
    assert present(cost.iou_float32) > 0.8, "trained enough to tell"
    assert cost.iou_int8 == pytest.approx(cost.iou_float32, abs=0.03)
    assert 0.98 < cost.agreement <= 1
    # The same figures by another way: whole-number predictions of every pixel, scored by scikit-learn.
    network, card = load_model(trained)
    with open_scene(trained / "s4.tif").open() as reader, open_scene(trained / "m4.tif").open() as truths:
        cells = [
            (r, c) for r in range(0, SIDE, WINDOW) for c in range(0, SIDE, WINDOW) if (r + c) // WINDOW % 2
        ]
        read = [reader.read(*cell, WINDOW, WINDOW) for cell in cells]
        truth = np.stack([truths.read(*cell, WINDOW, WINDOW)[0][0] for cell in cells])
    values, valid = (np.stack(parts) for parts in zip(*read, strict=True))
    masks: dict[str, NDArray[np.bool_]] = {}
    precisions: tuple[Precision, ...] = ("float32", "int8")
    for precision in precisions:
        predictor = make_predictor(
            "openvino", network, card.scaling, window_px=WINDOW, precision=precision, int8_model=path
        )
        masks[precision] = (predictor(values, valid) >= 0.5)[valid]
    assert cost.pixels == valid.sum()
    assert cost.iou_float32 == pytest.approx(jaccard_score(truth[valid], masks["float32"]), abs=2e-3)
    assert cost.iou_int8 == pytest.approx(jaccard_score(truth[valid], masks["int8"]), abs=2e-3)
    assert cost.agreement == pytest.approx((masks["int8"] == masks["float32"]).mean(), abs=1e-3)
    model = openvino.Core().read_model(path)
    kinds = {
        constant.get_element_type().to_string()
        for constant in model.get_ops()
        if constant.get_type_name() == "Constant"
    }
    assert "i8" in kinds, "weights are 8-bit integers"
    stored = json.loads(model.get_rt_info(["glacierseg", "int8_cost"]).astype(str))
    assert QuantizationCost(**stored) == cost


@with_one_network
def test_the_cost_elsewhere_is_measured_on_the_whole_scene(
    trained: Path, made: tuple[Path, QuantizationCost], tmp_path: Path
) -> None:
    elsewhere: dict[str, Any] = {"cost_scene": trained / "s2.tif", "out": tmp_path / "there.xml"}
    _, there = quantize_model(
        trained, trained / "s4.tif", settings=ExportSettings(truth=trained / "m2.tif"), **elsewhere
    )
    assert made[1].windows == 8, "the other half was calibrated on"
    assert there.windows in {15, 16}, "on another basin; one window may hold no data"
    assert there.iou_int8 == pytest.approx(there.iou_float32, abs=0.05)
    _, silent = quantize_model(trained, trained / "s4.tif", **elsewhere)
    assert (silent.iou_float32, silent.iou_int8) == (None, None)
    assert silent.agreement == there.agreement


def test_a_ruined_int8_network_is_found_out(trained: Path, tmp_path: Path) -> None:
    """The comparison sees damage: calibrated on ground of another kind, ranges are wrong and masks suffer."""
    values = np.random.default_rng(0).normal(size=(3, SIDE, SIDE)) * 1e-3
    values = values * np.array(GAIN)[:, None, None] + np.array([100.0, 100, 100])[:, None, None] * np.array(
        GAIN
    )[:, None, None] + np.array(OFFSET)[:, None, None]  # fmt: skip
    flat = write_scene(tmp_path / "flat.tif", values.astype(np.float32), BANDS, nodata=float("nan"))
    _, fine = quantize_model(trained, flat, out=tmp_path / "bad.xml")
    assert fine.agreement > 0.9, "on its own ground nothing shows"
    settings: dict[str, Any] = {"out": tmp_path / "bad.xml", "cost_scene": trained / "s4.tif"}
    _, cost = quantize_model(trained, flat, settings=ExportSettings(truth=trained / "m4.tif"), **settings)
    assert present(cost.iou_int8) < present(cost.iou_float32) - 0.05
    assert cost.agreement < 0.98


@with_one_network
def test_int8_of_another_network_or_window_is_refused(
    trained: Path, made: tuple[Path, QuantizationCost], tmp_path: Path
) -> None:
    path = tmp_path / "net.xml"
    for suffix in (".xml", ".bin"):
        shutil.copy(made[0].with_suffix(suffix), path.with_suffix(suffix))
    network, card = load_model(trained)

    def ask(
        network: torch.nn.Module = network, window_px: int = WINDOW, int8_model: Path | None = path
    ) -> Predictor:
        return make_predictor(
            "openvino", network, card.scaling,
            window_px=window_px, precision="int8", int8_model=int8_model,
        )  # fmt: skip

    with pytest.raises(RequestError, match=r"net\.xml: takes windows of 32 px, not 64"):
        ask(window_px=64)
    torch.manual_seed(1)
    with pytest.raises(RequestError, match=r"net\.xml: was made of another network.*--int8-with"):
        ask(create_model(card.architecture, 3, 2, 0.125).eval())
    for missing in (None, tmp_path / "none.xml"):
        with pytest.raises(RequestError, match="there is no quantised network; make one with"):
            ask(int8_model=missing)
    path.write_text("<net")
    with pytest.raises(RequestError, match=r"net\.xml: is damaged"):
        ask()


@with_one_network
def test_scenes_that_cannot_tell_are_refused_and_nothing_is_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "net.xml"
    with pytest.raises(RasterError, match=r"s4\.tif: has less than two windows of 128 px"):
        quantize_model(trained, trained / "s4.tif", out=out, settings=ExportSettings(window_px=128))
    empty = write_mask(tmp_path / "empty.tif", np.zeros((SIDE, SIDE), np.uint8))
    values = np.full((3, SIDE, SIDE), -50, np.float32)
    values[1] = 100
    with pytest.raises(TruthError, match=r"empty\.tif: .*(no glacier|holds no glacier)"):
        quantize_model(
            trained, write_scene(tmp_path / "s.tif", values, BANDS), out, ExportSettings(truth=empty)
        )
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(RequestError, match=r"^nncf is not installed.*glacierseg\[int8\]\"`$"):
        quantize_model(trained, trained / "s4.tif", out=out)
    assert not out.parent.exists()


def test_checkerboard_deals_out_every_window_once() -> None:
    calibrating, scoring = checkerboard(utm_grid(50, 70), 20)
    assert set(calibrating) | set(scoring) == {(r, c) for r in (0, 20, 40) for c in (0, 20, 40, 60)}
    assert not set(calibrating) & set(scoring)
    for row, column in calibrating:
        assert (row, column + 20) not in calibrating
        assert (row + 20, column) not in calibrating


def test_nobody_is_told_that_it_was_used(tmp_path: Path) -> None:
    """openvino and nncf report to their makers by default; they leave a folder where they do."""
    probe = "from glacierseg.predict.export import require as r; r('openvino', ''); r('nncf', '')"
    subprocess.run([sys.executable, "-c", probe], check=True, env={"HOME": str(tmp_path), "PATH": ""})
    assert not (tmp_path / "intel").exists()
