import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glacierseg.errors import DataError, RequestError
from glacierseg.refine.files import load_parameters
from glacierseg.refine.steps import refine_mask
from glacierseg.settings import RefineSettings, TuneSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"connectivity": 6}, r"connectivity must be 4 or 8 \(got 6\)"),
        ({"steps": ()}, "give at least one step of merge"),
        ({"steps": ("merge", "fil")}, r"steps.1 must be .* \(got 'fil'\) \(did you mean 'fill'"),
        ({"steps": ("merge", "fill", "merge")}, "'merge' is named twice"),
        ({"max_hole_slope_deg": -1}, "max_hole_slope_deg"),
        ({"preset": "rgi7"}, "did you mean 'rgi'"),
        ({"preset": "rgi", "min_area_km2": 0.02}, "give one of them"),
    ],
)
def test_senseless_parameters_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        RefineSettings(**given)


def test_presets_name_the_smallest_glacier_of_inventories() -> None:
    assert RefineSettings(preset="rgi") == RefineSettings(min_area_km2=0.01)
    assert RefineSettings(iterations=3).replaced(preset="rgi").min_area_km2 == 0.01
    mask = np.zeros((40, 40), np.uint8)
    mask[10:22, 10:22] = 1  # 0.0144 km2
    kept = RefineSettings(iterations=0, merge_distance_m=0)
    assert refine_mask(mask, 10, kept).sum() == 0
    assert refine_mask(mask, 10, kept.replaced(preset="rgi")).sum() == 144


def test_infinity_stands_for_every_hole_and_whole_numbers_stay_whole() -> None:
    ways: tuple[Any, ...] = (None, float("inf"), "inf")
    for every in ways:
        assert RefineSettings(max_hole_km2=every).max_hole_km2 is None
        assert TuneSettings(max_holes_km2=(0, every)).max_holes_km2 == (0, None)
    numbers = RefineSettings(min_area_km2=1, merge_distance_m=20.0, max_hole_km2=0).model_dump()
    assert [repr(numbers[name]) for name in ("min_area_km2", "merge_distance_m", "max_hole_km2")] == [
        "1", "20.0", "0",
    ]  # fmt: skip


def test_parameters_are_read_back_from_a_search(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"best": {"min_area_km2": 0.01, "steps": ["fill", "remove"]}}))
    assert load_parameters(path) == RefineSettings(min_area_km2=0.01, steps=("fill", "remove"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "is not JSON; give a file that"),
        ("[]", "holds no refinement parameters"),
        ('{"best": {"min_area": 1}}', "unknown key 'min_area' .did you mean 'min_area_km2'"),
        ('{"best": {"iterations": -1}}', "iterations must be greater than or equal to 0"),
        ('{"best": {"iterations": "many"}}', "t.json"),
    ],
)
def test_a_file_that_holds_none_is_refused_by_name(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "t.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        load_parameters(path)
    assert "t.json" in str(error.value)
