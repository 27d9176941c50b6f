"""Facts survive a round trip through a file's tags."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from glacierseg.raster.facts import SceneFacts, facts_of
from glacierseg.raster.write import write_raster
from tests.helpers import utm_grid

FACTS = SceneFacts(
    first_date=date(2024, 9, 30),
    last_date=date(2024, 10, 2),
    sensor="sentinel2",
    products=("S2B_A", "S2A_B"),
    baseline="05.11",
    unit="reflectance x 10000",
    recipe="sentinel2-18",
    masked=("cloud",),
)


@pytest.mark.parametrize("facts", [FACTS, SceneFacts(), SceneFacts(products=("one",))])
def test_facts_survive_a_file(tmp_path: Path, facts: SceneFacts) -> None:
    path = tmp_path / "a.tif"
    write_raster(
        path, np.zeros((1, 8, 8), np.uint8), utm_grid(8, 8), bands=["a"], nodata=None, tags=facts.tags
    )
    assert facts_of(path) == facts


def test_a_date_that_is_none_is_unknown() -> None:
    assert SceneFacts.from_tags({"GLACIERSEG_FIRST_DATE": "last autumn"}) == SceneFacts()
