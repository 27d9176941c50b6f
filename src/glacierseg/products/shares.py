"""What products hold on the ground of a scene, counted and in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg import log
from glacierseg.products.classes import CIRRUS, CLEAR, CLOUD, MISSING, SHADOW, SNOW
from glacierseg.products.pixels import Pixels
from glacierseg.products.product import Product

# Above these a line says what it may mean.
_MUCH_SNOW, _MUCH_CLOUD = 0.1, 0.05


@dataclass(frozen=True)
class ProductShares:
    """What a product holds, in shares of pixels, 0-1; None where there are no pixels to count.

    Attributes:
        product: The product.
        pixels: Number of pixels of its finest band on the wanted ground.
        no_data: Share of these without data.
        cloud: Share of cloud among pixels with data, as are the next four.
        cirrus: Share of thin cloud.
        shadow: Share of cloud shadow.
        saturated: Share of pixels that are saturated in any band that is used.
        snow: Share of snow and ice that no cloud hides.
        snow_outside: Share of snow on cloudless ground outside known glaciers.
        cloud_inside: Share of cloud on known glaciers.
    """

    product: Product
    pixels: int
    no_data: float | None
    cloud: float | None
    cirrus: float | None
    shadow: float | None
    saturated: float | None
    snow: float | None
    snow_outside: float | None = None
    cloud_inside: float | None = None

    def __repr__(self) -> str:
        known = [one.name for one in fields(self)[2:] if getattr(self, one.name) is not None]
        shares = [f"{name} {getattr(self, name):.1%}" for name in known]
        return f"ProductShares({', '.join([self.product.name, *shares])})"


def shares_of(
    pixels: Pixels, asked: NDArray[np.bool_] | None, glaciers: NDArray[np.bool_] | None
) -> ProductShares:
    """Counts what a product holds.

    Args:
        pixels: The product's.
        asked: `(H, W)` True for the ground that is asked for; all when None.
        glaciers: `(H, W)` True for known glaciers.
    """
    classes, saturated = pixels.classes, pixels.saturated
    if asked is not None:
        classes, saturated = classes[asked], saturated[asked]
    counts = np.bincount(classes.ravel(), minlength=8)
    total, seen = int(counts.sum()), int(counts[1:].sum())
    outside = inside = None
    if glaciers is not None:
        on = glaciers if asked is None else glaciers[asked]
        ice, rest = (np.bincount(classes[where].ravel(), minlength=8) for where in (on, ~on))
        outside = _share(rest[SNOW], rest[SNOW] + rest[CLEAR])
        inside = _share(ice[CLOUD], ice[1:].sum())
    return ProductShares(
        product=pixels.product,
        pixels=total,
        no_data=_share(counts[MISSING], total),
        cloud=_share(counts[CLOUD], seen),
        cirrus=_share(counts[CIRRUS], seen),
        shadow=_share(counts[SHADOW], seen),
        saturated=_share(np.count_nonzero(saturated), seen if pixels.product.tells_saturation else 0),
        snow=_share(counts[SNOW], seen),
        snow_outside=outside,
        cloud_inside=inside,
    )


def _share(part: Any, whole: Any) -> float | None:
    return int(part) / int(whole) if whole else None


def table_of(shares: Sequence[ProductShares]) -> str:
    """Returns a table with a row for each product, in percent."""
    columns = ["product", "date", "baseline", "unit", "pixels", "no data", "cloud", "cirrus", "shadow"]
    columns += ["saturated", "snow"]
    if knows_glaciers := any(one.cloud_inside is not None for one in shares):
        columns += ["snow off glaciers", "cloud on glaciers"]
    rows = []
    for one in shares:
        numbers = [one.no_data, one.cloud, one.cirrus, one.shadow, one.saturated, one.snow]
        numbers += [one.snow_outside, one.cloud_inside] if knows_glaciers else []
        product = one.product
        facts = [product.name, product.acquired.isoformat(), product.baseline, _unit_in_words(product)]
        cells = ["-" if share is None else f"{100 * share:.1f} %" for share in numbers]
        rows.append([*facts, str(one.pixels), *cells])
    return log.table(None, columns, rows)


def remarks_on(shares: Sequence[ProductShares]) -> Iterator[str]:
    """Yields a line for each thing that is likely to make outlines wrong."""
    for one in shares:
        if (one.snow_outside or 0) > _MUCH_SNOW:
            yield (
                f"{one.product.name}: snow covers {one.snow_outside:.0%} of the ground outside known "
                "glaciers; where it is no ice outlines will be too large, so prefer an image of late "
                "summer"
            )
        if (one.cloud_inside or 0) > _MUCH_CLOUD:
            yield (
                f"{one.product.name}: {one.cloud_inside:.0%} of the known glaciers is called cloud, as "
                "bright ice is at times; look at it with --write-classes, and keep it with --keep cloud "
                "if it is ice"
            )


def _unit_in_words(product: Product) -> str:
    """How digital numbers become reflectance x 10000, such as `x 1 - 1000`."""
    units = {(band.scale, band.offset) for band in product.bands if not band.role.startswith("thermal")}
    if len(units) != 1:
        return "by band"
    ((scale, offset),) = units
    return f"x {scale:g}" + (f" {'-' if offset < 0 else '+'} {abs(offset):g}" if offset else "")
