import json
from pathlib import Path

import numpy as np
import pytest

from glacierseg.data.regions import Region
from glacierseg.evaluate.counts import count, scores_of
from glacierseg.experiment.scoring import METRIC_COLUMNS, score_regions, write_tables
from glacierseg.experiment.surfaces import read_surface, tell_surfaces
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import load_truth
from glacierseg.runs.layout import RunFolder
from glacierseg.runs.results import read_rows, read_rules
from glacierseg.settings import RegionConfig
from tests.helpers import blobs, write_mask, write_scene

SHAPE = (48, 64)
ICY = np.arange(64)[None].repeat(48, axis=0) < 32


def make_region(folder: Path, number: int, names: tuple[str, str, str]) -> tuple[RegionConfig, Region]:
    """A region whose networks see one band of three; its left half tests, and its right half trains."""
    rng = np.random.default_rng(number)
    light = np.stack([np.where(ICY, 0.5, 0.1), np.where(ICY, 0.04, 0.15), np.full(SHAPE, 0.2)])
    light = (light * rng.uniform(0.9, 1.1, light.shape)).astype(np.float32)
    scene = write_scene(folder / f"s{number}.tif", light, names)
    truth = write_mask(folder / f"m{number}.tif", blobs(*SHAPE, seed=number))
    section = RegionConfig(
        name=f"r{number}",
        scene=(scene,),
        truth=truth,
        roles={"test": None, "train": None},
    )
    opened = open_scene(scene)
    known = load_truth(truth, opened.grid)
    roles = np.where(np.arange(48)[:, None] < 36, 3, 1).repeat(64, axis=1).astype(np.uint8)
    return section, Region(f"r{number}", opened.select([names[2]]), known, roles)


def test_surfaces_are_told_by_bands_that_networks_do_not_see_and_scored(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    made = [make_region(tmp_path, 1, ("red", "swir1", "x")), make_region(tmp_path, 2, ("a", "b", "x"))]
    sections, regions = [one for one, _ in made], [one for _, one in made]
    tell_surfaces(sections, regions, run)
    assert read_rules(run) == {"r1": "red / swir1 > 2 (fixed, of reflectance)"}
    assert "r2" not in read_rules(run)
    assert "swir1" in json.loads(run.surfaces.read_text())["r2"]["none"]
    surface = read_surface(run, "r1")
    assert (surface == np.where(regions[0].truth == 1, np.where(ICY, 1, 2), np.where(ICY, 3, 0))).all()
    folder = run.model("threshold", "all")
    mask = np.roll(regions[0].truth, 4, axis=1)
    for region in regions:
        write_mask(run.whole_truth(region.name), region.truth)
        for stage in ("raw", "refined"):
            write_mask(folder.mask(region.name, stage), mask)
    write_tables(run, [("threshold", "all", score_regions(sections, regions, run, folder))])
    rows = {
        (row["region"], row["role"]): row for row in read_rows(run.table("metrics")) if row["stage"] == "raw"
    }
    assert tuple(rows["r1", "test"]) == METRIC_COLUMNS
    stones = ~ICY & (regions[0].roles == 3)
    expected = count(mask[stones][None], regions[0].truth[stones][None])
    assert expected.tp
    assert float(rows["r1", "test"]["debris_recall"]) == pytest.approx(scores_of(expected).recall)
    assert float(rows["r1", "test"]["debris_precision"]) == pytest.approx(scores_of(expected).precision)
    assert rows["r1", "test"]["ice_rule"] == read_rules(run)["r1"]
    assert rows["r2", "test"]["debris_recall"] == rows["r2", "test"]["ice_rule"] == ""
    # Pooled are the regions that have a rule.
    pooled = {row["role"]: row for row in read_rows(run.table("pooled")) if row["stage"] == "raw"}
    for name in ("debris_iou", "clean_ice_recall", "debris_px"):
        assert pooled["test"][name] == rows["r1", "test"][name]
