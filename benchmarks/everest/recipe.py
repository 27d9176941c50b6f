"""Glaciers around Everest in one scene of Landsat 7, 30 m, cut into 12 tiles: data whose terms allow any use.

    python -m benchmarks.everest.recipe ../shared/data/everest_landsat7

The scene is 8-bit levels, of which snow saturates a third. Long tongues are covered with debris.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from benchmarks.recipes.command import Benchmark, main
from benchmarks.recipes.study import Chip

from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import load_truth
from glacierseg.raster.write import write_raster
from glacierseg.synthetic.demo import everest_settings

ROWS, COLUMNS = 3, 4

NOTES = (
    (
        "Tiles of 6 km lie side by side, and tongues cross their borders, so a test tile has neighbours that "
        "train. Ground further away is harder: `glacierseg demo --data everest` keeps the whole west apart."
    ),
    "One scene of one day: nothing here tells how a network does in another season or on another scene.",
    "Terms of the data: Landsat 7 (USGS) is in the public domain, RGI 6.0 is CC BY 4.0.",
)


def cut(data: Path, out: Path) -> Path:
    """Writes the tiles of the scene with their truth, and returns their folder."""
    (region,) = everest_settings(data)["regions"]
    scene = open_scene(region["scene"], bands=region["bands"])
    truth = load_truth(Path(region["truth"]), scene.grid)
    with scene.open() as reader:
        values = np.concatenate([part[1] for part in reader.strips()], axis=1).astype(np.uint8)
    folder = out / "tiles"
    rows, columns = (
        list(pairwise(round(size * part / parts) for part in range(parts + 1)))
        for size, parts in zip(scene.grid.shape, (ROWS, COLUMNS), strict=True)
    )
    for row, (top, bottom) in enumerate(rows):
        for column, (left, right) in enumerate(columns):
            grid = scene.grid.crop(top, left, bottom - top, right - left)
            part, name = np.s_[..., top:bottom, left:right], folder / f"tile_{row}_{column}.tif"
            write_raster(name, values[part], grid, bands=region["bands"], nodata=None, cog=False)
            label = name.with_stem(f"{name.stem}_label")
            write_raster(label, truth[part], grid, bands=["glacier"], nodata=None, cog=False)
    return folder


def find_chips(folder: Path) -> list[Chip]:
    scenes = sorted(folder.glob("tile_?_?.tif"))
    return [Chip(path.stem, path, path.with_stem(f"{path.stem}_label")) for path in scenes]


if __name__ == "__main__":
    main(Benchmark("everest", Path(__file__).with_name("settings.yaml"), find_chips, NOTES, cut=cut))
