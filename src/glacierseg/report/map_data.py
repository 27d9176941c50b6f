"""What the script of the page needs to draw a region's map, as JSON.

The page bundles Leaflet: it pans, pinches, zooms about the pointer and draws thousands of outlines on a
canvas, which a plain SVG does not, and with its `CRS.Simple` it needs neither tiles nor network.
"""

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from glacierseg.raster.outlines import own_layers
from glacierseg.report.glaciers import GlacierLayer, read_glaciers
from glacierseg.report.layers import Outline, RegionMap
from glacierseg.report.views import RegionView
from glacierseg.runs.results import RunResults

# By stage: outlines along the pixel edges, smooth ones, and glaciers one by one; each with its file's ending
# and its layer.
_LAYERS = {
    ("raw", "exact"): ("", "raw"),
    ("raw", "smooth"): ("", "smooth"),
    ("refined", "exact"): ("", "refined"),
    ("refined", "smooth"): ("", "refined_smooth"),
    ("refined", "inventory"): ("_inventory", "glaciers"),
}


def glacier_layers(results: RunResults, view: RegionView, budget: int) -> dict[str, GlacierLayer]:
    """Reads the outlines of every prediction of a region.

    Args:
        results: The run.
        view: The region at screen size.
        budget: Characters that all of them may take together.

    Returns:
        By `<model>-<bands>-<stage>-exact`, `-smooth` and, of refined masks, `-inventory`.

    Raises:
        DataError: A file is damaged.
    """
    wanted = []
    for name, bands, stage in view.predictions:
        model = results.model(name, bands)
        if model is None:
            continue
        outlines = model.outlines_path(view.region.name)
        for (of, kind), (ending, layer) in _LAYERS.items():
            path = outlines.with_stem(outlines.stem + ending)
            if of == stage and layer in own_layers(path):
                wanted.append((f"{name}-{bands}-{stage}-{kind}", path, layer))
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
        "truth": _path(drawn.truth) if drawn.truth else None,
        "roles": [_path(role) for role in drawn.roles],
        "glaciers": {
            key: {"columns": g.columns, "rows": g.rows, "paths": g.paths, "left_out": g.left_out}
            for key, g in glaciers.items()
        },
    }  # fmt: skip
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    # Nothing in data may end the element that it stands in.
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704


def _path(outline: Outline) -> dict[str, Any]:
    return {
        "key": outline.key,
        "path": outline.path,
        "colour": outline.colour,
        "dashes": outline.dashes,
        "label_at": outline.label_at,
    }
