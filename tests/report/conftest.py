"""A tiny made-up run folder, whole."""

import csv
import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from sklearn.metrics import cohen_kappa_score, f1_score, jaccard_score, precision_score, recall_score

from glacierseg.raster.grid import Grid
from glacierseg.raster.write import write_raster
from glacierseg.report import page
from glacierseg.vectors.polygons import vectorize_mask

BANDS = ["blue", "green", "red", "nir", "swir1"]
MODELS = ["glavitu", "unetplusplus"]
GRID = Grid(CRS.from_epsg(32645), Affine(30, 0, 480000, 0, -30, 3100000), 48, 64)
ROLES = {"train": 1, "validate": 2, "test": 3}


def scores(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Scores by scikit-learn of two flat boolean arrays."""
    return {
        "overall_accuracy": float((predicted == truth).mean()),
        "iou": jaccard_score(truth, predicted),
        "f1": f1_score(truth, predicted),
        "precision": precision_score(truth, predicted, zero_division=0),
        "recall": recall_score(truth, predicted),
        "kappa": cohen_kappa_score(truth, predicted),
        "tp": int((predicted & truth).sum()),
        "fp": int((predicted & ~truth).sum()),
        "fn": int((~predicted & truth).sum()),
        "tn": int((~predicted & ~truth).sum()),
    }


def make_run(folder: Path, choices: tuple[str, ...] = ("all", "top6")) -> Path:
    """Writes a whole run folder with one region of 48 x 64 px and networks on these choices of bands."""
    run, rng = folder / "run", np.random.default_rng(3)
    rows, columns = np.mgrid[: GRID.height, : GRID.width]
    truth = (np.hypot(rows - 24, (columns - 30) / 1.5) < 16).astype(np.uint8)
    truth[:4, :4] = 255
    roles = np.select([columns < 26, columns < 30, columns < 38], [3, 0, 2], 1).astype(np.uint8)
    image = np.stack([60 + 90 * (truth == 1) + rng.integers(0, 30, truth.shape) for _ in BANDS])
    write_raster(folder / "scene.tif", image.astype(np.uint8), GRID, bands=BANDS, nodata=0, cog=False)

    def save(path: str, values: NDArray[Any], nodata: float | None = 255) -> None:
        write_raster(run / path, values, GRID, bands=["x"], nodata=nodata, cog=False)

    save("regions/khumbu_truth.tif", truth)
    save("regions/khumbu_roles.tif", roles, None)
    table = []
    variants = [("threshold", "all"), *((model, bands) for model in MODELS for bands in choices)]
    for number, (model, bands) in enumerate(variants):
        own = f"{model}/{bands}"
        for stage, flips in (("raw", 600 - 90 * number), ("refined", 500 - 90 * number)):
            predicted = (truth == 1).astype(np.uint8)
            where = rng.choice(predicted.size, flips, replace=False)
            predicted.flat[where] = 1 - predicted.flat[where]
            predicted[10:18, 14:22] = 0
            predicted[truth == 255] = 255
            save(f"{own}/khumbu_{'mask' if stage == 'raw' else 'refined'}.tif", predicted)
            for role, code in ROLES.items():
                part = (roles == code) & (truth != 255)
                found = scores(predicted[part] == 1, truth[part] == 1)
                names = {"model": model, "bands": bands, "region": "khumbu", "role": role, "stage": stage}
                table.append({**names, **found, "mcc": 0.5})
        vectorize_mask(
            run / own / "khumbu_mask.tif",
            run / own / "khumbu.gpkg",
            refined_path=run / own / "khumbu_refined.tif",
        )
        if model == "threshold":
            write_json(run / own / "threshold.json", {"rule": "red / swir1 > 1.23", "train_iou": 0.6})
            continue
        save(f"{own}/khumbu_probability.tif", rng.random(GRID.shape).astype(np.float32), float("nan"))
        chosen = BANDS if bands == "all" else ["green", "nir"]
        write_json(
            run / own / "model.json",
            {
                "architecture": model,
                "bands": chosen,
                "training": {"best_epoch": 2, "epochs": 3, "parameters": 12345, "seconds": 4000},
            },
        )
        write_text(
            run / own / "epochs.csv",
            "epoch,train_loss,train_iou,val_loss,val_iou,val_f1,learning_rate,seconds\n"
            "1,0.7,0.40,0.8,0.30,0.4,0.001,1\n2,0.5,0.65,0.6,0.60,0.7,0.001,1\n"
            "3,0.4,0.70,0.7,nan,0.6,0.001,1\n",
        )
        ranks = "\n".join(f"{i + 1},{band},{0.5 / (i + 1)},0.1" for i, band in enumerate(chosen))
        write_text(run / own / "band_importance.csv", f"rank,band,importance,spread\n{ranks}\n")
        best = {"merge_distance_m": 20.0, "min_area_km2": 0.03, "iterations": 3, "max_hole_km2": None}
        write_json(run / own / "refinement.json", {"best": best, "tuned_on": ["khumbu"], "table": []})
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    models = "".join(f"- name: {model}\n  width: 0.25\n" for model in MODELS)
    write_text(run / "config.yaml", f"name: tiny\nmodels:\n{models}split:\n  method: spatial\n")
    write_json(run / "environment.json", {"glacierseg": "0", "machine": {"cores": 2}, "gpu": None})
    write_json(run / "notices.json", ["Synthetic data: <b>made up</b> & small."])
    region = {
        "name": "khumbu",
        "scene_paths": [str(folder / "scene.tif")],
        "bands": BANDS,
        "roles": ["train", "validate", "test"],
        "pixel_size_m": [30.0, 30.0],
        "crs": "EPSG:32645",
    }
    write_json(run / "regions.json", [region])
    return run


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, data: dict[str, Any] | list[Any]) -> None:
    write_text(path, json.dumps(data))


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder to read only."""
    return make_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session", autouse=True)
def template() -> Iterator[None]:
    """Compiles the page's template once, not for every page: a third of the time of one without figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glacierseg.report.page.page_template", cache(page.page_template))
        yield


def copied(whole_run: Path, folder: Path) -> Path:
    shutil.copytree(
        whole_run.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("report.html")
    )
    regions = folder / "run" / "regions.json"
    regions.write_text(regions.read_text().replace(str(whole_run.parent), str(folder)))
    return folder / "run"


@pytest.fixture
def run_dir(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of a whole run folder, to be changed."""
    return copied(whole_run, tmp_path)


@pytest.fixture(scope="session")
def whole_run_on_all_bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("all"), ("all",))


@pytest.fixture
def small_run_dir(whole_run_on_all_bands: Path, tmp_path: Path) -> Path:
    """As `run_dir`, with half the networks."""
    return copied(whole_run_on_all_bands, tmp_path)
