"""Where products are wanted: a box in degrees or the outline of an area, also across 180 degrees."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shapely

from glacierseg.catalogues.footprints import beyond_180
from glacierseg.errors import RequestError, did_you_mean
from glacierseg.raster.outlines import read_shapes
from glacierseg.raster.write import write_json

_Box = tuple[float, float, float, float]

# About a hundred metres: less is a point rather than ground to map.
_LEAST_DEG = 0.001
# More would be hundreds of tiles for one scene. Degrees of longitude count as on the ground.
_GREATEST_DEG = 10.0
# No image of these satellites reaches farther.
_FARTHEST_NORTH_DEG, _FARTHEST_SOUTH_DEG = 84.0, -84.0
# A straight side in degrees bends in UTM: its corners are so near that the bend is below a pixel.
_CORNER_EVERY_DEG = 0.1
_USUAL_NAMES = (
    "name",
    "basin",
    "basin_name",
    "glac_name",
    "glacier",
    "title",
    "label",
    "id",
    "rgi_id",
    "fid",
)
_LONGEST_NAME = 80
TABLE = "areas.csv"
"""Table beside the folders of areas, with how the work on each one ended; no area may be named so."""
# Other orders in which people write the four numbers: for each side, its position.
_OTHER_ORDERS = ((1, 0, 3, 2), (0, 3, 2, 1), (2, 1, 0, 3), (0, 2, 1, 3), (2, 0, 3, 1))


@dataclass(frozen=True)
class Place:
    """Ground for which products are wanted.

    Attributes:
        outline: Polygon or polygons in degrees, in one piece: across 180 degrees with longitudes beyond.
        name: Name of an area and of its folder; empty for a box.
        is_area: Whether the scene is cut to the outline, as it is not to a box.
    """

    outline: Any = field(repr=False)
    name: str = ""
    is_area: bool = False

    @property
    def words(self) -> str:
        """Its name in messages."""
        west, south, east, north = self.outline.bounds
        return self.name or f"{west:g},{south:g},{east:g},{north:g}"

    def write(self, path: Path) -> None:
        """Writes the outline as GeoJSON.

        Raises:
            OutputError: It cannot be written.
        """
        shape = {"type": "Feature", "properties": {"name": self.name}, "geometry": self.geometry}
        write_json(path, {"type": "FeatureCollection", "features": [shape]})

    @property
    def geometry(self) -> dict[str, Any]:
        """The outline as a geometry of GeoJSON, to a tenth of a metre."""
        rounded = shapely.set_precision(self.outline, 1e-6)
        found: dict[str, Any] = shapely.geometry.mapping(rounded)
        return found


def place_of_box(box: Sequence[float]) -> Place:
    """Returns the place of a box.

    Args:
        box: West, south, east and north in degrees; where west is the greater one it crosses 180 degrees.

    Raises:
        RequestError: The numbers are no box, are in another order, or the box is too small or too large.
    """
    if isinstance(box, str | Path):
        raise RequestError(
            f"a box is four numbers, such as (86.5, 27.7, 87.1, 28.2) (got {str(box)!r}); areas in a file "
            "are read by glacierseg.catalogues.place.places_in"
        )
    if len(box) != 4:
        raise RequestError(f"a box has four sides: west, south, east and north (got {len(box)} numbers)")
    west, south, east, north = (float(side) for side in box)
    if fault := _fault((west, south, east, north)):
        raise RequestError(f"--bbox {_words(box)}: {fault}{_hint((west, south, east, north))}")
    west, east = _turned(west, east)
    return Place(shapely.segmentize(shapely.box(west, south, east, north), _CORNER_EVERY_DEG))


def places_in(path: Path, *, layer: str | None = None, column: str | None = None) -> tuple[Place, ...]:
    """Reads the areas of a vector file; each has a unique name that a folder may have.

    Args:
        path: The file.
        layer: Layer of a file with several.
        column: Column of the names; a usual one when None. An area without a name gets its number.

    Raises:
        TruthError: It cannot be read, or holds no polygons.
        RequestError: There is no such column, or an area is too large.
    """
    table = read_shapes(Path(path), layer=layer, shapes="polygons", option="--area-layer")
    names = _names_of(table, Path(path), column)
    shapes = [_in_one_piece(shape) for shape in table.geometry.to_crs(4326)]
    for shape, name in zip(shapes, names, strict=True):
        west, south, east, north = shape.bounds
        if fault := _extent_fault(south, north, east - west) or _reach_fault(south, north):
            raise RequestError(f"{path}: area {name} {fault}")
    return tuple(Place(shape, name, is_area=True) for shape, name in zip(shapes, names, strict=True))


def _fault(box: _Box) -> str | None:
    """Returns what is wrong with a box; None where nothing is."""
    west, south, east, north = box
    if not all(map(math.isfinite, box)):
        return "sides must be numbers of degrees"
    if max(abs(south), abs(north)) > 90:
        return f"latitudes must be from -90 to 90 (got {south:g} and {north:g})"
    if max(abs(west), abs(east)) > 360:
        return f"longitudes must be from -180 to 180 (got {west:g} and {east:g})"
    if south >= north:
        return f"its south side ({south:g}) must lie below its north side ({north:g})"
    west, east = _turned(west, east)
    if min(east - west, north - south) < _LEAST_DEG - 1e-9:
        size = f"{east - west:g} x {north - south:g} degrees"
        return f"is only {size}; give one of at least {_LEAST_DEG:g} x {_LEAST_DEG:g}"
    return _extent_fault(south, north, east - west) or _reach_fault(south, north)


def _extent_fault(south: float, north: float, width: float) -> str | None:
    nearest = 0.0 if south <= 0 <= north else min(abs(south), abs(north))
    if max(north - south, width * math.cos(math.radians(nearest))) > _GREATEST_DEG:
        return (
            f"is {width:.4g} x {north - south:.4g} degrees, and the limit is {_GREATEST_DEG:g} x "
            f"{_GREATEST_DEG:g} degrees of the equator; give a smaller box, or several areas with --area"
        )
    return None


def _reach_fault(south: float, north: float) -> str | None:
    if south > _FARTHEST_NORTH_DEG or north < _FARTHEST_SOUTH_DEG:
        return (
            f"lies at {south:g} to {north:g} degrees of latitude, and no satellite here looks beyond "
            f"{_FARTHEST_NORTH_DEG:g}"
        )
    return None


def _hint(box: _Box) -> str:
    """Returns the box that was probably meant, as an option to type; empty where no other order is a box."""
    for order in _OTHER_ORDERS:
        meant: Any = tuple(box[position] for position in order)
        if _fault(meant) is None:
            return f"; did you mean --bbox {_words(meant)}? The order is west, south, east, north"
    return ""


def _turned(west: float, east: float) -> tuple[float, float]:
    """Returns the west side from -180 up to 180 degrees and the east side beyond it."""
    start = (west + 180) % 360 - 180
    width = east - west if east > west else (east - west) % 360
    return start, start + width


def _words(box: Sequence[float]) -> str:
    return ",".join(f"{side:.10g}" for side in box)


def _in_one_piece(shape: Any) -> Any:
    """Returns a shape whose parts on either side of 180 degrees lie next to one another."""
    west, _, east, _ = shape.bounds
    if east - west <= 180:
        return shape
    moved = beyond_180(shape)
    start, _, end, _ = moved.bounds
    return shapely.union_all(shapely.make_valid(moved)) if end - start < east - west else shape


def _names_of(table: Any, path: Path, column: str | None) -> list[str]:
    """Returns a unique name for each row, which a folder may have."""
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    by_word = {name.lower(): name for name in reversed(columns)}
    if column is not None and column.lower() not in by_word:
        raise RequestError(
            f"{path}: has no column {column!r}{did_you_mean(column, columns)}; its columns are "
            f"{', '.join(columns) or 'none'}"
        )
    wanted = [column.lower()] if column is not None else list(_USUAL_NAMES)
    found = next((by_word[word] for word in wanted if word in by_word), None)
    texts = [None] * len(table) if found is None else table[found].tolist()
    return list(_once([_as_name(text) or str(number + 1) for number, text in enumerate(texts)]))


def _as_name(text: Any) -> str:
    """Returns a text without what the name of a folder may not have; empty where nothing is left."""
    if text is None or (isinstance(text, float) and math.isnan(text)):
        return ""
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    return re.sub(r"[^\w.-]+", "_", str(text)).strip("._-")[:_LONGEST_NAME]


def _once(names: Sequence[str]) -> Iterator[str]:
    """Makes names unique, also where a file system ignores case: the second of a name ends in `_2`."""
    seen = {TABLE}
    for name in names:
        number, own = 1, name
        while own.casefold() in seen:
            number += 1
            own = f"{name}_{number}"
        seen.add(own.casefold())
        yield own
