"""Do the measures of band importance see through noise?

Trains networks on the first of the synthetic demo's basins (made-up ground), three bands of pure noise before
its 18, measures band importance by gradient and by permutation on the two others, and says whether the noise
bands rank last.

    OMP_NUM_THREADS=1 python benchmarks/noise_bands.py [--models m_landsnet glavitu] [--epochs 40] [--run DIR]

Networks are those of the demo, a quarter of their width or less. `--run` keeps them in a folder, and measures
those that are there already as they are.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from glacierseg.bands import BandImportance, agreement_message, measure_scenes
from glacierseg.experiment import train_one
from glacierseg.models.card import load_model
from glacierseg.settings import parse_config
from glacierseg.settings.bands import ImportanceSettings
from glacierseg.synthetic import NOISE_BANDS
from glacierseg.synthetic.demo import synthetic_scenes, synthetic_settings


def verdict(result: tuple[BandImportance, ...]) -> str:
    """Says where the noise bands stand, and which others stand there too."""
    seen = [e.band for e in result if e.band in NOISE_BANDS and e.measurable]
    by_value = sorted(result, key=lambda e: -e.importance)
    places = ", ".join(str(n) for n, e in enumerate(by_value, 1) if e.band in NOISE_BANDS)
    beside = [e.band for e in result if e.measurable is False and e.band not in NOISE_BANDS]
    where = f"NOT LAST: {', '.join(seen)}" if seen else f"last ({result[-1].rank_low}-{result[-1].rank_high})"
    return f"noise {where}, by value alone {places}; beside it: {', '.join(beside) or 'no other band'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["m_landsnet", "glavitu"])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--patches", type=int, default=96, help="most patches of both basins")
    parser.add_argument("--run", type=Path, help="folder that keeps the networks")
    given = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    with tempfile.TemporaryDirectory() as spare:
        run = given.run or Path(spare) / "run"
        scenes = synthetic_scenes(run / "data", noise=True)
        settings = synthetic_settings(scenes)
        settings["training"]["epochs"] = given.epochs
        config = parse_config(settings, run / "noise.yaml")
        truth = [
            (scenes / f"{name}_scene.tif", scenes / f"{name}_mask.tif") for name in ("basin_b", "basin_c")
        ]
        for model in given.models:
            train_one(config, model, None, run)
            facts = load_model(run / model / "all")[1].training
            found = measure_scenes(
                run / model / "all", truth, ImportanceSettings(check=True, patches=given.patches)
            )
            epoch = f"epoch {facts['best_epoch']} of {facts['epochs']}"
            print(f"\n== {model}: {epoch}, val IoU {facts['best_val_iou']:.3f}")
            print(f"{'band':20}" + "".join(f"{measure:>28}" for measure in found))
            for entry in next(iter(found.values())):
                own = [next(e for e in result if e.band == entry.band) for result in found.values()]
                cells = "".join(
                    f"{e.importance:9.4f} ±{e.standard_error:.4f} {e.rank_in_words():>10}" for e in own
                )
                print(f"{entry.band:20}{cells}")
            for measure, result in found.items():
                print(f"{measure:12} {verdict(result)}")
            print(agreement_message(found, 6))


if __name__ == "__main__":
    main()
