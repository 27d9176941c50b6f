"""A region's interactive map: images and outlines as data, and the JSON that the page's script draws.

The page bundles Leaflet: it pans, pinches, zooms about the pointer and draws thousands of outlines on a
canvas, which a plain SVG does not, and with its `CRS.Simple` it needs neither tiles nor network.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import shapely
from markupsafe import Markup
from matplotlib import colormaps
from numpy.typing import NDArray
from shapely.geometry import shape

from glacierseg.raster.outlines import own_layers, read_largest
from glacierseg.report.figures.errors import OVERLAY_COLOURS, error_classes, paint
from glacierseg.report.images import read_values
from glacierseg.report.save import overlay_to_webp, photo_to_webp
from glacierseg.report.style import PREDICTED, ROLE_COLOURS, ROLE_DASHES, ROLES, variant_label
from glacierseg.report.views import RegionView, Variant, read_bands
from glacierseg.runs.results import RunResults

# More than this is a chequerboard that nobody can read and that makes browsers slow.
_LONGEST_PATH = 400_000
# Layers of the file of outlines by stage: along the pixel edges, and smooth.
_LAYERS = {
    "raw": {"exact": "raw", "smooth": "smooth"},
    "refined": {"exact": "refined", "smooth": "refined_smooth"},
}
UNIT = 4
"""Coordinates are whole multiples of a quarter of a pixel as shown."""
PAGE_BUDGET = 4_000_000
"""Characters that the outlines of a whole page may take."""
_TOLERANCES_PX = (0.25, 0.5, 1.0, 2.0, 4.0)
_MOST_GLACIERS = 5000


@dataclass(frozen=True)
class GlacierLayer:
    """Outlines with their attributes, largest first, as SVG paths in quarters of a pixel as shown.

    Attributes are None where missing. Glaciers are left out when they are too small to be shown, or too many.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    paths: Sequence[str]
    left_out: int


def read_glaciers(path: Path, layer: str, view: RegionView, budget: int) -> GlacierLayer:
    """Reads a layer of outlines and makes it as coarse as a budget of characters asks."""
    table, number = read_largest(path, layer, _MOST_GLACIERS)
    shapes = shapely.force_2d(table.geometry.to_numpy())
    order = np.argsort(-shapely.area(shapes), kind="stable")
    shown = order[shapely.area(shapes[order]) > 0]
    columns = [str(name) for name in table.columns if name != table.geometry.name]
    values = [[_value(value) for value in table[name].to_numpy()[shown].tolist()] for name in columns]
    rows = list(zip(*values, strict=True)) if columns else [()] * len(shown)
    costs = [sum(len(str(value)) + 3 for value in row) for row in rows]
    paths = encode_within(to_screen(shapes[shown], view), budget - sum(costs))
    kept, used = [], 0
    for place, text in enumerate(paths):
        used += len(text) + costs[place]
        if used > budget:
            break
        if text:
            kept.append(place)
    return GlacierLayer(columns, [rows[i] for i in kept], [paths[i] for i in kept], number - len(kept))


def to_screen(shapes: NDArray[Any], view: RegionView) -> NDArray[Any]:
    """Moves shapes from the CRS to quarters of pixels as shown."""
    inverse = ~view.grid.transform
    rows, columns = view.frame.shape
    scale = np.array([columns / view.grid.width, rows / view.grid.height]) * UNIT
    turn = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]]).T
    moved: NDArray[Any] = shapely.transform(
        shapes, lambda points: (points @ turn + np.array([inverse.c, inverse.f])) * scale
    )
    return moved


def encode_within(shapes: NDArray[Any], most: int) -> list[str]:
    """Writes polygons in quarters of a pixel as SVG paths, as coarse as a number of characters asks.

    What does not fit is told before it is written, so that all is written once. From the second try on holes
    of fewer pixels than a tolerance's square hides, and polygons of no more than a pixel, are left out.
    """
    for number, tolerance_px in enumerate(_TOLERANCES_PX):
        if number == 1:
            shapes = _without_speckles(shapes, 1.0, 1.0)
        elif number:
            shapes = _without_speckles(shapes, 1.0, (2 * tolerance_px) ** 2)
        drawn = _as_steps(shapes, tolerance_px)
        if drawn.characters() <= most:
            break
    return drawn.paths()


def encode(shapes: NDArray[Any], tolerance_px: float) -> list[str]:
    """Writes polygons in quarters of a pixel as SVG paths of whole numbers, empty where nothing is left."""
    return _as_steps(shapes, tolerance_px).paths()


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Rings of polygons as they are written: a corner and steps to the others.

    Attributes:
        polygons: How many there are.
        owners: `(R,)` the polygon of each ring.
        corners: `(R, 2)` where each ring begins.
        steps: `(N, 2)` of all rings together.
        ends: `(R + 1,)` where the steps of each begin, and the end of all.
    """

    polygons: int
    owners: NDArray[np.intp]
    corners: NDArray[np.int64]
    steps: NDArray[np.int64]
    ends: NDArray[np.intp]

    def characters(self) -> int:
        """How long `paths` are together."""
        # Each ring has four signs of its own, and a blank between any two numbers of its steps.
        return int(_digits(self.corners) + _digits(self.steps) + 2 * len(self.steps) + 3 * len(self.owners))

    def paths(self) -> list[str]:
        """Writes the path of each polygon."""
        paths = [""] * self.polygons
        for owner, (x, y), (begin, end) in zip(
            self.owners.tolist(), self.corners.tolist(), pairwise(self.ends.tolist()), strict=True
        ):
            paths[owner] += f"M{x} {y}l{' '.join(map(str, self.steps[begin:end].ravel().tolist()))}z"
        return paths


def _digits(numbers: NDArray[np.int64]) -> int:
    """How many characters whole numbers have together."""
    size, total = np.abs(numbers), numbers.size + int(np.count_nonzero(numbers < 0))
    limit, most = 10, int(size.max(initial=0))
    while limit <= most:
        total += int(np.count_nonzero(size >= limit))
        limit *= 10
    return total


def _as_steps(shapes: NDArray[Any], tolerance_px: float) -> _Drawn:
    parts, owners = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    is_rim = np.append(True, part[1:] != part[:-1])[: len(part)]
    # Ring by ring: polygons would be checked and repaired besides, which takes most of the time.
    simple = shapely.simplify(rings, tolerance_px * UNIT, preserve_topology=False)
    kept = shapely.get_num_coordinates(simple) > 3
    kept &= kept[is_rim][part]
    # What the simplification removes entirely is still a glacier: a small one keeps all its corners.
    gone = np.bincount(owners[part[kept]], minlength=len(shapes))[owners[part]] == 0
    simple[gone] = rings[gone]
    kept |= gone
    return _steps_of(simple[kept], owners[part[kept]], len(shapes))


def _steps_of(rings: NDArray[Any], owners: NDArray[np.intp], polygons: int) -> _Drawn:
    """Rounds rings to whole numbers; those with fewer than three corners are left out."""
    points, own = shapely.get_coordinates(rings, return_index=True)
    whole = np.rint(points).astype(np.int64)
    first = np.searchsorted(own, np.arange(len(rings)))
    steps = np.diff(whole, axis=0)
    # Neither from ring to ring, nor the step that closes one, nor one that goes nowhere.
    kept = (own[1:] == own[:-1]) & (steps != 0).any(axis=1)
    kept[np.append(first[1:], len(own))[: len(rings)] - 2] = False
    counts = np.bincount(own[1:][kept], minlength=len(rings))
    drawn = counts > 1
    kept &= drawn[own[1:]]
    ends = np.append(0, np.cumsum(counts[drawn]))
    return _Drawn(polygons, owners[drawn], whole[first[drawn]], steps[kept], ends)


def _without_speckles(shapes: NDArray[Any], least_px: float, least_hole_px: float) -> NDArray[Any]:
    """Leaves out polygons and holes of no more than some pixels; a shape without any is empty then."""
    parts, owners = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    is_hole = np.append(False, part[1:] == part[:-1])[: len(part)]
    large = shapely.area(shapely.polygons(rings)) > np.where(is_hole, least_hole_px, least_px) * UNIT**2
    large &= large[~is_hole][part]
    found = np.full(len(shapes), shapely.MultiPolygon(), object)
    if large.any():
        kept, index = np.unique(part[large], return_inverse=True)
        whose, place = np.unique(owners[kept], return_inverse=True)
        found[whose] = shapely.multipolygons(shapely.polygons(rings[large], indices=index), indices=place)
    return found


def _value(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float):
        # Enough for degrees, which need more digits than areas.
        return float(f"{value:.7g}")
    return value if isinstance(value, int | bool) else str(value)


@dataclass(frozen=True)
class ImageLayer:
    """An image of the whole region as data, with its short and its full name."""

    key: str
    label: str
    uri: str


@dataclass(frozen=True)
class PredictionLayers:
    """Images of one prediction as data; errors are None without truth, and so may the probability be."""

    key: str
    label: str
    errors: str | None
    mask: str
    probability: str | None


@dataclass(frozen=True)
class Outline:
    """Outlines of an area as an SVG path in pixels as shown, and a place well inside its largest part."""

    key: str
    path: str
    colour: str = ""
    dashes: str = ""
    label_at: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class RegionMap:
    """A map for the page; lengths are in pixels as shown, `aspect` stretches them upright.

    The reader mixes an image from three single bands in grey, at first those at the positions `mix`. North is
    in degrees clockwise from up. `first` is the key of the prediction to show first; networks come first in
    all.
    """

    width: int
    height: int
    aspect: float
    images: Sequence[ImageLayer]
    bands: Sequence[ImageLayer]
    mix: tuple[int, int, int]
    predictions: Sequence[PredictionLayers]
    truth: Outline | None
    roles: Sequence[Outline]
    north: float
    first: str | None


def region_map(results: RunResults, view: RegionView, best: Variant | None) -> RegionMap:
    """Encodes everything that a region's map can show, the best prediction first."""
    width_m, height_m = view.pixel_size_m
    rows, columns = view.frame.shape
    first = best if best in view.predictions else next(iter(view.predictions), None)
    return RegionMap(
        width=columns,
        height=rows,
        aspect=height_m / width_m,
        images=[ImageLayer(c.recipe.key, c.recipe.label, photo_to_webp(c.pixels)) for c in view.composites],
        bands=[
            ImageLayer(str(n), name, photo_to_webp(grey, quality=70))
            for n, (name, grey) in enumerate(read_bands(view, len(results.regions)))
        ],
        mix=view.composites[-1].recipe.bands if view.composites else (0, 0, 0),
        predictions=[_prediction(results, view, variant) for variant in view.predictions],
        truth=outline("truth", view.truth == 1) if view.truth is not None else None,
        roles=_role_outlines(view),
        north=view.north,
        first="-".join(first) if first else None,
    )


def _prediction(results: RunResults, view: RegionView, variant: Variant) -> PredictionLayers:
    name, bands, stage = variant
    predicted = view.predictions[variant]
    model = results.model(name, bands)
    probability = model.folder.probability(view.region.name) if model and stage == "raw" else None
    return PredictionLayers(
        key="-".join(variant),
        label=variant_label(*variant),
        errors=None
        if view.truth is None
        else overlay_to_webp(paint(error_classes(predicted, view.truth), OVERLAY_COLOURS)),
        mask=overlay_to_webp(paint(predicted, {1: (PREDICTED, 0.55)})),
        probability=photo_to_webp(paint_probability(read_values(probability, view.frame)), quality=60)
        if probability and probability.is_file()
        else None,
    )


def paint_probability(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours glacier probability, dark blue 0 to yellow 1 (the cividis map), nothing where it is NaN."""
    pixels: NDArray[np.uint8] = colormaps["cividis"](np.nan_to_num(probability), bytes=True)
    pixels[~np.isfinite(probability)] = 0
    return pixels


def _role_outlines(view: RegionView) -> list[Outline]:
    found = []
    for role in ROLES:
        mask = view.role(role)
        if mask is not None and (drawn := outline(role, mask, ROLE_COLOURS[role], ROLE_DASHES[role])):
            found.append(drawn)
    return found


def outline(key: str, mask: NDArray[np.bool_], colour: str = "", dashes: str = "") -> Outline | None:
    """Turns a mask into outlines for a page.

    Corners are kept at whole pixels and stairs are straightened by up to 0.75 pixels.

    Returns:
        None when there is nothing to draw, or far too much.
    """
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    polygons = [shape(geometry) for geometry, _ in shapes]
    rings = []
    for polygon in polygons:
        for part in shapely.get_parts(polygon.simplify(0.75, preserve_topology=False)):
            rings += [ring for ring in (part.exterior, *part.interiors) if len(ring.coords) > 3]
    path = _steps_of(np.array(rings, object), np.zeros(len(rings), np.intp), 1).paths()[0]
    if not path or len(path) > _LONGEST_PATH:
        return None
    inside = max(polygons, key=lambda polygon: polygon.area).representative_point()
    return Outline(key, path, colour, dashes, (round(inside.x, 1), round(inside.y, 1)))


def glacier_layers(results: RunResults, view: RegionView, budget: int) -> dict[str, GlacierLayer]:
    """Reads the outlines of every prediction of a region, which share a budget of characters.

    Returns:
        By `<model>-<bands>-<stage>-exact`, `-smooth` and, of refined masks, `-inventory`.
    """
    wanted = []
    for name, bands, stage in view.predictions:
        model = results.model(name, bands)
        if model is None:
            continue
        region, folder = view.region.name, model.folder
        files = [(kind, folder.outlines(region), layer) for kind, layer in _LAYERS[stage].items()]
        if stage == "refined":
            files.append(("inventory", folder.inventory(region), "glaciers"))
        wanted += [
            (f"{name}-{bands}-{stage}-{kind}", path, layer)
            for kind, path, layer in files
            if layer in own_layers(path)
        ]
    share = budget // max(1, len(wanted))
    return {key: read_glaciers(path, layer, view, share) for key, path, layer in wanted}


def map_json(drawn: RegionMap, view: RegionView, glaciers: Mapping[str, GlacierLayer]) -> Markup:
    """Returns a region's map as JSON that can stand in a page."""
    transform = view.grid.transform
    step_x, step_y = view.grid.width / drawn.width, view.grid.height / drawn.height
    data: dict[str, Any] = {
        "width": drawn.width,
        "height": drawn.height,
        "aspect": drawn.aspect,
        "pixel_m": view.pixel_size_m[0],
        "north": drawn.north,
        # From pixels as shown to CRS coordinates.
        "transform": [
            transform.a * step_x, transform.b * step_y, transform.c,
            transform.d * step_x, transform.e * step_y, transform.f,
        ],
        "degrees": bool(view.grid.crs.is_geographic),
        "images": {image.key: image.uri for image in drawn.images},
        "bands": [image.uri for image in drawn.bands],
        "overlays": {
            f"{p.key}-{kind}": uri
            for p in drawn.predictions
            for kind, uri in (("errors", p.errors), ("mask", p.mask), ("probability", p.probability))
            if uri
        },
        "truth": asdict(drawn.truth) if drawn.truth else None,
        "roles": [asdict(role) for role in drawn.roles],
        "glaciers": {key: vars(layer) for key, layer in glaciers.items()},
    }  # fmt: skip
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    # Nothing in data may end the element that it stands in.
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704
