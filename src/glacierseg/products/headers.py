"""Whether the images of a product can be opened, hold its digital numbers and lie on one ground.

Pixels are not read here: what is broken further in shows when they are.
"""

import re

import pyproj

from glacierseg.errors import ProductError, RasterError
from glacierseg.products.contents import AGAIN
from glacierseg.products.product import Product
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster

_DRIVERS = {".jp2": "JP2OpenJPEG", ".tif": "GTiff"}
# Images of one product share their sides; farther apart bands would not lie on one another.
_SAME_PX = 0.01
_NAMED_PIXEL_M = re.compile(r"_(\d+)m\.(?:jp2|tif)$")


def check_headers(product: Product, utm_zone: str | None) -> None:
    """Opens every image of a product.

    Args:
        product: The product.
        utm_zone: UTM zone that its images lie in (`45N`, or `45` for either side of the equator); None where
            the metadata do not say.

    Raises:
        ProductError: An image cannot be opened, holds something else, or lies elsewhere.
    """
    images = [(band.role, band.path, {"uint16"}) for band in product.bands]
    # Landsat's bits fill two bytes; fewer would have lost some.
    images += [
        ("classes", product.classes, {"uint8", "uint16"} if product.classes_kind == "scl" else {"uint16"})
    ]
    images += [("saturation", product.saturation, {"uint16"})] if product.saturation else []
    grids = {role: _grid(product, path, kinds) for role, path, kinds in images}
    (first, grid), *others = grids.items()
    fine_role, fine = min(grids.items(), key=lambda item: item[1].transform.a)
    tolerance = _SAME_PX * min(abs(one.transform.a) for one in grids.values())
    for role, other in others:
        apart = max(abs(a - b) for a, b in zip(grid.bounds, other.bounds, strict=True))
        if other.crs != grid.crs or apart > tolerance:
            raise ProductError(
                f"{product.source}: its image of {role} covers other ground than that of {first}; "
                f"{AGAIN}, whole"
            )
    for role, other in grids.items():
        ratio = round(other.transform.a / fine.transform.a)
        if (other.height * ratio, other.width * ratio) != fine.shape:
            raise ProductError(
                f"{product.source}: its image of {role} has {other.height} x {other.width} pixels, of which "
                f"the {fine.height} x {fine.width} of {fine_role} are no whole multiple; {AGAIN}, whole"
            )
    if utm_zone is None:
        return
    zone = pyproj.CRS.from_wkt(grid.crs.to_wkt()).utm_zone
    if zone not in {utm_zone, f"{utm_zone}N", f"{utm_zone}S"}:
        raise ProductError(
            f"{product.source}: its images lie in UTM zone {zone}, and its tile {product.tile} in zone "
            f"{utm_zone}; {AGAIN}, whole"
        )


def _grid(product: Product, path: str, kinds: set[str]) -> Grid:
    name = path.rpartition("/")[2]
    # Only images: a file of another format under such a name could show files from anywhere.
    driver = _DRIVERS[name[-4:].lower()]
    try:
        with open_raster(path, driver=driver) as dataset:
            count, kind, grid = dataset.count, dataset.dtypes[0], grid_of(dataset)
    except RasterError as error:
        raise ProductError(
            f"{product.source}: {name} is no whole image with a place on Earth; {AGAIN}, whole"
        ) from error
    if count != 1 or kind not in kinds:
        raise ProductError(
            f"{product.source}: {name} holds {count} bands of {kind}, and as delivered 1 of "
            f"{' or '.join(sorted(kinds))}; {AGAIN}"
        )
    named_m = _NAMED_PIXEL_M.search(name)
    if named_m and abs(abs(grid.transform.a) - int(named_m[1])) > 1e-6:
        raise ProductError(
            f"{product.source}: {name} has pixels of {abs(grid.transform.a):g} m, and its name says "
            f"{named_m[1]} m; {AGAIN}"
        )
    return grid
