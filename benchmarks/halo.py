"""What a halo saves and what it changes: a trained network over a scene, blended and with several halos.

Processor seconds of whole predictions, one after the other in one run, and the IoU of each mask with the
blended one. The last windows of a row overlap more than they need to: take a scene of several windows a side.

    OMP_NUM_THREADS=1 python benchmarks/halo.py MODEL_DIR SCENE [--ways 512/64 512/32 384/32]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from glacierseg.predict.ensemble import load_ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import GLACIER, read_mask
from glacierseg.settings.predict import PredictSettings


def predict(model: Path, scene: Path, window_px: int, halo_px: int) -> tuple[np.ndarray, float]:
    settings = PredictSettings(window_px=window_px, halo_px=halo_px)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        files = predict_scene(model, scene, folder, settings)
        seconds = time.process_time() - started
        return read_mask(files.mask) == GLACIER, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--ways", nargs="+", default=["512/64", "512/32", "384/32"], metavar="WINDOW/HALO")
    asked = parser.parse_args()
    ensemble = load_ensemble([asked.model])
    height, width = open_scene(asked.scene).grid.shape
    print(f"{ensemble.name}, {height} x {width} px, blended from windows of {ensemble.window_px} px")
    blend, blend_s = predict(asked.model, asked.scene, ensemble.window_px, 0)
    for way in asked.ways:
        window_px, halo_px = map(int, way.split("/"))
        mask, seconds = predict(asked.model, asked.scene, window_px, halo_px)
        iou = (mask & blend).sum() / (mask | blend).sum()
        print(f"{window_px} px, halo {halo_px} px: IoU {iou:.4f}, {blend_s / seconds:.2f} times as fast")


if __name__ == "__main__":
    main()
