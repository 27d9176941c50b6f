"""The command line: parses, calls a stage, prints. Heavy imports wait until a command needs them."""

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from glacierseg.cli_compare import add_compare_commands
from glacierseg.cli_data import add_data_commands
from glacierseg.cli_export import add_export_command
from glacierseg.cli_masks import add_mask_commands
from glacierseg.cli_outlines import add_outline_commands
from glacierseg.cli_predict import add_predict_command
from glacierseg.cli_report import add_report_commands
from glacierseg.cli_scores import add_score_commands
from glacierseg.cli_weights import add_weights_commands
from glacierseg.errors import GlaciersegError, GlaciersegWarning

if TYPE_CHECKING:
    from glacierseg.config import RunConfig

app = typer.Typer(
    name="glacierseg",
    help="From a multi-band satellite scene to a defensible glacier inventory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 the data or the request is at fault, 2 wrong usage, 130 interrupted.",
)
add_data_commands(app)
add_export_command(app)
add_predict_command(app)
add_weights_commands(app)
add_score_commands(app)
add_compare_commands(app)
add_mask_commands(app)
add_outline_commands(app)
add_report_commands(app)

Fold = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Test this fold (split.method kfold); it gets a folder of its own, fold<N>, in that of the run.",
    ),
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
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; outputs.folder or runs/<name> when left out.")
    ] = None,
    fold: Fold = None,
) -> None:
    """Run every stage for every model; run it again to continue after an interruption."""
    from glacierseg.config import load_config  # noqa: PLC0415
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.experiment import run_experiment  # noqa: PLC0415

    parsed = load_config(config, fold=fold)
    run_experiment(parsed, _run_folder(parsed, out, fold), talk=Talk())


def _run_folder(config: "RunConfig", out: Path | None, fold: int | None) -> Path:
    folder = out or config.outputs.folder or Path("runs") / config.name
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
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; outputs.folder or runs/<name> when left out.")
    ] = None,
    fold: Fold = None,
) -> None:
    """Train one network of a configuration; also under torchrun or SLURM, in several processes."""
    from glacierseg.config import load_config  # noqa: PLC0415
    from glacierseg.console import Talk  # noqa: PLC0415
    from glacierseg.experiment import train_one  # noqa: PLC0415

    parsed = load_config(config, fold=fold)
    talk = Talk()
    chosen = None if bands == "all" else [name.strip() for name in bands.split(",")]
    folder = _run_folder(parsed, out, fold)
    train_one(parsed, model, chosen, folder, talk=talk)


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
    warnings.showwarning = _say_warning
    # The same may happen again, to another scene or later; what the user asked of Python goes before.
    warnings.filterwarnings("always", category=GlaciersegWarning, append=True)
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


_show_elsewhere = warnings.showwarning


def _say_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Shows a warning of ours as one line, without the place in the code that others come with."""
    if issubclass(category, GlaciersegWarning):
        sys.stderr.write(f"warning: {message}\n")
    else:
        _show_elsewhere(message, category, *where, **more)


def _fail(message: str, status: int = 1) -> None:
    one_line = " ".join(message.split())
    sys.stderr.write(f"glacierseg: {one_line}\n")
    sys.exit(status)
