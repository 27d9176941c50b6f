"""What tests of products share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from glacierseg.errors import ProductError
from glacierseg.products.read import read_product


@pytest.fixture
def refusal() -> Callable[[Path], str]:
    """Reads a product that cannot be used, and returns the one line that says so."""

    def refuse(path: Path) -> str:
        with pytest.raises(ProductError) as caught:
            read_product(path)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refuse
