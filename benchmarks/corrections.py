"""What corrections of a few places bring on the rest of a massif, and whether wrong ones are refused.

    OMP_NUM_THREADS=1 python -m benchmarks.corrections RUN/fold1 RUN/fold2 RUN/fold3 --model glavitu --out DIR

Each run is a fold of a k-fold training, such as a recipe leaves in `networks/`: its test ground is new to its
network. Regions of a fold that touch are one massif, mosaicked; those of `--least-km2` ground or more are
taken. A made-up analyst corrects 20 places to the truth, those that `suggest_places` names and as many of the
same size at random, all together at most 5 % of the ground. The network learns from them
(`glacierseg.correct`), and is scored on the ground that nobody checked. Then ten analysts correct the
suggested places wrongly.

Prints a table; `DIR/results.csv` grows with each training, and the same call goes on from there.
"""

import argparse
import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
import torch
from affine import Affine
from numpy.typing import NDArray

from glacierseg.correct.learning import train_and_judge
from glacierseg.correct.store import Correction, Store
from glacierseg.data.regions import Region
from glacierseg.data.split import ROLE_CODES
from glacierseg.experiment.regions import choose_bands, open_sources, read_regions
from glacierseg.models.card import load_model
from glacierseg.predict.calibration import calibration_of
from glacierseg.predict.ensemble import Ensemble
from glacierseg.predict.scene import predict_scene
from glacierseg.raster.grid import Grid
from glacierseg.raster.scene import Scene, open_scene
from glacierseg.raster.truth import GLACIER, IGNORE, read_mask
from glacierseg.raster.write import write_raster
from glacierseg.review.corrections import write_corrections
from glacierseg.review.edits import read_edits
from glacierseg.review.places import suggest_places
from glacierseg.runs.layout import ALL_BANDS, RunFolder
from glacierseg.settings import load_config
from glacierseg.settings.correct import CorrectSettings
from glacierseg.synthetic.analyst import Mistake, edit

COLUMNS = (
    "massif", "km2", "places", "analyst", "checked_share", "iou_before", "iou_after", "held_before",
    "held_after", "held_low", "old_before", "old_after", "contradicted", "expected", "slope", "shift_px",
    "accepted", "sentence",
)  # fmt: skip
PLACES = 20
# Kind, shift in rows and columns, seed: of ten analysts who are wrong.
WRONG: tuple[tuple[Mistake | str, int, int], ...] = (
    ("inverted", 0, 0), ("all_glacier", 0, 0), ("all_background", 0, 0), ("shifted", 7, 0),
    ("shifted", 10, 0), ("shifted", 14, 0), ("blobs", 0, 1), ("blobs", 0, 2), ("blobs", 0, 3), ("snow", 0, 0),
)  # fmt: skip


@dataclass(frozen=True)
class Massif:
    """Ground that is new to a network, as one scene.

    Attributes:
        name: Of the fold and its first region.
        scene: File of its bands.
        truth: File of its truth.
        model: Folder of the network.
        km2: Ground with data.
    """

    name: str
    scene: Path
    truth: Path
    model: Path
    km2: float

    @property
    def folder(self) -> Path:
        return self.scene.parent


def find_massifs(run: Path, model: str, out: Path, least_km2: float) -> Iterator[Massif]:
    """Mosaics the test regions of a run that touch; where regions overlap the first one is shown."""
    config, folder = load_config(RunFolder(run).config), RunFolder(run)
    sections = config.regions
    scenes = choose_bands(sections, config.bands, open_sources(sections), folder)
    regions = [
        region
        for region in read_regions(sections, scenes, folder)
        if (region.roles == ROLE_CODES["test"]).any()
    ]
    for group in _touching([region.scene.grid for region in regions]):
        members = [regions[number] for number in group]
        grid, truth, values = _mosaic(members)
        km2 = float((truth != IGNORE).sum() * np.prod(grid.pixel_size_m)) / 1e6
        if km2 < least_km2:
            continue
        name = f"{run.name}_{members[0].name}"
        files = out / name / f"{name}.tif", out / name / "truth.tif"
        if not files[1].exists():
            bands = members[0].scene.bands
            nodata = bands[0].nodata if bands[0].nodata is not None else 0
            write_raster(files[0], values, grid, bands=[band.name for band in bands], nodata=nodata)
            write_raster(files[1], truth, grid, bands=["glacier"], nodata=IGNORE)
        yield Massif(name, *files, folder.model(model, ALL_BANDS).path, km2)


def _touching(grids: Sequence[Grid]) -> list[list[int]]:
    boxes = shapely.box(*np.array([grid.bounds for grid in grids]).T)
    parts, waiting = [], set(range(len(grids)))
    while waiting:
        group, new = set(), {min(waiting)}
        while new:
            group |= new
            near = {
                int(other) for one in new for other in np.flatnonzero(shapely.intersects(boxes[one], boxes))
            }
            new = near - group
        waiting -= group
        parts.append(sorted(group))
    return parts


def _mosaic(regions: Sequence[Region]) -> tuple[Grid, NDArray[np.uint8], NDArray[np.generic]]:
    first = regions[0].scene.grid
    places = [first.place_of(region.scene.grid) for region in regions]
    top, left = (min(place[axis] for place in places) for axis in (0, 1))
    height = (
        max(row + region.scene.grid.height for (row, _), region in zip(places, regions, strict=True)) - top
    )
    width = (
        max(col + region.scene.grid.width for (_, col), region in zip(places, regions, strict=True)) - left
    )
    moved = first.transform * Affine.translation(left, top)
    grid = replace(first, transform=moved, height=height, width=width)
    truth = np.full(grid.shape, IGNORE, np.uint8)
    values = np.zeros((len(regions[0].scene.bands), *grid.shape), regions[0].scene.dtype)
    for (row, column), region in zip(places, regions, strict=True):
        own = region.scene.grid
        window = np.s_[row - top : row - top + own.height, column - left : column - left + own.width]
        shown, valid = region.scene.read()
        new = (truth[window] == IGNORE) & valid & (region.truth != IGNORE)
        truth[window] = np.where(new, region.truth, truth[window])
        values[(slice(None), *window)] = np.where(new, shown, values[(slice(None), *window)])
    return grid, truth, values


def random_places(suggested: gpd.GeoDataFrame, truth: NDArray[np.uint8], grid: Grid) -> gpd.GeoDataFrame:
    """Draws as many squares of the same side, each with data on half of its ground, half a side apart."""
    west, south, east, north = suggested.geometry.iloc[0].bounds
    height, width = (
        round((north - south) / abs(grid.transform.e)),
        round((east - west) / abs(grid.transform.a)),
    )
    rng, found = np.random.default_rng(0), list[tuple[int, int]]()
    for _ in range(100_000):
        row, column = (
            int(rng.integers(0, size - side)) for size, side in zip(grid.shape, (height, width), strict=True)
        )
        known = (truth[row : row + height, column : column + width] != IGNORE).mean()
        apart = all(abs(row - r) >= 1.5 * height or abs(column - c) >= 1.5 * width for r, c in found)
        if known >= 0.5 and apart:
            found.append((row, column))
        if len(found) == len(suggested):
            break
    corners = np.array(
        [(*(grid.transform * (c, r)), *(grid.transform * (c + width, r + height))) for r, c in found]
    )
    x, y = np.sort(corners[:, [0, 2]], axis=1), np.sort(corners[:, [1, 3]], axis=1)
    return gpd.GeoDataFrame(geometry=shapely.box(x[:, 0], y[:, 0], x[:, 1], y[:, 1]), crs=suggested.crs)


def snow_as_truth(massif: Massif, scene: Scene, truth: NDArray[np.uint8]) -> Path:
    """Writes a truth in which the brighter half of the ground is glacier, as if snow were outlined."""
    path = massif.folder / "snow.tif"
    values, _ = scene.read()
    bright = values[min(1, len(values) - 1)].astype(np.float64)
    glacier = bright > np.median(bright[truth != IGNORE])
    found = np.where(truth == IGNORE, truth, glacier.astype(np.uint8))
    write_raster(path, found, scene.grid, bands=["glacier"], nodata=IGNORE)
    return path


class Study:
    """Everything of one massif."""

    def __init__(self, massif: Massif, settings: CorrectSettings) -> None:
        self.massif, self.settings = massif, settings
        network, card = load_model(massif.model)
        self.ensemble = Ensemble((network,), (card,))
        self.scene = open_scene(massif.scene)
        self.truth = read_mask(massif.truth, self.scene.grid)
        self.before = self.predict(self.ensemble, "before")
        files = massif.folder / "before" / f"{massif.name}_probability.tif"
        self.suggested = suggest_places(files, count=PLACES, calibration=calibration_of(card, massif.model))
        self.random = random_places(self.suggested, self.truth, self.scene.grid)

    def predict(self, ensemble: Ensemble, name: str) -> NDArray[np.uint8]:
        made = predict_scene(ensemble, self.scene, self.massif.folder / name, again=True)
        return read_mask(made.mask, self.scene.grid)

    def correct(
        self, places: str, wrongly: Mistake | str | None, shift_px: int, seed: int
    ) -> dict[str, object]:
        """Lets an analyst correct places, learns from that, and scores the ground that nobody checked."""
        massif, polygons = self.massif, self.suggested if places == "suggested" else self.random
        mask = massif.folder / "before" / f"{massif.name}_mask.tif"
        snow = wrongly == "snow"
        truth = snow_as_truth(massif, self.scene, self.truth) if snow else massif.truth
        mistake: Mistake | None = None if snow else wrongly  # type: ignore[assignment]
        analyst = (
            f"{wrongly or 'right'}{f' by {shift_px} px' if shift_px else ''}{f' {seed}' if seed else ''}"
        )
        store = Store(massif.folder / f"{places} {analyst}")
        shutil.rmtree(store.folder, ignore_errors=True)
        drawn = store.folder / "corrections.gpkg"
        write_corrections(drawn, mask, scene=self.scene)
        edit(drawn, mask, truth, polygons, wrongly=mistake, shift_px=shift_px, seed=seed)
        store.add(read_edits(mask, drawn, scene=self.scene), self.scene)
        judged = train_and_judge(
            massif.model, store.corrections, self.settings, None, store.folder / "training"
        )
        verdict, network = judged.verdict, judged.network
        trained, card = verdict.gain is not None, self.ensemble.cards[0]
        after = self.predict(Ensemble((network,), (card,)), "after") if trained else self.before
        rest = _unchecked(self.truth, store.corrections, self.scene.grid)
        doubts, gain, old = verdict.doubts, verdict.gain, verdict.old
        return {
            "massif": massif.name, "km2": round(massif.km2, 1), "places": f"{len(polygons)} {places}",
            "analyst": analyst,
            "checked_share": 1 - float((rest != IGNORE).sum() / (self.truth != IGNORE).sum()),
            "iou_before": _iou(self.before, rest), "iou_after": _iou(after, rest),
            "held_before": gain and gain.a, "held_after": gain and gain.b, "held_low": gain and gain.low,
            "old_before": old and old.a, "old_after": old and old.b,
            "contradicted": doubts and doubts.contradicted, "expected": doubts and doubts.expected,
            "slope": doubts and doubts.slope, "shift_px": doubts and doubts.shift_px,
            "accepted": verdict.accepted, "sentence": verdict.sentence,
        }  # fmt: skip


def _unchecked(truth: NDArray[np.uint8], corrections: Sequence[Correction], grid: Grid) -> NDArray[np.uint8]:
    checked = np.zeros(truth.shape, bool)
    for correction in corrections:
        checked |= read_mask(correction.truth, grid) != IGNORE
    return np.where(checked, np.uint8(IGNORE), truth)


def _iou(mask: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    known = (truth != IGNORE) & (mask != IGNORE)
    found, glacier = known & (mask == GLACIER), known & (truth == GLACIER)
    return float((found & glacier).sum() / max((found | glacier).sum(), 1))


def main() -> None:
    """Corrects, trains and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--model", default="glavitu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--least-km2", type=float, default=40.0)
    parser.add_argument("--massifs", nargs="*", help="names of those to take; all when left out")
    parser.add_argument(
        "--places", nargs="+", choices=("suggested", "random"), default=("suggested", "random")
    )
    parser.add_argument("--analysts", choices=("right", "wrong", "all"), default="all")
    parser.add_argument("--epochs", type=int, default=CorrectSettings().epochs)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = CorrectSettings(epochs=asked.epochs)
    table = asked.out / "results.csv"
    asked.out.mkdir(parents=True, exist_ok=True)
    done = list(csv.DictReader(table.open())) if table.exists() else []
    right = [(places, None, 0, 0) for places in asked.places] if asked.analysts != "wrong" else []
    wrong = [("suggested", *one) for one in WRONG] if asked.analysts != "right" else []
    for run in asked.runs:
        for massif in find_massifs(run, asked.model, asked.out, asked.least_km2):
            if asked.massifs and massif.name not in asked.massifs:
                continue
            if sum(row["massif"] == massif.name for row in done) >= len(right + wrong):
                continue
            study = Study(massif, settings)
            for kind in (*right, *wrong):
                row = study.correct(*kind)
                done.append({key: "" if value is None else str(value) for key, value in row.items()})
                with table.open("w", newline="") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    writer.writeheader()
                    writer.writerows(done)
                print(
                    " | ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()),
                    flush=True,
                )
    refused = [row["accepted"] == "False" for row in done if not row["analyst"].startswith("right")]
    if refused:
        print(f"wrong corrections refused: {sum(refused)} of {len(refused)}")


if __name__ == "__main__":
    main()
