from pathlib import Path

import numpy as np
import pytest

from glacierseg.data.regions import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.raster.scene import open_scene
from tests.helpers import write_scene


def test_areas_are_those_of_the_roles_that_any_pixel_has(tmp_path: Path) -> None:
    scene = open_scene(write_scene(tmp_path / "s.tif", np.ones((1, 3, 4), np.uint8), ["a"]))
    roles = np.array([[1, 1, 3, 0]] * 3, np.uint8)
    region = Region("r", scene, np.ones((3, 4), np.uint8), roles)
    assert list(region.areas) == ["train", "test"]
    for role, area in region.areas.items():
        assert (area == (roles == ROLE_CODES[role])).all()
    with pytest.raises(KeyError):
        region.areas["validate"]
    assert (region.truth_of("test") == np.where(roles == 3, 1, 255)).all()
    whole = Region("r", scene, region.truth, roles, whole_roles=("validate",))
    assert whole.areas["validate"].all()
    assert list(whole.areas) == ["train", "validate", "test"]
