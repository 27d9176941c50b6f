"""A test of wiring: every network can learn one batch of real patches by heart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from glacierseg.data.patches import PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region, train_pixels
from glacierseg.models.blocks import weighted_heads
from glacierseg.models.device import InputScaling
from glacierseg.models.registry import MODELS, create_model
from glacierseg.models.scaling import measure_scaling
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import load_truth
from glacierseg.training.losses import LOSSES


@pytest.fixture(scope="module")
def batch(data_dir: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Two whole patches of Everest with about half glacier each, `(2, 4, 64, 64)`."""
    folder = data_dir / "everest_landsat7"
    scene = open_scene(sorted(folder.glob("LE7*.tif")))
    truth = load_truth(folder / "15_rgi60_glacier_outlines.gpkg", scene.grid)
    region = Region("everest", scene, truth, np.ones(truth.shape, np.uint8))
    patches = place_patches([region], "train", 64, overlap=0.0)
    windows = [truth[p.row : p.row + 64, p.column : p.column + 64] for p in patches]
    whole = [i for i, window in enumerate(windows) if window.shape == (64, 64)]
    chosen = sorted(whole, key=lambda i: abs((windows[i] == 1).mean() - 0.5))[:2]
    scaling = measure_scaling(pixels for pixels, _ in train_pixels([region]))
    dataset = PatchDataset(PatchReader([region], 64), [patches[i] for i in chosen], "train", scaling)
    values, valid, targets = (torch.stack(parts) for parts in zip(*dataset, strict=True))
    return InputScaling(scaling)(values, valid), targets.long()


@pytest.mark.real
@pytest.mark.parametrize("name", MODELS)
def test_one_batch_is_learned_by_heart(name: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, target = batch
    assert (target != 255).all()
    torch.manual_seed(0)
    network = create_model(name, image.shape[1], 2, 0.25).train()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.0)
    loss_of, best = LOSSES[MODELS[name].loss], 0.0
    # The best limit in any one band has 0.57.
    enough = 0.99
    for _ in range(300):
        pairs = weighted_heads(network, image)
        loss = torch.stack([weight * loss_of(logits, target) for weight, logits in pairs]).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        predicted, glacier = pairs[-1][1].argmax(1) == 1, target == 1
        best = max(best, float((predicted & glacier).sum() / (predicted | glacier).sum()))
        if best > enough:
            break
    assert best > enough
