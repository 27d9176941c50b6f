"""How often bounds of areas hold the true area, on massifs that no part of the calibration saw.

Massifs are squares of 10 km. Every eighth is left out in turn, temperature, bias and errors are measured on
the others, and the bounds of each that was left out and of its glaciers are compared with the truth; then the
same for whole folds.

    python benchmarks/area_bounds.py PROBABILITIES TRUTHS [--calibration FILE.json]

PROBABILITIES holds a folder for each fold, with `<name>_probability.tif` anywhere in it. TRUTHS holds
`<name>_label.tif` beside the scene `<name>.tif`, or the runs of these folds; then only ground that they
tested counts. All of it lies on one lattice, is laid on one map, and counts once. `--calibration` also writes
what a card keeps, measured on all ground.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from affine import Affine

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.recipes.calibrated import calibrate_all
from benchmarks.recipes.ground import ScoredChip
from numpy.typing import NDArray

from glacierseg.data.split import ROLE_CODES
from glacierseg.evaluate.area_bounds import (
    AreaSums,
    BlockErrors,
    block_errors,
    bound_area,
    measure_dispersion,
    sum_area,
)
from glacierseg.evaluate.glacier_bounds import (
    CLASSES_KM2,
    MASSIF_M,
    GlacierGround,
    MappedGlaciers,
    glaciers_of_square,
    measure_glaciers,
)
from glacierseg.evaluate.reliability import BIN_LOGITS, ReliabilityCounts, count_reliability
from glacierseg.predict.calibration import Calibration, LogitScale, fit_logit_scale
from glacierseg.predict.files import SYMMETRIES_TAG
from glacierseg.raster.grid import Grid
from glacierseg.raster.open import grid_of, open_raster
from glacierseg.raster.probability import probability_strips
from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import GLACIER, IGNORE, load_truth
from glacierseg.raster.write import write_json
from glacierseg.runs.layout import RunFolder

CONFIDENCES = (0.5, 0.8, 0.9, 0.95)
GROUPS = 8
LEAST_KM2 = 0.1
"""Expected area of a massif that counts."""


class Chip(NamedTuple):
    fold: int
    grid: Grid
    probability: NDArray[np.float32]
    truth: NDArray[np.uint8]


class Square(NamedTuple):
    """A massif: its own part of a map, counts of it, and the ground of its glaciers."""

    fold: int
    probability: NDArray[np.float32]
    truth: NDArray[np.uint8]
    counts: ReliabilityCounts
    glaciers: GlacierGround


def read_chips(probabilities: Path, truths: Path) -> Iterator[Chip]:
    for fold, folder in enumerate(sorted(one for one in probabilities.iterdir() if one.is_dir()), start=1):
        run = RunFolder(truths / folder.name)
        for path in sorted(folder.rglob("*_probability.tif")):
            name = path.name.removesuffix("_probability.tif")
            with open_raster(path) as file:
                grid = grid_of(file)
            chance = np.concatenate([part for _, part in probability_strips(path, 512)])
            if (label := truths / f"{name}_label.tif").exists():
                truth = load_truth(label, grid)
                with open_scene(truths / f"{name}.tif").open() as reader:
                    chance[~np.concatenate([part[2] for part in reader.strips()])] = np.nan
            else:
                with rasterio.open(run.truth(name)) as one, rasterio.open(run.roles(name)) as other:
                    tested = other.read(1) == ROLE_CODES["test"]
                    truth = np.where(tested, one.read(1), np.uint8(IGNORE))
            if (truth != IGNORE).any():
                yield Chip(fold, grid, chance, np.where(np.isnan(chance), np.uint8(IGNORE), truth))


def lay_out(chips: Sequence[Chip]) -> tuple[Grid, dict[tuple[int, int], list[tuple[Chip, int, int]]]]:
    """Returns the grid of all and, by place of the square, the chips that meet it or its surroundings."""
    first = chips[0].grid
    places = [first.place_of(chip.grid) for chip in chips]
    top, left = (min(place[axis] for place in places) for axis in (0, 1))
    side = round(MASSIF_M / first.pixel_size_m[0])
    rim = side // 2
    squares: dict[tuple[int, int], list[tuple[Chip, int, int]]] = {}
    for chip, (southward, eastward) in zip(chips, places, strict=True):
        row, column = southward - top, eastward - left
        height, width = chip.grid.shape
        for down in range(max((row - rim) // side, 0), (row + height + rim) // side + 1):
            for right in range(max((column - rim) // side, 0), (column + width + rim) // side + 1):
                placed = chip, row - down * side + rim, column - right * side + rim
                squares.setdefault((down, right), []).append(placed)
    return replace(first, transform=first.transform * Affine.translation(left, top)), squares


def make_square(placed: Sequence[tuple[Chip, int, int]], side: int) -> Square | None:
    rim = side // 2
    size = side + 2 * rim
    chance, truth = np.full((size, size), np.nan, np.float32), np.full((size, size), IGNORE, np.uint8)
    folds = np.zeros(1 + max(chip.fold for chip, _, _ in placed), np.int64)
    for chip, row, column in placed:
        there = np.s_[max(row, 0) : row + chip.grid.height, max(column, 0) : column + chip.grid.width]
        from_ = np.s_[max(-row, 0) :, max(-column, 0) :]
        shape = truth[there].shape
        own = chip.truth[from_][: shape[0], : shape[1]]
        new = (truth[there] == IGNORE) & (own != IGNORE)
        truth[there][new] = own[new]
        chance[there][new] = chip.probability[from_][: shape[0], : shape[1]][new]
        folds[chip.fold] += new.sum()
    inner = np.s_[rim : rim + side, rim : rim + side]
    if (truth[inner] == IGNORE).all():
        return None
    return Square(
        int(folds.argmax()),
        chance[inner],
        truth[inner],
        count_reliability(chance[inner], truth[inner]),
        glaciers_of_square(chance, truth, (rim, rim, side), MASSIF_M / side),
    )


class Measured(NamedTuple):
    """What one scale makes of the squares."""

    blocks: list[BlockErrors]
    sums: list[AreaSums]
    true_px: list[int]
    glaciers: list[MappedGlaciers]


def measure(squares: Sequence[Square], scale: LogitScale) -> Measured:
    found = Measured([], [], [], [])
    for square in squares:
        scaled, known = scale.apply(square.probability), square.truth != IGNORE
        found.blocks.append(block_errors(scaled, square.truth, known))
        found.sums.append(sum_area(scaled, known))
        found.true_px.append(int((square.truth == GLACIER).sum()))
        found.glaciers.append(square.glaciers.measured(scale))
    return found


class Cases:
    """Bounds and truths, by what is bounded and how surely."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, float], list[bool]] = {}
        self.widths: dict[tuple[str, float], list[float]] = {}

    def add(self, kind: str, confidence: float, ends: tuple[float, float], true: float, size: float) -> None:
        self.held.setdefault((kind, confidence), []).append(ends[0] - 1e-6 <= true <= ends[1] + 1e-6)
        self.widths.setdefault((kind, confidence), []).append((ends[1] - ends[0]) / size)

    def lines(self) -> Iterator[str]:
        yield "| what | number | " + " | ".join(f"{c:.0%} held, width" for c in CONFIDENCES) + " |"
        yield "|---" * (2 + len(CONFIDENCES)) + "|"
        for kind in sorted({kind for kind, _ in self.held}, key=lambda kind: (kind.split(", ")[-1], kind)):
            cells = []
            for confidence in CONFIDENCES:
                held = self.held.get((kind, confidence))
                widths = self.widths.get((kind, confidence))
                cells.append(f"{np.mean(held):.0%}, {np.median(widths):.2f}" if held and widths else "none")
            number = max(len(self.held.get((kind, confidence), ())) for confidence in CONFIDENCES)
            yield f"| {kind} | {number} | {' | '.join(cells)} |"


def class_name(mapped_km2: float) -> str:
    number = int(np.digitize(mapped_km2, CLASSES_KM2)) - 1
    from_km2, *more = CLASSES_KM2[number : number + 2]
    return f"glaciers of {from_km2:g}-{more[0]:g} km2" if more else f"glaciers above {from_km2:g} km2"


def judge(
    cases: Cases, squares: Sequence[Square], left_out: Sequence[int], pixel_m: float, *, fold: bool = False
) -> None:
    """Bounds squares and their glaciers by all others; with `fold` all together, else one by one."""
    kept = [square for number, square in enumerate(squares) if number not in left_out]
    counts = sum((square.counts for square in kept), ReliabilityCounts.none())
    scale = fit_logit_scale(BIN_LOGITS, counts.background, counts.glacier)
    known = measure(kept, scale)
    new = measure([squares[number] for number in left_out], scale)
    dispersion, seen = measure_dispersion(known.blocks), MappedGlaciers.joined(known.glaciers)
    wholes = list(zip(new.sums, new.true_px, strict=True))
    if fold:
        wholes = [(sum(new.sums, AreaSums()), sum(new.true_px))]
    glaciers = MappedGlaciers.joined(new.glaciers)
    what = "fold" if fold else "massif"
    for confidence in CONFIDENCES:
        for sums, true_px in wholes:
            if sums.expected_px * pixel_m**2 / 1e6 >= LEAST_KM2:
                bounds = bound_area(sums, dispersion, 1.0, confidence)
                ends = bounds.lower_km2, bounds.upper_km2
                cases.add(f"whole {what}s", confidence, ends, true_px, sums.expected_px)
        classes = measure_glaciers(seen, confidence)
        if not classes:
            continue
        calibration = Calibration(scale, 0, (), 0, 0, 0, 0, dispersion, glaciers=classes)
        for number, mapped_km2 in enumerate(glaciers.mapped_km2):
            sums_of_one = glaciers.expected_px[number], glaciers.variance_px[number]
            ends = calibration.bound_glacier(mapped_km2, *sums_of_one)
            kind = f"{class_name(mapped_km2)}, {what}s left out"
            cases.add(kind, confidence, ends, glaciers.true_px[number], mapped_km2 * 1e6 / pixel_m**2)


def write_calibration(chips: Sequence[Chip], name: str, path: Path, *, symmetries: bool) -> None:
    scored = [
        ScoredChip(str(n), one.fold, one.grid, one.truth, one.truth, one.truth) for n, one in enumerate(chips)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = calibrate_all(
            f"{len(chips)} regions of {name}, each by networks that did not know its ground",
            scored,
            lambda chip: chips[int(chip.name)].probability,
            Path(folder) / "probability.tif",
            symmetries=symmetries,
        )
    write_json(path, found.to_dict())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("probabilities", type=Path)
    parser.add_argument("truths", type=Path)
    parser.add_argument("--calibration", type=Path, metavar="FILE.json")
    asked = parser.parse_args()
    chips = list(read_chips(asked.probabilities, asked.truths))
    if not chips:
        parser.error(f"{asked.probabilities}: has no folder of a fold with probabilities of tested ground")
    grid, layout = lay_out(chips)
    pixel_m = grid.pixel_size_m[0]
    made = (make_square(placed, round(MASSIF_M / pixel_m)) for _, placed in sorted(layout.items()))
    squares = [square for square in made if square is not None]
    print(f"{len(chips)} regions, {len(squares)} squares of {MASSIF_M / 1000:g} km with truth")
    cases = Cases()
    for group in range(GROUPS):
        if left_out := range(group, len(squares), GROUPS):
            judge(cases, squares, left_out, pixel_m)
    folds = sorted({square.fold for square in squares})
    for fold in folds if len(folds) > 1 else ():
        of_fold = [number for number, square in enumerate(squares) if square.fold == fold]
        judge(cases, squares, of_fold, pixel_m, fold=True)
    print("\n".join(cases.lines()))
    if asked.calibration:
        with open_raster(next(asked.probabilities.rglob("*_probability.tif"))) as file:
            symmetries = SYMMETRIES_TAG in file.tags()
        write_calibration(chips, asked.probabilities.name, asked.calibration, symmetries=symmetries)


if __name__ == "__main__":
    main()
