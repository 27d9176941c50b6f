"""How fast training patches come: windows straight from the scenes against patches on disk.

Patches of 256 x 256 x 18 bytes, one thread. The original way cuts windows beforehand, writes each in six
versions (as it is, two flips, three turns) as a GeoTIFF of bands and one of the mask, and reads those while
training; here both halves are counted. Ours are batches of `PatchDataset`, augmented: as bytes, which is what
the loader hands to the device, and scaled to float input there, for each kind of cache. The ways take turns.

    python benchmarks/patch_supply.py [--patches 40] [--rounds 3]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
import torch

from glacierseg.choices import Cache
from glacierseg.data.augment import Augmentation
from glacierseg.data.patches import PatchDataset, PatchReader, place_patches
from glacierseg.data.regions import Region
from glacierseg.models.device import InputScaling
from glacierseg.models.scaling import Scaling
from glacierseg.raster.scene import open_scene

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.predict_scene import BANDS, make_scene

PATCH_PX, SIDE_PX, BATCH = 256, 2048, 8
CACHES: tuple[Cache, ...] = ("none", "disk", "memory")
VERSIONS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda a: a,
    lambda a: a[..., ::-1],
    lambda a: a[..., ::-1, :],
    *(partial(np.rot90, k=turns, axes=(-2, -1)) for turns in (1, 2, 3)),
)


def original_way(region: Region, folder: Path, count: int) -> float:
    """Samples per second."""
    values, truth = open_scene(folder / "scene.tif").open, region.truth
    started, files = time.perf_counter(), []
    with values() as reader:
        for number in range(-(-count // len(VERSIONS))):
            row, column = divmod(number * PATCH_PX // 2, SIDE_PX - PATCH_PX)
            window, _ = reader.read(row, column, PATCH_PX, PATCH_PX)
            mask = truth[None, row : row + PATCH_PX, column : column + PATCH_PX]
            for turn, version in enumerate(VERSIONS):
                for kind, array in (("image", window), ("mask", mask)):
                    path = folder / f"{kind}_{number}_{turn}.tif"
                    turned = np.ascontiguousarray(version(array))
                    profile = {"width": PATCH_PX, "height": PATCH_PX, "count": len(turned), "dtype": "uint8"}
                    with rasterio.open(path, "w", driver="GTiff", **profile) as file:
                        file.write(turned)
                files.append((folder / f"image_{number}_{turn}.tif", folder / f"mask_{number}_{turn}.tif"))
    for image_path, mask_path in files:
        with rasterio.open(image_path) as image, rasterio.open(mask_path) as mask:
            torch.from_numpy(image.read().astype(np.float32) / 255)
            torch.from_numpy(mask.read(1).astype(np.int64))
    return len(files) / (time.perf_counter() - started)


def ours(region: Region, count: int, cache: Cache, folder: Path, *, scaled: bool) -> float:
    """Samples per second, after a first round that fills the cache."""
    patches = place_patches([region], "train", PATCH_PX, overlap=0.5)
    scaling = Scaling((128.0,) * BANDS, (74.0,) * BANDS)
    reader = PatchReader([region], PATCH_PX, cache, folder)
    dataset = PatchDataset(reader, patches, "train", scaling, augmentation=Augmentation())
    scale = InputScaling(scaling)
    for draw in range(2 * len(patches)):
        dataset[draw]
    started = time.perf_counter()
    for draw in range(0, count, BATCH):
        values, valid, _ = dataset.__getitems__(range(draw, draw + BATCH))
        if scaled:
            scale(values, valid)
    return BATCH * -(-count // BATCH) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patches", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_scene(folder / "scene.tif", SIDE_PX, SIDE_PX)
        truth = np.random.default_rng(1).integers(0, 2, (SIDE_PX, SIDE_PX), np.uint8)
        region = Region("made", open_scene(folder / "scene.tif"), truth, np.ones(truth.shape, np.uint8))
        rows = [
            (
                original_way(region, folder, arguments.patches),
                *(
                    ours(region, arguments.patches, cache, folder, scaled=scaled)
                    for cache in CACHES
                    for scaled in (False, True)
                ),
            )
            for _ in range(arguments.rounds)
        ]
    print("samples per second, 256 x 256 x 18, one thread")
    ways = ("original way", *(f"{cache}, {kind}" for cache in CACHES for kind in ("bytes", "scaled")))
    for way, column in zip(ways, zip(*rows, strict=True), strict=True):
        ratios = [speed / row[0] for speed, row in zip(column, rows, strict=True)]
        print(f"{way:18s} {median(column):7.0f}   {median(ratios):5.1f} x")


if __name__ == "__main__":
    main()
