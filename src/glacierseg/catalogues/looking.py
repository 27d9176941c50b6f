"""What candidates show of a place: windows of their classes, counted on a grid that all share."""

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray

from glacierseg.catalogues.candidate import Candidate
from glacierseg.catalogues.place import Place
from glacierseg.catalogues.rating import Seen, look
from glacierseg.catalogues.tally import Tally
from glacierseg.catalogues.transport import MissingFileError
from glacierseg.catalogues.web import Web
from glacierseg.catalogues.windows import Window, plan_window, read_window
from glacierseg.errors import GlaciersegWarning, ProductError, TruthError
from glacierseg.products.classes import classify
from glacierseg.products.place import inside
from glacierseg.raster.bounds import middle_of_shapes, utm_at
from glacierseg.raster.grid import Grid
from glacierseg.raster.outlines import read_outlines

# Cells of the common grid along the longer side of a place; none is finer than the classes.
_CELLS, _FINEST_M = 400, 20.0
_CLASSES = {"SCL": "scl", "QA_PIXEL": "qa_pixel"}


@dataclass(frozen=True)
class Ground:
    """A place as pixels, and the glaciers on it.

    Attributes:
        place: The place.
        grid: Common to all candidates, in metres.
        outlines: Table of the place's outline.
        glaciers: Table of known glaciers; None without an inventory.
        source: File of the glaciers.
        wanted: `(H, W)` of the grid, True for the ground to show: the glaciers, or the place without any.
    """

    place: Place
    grid: Grid
    outlines: Any = field(repr=False)
    glaciers: Any = field(repr=False)
    source: Path
    wanted: NDArray[np.bool_] = field(repr=False)

    def on(self, grid: Grid) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Returns `(H, W)` True for the place, and for the glaciers, on a grid."""
        place = inside(self.outlines, grid, self.source)
        return place, None if self.glaciers is None else inside(self.glaciers, grid, self.source)


def ground_of(place: Place, existing: Path | None, layer: str | None) -> Ground:
    """Brings a place and the known glaciers on it to a common grid.

    Args:
        place: The place.
        existing: Outlines of known glaciers.
        layer: Of a file with several.

    Raises:
        TruthError: The outlines cannot be read, or none meets the place.
    """
    outlines = gpd.GeoDataFrame(geometry=[place.outline], crs=4326)
    crs = utm_at(*middle_of_shapes(outlines.geometry))
    west, south, east, north = outlines.to_crs(crs.to_wkt()).total_bounds
    side = max(_FINEST_M, math.ceil(max(east - west, north - south) / _CELLS))
    left, top = math.floor(west / side) * side, math.ceil(north / side) * side
    width, height = math.ceil((east - left) / side), math.ceil((top - south) / side)
    grid = Grid(crs, Affine(side, 0, left, 0, -side, top), height, width)
    source = existing or Path(place.words)
    glaciers = None
    wanted = inside(outlines, grid, source)
    if existing is not None:
        try:
            glaciers = read_outlines(existing, grid, layer=layer, option="--existing-layer")
        except TruthError as error:  # no scene is there yet
            raise TruthError(str(error).replace("meets the scene", "meets the place")) from error
        ice = wanted & inside(glaciers, grid, existing)
        wanted = ice if ice.any() else wanted
    return Ground(place, grid, outlines, glaciers, source, wanted)


@dataclass(frozen=True)
class Looks:
    """What must be read to look at all candidates.

    Attributes:
        windows: Of their classes, by candidate.
        left_out: Candidates that cannot be looked at, with the reason.
    """

    windows: tuple[tuple[Candidate, Window], ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def bytes_needed(self) -> int:
        """Size of all windows."""
        return sum(window.bytes_needed for _, window in self.windows)


def plan_looks(web: Web, candidates: Sequence[Candidate], ground: Ground) -> Looks:
    """Reads the headers of the candidates' classes.

    Raises:
        DownloadError: One cannot be read.
    """
    _in_advance(web, [partial(web.remote, one.images[kind]) for one in candidates if (kind := _kind(one))])
    windows, left_out = [], []
    for candidate in candidates:
        planned = _plan(web, candidate, ground)
        if isinstance(planned, str):
            left_out.append((candidate.item, planned))
        else:
            windows.append((candidate, planned))
    return Looks(tuple(windows), tuple(left_out))


def _plan(web: Web, candidate: Candidate, ground: Ground) -> Window | str:
    """Returns the window of a candidate's classes, or why there is none."""
    kind = _kind(candidate)
    if kind is None:
        return "comes without a raster of classes"
    try:
        # Never an overview: many hold means of the numbers of classes, which are other classes.
        window = plan_window(web, candidate.images[kind], ground.place.outline)
    except (ProductError, MissingFileError) as error:
        return _Damaged(error)
    return window or "shows nothing of the place"


def look_at(web: Web, looks: Looks, ground: Ground, tally: Tally) -> tuple[list[Seen], list[tuple[str, str]]]:
    """Reads the classes of candidates and counts them; what is damaged is left out with a warning.

    Args:
        web: Reads them.
        looks: From `plan_looks`.
        ground: The place.
        tally: Counts what is read.

    Returns:
        What the candidates show, and what was left out, with the reason.

    Raises:
        DownloadError: One cannot be read.
    """
    found: list[Seen] = []
    left_out = list(looks.left_out)
    count = web.settings.connections
    for start in range(0, len(looks.windows), count):
        some = looks.windows[start : start + count]
        own = [(web.remote(window.asset), window) for _, window in some]
        headers = [remote.held for remote, _ in own]
        _in_advance(
            web,
            [
                partial(remote.fetch, window.parts, tally.add)
                for remote, window in own
                if not web.cache.knows(window.key)
            ],
        )
        for candidate, window in some:
            seen = _look(web, candidate, window, ground, tally)
            if isinstance(seen, str):
                left_out.append((candidate.item, seen))
            else:
                found.append(seen)
        for (remote, _), header in zip(own, headers, strict=True):
            remote.keep_only(header)
    for item, reason in left_out:
        if isinstance(reason, _Damaged):
            warnings.warn(f"{item}: is left out: {reason}", GlaciersegWarning, stacklevel=2)
    return found, left_out


def _look(web: Web, candidate: Candidate, window: Window, ground: Ground, tally: Tally) -> Seen | str:
    """Returns what a candidate shows, or why that is unknown."""
    kind: Any = _CLASSES[_kind(candidate) or ""]
    try:
        classes = classify(read_window(web, window, tally.add), kind)
    except (ProductError, MissingFileError) as error:
        return _Damaged(error)
    finally:
        tally.end_window()
    place, glaciers = ground.on(window.grid)
    return look(candidate, classes, window.grid, place, glaciers, onto=ground.grid, settings=web.settings)


def _in_advance(web: Web, reads: Sequence[Callable[[], Any]]) -> None:
    """Reads several files at a time, since most of the time is waiting; nothing is decoded in these threads.

    A fault of a file is raised again where it is decoded.
    """

    def quietly(read: Callable[[], Any]) -> None:
        with suppress(ProductError, MissingFileError):
            read()

    web.at_once([partial(quietly, read) for read in reads])


class _Damaged(str):
    """Why a candidate is left out that could be used if its files were whole."""

    __slots__ = ()


def _kind(candidate: Candidate) -> str | None:
    return next((name for name in _CLASSES if name in candidate.images), None)
