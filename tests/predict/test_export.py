import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from glacierseg.choices import ExportFormat
from glacierseg.errors import CheckpointError, OutputError, RequestError
from glacierseg.models import MODELS, create_model
from glacierseg.models.card import ModelCard, fingerprint, load_model, save_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.export import (
    RawGraph,
    deepness_facts,
    export_model,
    raw_graph,
)
from glacierseg.settings.predict import ExportSettings
from tests.helpers import present

MEAN, STD = (120.0, 5000.0, 0.1, -3.0, 40.0), (40.0, 300.0, 0.2, 1.5, 9.0)
BANDS = ("red", "elevation", "ndsi", "slope", "b 5, odd")


def lively(network: nn.Module) -> nn.Module:
    """Statistics, heads and first weights as after a training, not the neutral ones they start from."""
    for module in network.modules():
        if hasattr(module, "bands_read"):
            weight = module.weight
            assert isinstance(weight, torch.Tensor)
            weight.data *= 3
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(present(module.running_mean), -0.2, 0.2)
            nn.init.uniform_(present(module.running_var), 0.5, 2.0)
    for key, parameter in network.named_parameters():
        if "head" in key and key.endswith("weight"):
            nn.init.normal_(parameter)
    return network.eval()


def model_folder(folder: Path, name: str, patch_px: int = 32, **options: object) -> Path:
    torch.manual_seed(3)
    card = ModelCard(
        architecture=name, width=0.125, options=options, bands=BANDS, band_mean=MEAN, band_std=STD,
        patch_px=patch_px,
    )  # fmt: skip
    save_model(folder, lively(card.build()), card)
    return folder


def windows(count: int, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Values in field units and where they are valid, with a hole in the first window."""
    rng = np.random.default_rng(side_px)
    values = rng.normal(size=(count, len(BANDS), side_px, side_px))
    values = values * np.array(STD)[:, None, None] + np.array(MEAN)[:, None, None]
    valid = np.ones((count, side_px, side_px), bool)
    valid[0, 3:9, 5:20] = False
    return values.astype(np.float32), valid


def by_definition(folder: Path, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Class probabilities `(B, classes, H, W)`: torch for the network, numpy for all around it."""
    network, _ = load_model(folder)
    scaled = (values.astype(float) - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    scaled *= valid[:, None]
    with torch.inference_mode():
        logits = network(torch.from_numpy(scaled.astype(np.float32))).double().numpy()
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    result: np.ndarray = exponent / exponent.sum(1, keepdims=True)
    return result


def with_nan(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """One band alone is missing where a pixel is not valid."""
    values = values.copy()
    values[:, 2][~valid] = np.nan
    return values


def run_onnx(path: Path, values: np.ndarray) -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(path).run(None, {"values": values})[0]
    return result


def test_the_graph_takes_logarithms_itself() -> None:
    """Bands without a logarithm may be negative, and pixels without data stay without effect."""
    scaling = Scaling((2.0, 0.1), (0.5, 2.0), (0.05, None))
    values = np.random.default_rng(4).lognormal(2, 1, (2, 2, 8, 8)).astype(np.float32)
    values[:, 1] -= 8
    values[0, 0, 0, :3] = [0, -3, 0.01]
    values[0, 0, 4, 4] = values[0, 1, 5, 5] = np.nan
    valid: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(1))
    graph = RawGraph(nn.Identity(), scaling)
    expected = np.stack(
        [scaling.apply(np.nan_to_num(one), own) for one, own in zip(values, valid, strict=True)]
    )
    with torch.inference_mode():
        found = graph(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, torch.from_numpy(expected).softmax(1), atol=1e-6)
    assert fingerprint(nn.Identity(), scaling) != fingerprint(
        nn.Identity(), Scaling(scaling.mean, scaling.std)
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("window_px", [None, 45])
def test_onnx_equals_torch_for_any_batch_and_with_missing_pixels(
    tmp_path: Path, name: str, window_px: int | None
) -> None:
    folder = model_folder(tmp_path, name)
    path = export_model(folder, "onnx", settings=ExportSettings(window_px=window_px))
    assert path == folder / "model.onnx"
    for count in (1, 3):
        values, valid = windows(count, window_px or 32)
        got = run_onnx(path, with_nan(values, valid))
        expected = by_definition(folder, values, valid)
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert expected.std() > 0.1, "probabilities differ from pixel to pixel, or the test is blind"
    wrong, _ = windows(1, 64)
    with pytest.raises(Exception, match="invalid dimensions"):
        run_onnx(path, wrong)


@pytest.mark.parametrize("name", MODELS)
def test_openvino_equals_torch(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path, name)
    path = export_model(folder, "openvino", tmp_path / "other" / "net.xml")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 3):
        values, valid = windows(count, 32)
        got = compiled(with_nan(values, valid))[0]
        np.testing.assert_allclose(got, by_definition(folder, values, valid), atol=1e-4)
    assert {file.name for file in path.parent.iterdir()} == {"net.xml", "net.bin"}
    assert (path.parent / "net.bin").stat().st_size > 3.5 * sum(
        parameter.numel() for parameter in load_model(folder)[0].parameters()
    ), "weights are whole float32"


def test_engines_take_logarithms_as_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    card = ModelCard(
        architecture="m_landsnet", width=0.125, bands=("red", "ndsi"), band_mean=(4.0, 0.1),
        band_std=(1.0, 0.3), band_log_floor=(2.0, None), patch_px=32,
    )  # fmt: skip
    network = lively(card.build())
    save_model(tmp_path, network, card)
    values = np.random.default_rng(6).lognormal(4, 1, (2, 2, 32, 32)).astype(np.float32)
    values[:, 1] = np.sin(values[:, 1])
    values[0, :, 3:9, 4] = np.nan
    expected = raw_graph(network, load_model(tmp_path)[1].scaling, 32)(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(run_onnx(export_model(tmp_path, "onnx"), values), expected, atol=1e-5)
    path = export_model(tmp_path, "openvino", tmp_path / "net.xml")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(values)[0], expected, atol=1e-4)


def test_both_formats_say_what_they_are(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m_landsnet")
    session = onnxruntime.InferenceSession(
        export_model(folder, "onnx", settings=ExportSettings(window_px=48))
    )
    facts = session.get_modelmeta().custom_metadata_map
    network, card = load_model(folder)
    assert json.loads(facts["bands"]) == list(BANDS)
    assert json.loads(facts["band_mean"]) == list(MEAN)
    assert json.loads(facts["band_std"]) == list(STD)
    assert json.loads(facts["class_names"]) == {"0": "background", "1": "glacier"}
    assert (facts["architecture"], facts["patch_px"], facts["window_px"]) == ("m_landsnet", "32", "48")
    assert facts["fingerprint"] == fingerprint(network, card.scaling)
    model = openvino.Core().read_model(
        export_model(folder, "openvino", settings=ExportSettings(window_px=48))
    )
    for key in set(facts) - set(deepness_facts(card, 48)):
        assert model.get_rt_info(["glacierseg", key]).astype(str) == facts[key], key


def test_deepness_arithmetic_gives_the_networks_result(tmp_path: Path) -> None:
    """The QGIS plug-in divides by 255, standardises as the file says, and wants square maps per class."""
    folder = model_folder(tmp_path, "unetplusplus")
    path = export_model(folder, "onnx")
    session = onnxruntime.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["model_type"]) == "Segmentor"
    assert json.loads(facts["tile_size"]) == 32
    assert session.get_inputs()[0].shape[1:] == [len(BANDS), 32, 32]
    assert session.get_outputs()[0].shape[1:] == [2, 32, 32]
    values = np.random.default_rng(0).integers(0, 256, (2, 32, 32, len(BANDS)))
    tiles = np.asarray(values * 1.0 / 255.0, np.float32)
    mean, std = (
        np.asarray(json.loads(facts[f"standardization_{key}"]), np.float32) for key in ("mean", "std")
    )
    got = run_onnx(path, ((tiles - mean) / std).transpose(0, 3, 1, 2))
    plain = values.transpose(0, 3, 1, 2).astype(np.float32)
    # Dividing and multiplying again costs the last bit of every value.
    np.testing.assert_allclose(got, by_definition(folder, plain, np.ones((2, 32, 32), bool)), atol=1e-4)


def test_a_pruned_network_is_exported_as_it_is_pruned(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "unetplusplus", deep_supervision=True)
    values, _ = windows(1, 32)
    for level in (1, 4):
        network, _ = load_model(folder, prune_level=level)
        graph = raw_graph(network, load_model(folder)[1].scaling, 32)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(values)).numpy()
        path = export_model(folder, "onnx", tmp_path / f"{level}.onnx", ExportSettings(prune_level=level))
        np.testing.assert_allclose(run_onnx(path, values), expected, atol=1e-5)
    assert (tmp_path / "1.onnx").stat().st_size < (tmp_path / "4.onnx").stat().st_size / 2


def test_exporting_leaves_the_network_alone(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "glavitu")
    network, card = load_model(folder)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    raw_graph(network, card.scaling, 40)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_fingerprint_changes_with_weights_scaling_and_pruning() -> None:
    torch.manual_seed(0)
    network = create_model("unetplusplus", 2, width=0.125, deep_supervision=True)
    card = ModelCard(
        architecture="x", bands=("a", "b"), band_mean=(0, 1), band_std=(1, 1), patch_px=16
    ).scaling
    first = fingerprint(network, card)
    assert first == fingerprint(network, card)
    words = {first, fingerprint(network, card.select([1, 0]))}
    deep: Any = network
    deep.prune_level = 2
    words.add(fingerprint(network, card))
    with torch.no_grad():
        deep.heads["2"].bias += 1e-3
    words.add(fingerprint(network, card))
    assert len(words) == 4


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_failure_leaves_no_file_behind(
    tmp_path: Path, to: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder(tmp_path / "model", "m_landsnet")
    held = set(folder.iterdir())
    (tmp_path / "file").write_text("in the way")
    suffix = {"onnx": "onnx", "openvino": "xml"}[to]
    with pytest.raises(OutputError, match="cannot write there"):
        export_model(folder, to, tmp_path / "file" / f"a.{suffix}")

    def broken(path: Path, data: bytes) -> int:
        path.open("wb").write(data[:10])
        raise OSError(5, "broken")

    monkeypatch.setattr(Path, "write_bytes", broken)
    monkeypatch.setattr(openvino, "save_model", lambda _, path, **__: broken(path, b"0" * 20))
    with pytest.raises(OSError, match="broken"):
        export_model(folder, to)
    assert set(folder.iterdir()) == held


def test_wrong_requests_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path, "m_landsnet")
    with pytest.raises(RequestError, match=r"net\.pt: an export to onnx ends in \.onnx"):
        export_model(folder, "onnx", "net.pt")
    with pytest.raises(RequestError, match="cannot export to 'tflite'"):
        export_model(folder, "tflite")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"window_px must be greater than or equal to 1 \(got 0\)"):
        export_model(folder, "onnx", settings=ExportSettings(window_px=0))
    with pytest.raises(CheckpointError, match="is no model folder"):
        export_model(tmp_path / "nothing", "onnx")
    formats: tuple[ExportFormat, ...] = ("onnx", "openvino")
    for to in formats:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, to, None)
            with pytest.raises(RequestError, match=rf"^{to} is not installed.*glacierseg\[{to}\]\"`$"):
                export_model(folder, to)
    assert not list(folder.glob("*.onnx"))


def test_networks_without_a_scaling_differ_by_class_settings_and_weights() -> None:
    words = [
        fingerprint(network, None) for network in (nn.Dropout(0.1), nn.Dropout(0.2), nn.AlphaDropout(0.1))
    ]
    assert len(set(words)) == 3
    assert fingerprint(nn.Dropout(0.1), None) == words[0]
