import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glacierseg.choices import Engine
from glacierseg.errors import RequestError
from glacierseg.models.card import load_model
from glacierseg.predict.engines import PRECISIONS, int8_fingerprint, make_predictor, of_last_class
from glacierseg.predict.files import ScenePrediction
from glacierseg.predict.scene import Job, write_prediction
from glacierseg.predict.stream import Predictor
from glacierseg.raster.scene import open_scene
from glacierseg.raster.tiling import Tiling
from tests.helpers import write_scene
from tests.predict.test_export import BANDS, by_definition, model_folder, windows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model"), "glavitu")


@pytest.mark.parametrize("engine", ["auto", *sorted(PRECISIONS)])
def test_every_engine_gives_the_same_in_float32(folder: Path, engine: Engine) -> None:
    network, card = load_model(folder)
    predictor = make_predictor(engine, network, card.scaling, window_px=32, precision="float32")
    for count in (3, 1):
        values, valid = windows(count, 32)
        kept = values.copy()
        got = predictor(values, valid)
        assert got.shape == (count, 32, 32)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, by_definition(folder, values, valid)[:, -1], atol=1e-4)
        np.testing.assert_array_equal(values, kept)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bfloat16_is_close_and_another_computation(folder: Path, engine: Engine) -> None:
    """Elevations of 5000 m have only steps of 32 m in bf16: the scaling has to stay in float32."""
    network, card = load_model(folder)
    values, valid = windows(2, 32)
    rough = make_predictor(engine, network, card.scaling, window_px=32, precision="bfloat16")(values, valid)
    error = abs(rough - by_definition(folder, values, valid)[:, -1])
    if engine == "torch" or torch.backends.mkldnn.is_available():
        assert error.mean() < 0.01
    if engine == "torch":
        assert error.max() > 1e-4


def test_integer_scenes_go_through_every_engine_alike(folder: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 200, (len(BANDS), 50, 70)).astype(np.uint8)
    values[:, :7, :9] = 0
    scene = open_scene(write_scene(tmp_path / "s.tif", values, BANDS, nodata=0))
    network, card = load_model(folder)
    maps = {}
    for engine in PRECISIONS:
        predictor = make_predictor(engine, network, card.scaling, window_px=32, precision="float32")
        files = ScenePrediction(tmp_path / f"{engine}_p.tif", tmp_path / f"{engine}_m.tif")
        write_prediction(Job(scene, [predictor], files, Tiling(32), windows_at_once=4))
        with open_scene(files.probability).open() as reader:
            maps[engine], valid = reader.read(0, 0, 50, 70)
        assert (~valid).sum() == 7 * 9
    for engine in set(PRECISIONS) - {"torch"}:
        np.testing.assert_allclose(maps[engine], maps["torch"], atol=1e-4)


def test_wrong_requests_are_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, card = load_model(folder)

    def ask(engine: Engine, **more: Any) -> Predictor:
        return make_predictor(engine, network, card.scaling, window_px=32, **more)

    with pytest.raises(RequestError, match="no engine is called 'tensorrt'"):
        ask("tensorrt")  # type: ignore[arg-type]
    with pytest.raises(
        RequestError,
        match=r"onnx does not predict in bfloat16; give --engine torch or .* --precision auto or float32",
    ):
        ask("onnx", precision="bfloat16")
    with pytest.raises(RequestError, match="torch does not predict in int8"):
        ask("auto", precision="int8")
    missing: tuple[tuple[str, Engine, str], ...] = (
        ("onnx", "onnx", "onnx"),
        ("onnxruntime", "onnx", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("onnx", "openvino", "openvino"),
    )
    for package, engine, extra in missing:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(RequestError, match=rf"^{package} is not installed.*\[{extra}\]\"`$"):
                ask(engine)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_difference_of_rounded_logits_is_not_rounded_again(classes: int) -> None:
    torch.manual_seed(0)
    logits = (8 * torch.randn(3, classes, 20, 20)).bfloat16()
    expected = logits.double().softmax(1)[:, -1].float()
    torch.testing.assert_close(of_last_class(logits), expected, atol=1e-6, rtol=0)


def test_a_quantised_file_has_a_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "model_int8.xml"
    assert int8_fingerprint(path) == ""
    path.write_text("<net/>")
    path.with_suffix(".bin").write_bytes(b"1")
    first = int8_fingerprint(path)
    path.with_suffix(".bin").write_bytes(b"2")
    assert first != int8_fingerprint(path) != ""
