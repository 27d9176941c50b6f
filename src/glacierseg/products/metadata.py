"""Metadata of products, read as nothing but text: XML without a DTD, JSON, and Landsat's own `KEY = VALUE`.

A document type is refused before anything in it is expanded, so no entity can grow or open a file. What must
be a number and is none is refused, and so are two statements that contradict one another.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from xml.parsers import expat

from glacierseg.errors import ProductError
from glacierseg.products.contents import AGAIN
from glacierseg.products.product import ProductBand

_MAX_DEPTH = 50
_GREATEST_NUMBER = 65535
# What digital numbers of 0 and of 65535 may mean, in reflectance x 10000 and in kelvin: wide enough for each
# agency's choice.
_LIGHT = (-10_000.0, 0.0), (5_000.0, 1_000_000.0)
_HEAT = (0.0, 273.0), (273.0, 1_000.0)

Groups = Mapping[str, Mapping[str, str]]
"""Values by group and key, as a Landsat product's `_MTL` has them in each of its three formats."""


class Element(NamedTuple):
    """An XML element.

    Attributes:
        path: Names of those around it and its own, without namespaces and the prefix `L2A_` of old products.
        attributes: Its attributes.
        text: Its own text.
    """

    path: tuple[str, ...]
    attributes: Mapping[str, str]
    text: str

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


def read_xml(data: bytes, where: str) -> list[Element]:
    """Returns the elements of a document, in the order in which they end; the root is last.

    Args:
        data: The document.
        where: What messages call it.

    Raises:
        ProductError: It is not whole, has a document type, or is nested too deep.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    found: list[Element] = []
    path: list[str] = []
    open_elements: list[tuple[Mapping[str, str], list[str]]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(path) == _MAX_DEPTH:
            raise ProductError(f"{where} nests more than {_MAX_DEPTH} elements; {AGAIN}")
        path.append(name.rpartition(":")[2].removeprefix("L2A_"))
        open_elements.append((attributes, []))

    def end(_name: str) -> None:
        attributes, texts = open_elements.pop()
        found.append(Element(tuple(path), attributes, "".join(texts).strip()))
        path.pop()

    def text(part: str) -> None:
        open_elements[-1][1].append(part)

    def refuse(*_facts: Any) -> None:
        raise ProductError(
            f"{where} has a document type or entities, as no agency's metadata have; {AGAIN}, from the "
            "agency itself"
        )

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)  # noqa: FBT003 - the second argument has no name
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ProductError(f"{where} is not whole XML ({error}); {AGAIN}") from error
    return found


def read_groups(data: bytes, where: str) -> Groups:
    """Returns the values of a Landsat product's metadata, whichever of the three formats they have.

    Args:
        data: The file.
        where: What messages call it.

    Raises:
        ProductError: It is not whole, or says a thing twice.
    """
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<":
        return _groups_of_xml(read_xml(data, where), where)
    if start == b"{":
        return _groups_of_json(data, where)
    return _groups_of_text(data.decode("utf-8-sig", errors="replace"), where)


class _Groups(dict[str, dict[str, str]]):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def put(self, group: str, key: str, value: str) -> None:
        if self.setdefault(group, {}).setdefault(key, value) != value:
            raise ProductError(
                f"{self.where} gives {group}/{key} as {self[group][key]!r} and as {value!r}; {AGAIN}"
            )


def _groups_of_xml(elements: Iterable[Element], where: str) -> Groups:
    found = _Groups(where)
    for element in elements:
        if len(element.path) == 1:
            found.setdefault(element.name, {})
        elif len(element.path) == 3:
            found.put(element.path[1], element.name, element.text)
    return found


def _groups_of_json(data: bytes, where: str) -> Groups:
    found = _Groups(where)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(values := dict(items)) < len(items):
            raise ProductError(f"{where} has a key twice in one group; {AGAIN}")
        return values

    try:
        # Numbers stay text: what they mean is decided in one place.
        roots = json.loads(data, object_pairs_hook=pairs, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise ProductError(f"{where} is not whole JSON ({error}); {AGAIN}") from error
    for root, groups in roots.items():
        found.setdefault(root, {})
        for group, values in groups.items() if isinstance(groups, dict) else ():
            for key, value in values.items() if isinstance(values, dict) else ():
                if isinstance(value, str):
                    found.put(group, key, value.strip())
    return found


def _groups_of_text(text: str, where: str) -> Groups:
    found = _Groups(where)
    groups: list[str] = []
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "END" and not groups:
            return found
        if key == "GROUP":
            groups.append(value)
            found.setdefault(value, {})
        elif key == "END_GROUP" and groups and groups[-1] == value:
            groups.pop()
        elif key == "END_GROUP":
            break
        elif value and groups:
            found.put(groups[-1], key, value.strip('"'))
    raise ProductError(f"{where} ends in the middle of a group; {AGAIN}")


def number(text: str | None, what: str, where: str) -> float:
    """Returns a finite number.

    Args:
        text: The number; None where there is none.
        what: What it is, for messages.
        where: The file that has it, for messages.

    Raises:
        ProductError: It is none.
    """
    if text is None:
        raise ProductError(f"{where} lacks {what}, without which values have no unit; {AGAIN}")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text) or not math.isfinite(float(text)):
        raise ProductError(f"{where}: {what} is {text[:40]!r}, and must be a number; {AGAIN}")
    return float(text)


def positive(text: str | None, what: str, where: str) -> float:
    """Returns a number above zero; arguments and errors are those of `number`."""
    value = number(text, what, where)
    if value <= 0:
        raise ProductError(f"{where}: {what} is {text}, and must be above 0; {AGAIN}")
    return value


def is_same(text: str, other: str) -> bool:
    """Whether two texts say the same, such as 41 and 041."""
    try:
        return text == other or float(text) == float(other)
    except ValueError:
        return False


def require_possible(bands: Iterable[ProductBand], where: str) -> None:
    """Refuses bands whose numbers, by the metadata, would mean what no image shows.

    Args:
        bands: The bands.
        where: The file of metadata, for messages.

    Raises:
        ProductError: There is one.
    """
    for band in bands:
        is_heat = band.role.startswith("thermal")
        least, greatest = band.offset, band.scale * _GREATEST_NUMBER + band.offset
        limits = _HEAT if is_heat else _LIGHT
        if all(low <= value <= high for value, (low, high) in zip((least, greatest), limits, strict=True)):
            continue
        unit, what = (1, "temperatures in kelvin") if is_heat else (10_000, "reflectance")
        raise ProductError(
            f"{where}: by its scale and offset {band.role} holds {what} from {least / unit:g} to "
            f"{greatest / unit:g}, which no image does; {AGAIN}"
        )


def agree(source: Any, what: str, said: Iterable[tuple[str, str | None]]) -> str:
    """Returns what all that say a thing agree on.

    Args:
        source: The product, for messages.
        what: The thing.
        said: Who says it, and what; None where it says nothing.

    Raises:
        ProductError: Nothing says it, or two contradict one another.
    """
    known = [(who, value) for who, value in said if value]
    if not known:
        raise ProductError(f"{source}: its metadata do not say the {what}; {AGAIN}")
    (first, value), *others = known
    for who, other in others:
        if other != value:
            raise ProductError(
                f"{source}: its {what} is {value} by {first}, and {other} by {who}; give the product as "
                "it was delivered, neither renamed nor with files of another"
            )
    return value
