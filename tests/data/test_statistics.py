from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glacierseg.data.patches import PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.data.split import roles_by_part
from glacierseg.data.statistics import DatasetStatistics, dataset_statistics
from glacierseg.models.scaling import Scaling
from glacierseg.raster.scene import open_scene
from glacierseg.settings import PartConfig as Part
from tests.helpers import blobs, easy_scene, utm_grid, write_scene

SCALING = Scaling((1.0, 2.0), (3.0, 4.0))


def made(folder: Path, seed: int = 4, change: int = 0) -> Region:
    mask = blobs(48, 64, seed)
    values = easy_scene(mask, 2)
    values[0, 24, 40] += change
    folder.mkdir(exist_ok=True)
    path = write_scene(folder / "s.tif", values, ["red", "nir"])
    roles = roles_by_part(utm_grid(48, 64), {"train": Part(x=(0, 0.75)), "validate": Part(x=(0.75, 1))})
    mask[:4] = 255
    return Region("r", open_scene(path), mask, roles)


def measured(region: Region, patch_px: int = 16) -> DatasetStatistics:
    train = place_patches([region], "train", patch_px, overlap=0.5)
    validate = place_patches([region], "validate", patch_px, overlap=0.0)
    return dataset_statistics(PatchReader([region], patch_px), train, validate, SCALING)


def test_counts_are_those_of_the_ground(tmp_path: Path) -> None:
    region = made(tmp_path)
    found = measured(region)
    train = region.truth[:, :48]
    assert found.train.labelled_px == 44 * 48
    assert found.train.ignored_share == pytest.approx(4 / 48)
    assert found.train.glacier_share == pytest.approx((train == 1).sum() / (44 * 48))
    assert found.validate.labelled_px == 44 * 16
    assert found.validate.patches == 3
    assert found.band_mean == {"red": 1.0, "nir": 2.0}
    assert "44" not in found.lines()[0]
    assert f"{found.train.glacier_share:.1%} glacier, 8.3% ignored" in found.lines()[0]


def test_a_fingerprint_knows_the_data(tmp_path: Path) -> None:
    region = made(tmp_path)
    same = measured(region).fingerprint
    assert same == measured(made(tmp_path / "again")).fingerprint, "wherever the file lies"
    relabelled = region.truth.copy()
    relabelled[10, 10] ^= 1
    others = [
        measured(made(tmp_path / "pixel", change=1)),
        measured(replace(region, truth=relabelled)),
        measured(replace(region, roles=np.where(region.roles == 2, 3, region.roles).astype(np.uint8))),
        measured(region, patch_px=24),
    ]
    assert len({same, *(other.fingerprint for other in others)}) == 5
