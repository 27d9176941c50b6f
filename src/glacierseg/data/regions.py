"""Regions: scenes with their truth and the role of every pixel, and the pixels that train."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glacierseg.choices import Role
from glacierseg.data.split import ROLE_CODES
from glacierseg.raster.scene import Scene
from glacierseg.raster.truth import GLACIER, IGNORE


@dataclass(frozen=True)
class Region:
    """A scene with its truth and the role of each of its pixels.

    Attributes:
        name: The region's name.
        scene: Its bands.
        truth: `(H, W)` of 0, 1 and 255; 255 wherever a band has no data.
        roles: `(H, W)` of role codes.
        whole_roles: Roles under which all pixels are scored whatever their code: under the random split.
        soft: `(H, W)` of a glacier probability in `LEVELS`, 255 where there is none: what a student trains
            on; None to train on the truth.
    """

    name: str
    scene: Scene
    truth: NDArray[np.uint8] = field(repr=False)
    roles: NDArray[np.uint8] = field(repr=False)
    whole_roles: tuple[Role, ...] = ()
    soft: NDArray[np.uint8] | None = field(default=None, repr=False)

    @cached_property
    def areas(self) -> Mapping[Role, NDArray[np.bool_]]:
        """Pixels `(H, W)` that are scored under each role that has any; made when asked for."""
        return _Areas(self)

    def truth_of(self, role: Role) -> NDArray[np.uint8]:
        """Returns truth `(H, W)` with 255 outside a role's pixels."""
        return np.where(self.areas[role], self.truth, np.uint8(IGNORE))


class _Areas(Mapping[Role, NDArray[np.bool_]]):
    """The areas of a region; kept, they would take more memory than its roles."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._roles = tuple(
            role
            for role, code in ROLE_CODES.items()
            if (role in region.whole_roles and region.roles.size) or (region.roles == code).any()
        )

    def __getitem__(self, role: Role) -> NDArray[np.bool_]:
        if role not in self._roles:
            raise KeyError(role)
        region = self._region
        whole = role in region.whole_roles
        return np.ones(region.roles.shape, bool) if whole else region.roles == ROLE_CODES[role]

    def __iter__(self) -> Iterator[Role]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)


def train_pixels(
    regions: Sequence[Region],
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yields valid training pixels `(C, N)` and whether they are glacier `(N,)`, strip by strip."""
    for region in regions:
        chosen = _chosen(region)
        if not chosen.any():
            continue
        with region.scene.open() as reader:
            for rows, values, _ in reader.strips():
                inside = chosen[rows]
                yield values[:, inside], region.truth[rows][inside] == GLACIER


def count_train_pixels(regions: Sequence[Region]) -> int:
    """Returns how many pixels `train_pixels` yields."""
    return sum(int(np.count_nonzero(_chosen(region))) for region in regions)


def thinned(
    pixels: Iterable[NDArray[Any]], step: int, kept: list[NDArray[np.float32]]
) -> Iterator[NDArray[Any]]:
    """Passes arrays `(C, N)` on and keeps every so many pixels of them.

    Args:
        pixels: The arrays.
        step: Keep one in so many pixels.
        kept: Gets an array of them for each array.
    """
    for values in pixels:
        kept.append(values[:, ::step].astype(np.float32))
        yield values


def _chosen(region: Region) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (region.roles == ROLE_CODES["train"]) & (region.truth != IGNORE)
    return chosen
