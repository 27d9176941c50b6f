"""What do the mission's bands find that light does not, and what does a network lose with a layer?

Trains the demo's `m_landsnet` on synthetic basins (made-up ground): with all 18 bands, with the five optical
ones, and without the layers of velocity or of radar. Each is scored on basins of other seeds: IoU over all of
their ground, and over ground that shows stones, where glacier is debris-covered ice and the rest is rock.

One more network is trained with modality dropout, so that it serves scenes that lack a layer: it also
predicts basins without the layers that the others never had.

    OMP_NUM_THREADS=1 python benchmarks/eighteen_bands.py [--epochs 8] [--repeats 2]
"""

import argparse
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glacierseg.evaluate.counts import Counts, count
from glacierseg.experiment import train_one
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.truth import IGNORE, read_mask
from glacierseg.settings import parse_config
from glacierseg.synthetic import BAND_NAMES, OPTICAL_BANDS, SyntheticBasin, make_basin, write_basin
from glacierseg.synthetic.demo import synthetic_settings

MODEL = "m_landsnet"
TRAIN, VALIDATE, TEST = (101, 102, 103), 104, (105, 106, 107)
# What is missing at once: the divergence is made of the velocity.
LAYERS: dict[str, tuple[str, ...]] = {
    "velocity": ("velocity", "divergence"),
    "radar": ("coherence", "persistent_scatterer", "backscatter"),
}
MODALITIES = {
    "optical": OPTICAL_BANDS,
    **LAYERS,
    "dh_dt": ("dh_dt",),
    "thermal": ("thermal",),
    "terrain": (
        *("elevation", "curvature_profile", "slope", "aspect", "curvature_tangential", "unsphericity"),
    ),
}


def without(layer: str) -> tuple[str, ...]:
    """The bands that are left."""
    return tuple(name for name in BAND_NAMES if name not in LAYERS[layer])


# The networks: their bands, and whether modalities are dropped in training.
NETWORKS: dict[str, tuple[tuple[str, ...], bool]] = {
    "18 bands": (BAND_NAMES, False),
    "5 optical": (OPTICAL_BANDS, False),
    **{f"trained without {layer}": (without(layer), False) for layer in LAYERS},
    "18 bands, modality dropout": (BAND_NAMES, True),
}


def stony(basin: SyntheticBasin) -> np.ndarray:
    """The truth where nothing but stones is seen, 255 elsewhere."""
    hidden = basin.clean_ice | basin.snow | basin.cloud | basin.lake
    return np.where(hidden, np.uint8(IGNORE), basin.truth)


def lacking(basin: SyntheticBasin, layer: str) -> SyntheticBasin:
    """The basin as it is where nobody made a layer."""
    names = without(layer)
    places = [basin.band_names.index(name) for name in names]
    return replace(basin, bands=basin.bands[places], band_names=names)


def settings_of(data: Path, *, dropout: bool, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    settings = synthetic_settings(data)
    roles = {**dict.fromkeys(TRAIN, "train"), VALIDATE: "validate"}
    settings["regions"] = [
        {
            "name": f"basin_{number}",
            "scene": str(data / f"basin_{number}_scene.tif"),
            "truth": str(data / f"basin_{number}_mask.tif"),
            "roles": role,
        }
        for number, role in roles.items()
    ]
    settings["models"] = [model for model in settings["models"] if model["name"] == MODEL]
    settings["training"] |= {"epochs": given.epochs, "patches_per_epoch": given.patches, "seed": seed}
    if dropout:
        settings["bands"]["modalities"] = MODALITIES
        settings["patch"] = {"modality_dropout": 0.2}
    return settings


def score(model: Path, basins: Mapping[int, SyntheticBasin]) -> tuple[float, ...]:
    """IoU over all ground, and over stony ground, of the basins together."""
    whole, stones = Counts(), Counts()
    with tempfile.TemporaryDirectory() as folder:
        for number, basin in basins.items():
            paths = write_basin(basin, Path(folder), f"basin_{number}")
            mask = read_mask(predict_scene(model, paths.scene, Path(folder) / "maps").mask)
            whole += count(mask, basin.truth)
            stones += count(mask, stony(basin))
    return tuple(counts.tp / (counts.tp + counts.fp + counts.fn) for counts in (whole, stones))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--patches", type=int, default=192, help="patches of an epoch")
    parser.add_argument("--repeats", type=int, default=2, help="trainings of each network")
    parser.add_argument("--size-px", type=int, default=512, help="edge of a basin")
    given = parser.parse_args()
    logging.basicConfig(level="WARNING")
    found: dict[str, list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as spare:
        data = Path(spare)
        for number in (*TRAIN, VALIDATE):
            write_basin(make_basin(number, given.size_px, given.size_px), data, f"basin_{number}")
        held_out = {number: make_basin(number, given.size_px, given.size_px) for number in TEST}
        for repeat in range(given.repeats):
            for place, (name, (bands, dropout)) in enumerate(NETWORKS.items()):
                run = data / f"run_{repeat}_{place}"
                settings = settings_of(data, dropout=dropout, given=given, seed=repeat)
                model = train_one(parse_config(settings, data / "bands.yaml"), MODEL, bands, run)
                cases = {name: held_out}
                if dropout:
                    for layer in LAYERS:
                        lacked = {number: lacking(basin, layer) for number, basin in held_out.items()}
                        cases[f"{name}, {layer} missing"] = lacked
                for row, basins in cases.items():
                    result = score(model, basins)
                    found.setdefault(row, []).append(result)
                    print(
                        f"{row}, training {repeat + 1}: IoU {result[0]:.3f}, of debris {result[1]:.3f}",
                        flush=True,
                    )
    print(f"\n| {MODEL} | glacier IoU | debris IoU |\n|---|---|---|")
    for row, results in found.items():
        cells = [", ".join(f"{result[kind]:.3f}" for result in results) for kind in (0, 1)]
        print(f"| {row} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
