"""What tests of catalogues share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from glacierseg.catalogues.cache import Cache
from glacierseg.catalogues.web import Web


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Reads files without a cache."""
    with Web(cache=Cache(tmp_path / "cache", 0)) as reader:
        yield reader
