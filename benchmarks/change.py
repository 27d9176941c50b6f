"""Uncertainty of the area of speckled masks: buffers in tiles against one buffer around all outlines.

    OMP_NUM_THREADS=1 python benchmarks/change.py [--size-px 600]

Prints the ratio of both times, taken in turn on the same outlines, and how far the results differ.
"""

import argparse
from time import process_time

import numpy as np
import shapely
from scipy import ndimage

from glacierseg.change.measure import _buffer_error
from glacierseg.vectors.trace import trace_polygons


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-px", type=int, default=600)
    size_px = parser.parse_args().size_px
    rng = np.random.default_rng(0)
    wide, fine = (ndimage.gaussian_filter(rng.normal(size=(size_px, size_px)), sigma) for sigma in (25, 1))
    for name, level in (("specks", 1.0), ("holes", -0.5)):
        mask = wide / wide.std() + 0.8 * fine / fine.std() > level
        shape = np.array([shapely.multipolygons(trace_polygons(mask.astype(np.uint8)))], object)
        start = process_time()
        grown, shrunk = (shapely.area(shapely.buffer(shape, reach)) for reach in (0.5, -0.5))
        once = process_time()
        found = _buffer_error(shape, 0.5)
        end = process_time()
        off = abs(found / ((grown - shrunk) / 2) - 1)[0]
        rings = shapely.get_num_interior_rings(shapely.get_parts(shape[0])).sum() + len(shape[0].geoms)
        print(
            f"{name}: {rings} rings, one buffer {once - start:.2f} s, tiles {end - once:.2f} s, "
            f"{(once - start) / (end - once):.1f} times as fast, relative difference {off:.1e}"
        )


if __name__ == "__main__":
    main()
