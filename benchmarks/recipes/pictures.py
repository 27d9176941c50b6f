"""The worst places of every fold, to be looked at: image, outlines of truth and prediction, errors."""

from pathlib import Path

from benchmarks.recipes.ground import ScoredChip
from benchmarks.recipes.scores import Result
from benchmarks.recipes.study import Study

from glacierseg.raster.scene import open_scene
from glacierseg.raster.truth import read_mask
from glacierseg.raster.write import write_text
from glacierseg.report.figures.errors import figure_zoom
from glacierseg.report.furniture import north_degrees
from glacierseg.report.images import composite_recipes, frame_of, read_composite
from glacierseg.report.save import save_figure

EACH_FOLD = 4


def draw_worst(study: Study, result: Result, chips: tuple[ScoredChip, ...]) -> list[Path]:
    """Draws the chips of each fold with the most wrong pixels of a method, and lists all chips by that."""
    scenes = {chip.name: chip.scene for chip in study.chips}
    folder = study.out / "worst"
    for old in folder.glob("fold*.png"):
        old.unlink()
    drawn, lines = [], ["fold,region,wrong_px,tp,fp,fn,tn"]
    for fold in range(1, study.folds + 1):
        own = [chip for chip in chips if chip.fold == fold]
        own.sort(key=lambda chip: -_wrong(result, chip.name))
        for chip in own:
            counts = result.by_chip[chip.name]
            row = (fold, chip.name, _wrong(result, chip.name), counts.tp, counts.fp, counts.fn, counts.tn)
            lines.append(",".join(str(value) for value in row))
        for rank, chip in enumerate(own[:EACH_FOLD], 1):
            scene = open_scene(scenes[chip.name])
            frame = frame_of(scene.grid)
            image = read_composite(scene, composite_recipes(scene.band_names)[-1], frame)
            predicted = read_mask(result.method.mask(fold, chip.name))
            figure = figure_zoom(
                image.pixels,
                chip.own_truth,
                predicted,
                chip.grid.pixel_size_m,
                north=north_degrees(chip.grid),
            )
            path = folder / f"fold{fold}_{rank}_{chip.name}.png"
            save_figure(figure, path)
            drawn.append(path)
    write_text(folder / "regions.csv", "\n".join(lines) + "\n")
    return drawn


def _wrong(result: Result, chip: str) -> int:
    return result.by_chip[chip].fp + result.by_chip[chip].fn
