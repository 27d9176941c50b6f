"""Catalogues that go by a name, and what is known of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from glacierseg.choices import Satellite
from glacierseg.errors import RequestError

ELEVATION = "cop-dem-glo-30"
"""Collection of the Copernicus GLO-30 elevation model, in each catalogue that has it."""

USUAL: Mapping[Satellite, re.Pattern[str]] = {
    "sentinel2": re.compile(r"sentinel-?s?2.*l2a.*", re.IGNORECASE),
    "landsat": re.compile(r"landsat-?c2-?l2.*", re.IGNORECASE),
}
"""How collections of Level-2 images are called in catalogues of others."""


@dataclass(frozen=True)
class Known:
    """A catalogue that goes by a name.

    Attributes:
        name: The name.
        address: Landing page of its API.
        collections: By satellite, those with unaltered numbers first; none where reading costs money.
    """

    name: str
    address: str
    collections: Mapping[Satellite, tuple[str, ...]]


KNOWN: Mapping[str, Known] = {
    one.name: one
    for one in (
        Known(
            "earth-search",
            "https://earth-search.aws.element84.com/v1",
            {"sentinel2": ("sentinel-2-c1-l2a", "sentinel-2-l2a"), "landsat": ()},
        ),
        Known(
            "planetary-computer",
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            {"sentinel2": ("sentinel-2-l2a",), "landsat": ("landsat-c2-l2",)},
        ),
    )
}
"""By name."""

# Whose files need an account or are paid for by whoever reads them.
_CLOSED = (
    (re.compile(r"https?://[^/]*dataspace\.copernicus\.eu(/|$)"), "whose files need an account"),
    (re.compile(r"https?://[^/]*landsatlook\.usgs\.gov(/|$)"), "whose files need an account"),
)


def known_catalogue(catalogue: str) -> Known | None:
    """Returns what is known of a catalogue, by its name or address; None of others.

    Raises:
        RequestError: It is known that its files are not free to read.
    """
    for address, why in _CLOSED:
        if address.match(catalogue):
            raise RequestError(
                f"catalogue {catalogue}: is one {why}; take --catalogue earth-search or planetary-computer"
            )
    by_address = {one.address: one for one in KNOWN.values()}
    return KNOWN.get(catalogue) or by_address.get(catalogue.rstrip("/"))
