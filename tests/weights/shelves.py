"""Small made-up weights for tests."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from glacierseg.models.card import ModelCard, save_model
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.weights.card import WeightsFacts
from glacierseg.weights.pack import Packed, pack_weights
from tests.helpers import write_scene

BANDS = ("B2", "B3", "B4", "B8")
MEDIANS = (1600.0, 2000.0, 2100.0, 2700.0)


def facts(**changes: object) -> WeightsFacts:
    known: dict[str, object] = {
        "summary": "clean ice in summer",
        "trained_on": "a made-up valley",
        "sensor": "Sentinel-2",
        "unit": "reflectance x 10000",
        "terms": "free for any use",
        "data_licence": "CC0",
        "attribution": "nobody",
        "scores": [
            {"metric": "glacier IoU", "value": 0.7, "low": 0.6, "high": 0.8, "ground": "another valley"}
        ],
        "limits": ["debris"],
    }
    return WeightsFacts.model_validate(known | changes)


def reflectances(height: int = 96, width: int = 80, seed: int = 0) -> NDArray[np.uint16]:
    """Log-normal values `(4, H, W)` around the medians of four bands, never 0."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(0, 0.8, (len(BANDS), height, width)))
    return (np.array(MEDIANS)[:, None, None] * spread).clip(1, 16000).astype(np.uint16)


def calibration(*, symmetries: bool = False) -> Calibration:
    dispersion = Dispersion(12.5, 64, 9.5, 7.5, 1e9)
    return Calibration(LogitScale(1.7, -0.3), 99, ("a",), 0.5, 0.4, 0.1, 0.02, dispersion, symmetries)


def training_scene(folder: Path, seed: int = 0) -> Scene:
    return open_scene(
        write_scene(folder / f"training{seed}.tif", reflectances(160, 160, seed), BANDS, nodata=0)
    )


def model_folder(folder: Path, seed: int = 0, **changes: object) -> Path:
    """An untrained network whose answers are far from the middle, so that rounding would show."""
    torch.manual_seed(seed)
    known = {
        "architecture": "m_landsnet", "width": 0.125, "bands": BANDS, "band_mean": MEDIANS,
        "band_std": (1500.0,) * 4, "patch_px": 32, "training": {"seed": seed, "started_from": "/somewhere"},
    }  # fmt: skip
    card = ModelCard.model_validate(known | changes)
    network = card.build()
    with torch.no_grad():
        for parameter in list(network.parameters())[-2:]:
            parameter.mul_(80)
    save_model(folder, network, card)
    return folder


def packed(root: Path, name: str = "valley-s2", members: int = 1, **changes: object) -> Packed:
    """Weights in the folder `shelf` below `root`."""
    folders = [model_folder(root / "models" / f"{name}-{i}", i) for i in range(members)]
    return pack_weights(folders, name, facts(**changes), [training_scene(root)], root / "shelf")
