"""The strip loop against the plainest way there is, on a real scene."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glacierseg.models.registry import create_model
from glacierseg.models.scaling import Scaling
from glacierseg.predict.engines import TorchPredictor
from glacierseg.predict.stream import blended_strips
from glacierseg.raster.scene import open_scene
from glacierseg.raster.tiling import Tiling, blend_weights, window_starts


@pytest.mark.real
@pytest.mark.parametrize("name", ["m_landsnet", "glavitu"])
def test_strips_equal_a_sum_over_all_windows_of_the_whole_array(data_dir: Path, name: str) -> None:
    scene = open_scene(sorted((data_dir / "everest_landsat7").glob("LE7*.tif")), bands=list("nrgb"))
    torch.manual_seed(0)
    network = create_model(name, 4, 2, 0.125).eval()
    scaling, window = Scaling((90.0,) * 4, (60.0,) * 4), 64
    (height, width), weights = scene.grid.shape, np.outer(blend_weights(window), blend_weights(window))
    with scene.open() as reader:
        values, valid = reader.read(0, 0, height, width)
    image = torch.from_numpy(scaling.apply(values, valid))
    total, norm = np.zeros((height, width)), np.zeros((height, width))
    for row in window_starts(height, window, window // 2):
        for column in window_starts(width, window, window // 2):
            part = np.s_[row : row + window, column : column + window]
            with torch.no_grad():
                logits = network(image[:, *part][None])
            total[part] += logits.double().softmax(1)[0, 1].numpy() * weights
            norm[part] += weights
    expected = np.where(valid, total / norm, np.nan)
    strips = blended_strips(scene, [TorchPredictor(network, scaling)], Tiling(window), batch_size=16)
    found = np.concatenate([rows[0] for _, _, rows in strips])
    np.testing.assert_allclose(found, expected, atol=1e-5)
