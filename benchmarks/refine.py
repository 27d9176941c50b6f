"""How fast a large mask is refined and searched, against OpenCV and against scipy and scikit-image.

The mask is made up: glacier-like lumps and fine speckle, 10 m pixels, 88 000 objects on 10 000 x 10 000. All
ways run on one thread, in turn, and their masks are compared where they are to be the same.

The search goes over 4 merge distances x 5 scales, where a scale is a smallest area, and once more where it is
a number of passes of closing. The original way takes a distance transform (scipy) and labels (scikit-image)
for every combination; it is timed on one combination of a part of the mask and multiplied. The OpenCV search
makes one distance transform and uses it for all. Both of them merge by all that is near, which is less work
than ours, which looks for bridges.

scipy and scikit-image are timed on a quarter of the mask, times four. `packed` is a step alone,
without packing and unpacking.

    python benchmarks/refine.py [--size-px 10000] [--rounds 3] [--without-scipy]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from glacierseg.refine.engine import bits, label, morphology
from glacierseg.refine.engine.morphology import boundary_rim
from glacierseg.refine.search import tune_refinement
from glacierseg.refine.steps import merge_fragments, pack_mask
from glacierseg.settings.refine import TuneSettings

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.refine import array_steps, opencv_steps

SIZE_M = (10.0, 10.0)
DISTANCES_M, AREAS_KM2, PASSES = (10, 20, 30, 40), (0.01, 0.02, 0.03, 0.05, 0.1), (1, 2, 3, 4, 5)
AREA_KM2, AREA_PX = 0.03, 300


def glacier_like(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A speckled mask and the truth without the speckle, an eighth of it glacier."""
    random = np.random.default_rng(0)

    def lumps(cell: int) -> np.ndarray:
        coarse = random.standard_normal((side // cell + 3,) * 2).astype(np.float32)
        return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)

    field = lumps(700) + 0.5 * lumps(200) + 0.25 * lumps(60)
    truth = field > np.percentile(field[::10, ::10], 88)
    field += 0.5 * lumps(5)
    return (field > np.percentile(field[::10, ::10], 88)).astype(np.uint8), truth.astype(np.uint8)


def seconds(function: Callable[[], object], rounds: int) -> float:
    """The shortest of some, in processor time: all ways have one thread, and others disturb it less."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        function()
        best = min(best, time.process_time() - started)
    return best


def compare_steps(mask: np.ndarray, truth: np.ndarray, rounds: int, *, scipy: bool) -> None:
    quarter, true_quarter = (array[: len(array) // 2, : len(array) // 2].copy() for array in (mask, truth))
    packed, disk = bits.pack(mask), opencv_steps.disk(3, 3)
    ours_disk = morphology.ellipse(3, 3)
    truth_packed = bits.pack(truth)
    whole = pack_mask(mask)
    rows = [
        (
            "remove below 0.03 km2",
            lambda: array_steps.remove_fragments(mask, SIZE_M, AREA_KM2),
            lambda: opencv_steps.remove(mask, AREA_PX),
            lambda: scipy_remove(quarter),
            lambda: bits_remove(packed),
        ),
        (
            "merge within 40 m (bridges)",
            lambda: array_steps.merge_fragments(mask, SIZE_M, 40),
            lambda: opencv_steps.merge(mask, 4, 4),
            None,
            lambda: merge_fragments(whole, SIZE_M, 40),
        ),
        (
            "closing, 3 px disk",
            lambda: bits.unpack(morphology.close(bits.pack(mask), ours_disk)),
            lambda: cv2.morphologyEx(np.pad(mask, 2), cv2.MORPH_CLOSE, disk)[2:-2, 2:-2],
            lambda: scipy_close(quarter, disk),
            lambda: morphology.close(packed, ours_disk),
        ),
        (
            "closing, 5 passes of a cross",
            lambda: array_steps.smooth(mask, 5, "closing"),
            lambda: opencv_steps.close_or_open(mask, 5, "closing"),
            None,
            lambda: morphology.close(packed, morphology.diamond(5)),
        ),
        (
            "majority, 10 passes",
            lambda: array_steps.smooth(mask, 10),
            lambda: opencv_steps.majority(mask, 10),
            None,
            None,
        ),
        (
            "fill holes up to 0.03 km2",
            lambda: array_steps.fill_holes(mask, SIZE_M, AREA_KM2),
            lambda: opencv_steps.fill(mask, AREA_PX),
            lambda: scipy_fill(quarter),
            lambda: label.label_holes(packed),
        ),
        (
            "rims of 10 and 20 m",
            lambda: [bits.unpack(boundary_rim(bits.pack(truth), SIZE_M, by_m)) for by_m in (10.0, 20.0)],
            lambda: [opencv_rim(truth, by_px) for by_px in (1, 2)],
            lambda: scipy_rims(true_quarter),
            lambda: [boundary_rim(truth_packed, SIZE_M, by_m) for by_m in (10.0, 20.0)],
        ),
    ]  # fmt: skip
    print(f"{'step':30s}     ours   packed    OpenCV  ratio  scipy/sk  ratio")
    for name, ours, opencv, other, on_bits in rows:
        ours_s, opencv_s = seconds(ours, rounds + 1), seconds(opencv, rounds)
        bits_s = seconds(on_bits, rounds) if on_bits else float("nan")
        other_s = 4 * seconds(other, 1) if other and scipy else float("nan")
        line = (
            f"{name:30s} {ours_s:7.3f}s {bits_s:7.3f}s {opencv_s:8.3f}s {opencv_s / ours_s:5.1f}x "
            f"{other_s:8.2f}s {other_s / ours_s:5.0f}x"
        )
        print(line.replace("nans", "  - ").replace("nanx", "  - "), flush=True)


def bits_remove(packed: bits.Bits) -> bits.Bits:
    parts = label.label(packed)
    return parts.where(parts.areas_px >= AREA_PX)


def scipy_remove(mask: np.ndarray) -> np.ndarray:
    from skimage import measure

    labels = measure.label(mask, connectivity=2)
    result: np.ndarray = (np.bincount(labels.ravel()) >= AREA_PX)[labels] & (mask == 1)
    return result


def scipy_close(mask: np.ndarray, disk: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.binary_closing(mask, disk))


def scipy_fill(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes(mask))


def opencv_rim(truth: np.ndarray, radius_px: int) -> np.ndarray:
    """What a disk adds and takes: about the same rim, by the quickest calls there are."""
    disk = opencv_steps.disk(2 * radius_px + 1, 2 * radius_px + 1)
    return np.asarray(cv2.dilate(truth, disk) != cv2.erode(truth, disk))


def scipy_rims(truth: np.ndarray) -> list[np.ndarray]:
    from scipy import ndimage

    away = np.maximum(ndimage.distance_transform_edt(truth), ndimage.distance_transform_edt(1 - truth))
    return [away <= by_px for by_px in (1, 2)]


def plain_counts(mask: np.ndarray, truth: np.ndarray) -> tuple[int, ...]:
    tp, predicted, true = (int(np.count_nonzero(one)) for one in (mask & truth, mask, truth))
    return tp, predicted - tp, true - tp


def search(mask: np.ndarray, truth: np.ndarray, kind: str) -> object:
    settings = TuneSettings(
        merge_distances_m=DISTANCES_M,
        min_areas_km2=AREAS_KM2 if kind == "areas" else (AREA_KM2,),
        iterations=(0,) if kind == "areas" else PASSES,
        max_holes_km2=(0,),
        smoothing=("closing",),
    )
    return tune_refinement(mask, truth, SIZE_M, settings)


def opencv_search(mask: np.ndarray, truth: np.ndarray, kind: str) -> list[tuple[int, ...]]:
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    found = []
    for distance_m in DISTANCES_M:
        for scale in AREAS_KM2 if kind == "areas" else PASSES:
            merged = (away <= distance_m / SIZE_M[0]).astype(np.uint8)
            closed: np.ndarray = merged
            if kind == "passes":
                closed = cv2.morphologyEx(merged, cv2.MORPH_CLOSE, opencv_steps.CROSS, iterations=int(scale))
            smallest = scale * 1e4 if kind == "areas" else AREA_PX
            _, labels, facts, _ = cv2.connectedComponentsWithStats(closed)
            keep = (facts[:, cv2.CC_STAT_AREA] >= smallest).astype(np.uint8)
            keep[0] = 0
            found.append(plain_counts(keep[labels], truth))
    return found


def original_combination(mask: np.ndarray, truth: np.ndarray, kind: str) -> tuple[int, ...]:
    from scipy import ndimage
    from skimage import measure

    merged = ndimage.distance_transform_edt(mask == 0) <= DISTANCES_M[-1] / SIZE_M[0]
    if kind == "passes":
        merged = ndimage.binary_closing(merged, iterations=PASSES[2])
    labels = measure.label(merged, connectivity=2)
    keep = np.bincount(labels.ravel()) >= AREA_PX
    keep[0] = False
    return plain_counts(keep[labels].astype(np.uint8), truth)


def compare_searches(mask: np.ndarray, truth: np.ndarray, rounds: int, *, scipy: bool) -> None:
    part = len(mask) // 2
    for kind, what in (("areas", "smallest areas"), ("passes", "passes of closing")):
        ours_s = seconds(partial(search, mask, truth, kind), rounds)
        opencv_s = seconds(partial(opencv_search, mask, truth, kind), 1)
        line = f"search, 4 distances x 5 {what}: ours {ours_s:.2f} s; "
        line += f"OpenCV {opencv_s:.1f} s, {opencv_s / ours_s:.1f}x"
        if scipy:
            quarter = mask[:part, :part].copy(), truth[:part, :part].copy()
            original_s = 20 * 4 * seconds(partial(original_combination, *quarter, kind), 1)
            line += (
                f"; original {original_s:.0f} s (20 x 4 times one on a quarter), {original_s / ours_s:.0f}x"
            )
        print(line, flush=True)


IN_A_CHILD = """
import sys, time, json
started = time.perf_counter()
import numpy as np
from glacierseg.refine.search import tune_refinement
imported = time.perf_counter()
def peak_kb():  # of this very process; what getrusage says may be the parent's
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
small = np.zeros((70, 70), np.uint8); small[5:9, 5:9] = 1; small[2:4, 8] = 255
options = dict(merge_distances_m=(10, 40), iterations=(0, 1), smoothing="closing")
tune_refinement(small, small, 10, **options)
first = time.perf_counter()
facts = {"import": imported - started, "first call": first - imported}
if len(sys.argv) > 1:
    mask, truth = np.load(sys.argv[1]), np.load(sys.argv[2])
    before = peak_kb()
    tune_refinement(mask, truth, 10, merge_distances_m=(10, 20, 30, 40), iterations=(0,), max_holes_km2=(0,),
                    min_areas_km2=(0.01, 0.02, 0.03, 0.05, 0.1))
    facts["MB"] = (peak_kb() - before) / 1024
    tune_refinement(mask, truth, 10, merge_distances_m=(10, 20, 30, 40), iterations=(1, 2, 3, 4, 5),
                    max_holes_km2=(0,), min_areas_km2=(0.03,), smoothing="closing")
    facts["MB of both"] = (peak_kb() - before) / 1024
print(json.dumps(facts))
"""


def in_a_child(cache: Path, *arguments: str) -> dict[str, float]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", IN_A_CHILD, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    facts: dict[str, float] = json.loads(done.stdout)
    return facts


def report_first_call_and_memory(mask: np.ndarray, truth: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / name) for name in ("mask.npy", "truth.npy")]
        for name, array in zip(names, (mask, truth), strict=True):
            np.save(name, array)
        cold, warm = (in_a_child(Path(folder) / "cache") for _ in range(2))
        full = in_a_child(Path(folder) / "cache", *names)
    print(
        f"first search of a process: {cold['first call']:.1f} s compiling, {warm['first call']:.2f} s cached"
    )
    print(
        f"search over areas: {full['MB']:.0f} MB above mask and truth of {mask.nbytes / 2**20:.0f} MB each; "
        f"after one over closings too: {full['MB of both']:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size-px", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-scipy", action="store_true", help="leave out what takes minutes")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    mask, truth = glacier_like(options.size_px)
    packed = bits.pack(mask)
    print(f"{options.size_px} x {options.size_px}, {len(label.label(packed).areas_px) - 1} objects")
    pack_s, unpack_s = seconds(lambda: bits.pack(mask), 5), seconds(lambda: bits.unpack(packed), 5)
    print(f"pack {pack_s:.3f} s, unpack {unpack_s:.3f} s")
    for ours, theirs in (
        (array_steps.merge_fragments(mask, SIZE_M, 40), opencv_steps.merge(mask, 4, 4)),
        (array_steps.fill_holes(mask, SIZE_M, AREA_KM2), opencv_steps.fill(mask, AREA_PX)),
        (array_steps.smooth(mask, 10), opencv_steps.majority(mask, 10)),
        (array_steps.remove_fragments(mask, SIZE_M, AREA_KM2), opencv_steps.remove(mask, AREA_PX)),
    ):
        assert np.array_equal(ours, theirs)
    report_first_call_and_memory(mask, truth)
    compare_steps(mask, truth, options.rounds, scipy=not options.without_scipy)
    compare_searches(mask, truth, options.rounds, scipy=not options.without_scipy)


if __name__ == "__main__":
    main()
