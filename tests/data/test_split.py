from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from glacierseg.data.split import ROLE_CODES, random_holdout, roles_by_blocks, roles_by_part
from glacierseg.errors import RequestError, TruthError
from glacierseg.settings import PartConfig as Part
from tests.helpers import blobs, utm_grid


def test_parts_by_fraction_meet_without_gap_or_overlap() -> None:
    roles = roles_by_part(
        utm_grid(10, 800),
        {
            "test": Part(x=(0, 0.4)),
            "validate": Part(x=(0.4, 0.5)),
            "train": Part(x=(0.5, 1)),
        },
    )
    assert (roles[:, :320] == ROLE_CODES["test"]).all()
    assert (roles[:, 320:400] == ROLE_CODES["validate"]).all()
    assert (roles[:, 400:] == ROLE_CODES["train"]).all()


def test_where_parts_overlap_nothing_tested_is_trained_on() -> None:
    roles = roles_by_part(utm_grid(10, 10), {"train": Part(), "test": Part(x=(0, 0.5))})
    assert (roles[:, :5] == ROLE_CODES["test"]).all()
    assert (roles[:, 5:] == ROLE_CODES["train"]).all()


def test_part_without_a_pixel_is_refused() -> None:
    with pytest.raises(RequestError, match="holds no pixel"):
        roles_by_part(utm_grid(10, 10), {"train": Part(x=(0.0, 0.01))})


def test_parts_by_the_layer_of_their_role(tmp_path: Path) -> None:
    grid = utm_grid(10, 20)
    left, top = grid.transform * (0, 0)
    path = tmp_path / "areas.gpkg"
    for name, start, end in (("train", 0, 100), ("test", 100, 160), ("elsewhere", 160, 200)):
        shape = shapely.box(left + start, top - 100, left + end, top)
        gpd.GeoDataFrame(geometry=[shape], crs="EPSG:32643").to_file(path, layer=name)
    roles = roles_by_part(grid, {"train": Part(polygon=path), "test": Part(polygon=path)})
    assert (roles[:, :10] == ROLE_CODES["train"]).all()
    assert (roles[:, 10:16] == ROLE_CODES["test"]).all()
    assert (roles[:, 16:] == 0).all()
    named = roles_by_part(grid, {"train": Part(polygon=path, polygon_layer="elsewhere")})
    assert (named[:, 16:] == ROLE_CODES["train"]).all()
    with pytest.raises(TruthError, match="train, test, elsewhere; say which with polygon_layer"):
        roles_by_part(grid, {"validate": Part(polygon=path)})


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 200), st.integers(20, 200), st.integers(8, 128), st.integers(0, 5))
def test_blocks_give_every_role_its_share(height: int, width: int, block: int, seed: int) -> None:
    truth = blobs(height, width, seed)
    roles = roles_by_blocks(truth, ["train", "validate"], block, 0.2)
    assert set(np.unique(roles)) == {ROLE_CODES["train"], ROLE_CODES["validate"]}
    held = (roles == ROLE_CODES["validate"]).mean()
    # A fifth, as well as a handful of uneven blocks can make it.
    assert 0.02 <= held <= 0.5
    assert (roles == roles_by_blocks(truth, ["train", "validate"], block, 0.2)).all()


def test_three_roles_by_blocks() -> None:
    roles = roles_by_blocks(blobs(200, 200), ["test", "train", "validate"], 20, 0.2)
    shares = {role: (roles == code).mean() for role, code in ROLE_CODES.items()}
    assert shares["train"] == pytest.approx(0.6, abs=0.05)
    assert shares["validate"] == pytest.approx(0.2, abs=0.05)
    assert shares["test"] == pytest.approx(0.2, abs=0.05)


def test_random_holdout_is_80_20_and_repeatable() -> None:
    held = random_holdout(500, 0.2, 100)
    _, reference = train_test_split(np.arange(500), test_size=0.2, random_state=100)
    assert held.sum() == len(reference) == 100
    assert (held == random_holdout(500, 0.2, 100)).all()
    assert (held != random_holdout(500, 0.2, 101)).any()
