"""The command line: parses, calls a stage, prints. Heavy imports wait until a command needs them."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from glacierseg.cli_data import add_data_commands
from glacierseg.cli_export import add_export_command
from glacierseg.errors import GlaciersegError

if TYPE_CHECKING:
    from glacierseg.config import RunConfig

app = typer.Typer(
    name="glacierseg",
    help="From a multi-band satellite scene to a defensible glacier inventory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 the data or the request is at fault, 2 wrong usage.",
)
add_data_commands(app)
add_export_command(app)

Out = Annotated[Path, typer.Option("--out", help="Where the result goes.")]
Fold = Annotated[
    int | None, typer.Option(min=1, help="Test this fold (split.method kfold); its folder is <run>/fold<N>.")
]
_INTERRUPTED = 130


@app.command()
def demo(
    data: Annotated[
        Literal["synthetic", "everest"],
        typer.Option(help="A made-up basin, or Landsat 7 over Khumbu with RGI outlines."),
    ] = "synthetic",
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/demo-<data> when left out.")
    ] = None,
) -> None:
    """Run the whole main job on a small basin."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.demo import demo_config  # noqa: PLC0415
    from glacierseg.experiment import run_experiment  # noqa: PLC0415

    folder = out or Path("runs") / f"demo-{data}"
    talk = Talk()
    run_experiment(demo_config(data, folder, talk), folder, talk=talk)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="The configuration (YAML).")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<name> when left out.")] = None,
    fold: Fold = None,
) -> None:
    """Run every stage for every model; run it again to continue after an interruption."""
    from glacierseg.config import load_config  # noqa: PLC0415
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.experiment import run_experiment  # noqa: PLC0415

    parsed = load_config(config, fold=fold)
    run_experiment(parsed, out or _run_folder(parsed, fold), talk=Talk())


def _run_folder(config: "RunConfig", fold: int | None) -> Path:
    folder = config.outputs.folder or Path("runs") / config.name
    return folder if fold is None else folder / f"fold{fold}"


@app.command()
def template() -> None:
    """Print a commented configuration to start from."""
    from importlib.resources import files  # noqa: PLC0415

    sys.stdout.write((files("glacierseg") / "template.yaml").read_text(encoding="utf-8"))


@app.command()
def info() -> None:
    """Show versions, processor, GPU, precision, engines and the data folder."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.info import machine_facts  # noqa: PLC0415

    Talk().table(None, ("what", "found"), list(machine_facts().items()))


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="The configuration (YAML).")],
    model: Annotated[str, typer.Option(help="Name of one of its models.")],
    bands: Annotated[str, typer.Option(help="all, or band names separated by commas.")] = "all",
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<name> when left out.")] = None,
    fold: Fold = None,
) -> None:
    """Train one network of a configuration; also under torchrun or SLURM, in several processes."""
    from glacierseg.config import load_config  # noqa: PLC0415
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.experiment import train_one  # noqa: PLC0415

    parsed = load_config(config, fold=fold)
    talk = Talk()
    chosen = None if bands == "all" else [name.strip() for name in bands.split(",")]
    folder = out or _run_folder(parsed, fold)
    train_one(parsed, model, chosen, folder, talk=talk)


@app.command()
def predict(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    scenes: Annotated[list[Path], typer.Argument(metavar="SCENE...", help="One or more scenes.")],
    out: Out,
    window_px: Annotated[
        int | None, typer.Option(help="Side of a window; the training patch by default.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="Share of a window that the next one covers too.")] = 0.5,
    batch_size: Annotated[int, typer.Option(help="Windows per forward pass.")] = 16,
    threshold: Annotated[float, typer.Option(help="Probability from which a pixel is glacier.")] = 0.5,
    more: Annotated[
        list[Path] | None,
        typer.Option("--with", help="One more model folder; predicts the mean and, as a band, the spread."),
    ] = None,
    symmetries: Annotated[
        bool, typer.Option("--symmetries", help="Mean over the eight flips and turns of every window.")
    ] = False,
    engine: Annotated[
        Literal["auto", "torch", "openvino", "onnx"], typer.Option(help="What computes.")
    ] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"], typer.Option(help="What it computes in.")
    ] = "auto",
    int8_model: Annotated[
        Path | None, typer.Option(help="What `export --int8-with` wrote; for --precision int8.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "uint8"], typer.Option(help="Of the probability; uint8 holds 254 levels.")
    ] = "float32",
    prune_level: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="Steps of a unetplusplus with deep supervision: fewer are faster."),
    ] = None,
) -> None:
    """Predict scenes whole: <scene>_probability.tif and <scene>_mask.tif."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.errors import RequestError  # noqa: PLC0415
    from glacierseg.predict.members import load_ensemble  # noqa: PLC0415
    from glacierseg.predict.scene import predict_scene  # noqa: PLC0415
    from glacierseg.raster.scene import open_scene  # noqa: PLC0415

    stems = [scene.stem for scene in scenes]
    if len(set(stems)) < len(stems):
        raise RequestError(
            "two scenes have the same file name, so their results would too; predict them apart"
        )
    talk = Talk()
    ensemble = load_ensemble([model_dir, *(more or [])], prune_level=prune_level)
    # All scenes are looked at first: better to refuse the tenth now than in an hour.
    opened = [ensemble.matching_scene(open_scene(path)) for path in scenes]
    for scene in opened:
        with talk.bar(f"predicting {scene.name}", scene.grid.height * scene.grid.width) as progress:
            files = predict_scene(
                ensemble,
                scene,
                out,
                window_px=window_px,
                overlap=overlap,
                batch_size=batch_size,
                threshold=threshold,
                symmetries=symmetries,
                engine=engine,
                precision=precision,
                int8_model=int8_model,
                dtype=dtype,
                progress=progress,
            )
        talk.say(str(files.probability))
        talk.say(str(files.mask))


@app.command()
def bands(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    scene: Annotated[Path, typer.Argument(help="A scene with the model's bands.")],
    mask: Annotated[Path, typer.Option(help="Its truth: a mask on its grid, or outlines.")],
    out: Out,
) -> None:
    """Measure band importance and write it as CSV."""
    from glacierseg.bands import band_importance, write_importance  # noqa: PLC0415
    from glacierseg.console import Talk  # noqa: PLC0415

    importance = band_importance(model_dir, scene, mask)
    write_importance(out, importance)
    rows = [(str(e.rank), e.band, f"{e.importance:.4f}", f"{e.spread:.4f}") for e in importance]
    Talk().table(None, ("rank", "band", "importance", "spread"), rows)


@app.command()
def refine(
    mask: Annotated[Path, typer.Argument(help="A mask raster.")],
    out: Out,
    min_area_km2: Annotated[float, typer.Option(help="Smaller fragments are removed.")] = 0.03,
    merge_distance_m: Annotated[float, typer.Option(help="Fragments with a smaller gap are joined.")] = 20.0,
    iterations: Annotated[int, typer.Option(help="Passes of smoothing.")] = 10,
    max_hole_km2: Annotated[
        float, typer.Option(help="Smaller holes are filled; 0 for none, inf for all.")
    ] = 0.03,
) -> None:
    """Refine a mask: merge, smooth, fill holes, remove fragments."""
    import math  # noqa: PLC0415

    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.refine.files import refine_file  # noqa: PLC0415
    from glacierseg.refine.pipeline import RefineParameters  # noqa: PLC0415

    changes = refine_file(
        mask,
        out,
        RefineParameters(
            min_area_km2=min_area_km2,
            merge_distance_m=merge_distance_m,
            iterations=iterations,
            max_hole_km2=None if math.isinf(max_hole_km2) else max_hole_km2,
        ),
    )
    _print_changes(Talk(), changes)


@app.command()
def tune(
    mask: Annotated[Path, typer.Argument(help="A predicted mask.")],
    truth: Annotated[Path, typer.Option(help="A mask on its grid, or outlines.")],
    out: Out,
) -> None:
    """Search the refinement parameters with the highest IoU."""
    from dataclasses import asdict  # noqa: PLC0415

    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.raster.scene import grid_of, open_raster  # noqa: PLC0415
    from glacierseg.raster.truth import load_truth, read_mask  # noqa: PLC0415
    from glacierseg.raster.write import write_json  # noqa: PLC0415
    from glacierseg.refine.search import tune_refinement  # noqa: PLC0415

    with open_raster(mask) as dataset:
        grid = grid_of(dataset)
    tuned = tune_refinement(read_mask(mask), load_truth(truth, grid), grid.pixel_size_m)
    write_json(
        out,
        {
            "best": asdict(tuned.best),
            "raw_iou": tuned.raw_iou,
            "best_iou": tuned.best_iou,
            "table": tuned.table,
        },
    )
    talk = Talk()
    talk.say(
        f"IoU {tuned.raw_iou:.4f} raw, {tuned.best_iou:.4f} with the best of {len(tuned.table)} combinations:"
    )
    talk.table(None, ("parameter", "value"), [(key, _plain(v)) for key, v in asdict(tuned.best).items()])


@app.command()
def vectorize(
    mask: Annotated[Path, typer.Argument(help="A mask raster.")],
    out: Out,
) -> None:
    """Draw the outlines of a mask: layers `raw` and `smooth`."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.vectors.polygons import vectorize_mask  # noqa: PLC0415

    table = vectorize_mask(mask, out)
    Talk().say(f"{out}: {len(table)} outlines, {table['area_km2'].sum():.3f} km2")


@app.command()
def evaluate(
    predicted: Annotated[Path, typer.Argument(help="A predicted mask.")],
    truth: Annotated[Path, typer.Argument(help="A mask on its grid, or outlines.")],
    out: Out,
    buffer_m: Annotated[
        list[float] | None, typer.Option(help="Forgive a rim of so many metres along the true boundary.")
    ] = None,
) -> None:
    """Score a mask against the truth."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.evaluate.files import evaluate_file  # noqa: PLC0415
    from glacierseg.raster.write import write_json  # noqa: PLC0415

    record = evaluate_file(predicted, truth, buffers_m=buffer_m or ()).to_dict()
    write_json(out, record)
    Talk().table(None, ("score", "value"), [(key, _plain(value)) for key, value in record.items()])


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write the report of a run again."""
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.report import write_report  # noqa: PLC0415

    Talk().say(f"report: {write_report(run_dir)}")


def _print_changes(talk: Any, changes: Any) -> None:
    rows = [
        (
            change.step,
            f"{change.fragments_before} -> {change.fragments_after}",
            f"{change.holes_before} -> {change.holes_after}",
            f"{change.area_before_km2:.3f} -> {change.area_after_km2:.3f}",
        )
        for change in changes
    ]
    talk.table(None, ("step", "fragments", "holes", "km2"), rows)


def _plain(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from glacierseg._version import __version__  # noqa: PLC0415

        typer.echo(f"glacierseg {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; turns every foreseeable failure into one line and an exit status."""
    # Threads that wait for one another by spinning make training ten times slower as soon as anything else
    # wants a core; waiting asleep costs next to nothing on an idle machine. torch reads this when imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except GlaciersegError as error:
        _fail(str(error))
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # what typer makes of Ctrl-C
            _fail("interrupted; the same command continues where it stopped", status=_INTERRUPTED)
        raise
    except RuntimeError as error:
        # So ends the import of Lightning beside a torchvision (extra `zoo`) that was built for another torch.
        if "torchvision::" not in str(error):
            raise
        _fail(
            "torch and torchvision are of different builds; install both from one place, for CPUs alone with "
            "`pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu`"
        )
    except MemoryError:
        _fail("not enough memory; use smaller windows or batches, or a part of the scene")
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        # A full disk or a vanished drive may strike anywhere.
        _fail(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))


def _fail(message: str, status: int = 1) -> None:
    one_line = " ".join(message.split())
    sys.stderr.write(f"glacierseg: {one_line}\n")
    sys.exit(status)
