"""Where items lie, however they say it."""

from typing import Any

import pytest
import shapely

from glacierseg.catalogues.footprints import boxes_around, folded, footprint_of

Item = dict[str, Any]
RING = [[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"geometry": {"type": "Polygon", "coordinates": [RING]}, "bbox": [5, 5, 6, 6]},
            shapely.box(0, 0, 2, 1),
        ),
        ({"geometry": None, "bbox": [0, 0, 2, 1]}, shapely.box(0, 0, 2, 1)),
        ({"bbox": [0, 0, -100, 2, 1, 8000]}, shapely.box(0, 0, 2, 1)),
        (
            {"geometry": {"type": "Polygon", "coordinates": []}, "bbox": ["0", "0", "2", "1"]},
            shapely.box(0, 0, 2, 1),
        ),
        (
            {"geometry": {"type": "Point", "coordinates": [1, 1]}, "bbox": [0, 0, 2, 1]},
            shapely.box(0, 0, 2, 1),
        ),
        ({"geometry": {"type": "Polygon"}, "bbox": [0, 0, 2, 1]}, shapely.box(0, 0, 2, 1)),
        (
            {"bbox": [179, 0, -179, 1]},
            shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)]),
        ),
    ],
)
def test_a_footprint_or_a_box_is_taken(said: Item, expected: Any) -> None:
    assert shapely.equals(footprint_of(said), expected)


@pytest.mark.parametrize("said", [{}, {"bbox": [0, 0, 1]}, {"bbox": [0, 0, 0, 10**400]}, {"bbox": "0"}])
def test_without_either_there_is_none(said: Item) -> None:
    assert footprint_of(said) is None


def test_an_outline_that_crosses_itself_still_covers_ground() -> None:
    bow = {"type": "Polygon", "coordinates": [[[0, 0], [2, 1], [2, 0], [0, 1], [0, 0]]]}
    found = footprint_of({"geometry": bow})
    assert found.intersection(shapely.box(1.8, 0.4, 2.2, 0.6)).area > 0
    assert found.is_valid


def test_ground_is_the_same_however_longitudes_are_counted() -> None:
    shapes = [shapely.box(west, 0, west + 2, 1) for west in (179, -181, 539)]
    for shape in shapes:
        assert shapely.equals(folded(shape), folded(shapes[0]))
        assert boxes_around(shape) == [(-180, 0, -179, 1), (179, 0, 180, 1)][::-1]
    assert boxes_around(shapely.box(86, 27, 87, 28)) == [(86, 27, 87, 28)]
    parts = shapely.MultiPolygon([shapely.box(86, 27, 87, 28), shapely.box(88, 29, 89, 30)])
    assert boxes_around(parts) == [(86, 27, 89, 30)]
