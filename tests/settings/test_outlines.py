"""Dates and models of a comparison, before any file is read."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from glacierseg.errors import RequestError
from glacierseg.settings.base import Settings
from glacierseg.settings.outlines import (
    ChangeInputs,
    ChangeSettings,
    InventoryInputs,
    InventorySettings,
    VectorizeSettings,
    as_date,
    is_year,
)


def test_a_year_alone_is_its_first_of_july() -> None:
    assert (is_year("2000"), is_year("2000-10-30")) == (True, False)
    assert as_date("2000") == date(2000, 7, 1)
    assert as_date("2000-10-30") == date(2000, 10, 30)
    for wrong in ("200", "30.10.2000", "autumn"):
        with pytest.raises(ValueError, match=f"'{wrong}' is not a date; write 2000-10-30, or the year"):
            as_date(wrong)


def test_years_lie_between_both_dates() -> None:
    assert ChangeSettings(old_date="2000").years is None
    assert ChangeSettings(new_date="2000").years is None
    # 1461 days are four years.
    assert ChangeSettings(old_date="2000-03-01", new_date="2004-03-01").years == 4


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (ChangeSettings, {"old_date": "soon"}, "old_date: 'soon' is not a date"),
        (ChangeSettings, {"new_date": "soon"}, "new_date: 'soon' is not a date"),
        (ChangeSettings, {"old_date": "2000", "new_date": "2000-07-01"}, "must be after the old one"),
        (ChangeSettings, {"confidence": 1}, "confidence must be less than 1"),
        (ChangeSettings, {"old_error_m": -1}, "old_error_m must be greater than or equal to 0"),
        (InventoryInputs, {"src_date": "soon"}, "src_date: 'soon' is not a date"),
        (InventorySettings, {"buffer_m": 0}, "buffer_m must be greater than 0"),
        (InventorySettings, {"min_dem_share": 0}, "min_dem_share must be greater than 0"),
        (VectorizeSettings, {"threshold": 0}, "threshold must be greater than 0"),
        (VectorizeSettings, {"threshold": 1}, "threshold must be less than 1"),
        (ChangeInputs, {"old_model": "a", "old_weights": "b"}, "old_model and old_weights exclude"),
        (ChangeInputs, {"new_model": "a", "new_weights": "b"}, "new_model and new_weights exclude"),
    ],
)
def test_what_cannot_be_is_refused(kind: type[Settings], wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        kind(**wrong)


def test_each_date_has_its_own_model() -> None:
    inputs = ChangeInputs(old_weights="alps", new_model=Path("m"))
    assert (inputs.model_of_old, inputs.model_of_new) == (Path("weights:alps"), Path("m"))
    inputs = ChangeInputs(old_model=Path("m"), new_weights="alps")
    assert (inputs.model_of_old, inputs.model_of_new) == (Path("m"), Path("weights:alps"))
