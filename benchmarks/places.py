"""How much of the true error of a map lies in the places where `suggest_places` sends an analyst.

Regions that lie within 2 km are one massif, of which each pixel counts once. Beside the suggested places
stand as many at random, with the same side and the same distance, and the best ones: those that
`suggest_places` chooses when it is told the truth. Ground without truth is left out. Probabilities are
calibrated on the other folds, and taken as they are for comparison.

    python benchmarks/places.py PROBABILITIES TRUTHS [--count 20] [--least-km2 60]

The arguments are those of `area_bounds.py`.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.area_bounds import Chip, read_chips

from glacierseg.evaluate.reliability import BIN_LOGITS, ReliabilityCounts, count_reliability
from glacierseg.predict.calibration import Calibration, Dispersion, LogitScale, fit_logit_scale
from glacierseg.raster.grid import Grid
from glacierseg.raster.truth import GLACIER, IGNORE, rasterize_outlines
from glacierseg.raster.write import write_raster
from glacierseg.review.places import suggest_places

NEAR_M = 2000.0
DRAWS = 20
_TRIES = 10_000
_UNUSED = Dispersion(1.0, 16, 1.0, 1.0, 1.0)


class Massif(NamedTuple):
    """One piece of ground, NaN and 255 where the truth is not known."""

    name: str
    fold: int
    grid: Grid
    probability: NDArray[np.float32]
    truth: NDArray[np.uint8]

    @property
    def known_km2(self) -> float:
        return float((self.truth != IGNORE).sum()) * self.grid.pixel_area_km2

    @property
    def wrong(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (self.probability >= 0.5) != (self.truth == GLACIER)
        found &= self.truth != IGNORE
        return found


def massifs(chips: Sequence[Chip], least_km2: float) -> Iterator[Massif]:
    """Lays neighbours of a fold on one map."""
    waiting = list(chips)
    while waiting:
        group = [waiting.pop()]
        for member in group:
            near = [chip for chip in waiting if chip.fold == member.fold and _are_near(chip, member)]
            waiting = [chip for chip in waiting if not any(chip is one for one in near)]
            group += near
        massif = _lay_out(group, f"fold {group[0].fold}")
        if massif.known_km2 >= least_km2:
            yield massif


def _are_near(one: Chip, other: Chip) -> bool:
    a, b = one.grid.bounds, other.grid.bounds
    gaps = a.left - b.right, b.left - a.right, a.bottom - b.top, b.bottom - a.top
    return bool(max(gaps) < NEAR_M)


def _lay_out(group: Sequence[Chip], name: str) -> Massif:
    first = group[0].grid
    places = [first.place_of(chip.grid) for chip in group]
    top, left = (min(place[axis] for place in places) for axis in (0, 1))
    shape = tuple(
        max(place[axis] + chip.grid.shape[axis] for place, chip in zip(places, group, strict=True)) - begin
        for axis, begin in enumerate((top, left))
    )
    chance, truth = np.full(shape, np.nan, np.float32), np.full(shape, IGNORE, np.uint8)
    for (row, column), chip in zip(places, group, strict=True):
        there = np.s_[row - top :, column - left :]
        new = np.zeros(shape, bool)
        height, width = chip.grid.shape
        new[there][:height, :width] = (truth[there][:height, :width] == IGNORE) & (chip.truth != IGNORE)
        own = new[there][:height, :width]
        truth[new], chance[new] = chip.truth[own], chip.probability[own]
    grid = Grid(first.crs, first.transform * Affine.translation(left, top), shape[0], shape[1])
    return Massif(name, group[0].fold, grid, chance, truth)


def scale_of(others: Sequence[Massif]) -> LogitScale | None:
    """Calibrates on ground that is not judged."""
    counts = [count_reliability(one.probability, one.truth) for one in others]
    total = sum(counts, ReliabilityCounts.none())
    return fit_logit_scale(BIN_LOGITS, total.background, total.glacier) if counts else None


def share_found(massif: Massif, places: gpd.GeoDataFrame) -> float:
    inside = rasterize_outlines(places, massif.grid) == 1
    return float(massif.wrong[inside].sum() / max(massif.wrong.sum(), 1))


def random_share(massif: Massif, side_px: tuple[int, int], count: int, seed: int) -> float:
    """The share of the error in places at random: half their side apart, half of their ground known."""
    rng = np.random.default_rng(seed)
    known = massif.truth != IGNORE
    down, across = side_px
    chosen: list[tuple[int, int]] = []
    for row, column in rng.integers(0, np.subtract(known.shape, side_px) + 1, (_TRIES, 2)):
        apart = all(abs(row - r) >= 1.5 * down or abs(column - c) >= 1.5 * across for r, c in chosen)
        if apart and known[row : row + down, column : column + across].mean() >= 0.5:
            chosen.append((row, column))
        if len(chosen) == count:
            break
    found = sum(massif.wrong[row : row + down, column : column + across].sum() for row, column in chosen)
    return float(found / max(massif.wrong.sum(), 1))


def judge(massif: Massif, scale: LogitScale | None, count: int, folder: Path) -> list[float]:
    """Known and wrong km2, side of the places and their share of the ground, and shares of the error."""

    def write(name: str, values: NDArray[np.generic], nodata: float) -> Path:
        write_raster(folder / name, values[None], massif.grid, bands=["b"], nodata=nodata, cog=False)
        return folder / name

    unknown = massif.truth == IGNORE
    path = write("probability.tif", massif.probability, math.nan)
    decided = np.where(unknown, np.uint8(IGNORE), (massif.probability >= 0.5).astype(np.uint8))
    mask = write("mask.tif", decided, IGNORE)
    told = write("told.tif", np.where(unknown, np.float32(np.nan), massif.truth.astype(np.float32)), math.nan)
    calibration = Calibration(scale, 0, (), 0, 0, 0, 0, _UNUSED) if scale else None
    suggested = suggest_places(path, count=count, calibration=calibration)
    as_they_are, best = suggest_places(path, count=count), suggest_places(told, count=count, mask=mask)
    left, bottom, right, top = suggested.geometry.iloc[0].bounds
    width_m, height_m = massif.grid.pixel_size_m
    side_px = round((top - bottom) / height_m), round((right - left) / width_m)
    random = [random_share(massif, side_px, len(suggested), seed) for seed in range(DRAWS)]
    return [
        massif.known_km2,
        float(massif.wrong.sum()) * massif.grid.pixel_area_km2,
        top - bottom,
        float(suggested.area.sum()) / 1e6 / massif.known_km2,
        float(np.mean(random)),
        share_found(massif, suggested),
        share_found(massif, as_they_are),
        share_found(massif, best),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("probabilities", type=Path)
    parser.add_argument("truths", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--least-km2", type=float, default=60.0)
    asked = parser.parse_args()
    found = list(massifs(list(read_chips(asked.probabilities, asked.truths)), asked.least_km2))
    print("| massif | km2 | wrong km2 | side m | share | random | suggested | not calibrated | best |")
    print("|---" * 9 + "|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for massif in found:
            others = [one for one in found if one.fold != massif.fold]
            rows.append(judge(massif, scale_of(others), asked.count, Path(folder)))
            print(_line(massif.name, rows[-1]))
    print(_line(f"mean of {len(rows)}", np.mean(rows, axis=0).tolist()))


def _line(name: str, row: Sequence[float]) -> str:
    km2, wrong_km2, side_m, *shares = row
    cells = [name, f"{km2:.0f}", f"{wrong_km2:.1f}", f"{side_m:.0f}", *(f"{share:.1%}" for share in shares)]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
