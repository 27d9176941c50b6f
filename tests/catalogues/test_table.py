"""The table of candidates, read back."""

import csv
from pathlib import Path

import numpy as np

from glacierseg.catalogues.choice import choose
from glacierseg.catalogues.table import COLUMNS, write_choices
from glacierseg.settings.fetch import FetchSettings
from tests.catalogues.looks import candidate, seen


def test_the_table_has_a_row_for_each_image_and_what_was_left_out(tmp_path: Path) -> None:
    good, snowy = seen(candidate(cloud_said=0.3), cloud=0.1), seen(candidate(letter="C"), snow=1 / 3)
    ones = [good, seen(candidate(letter="A"), cloud=0.5), snowy]
    whole = np.ones((1, 4), bool)
    left_out = [("b", "is older"), ("a", "has no classes, so far")]
    first, second = tmp_path / "scenes.csv", tmp_path / "again.csv"
    write_choices(first, choose(ones, whole, FetchSettings()), left_out)
    write_choices(second, choose(ones[::-1], whole, FetchSettings()), left_out[::-1])
    assert first.read_bytes() == second.read_bytes()
    with first.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["rank"] for row in rows] == ["1", "2", "3", "", ""]
    assert [row["taken"] for row in rows] == ["1", "0", "0", "0", "0"]
    assert [(row["item"], row["why"]) for row in rows[3:]] == sorted(left_out)
    own = rows[0]
    assert own["name"] == ones[0].candidate.name
    assert own["acquired"] == "2024-09-30T04:57:00Z"
    assert [own[name] for name in ("cloud", "cloud_said", "score", "sun_deg", "cloud_on_glaciers")] == [
        *("0.1", "0.3", "0.9", "55.0", "")
    ]
    assert rows[1]["snow"] == "0.3333"
