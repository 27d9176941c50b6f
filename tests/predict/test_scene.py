from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rio_cogeo import cog_validate
from torch import nn

from glacierseg.errors import BandError, OutputError, RequestError
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.training.checkpoint import ModelCard
from tests.helpers import utm_grid, write_scene

CARD = ModelCard(
    architecture="m_landsnet", bands=("red", "nir"), band_mean=(10.0, 5.0), band_std=(2.0, 4.0), patch_px=16
)


class Sigmoid(nn.Module):
    """Glacier probability is the logistic function of the first band minus the second."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = x[:, 0] - x[:, 1]
        return torch.stack([-margin / 2, margin / 2], 1)


def scene(folder: Path, names: tuple[str, ...] = ("nir", "green", "red")) -> Path:
    values = np.random.default_rng(0).integers(1, 20, (len(names), 37, 53)).astype(np.uint8)
    values[0, :5, :9] = 0
    return write_scene(folder / "valley.tif", values, names, nodata=0)


def test_files_lie_on_the_scenes_grid_and_hold_what_numpy_says(tmp_path: Path) -> None:
    path = scene(tmp_path)
    files = predict_scene(Sigmoid(), path, tmp_path / "out", card=CARD)
    assert files.probability.name == "valley_probability.tif"
    assert files.mask.name == "valley_mask.tif"
    nir, _, red = rasterio.open(path).read().astype(float)
    expected = 1 / (1 + np.exp(-((red - 10) / 2 - (nir - 5) / 4)))
    grid = utm_grid(37, 53)
    for file, name in ((files.probability, "glacier_probability"), (files.mask, "glacier")):
        with rasterio.open(file) as dataset:
            assert (dataset.crs, dataset.transform, dataset.shape) == (grid.crs, grid.transform, grid.shape)
            assert dataset.descriptions == (name,)
            assert dataset.tags()["model"] == "m_landsnet"
            assert dataset.tags()["bands"] == "red,nir"
        assert cog_validate(file, quiet=True)[0]
    with rasterio.open(files.probability) as dataset:
        probability = dataset.read(1)
        assert np.isnan(dataset.nodata)
    with rasterio.open(files.mask) as dataset:
        mask = dataset.read(1)
        assert dataset.nodata == 255
    np.testing.assert_allclose(probability[nir > 0], expected[nir > 0], atol=1e-5)
    assert np.isnan(probability[nir == 0]).all()
    np.testing.assert_array_equal(mask == 255, nir == 0)
    sure = (nir > 0) & (abs(expected - 0.5) > 1e-3)
    np.testing.assert_array_equal(mask[sure], expected[sure] > 0.5)


def test_a_scene_without_the_bands_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BandError, match="lacks red"):
        predict_scene(Sigmoid(), scene(tmp_path, ("nir", "green", "blue")), tmp_path, card=CARD)


def test_several_files_make_one_scene(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 20, (2, 20, 20)).astype(np.uint8)
    one = write_scene(tmp_path / "a.tif", values[:1], ["red"])
    two = write_scene(tmp_path / "b.tif", values[1:], ["nir"])
    both = predict_scene(Sigmoid(), open_scene([one, two]), tmp_path / "out", card=CARD)
    together = write_scene(tmp_path / "c.tif", values, ["red", "nir"])
    single = predict_scene(Sigmoid(), together, tmp_path / "out", card=CARD)
    np.testing.assert_array_equal(
        rasterio.open(both.probability).read(), rasterio.open(single.probability).read()
    )


@pytest.mark.parametrize("wrong", [{"window_px": 0}, {"overlap": 1.0}, {"batch_size": 0}, {"threshold": 1.0}])
def test_senseless_requests_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="makes no sense"):
        predict_scene(Sigmoid(), scene(tmp_path), tmp_path, card=CARD, **wrong)  # type: ignore[arg-type]


def test_a_failure_leaves_no_file_behind(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        predict_scene(Broken(), scene(tmp_path), tmp_path / "out", card=CARD)
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        predict_scene(Sigmoid(), scene(tmp_path), tmp_path / "file" / "out", card=CARD)
