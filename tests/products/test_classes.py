"""Classes by number and by bit."""

import numpy as np
import pytest

from glacierseg.errors import ProductError
from glacierseg.products.classes import CLASS_NAMES, classify


def names(kind: str, *numbers: int) -> list[str]:
    found = classify(np.array(numbers, np.uint16), kind)  # type: ignore[arg-type]
    return [CLASS_NAMES[number] for number in found]


def test_numbers_of_the_scene_classification() -> None:
    assert names("scl", *range(12)) == [
        *("no data", "saturated", "clear", "shadow", "clear", "clear", "clear", "clear"),
        *("cloud", "cloud", "cirrus", "snow"),
    ]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        # As the USGS lists them for Collection 2.
        (0, "no data"),  # which it lists nowhere
        (1, "no data"),
        (21824, "clear"),
        (21826, "cloud"),  # dilated
        (21952, "clear"),  # water
        (22280, "cloud"),
        (23888, "shadow"),
        (30048, "snow"),
        (54596, "cirrus"),
        (55052, "cloud"),  # and cirrus
        (1 << 5, "snow"),
        (2 << 8, "clear"),
        (3 << 8, "cloud"),
        (3 << 10, "shadow"),
        (3 << 14, "cirrus"),
        ((1 << 3) | (1 << 5), "cloud"),
    ],
)
def test_bits_of_qa_pixel(number: int, name: str) -> None:
    assert names("qa_pixel", number) == [name]


@pytest.mark.parametrize("number", [12, 255, 300])
def test_other_numbers_are_no_classes(number: int) -> None:
    with pytest.raises(ProductError, match=str(number)):
        names("scl", 3, number)
