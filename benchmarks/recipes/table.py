"""The Markdown table and what stands beneath it."""

import importlib.metadata
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import psutil
from benchmarks.recipes.ground import ScoredChip
from benchmarks.recipes.methods import Costs
from benchmarks.recipes.scores import CONFIDENCE, SCORES, Result
from benchmarks.recipes.study import Study

from glacierseg.cli.info import machine_facts
from glacierseg.evaluate.counts import Counts, count, scores_of
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_text
from glacierseg.runs.write import environment

PACKAGES = ("torch", "pytorch-lightning", "numpy", "rasterio", "scikit-learn")
_SURFACES = (
    ("clean ice, recall", "clean_ice_recall"),
    ("debris, recall", "debris_recall"),
    ("debris, precision", "debris_precision"),
    ("debris, IoU", "debris_iou"),
)
PEER_PACKAGES = ("segmentation-models-pytorch", "timm", "torchvision")


def write_table(study: Study, results: Sequence[Result], chips: Sequence[ScoredChip], command: str) -> None:
    """Writes `table.md`."""
    best = max(results, key=lambda result: result.scores.mean_iou)
    titles = ["method", "stage", *SCORES.values(), "mean IoU by fold", "glacier IoU by fold"]
    titles += ["mean IoU*", "glacier IoU*", "MCC*", *(title for title, _ in _SURFACES)]
    titles += ["parameters", "training, min a fold", "prediction, s/Mpx"]
    lines = [
        f"# {study.name}: {study.folds} spatial folds",
        "",
        "| " + " | ".join(titles) + " |",
        "|" + "---|" * 2 + "---:|" * (len(titles) - 2),
        *(_row(result) for result in results),
        "",
        *(f"- {line}" for line in _notes(study, results, chips, best)),
        "",
    ]
    lines += ["## How it was made", "", "    " + command, ""]
    lines += [f"- {line}" for line in _circumstances(study)]
    write_text(study.out / "table.md", "\n".join(lines) + "\n")


def _row(result: Result) -> str:
    cells = [result.method.name, result.method.stage]
    for name in SCORES:
        interval = result.intervals.scores[name]
        cells.append(f"{getattr(result.scores, name):.3f} ({interval.low:.3f}-{interval.high:.3f})")
    cells += [
        ", ".join(f"{getattr(scores, name):.3f}" for scores in result.by_fold) for name in ("mean_iou", "iou")
    ]
    everywhere = scores_of(result.everywhere)
    cells += [f"{getattr(everywhere, name):.3f}" for name in ("mean_iou", "iou", "mcc")]
    for _, name in _SURFACES:
        value = getattr(result.surfaces, name) if result.surfaces else None
        cells.append("-" if value is None else f"{value:.3f}")
    cells += _cost_cells(result.method.costs)
    return "| " + " | ".join(cells) + " |"


def _cost_cells(costs: Costs) -> list[str]:
    return [
        f"{costs.parameters / 1e6:.2f} M" if costs.parameters is not None else "-",
        f"{costs.training_s / 60:.1f}" if costs.training_s is not None else "-",
        f"{costs.prediction_s_per_mpx:.1f}" if costs.prediction_s_per_mpx is not None else "-",
    ]


def _notes(study: Study, results: Sequence[Result], chips: Sequence[ScoredChip], best: Result) -> list[str]:
    counted = sum(int((chip.truth != 255).sum()) for chip in chips)
    shown = sum(int((chip.own_truth != 255).sum()) for chip in chips)
    size = sum(chip.truth.size for chip in chips)
    first, undefined = results[0].intervals, results[0].everywhere.total - results[0].counts.total
    double = sum(
        (count(read_mask(best.method.mask(chip.fold, chip.name)), chip.own_truth) for chip in chips), Counts()
    )
    alike = scores_of(double)
    return [
        (
            f"{len(chips)} regions, each tested in one fold by networks that saw none of its ground; test "
            "pixels of all folds pooled before scores are taken."
        ),
        (
            f"{counted / 1e6:.2f} of {size / 1e6:.2f} million pixels are scored; {1 - shown / size:.1%} have "
            f"no data or no truth, and {(shown - counted) / 1e6:.2f} million show ground that another region "
            "has shown already, which counts once. Counted as often as it is shown, "
            f"{best.method.name} ({best.method.stage}) has mean IoU {alike.mean_iou:.3f} and glacier IoU "
            f"{alike.iou:.3f}."
        ),
        (
            f"In brackets intervals of {CONFIDENCE:.0%} from {first.draws} draws of blocks of ground "
            f"({first.blocks} of {first.block_px} px for the first row). They hold for other ground of this "
            "kind with the same networks, not for other trainings."
        ),
        (
            "Refinement was tuned on validation ground alone, and so was an epoch chosen, where one was "
            "(`monitor: last` in the settings keeps the last)."
        ),
        (
            "`mean of the networks` and `as shipped` are scored with one network of each kind a fold. The "
            "costs of `as shipped` are sums of the rows above: each kind as often as it is shipped, and "
            "where it looks in eight symmetries, eight times its prediction."
        ),
        (
            f"* Pixels without data whose truth is known ({undefined / 1e6:.2f} million) count as "
            "background, as in the scores of contests and peers."
        ),
        *(
            f"Clean ice is glacier of the truth where {rule}, debris is the rest of it; precision and IoU of "
            "debris are of ground that shows no ice or snow."
            for rule in sorted({str(chip.ice_rule) for chip in chips if chip.ice_rule})
        ),
        *study.notes,
    ]


def _circumstances(study: Study) -> list[str]:
    facts, own = environment(), machine_facts()
    packages = (*PACKAGES, *(PEER_PACKAGES if "peers" in study.sets else ()))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, glacierseg {facts['glacierseg']}, revision {facts['git_revision']}",
        (
            f"{own['processor']}, GPU: {own['GPU']}, precision: {own['precision']}; one thread for each run, "
            f"load when the table was written {psutil.getloadavg()[0]:.1f}"
        ),
        f"Python {sys.version.split()[0]}, {versions}",
    ]
