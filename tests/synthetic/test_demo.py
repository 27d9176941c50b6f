import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glacierseg.errors import DownloadError
from glacierseg.evaluate.evaluation import evaluate_masks
from glacierseg.experiment.predict import threshold_masks
from glacierseg.experiment.regions import choose_bands, load_regions, open_sources
from glacierseg.raster.truth import read_mask
from glacierseg.runs.layout import RunFolder
from glacierseg.settings import parse_config
from glacierseg.synthetic import demo


def test_synthetic_demo_says_synthetic_and_does_not_write_its_data_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacierseg.synthetic.DEMO_REGIONS", {"basin_a": None})
    made: list[Path] = []

    def write(folder: Path, *, noise: bool) -> None:
        assert not noise
        folder.mkdir(parents=True)
        made.append(folder)
        for kind in ("scene", "mask"):
            (folder / f"basin_a_{kind}.tif").touch()

    monkeypatch.setattr("glacierseg.synthetic.write_demo", write)
    for _ in range(2):
        config = demo.demo_config("synthetic", tmp_path)
    assert made == [tmp_path / "data"]
    assert config.notices[0].startswith("Synthetic data")
    assert {role for region in config.regions for role in region.roles} == {"train", "validate", "test"}
    assert [model.name for model in config.models] == ["glavitu", "m_landsnet", "unetplusplus"]


def test_everest_without_data_or_network_names_the_other_demo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    glacierseg: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    monkeypatch.delenv("GLACIERSEG_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo, "_EVEREST_URL", "http://127.0.0.1:9/")
    with pytest.raises(DownloadError, match="demo --data synthetic") as caught:
        demo.demo_config("everest", tmp_path)
    assert "\n" not in str(caught.value)
    asked: list[str] = []
    monkeypatch.setattr("glacierseg.synthetic.write_demo", lambda folder, **_: folder.mkdir(parents=True))
    monkeypatch.setattr("glacierseg.experiment.run_experiment", lambda config, _: asked.append(config.name))
    _, command, _ = str(caught.value).split("`")
    assert glacierseg(*command.split()[1:], "--out", tmp_path / "out").returncode == 0
    assert asked == ["demo-synthetic"]


@pytest.mark.real
def test_everest_split_and_threshold_are_as_known(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLACIERSEG_DATA_DIR", str(data_dir))
    config = demo.demo_config("everest", tmp_path)
    folder = RunFolder(tmp_path)
    scenes = choose_bands(config.regions, config.bands, open_sources(config.regions), folder)
    regions = load_regions(config.regions, config.split, config.largest_patch_px, scenes, folder)
    region = regions[0]
    assert region.scene.band_names == ("red", "green", "blue", "nir")
    assert region.truth.shape == (655, 800)
    test = regions[0].truth_of("test")
    assert not (region.roles[:, :320] == 1).any()
    assert (test[:, 320:] == 255).all()
    glacier = (test == 1).sum() / (test != 255).sum()
    # Calling everything glacier scores the glacier share, 0.42 in the west and 0.66 in the east.
    assert glacier == pytest.approx(0.42, abs=0.01)
    east = region.truth[:, 400:]
    assert (east == 1).mean() == pytest.approx(0.66, abs=0.01)
    threshold_masks(regions, folder.model("threshold", "all"))
    facts = json.loads((folder.path / "threshold/all/threshold.json").read_text())
    assert facts["rule"]
    mask = read_mask(folder.model("threshold", "all").mask("khumbu"))
    iou = evaluate_masks(mask, test).scores.iou
    assert 0.35 < iou < 0.5
    assert np.isin(mask, (0, 1)).all()


@pytest.mark.real
def test_everest_files_are_the_published_ones(data_dir: Path) -> None:
    import hashlib

    for name, expected in demo.EVEREST_FILES.items():
        content = (data_dir / "everest_landsat7" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == expected


def test_settings_of_both_demos_are_valid(tmp_path: Path) -> None:
    for settings in (demo.synthetic_settings(tmp_path), demo.everest_settings(tmp_path)):
        config = parse_config(settings, tmp_path / "demo.yaml")
        assert all(path.is_absolute() for region in config.regions for path in region.scene)
