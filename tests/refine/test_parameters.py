import json

import numpy as np
import pytest

from glacierseg.errors import DataError, RequestError
from glacierseg.refine.parameters import RefineParameters, load_parameters, preset_area_km2
from glacierseg.refine.pipeline import refine_mask


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"connectivity": 6}, "connectivity must be 4 or 8, not 6"),
        ({"steps": ()}, "name at least one"),
        ({"steps": ("merge", "fil")}, "no step is called 'fil' .did you mean 'fill'"),
        ({"steps": ("merge", "fill", "merge")}, "'merge' is named twice"),
        ({"max_hole_slope_deg": -1}, "max_hole_slope_deg"),
    ],
)
def test_senseless_parameters_are_refused(given, message):
    with pytest.raises(RequestError, match=message):
        RefineParameters(**given)


def test_presets_name_the_smallest_glacier_of_inventories():
    assert preset_area_km2("rgi") == 0.01
    with pytest.raises(RequestError, match="did you mean 'rgi'"):
        preset_area_km2("rgi7")
    mask = np.zeros((40, 40), np.uint8)
    mask[10:22, 10:22] = 1  # 0.0144 km2
    kept = {"iterations": 0, "merge_distance_m": 0}
    assert refine_mask(mask, 10, **kept).sum() == 0
    assert refine_mask(mask, 10, **kept, preset="rgi").sum() == 144


def test_parameters_are_read_back_from_a_search(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"best": {"min_area_km2": 0.01, "steps": ["fill", "remove"]}}))
    assert load_parameters(path) == RefineParameters(min_area_km2=0.01, steps=("fill", "remove"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "is not JSON; give a file that"),
        ("[]", "holds no refinement parameters"),
        ('{"best": {"min_area": 1}}', "unknown refinement parameter 'min_area' .did you mean 'min_area_km2'"),
        ('{"best": {"iterations": -1}}', "iterations must be a number from 0 on"),
        ('{"best": {"iterations": "many"}}', "t.json"),
    ],
)
def test_a_file_that_holds_none_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "t.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        load_parameters(path)
    assert "t.json" in str(error.value)
