"""Many closed rings in one array, for arithmetic on all of them at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Rings:
    """Rings of polygons, one after the other.

    Attributes:
        points: `(N, 2)` the corners; the first one of a ring is not repeated at its end.
        first: `(rings,)` where each ring begins.
        polygons: `(polygons + 1,)` at which ring each polygon begins, and the number of rings. The first ring
            of a polygon is its exterior.
    """

    points: Points
    first: NDArray[np.int64]
    polygons: NDArray[np.int64]

    @classmethod
    def of(cls, polygons: NDArray[Any]) -> "Rings":
        """Takes polygons apart; there must be at least one, and no multi-part or empty geometry."""
        _, points, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(polygons)
        # Every ring repeats its first point at its end.
        repeated = ring_offsets[1:] - 1
        first = ring_offsets[:-1] - np.arange(len(repeated))
        return cls(
            np.delete(points, repeated, axis=0), first.astype(np.int64), polygon_offsets.astype(np.int64)
        )

    def to_polygons(self) -> NDArray[Any]:
        """Puts the polygons together again."""
        ends = np.append(self.first[1:], len(self.points))
        closed = np.insert(self.points, ends, self.points[self.first], axis=0)
        offsets = np.append(0, ends + np.arange(1, len(ends) + 1))
        polygons: NDArray[Any] = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, closed, (offsets, self.polygons)
        )
        return polygons

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Points by ring, `(rings,)`."""
        return np.diff(self.first, append=len(self.points))

    @cached_property
    def following(self) -> NDArray[np.int64]:
        """Index of the next point along the ring, `(N,)`."""
        following = np.arange(1, len(self.points) + 1)
        following[self.first + self.sizes - 1] = self.first
        return following

    def by_point(self, values: NDArray[Any]) -> NDArray[Any]:
        """Repeats one value per ring for each of its points."""
        return np.repeat(values, self.sizes, axis=0)

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Adds up one value per point over each ring, `(rings,)`."""
        sums: NDArray[np.float64] = np.add.reduceat(values, self.first)
        return sums

    @property
    def areas(self) -> NDArray[np.float64]:
        """Signed areas by ring, `(rings,)`, by the shoelace formula."""
        # Seen from a point of the ring itself, so that far-away coordinates cost no digits.
        from_first = self.points - self.by_point(self.points[self.first])
        return self.sums(cross(from_first, from_first[self.following])) / 2


def cross(one: Points, other: Points) -> NDArray[np.float64]:
    """Returns the z component of the cross products of plane vectors `(N, 2)`."""
    product: NDArray[np.float64] = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return product
