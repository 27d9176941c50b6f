"""Runs every benchmark at a size that ends in a few minutes; their own options reach further."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RUNS = (
    ("predict_scene.py", "--size-px", "2000"),
    ("prepare_memory.py", "--side", "3000"),
    ("patch_supply.py",),
    ("training_step.py",),
    ("attention.py",),
    ("scores.py", "--size-px", "5000", "--sklearn"),
    ("refine.py", "--rounds", "2"),
    ("engines.py", "--width", "0.25", "--rounds", "3"),
    ("vectors.py", "--side", "4000", "--memory-side", "4000"),
    ("fetch.py", "--side", "3000", "--rounds", "2"),
    ("noise_bands.py", "--models", "m_landsnet", "--epochs", "12"),
)


def main() -> None:
    for script, *options in RUNS:
        print(f"== {script} {' '.join(options)}", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *options], check=True)


if __name__ == "__main__":
    main()
