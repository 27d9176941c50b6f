"""The command that a recipe is."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from benchmarks.recipes.study import Chip, Light, Study, WeightsPlan, pick, read_settings, weights_plan

from glacierseg.errors import GlaciersegError


@dataclass(frozen=True)
class Benchmark:
    """A data set and its settings.

    Attributes:
        name: Of the benchmark.
        settings: The YAML beside the recipe.
        find: Finds the chips in a folder.
        notes: What a reader of the table has to know about the data.
        light: What its bands of reflected light are.
        cut: Makes chips of the data in the folder of the results, and returns their folder; None where the
            data are chips.
    """

    name: str
    settings: Path
    find: Callable[[Path], Sequence[Chip]]
    notes: tuple[str, ...]
    light: Light | None = None
    cut: Callable[[Path, Path], Path] | None = None


def main(benchmark: Benchmark) -> None:
    parser = argparse.ArgumentParser(description=f"Train, predict, refine and score: {benchmark.name}.")
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--out", type=Path, default=Path("runs") / benchmark.name)
    parser.add_argument("--settings", type=Path, default=benchmark.settings, help="another YAML of networks")
    parser.add_argument("--jobs", type=_positive, default=2, help="runs side by side, one thread each")
    parser.add_argument("--epochs", type=int, help="instead of the settings' own, for a quick try")
    parser.add_argument("--width", type=float, help="of all networks, for a quick try")
    parser.add_argument("--limit", type=int, help="use only so many regions, for a quick try")
    parser.add_argument("--models", default="", help="only these networks, separated by commas")
    parser.add_argument("--no-boosting", action="store_true", help="leave gradient boosting out")
    parser.add_argument("--weights", action="store_true", help="train the networks to ship instead")
    asked = parser.parse_args()
    try:
        data = benchmark.cut(asked.data, asked.out.resolve()) if benchmark.cut else asked.data
    except GlaciersegError as error:
        raise SystemExit(str(error)) from error
    chips = benchmark.find(data)
    if not chips:
        raise SystemExit(
            f"{asked.data}: holds no scenes of {benchmark.name}; give the folder of the data set"
        )
    only = [name for name in asked.models.split(",") if name]
    if not asked.settings.is_file():
        raise SystemExit(f"{asked.settings}: there is no such file; give a YAML of networks")
    try:
        sets = read_settings(asked.settings, epochs=asked.epochs, width=asked.width, only=only)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise SystemExit(
            f"{asked.settings}: is no configuration of networks ({' '.join(str(error).split())}); compare it "
            f"with {benchmark.settings}"
        ) from error
    if not sets:
        raise SystemExit(f"--models {asked.models}: {asked.settings} has none of these; look there for names")
    study = Study(
        name=benchmark.name,
        chips=pick(chips, asked.limit),
        sets=sets,
        out=asked.out.resolve(),
        notes=benchmark.notes,
        light=benchmark.light,
    )
    weights = weights_plan(asked.settings)
    if asked.weights:
        if weights is None:
            raise SystemExit(
                f"{asked.settings}: has no section `weights`, so there is nothing to ship; add one"
            )
        train_weights(study, weights, asked.jobs)
    else:
        run(study, weights, jobs=asked.jobs, boosting=not asked.no_boosting)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} makes no sense; give 1 or more")
    return int(text)


def train_weights(study: Study, plan: WeightsPlan, jobs: int) -> None:
    """Trains the members of the weights to ship, and says how to pack them."""
    from benchmarks.recipes.runs import run_all

    for models in {str(own): own for own in plan.members.values()}.values():
        sections = {**study.sets["networks"], "models": [dict(model) for model in models]}
        shipped = replace(study, sets={"weights": sections}, folds=plan.folds)
        run_all(shipped, jobs, [fold for fold, own in plan.members.items() if own == models])
    folders = [
        shipped.model_folder("weights", fold, kind).path
        for kind in dict.fromkeys(plan.kinds)
        for fold, models in plan.members.items()
        if kind in {model["name"] for model in models}
    ]
    print(shlex.join(["glacierseg", "pack-weights", *map(str, folders), "--name", "...", "--facts", "..."]))


def run(study: Study, weights: WeightsPlan | None, *, jobs: int, boosting: bool) -> None:
    """Runs everything that is not there yet, and writes the table, the numbers behind it and the pictures."""
    from benchmarks.recipes.boosting import boosting_method
    from benchmarks.recipes.ensemble import ensemble_methods, shipped_methods
    from benchmarks.recipes.ground import scored_chips
    from benchmarks.recipes.methods import network_names, run_methods
    from benchmarks.recipes.pictures import draw_worst
    from benchmarks.recipes.runs import run_all
    from benchmarks.recipes.scores import score
    from benchmarks.recipes.table import write_table

    run_all(study, jobs)
    started = time.monotonic()
    chips = scored_chips(study)
    methods = run_methods(study)
    if boosting:
        methods.insert(2, boosting_method(study))
    own = set(network_names(study, "networks")) if "networks" in study.sets else set()
    costs = {method.name: method.costs for method in methods if method.name in own}
    if own:
        methods += ensemble_methods(study, chips, list(costs.values()))
        methods += shipped_methods(study, chips, costs, weights) if weights else []
    results = [score(method, chips) for method in methods]
    (study.out / "results.json").write_text(
        json.dumps([result.to_dict() for result in results], indent=1) + "\n"
    )
    write_table(study, results, chips, shlex.join(["python", "-m", _module(), *sys.argv[1:]]))
    draw_worst(study, max(results, key=lambda result: result.scores.mean_iou), chips)
    print(f"{study.out / 'table.md'} ({time.monotonic() - started:.0f} s after the runs)", flush=True)


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else sys.argv[0]
