"""The command line: parses, calls a stage, prints. Heavy imports wait until a command needs them."""

import os
import re
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from glacierseg import log
from glacierseg.cli.correct import add_correct_command
from glacierseg.cli.fetch import add_fetch_command
from glacierseg.cli.groups import arrange
from glacierseg.cli.map import add_map_command
from glacierseg.cli.masks import add_mask_commands
from glacierseg.cli.output import fail, show, shown
from glacierseg.cli.predict import add_predict_command
from glacierseg.cli.prepare import add_data_commands, prepare
from glacierseg.cli.scores import add_score_commands
from glacierseg.cli.share import add_share_commands
from glacierseg.cli.weights import add_weights_commands
from glacierseg.errors import DataError, GlaciersegError, RequestError, did_you_mean

if TYPE_CHECKING:
    from glacierseg.settings import RunConfig

_MASK, _TRUTH, _SCENE = ("mask",), ("outlines", "mask"), ("scene", "values", "probability")
_VALUES, _RASTER, _OUTLINES = (
    ("values", "probability"),
    ("scene", "values", "probability", "mask"),
    ("outlines",),
)
_KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "predict": {"MODEL_DIR": ("model",), "SCENE": _SCENE},
    "fetch": {"area": _OUTLINES, "dem": _VALUES, "existing": _OUTLINES, "clip": _OUTLINES},
    "map": {
        "MODEL_DIR": ("model",),
        "SCENE": _SCENE,
        "existing": _OUTLINES,
        "clip": _OUTLINES,
        "area": _OUTLINES,
    },
    "bands": {"MODEL_DIR": ("model",), "SCENE": _SCENE, "truth": _TRUTH},
    "export": {"model_dir": ("model",), "int8_with": _SCENE, "cost_on": _SCENE, "truth": _TRUTH},
    "pack-weights": {"model_dirs": ("model",)},
    "evaluate": {"predicted": _MASK, "truth": _TRUTH, "dem": _VALUES, "probability": _VALUES},
    "compare": {"a": _MASK, "b": _MASK, "truth": _TRUTH},
    "tune": {"mask": _MASK, "truth": _TRUTH, "dem": _VALUES, "test_mask": _MASK, "test_truth": _TRUTH},
    "refine": {"mask": _MASK, "dem": _VALUES},
    "vectorize": {"mask": _MASK, "refined": _MASK, "probability": _VALUES},
    "inventory": {"source": _TRUTH, "dem": _VALUES, "probability": _VALUES, "existing": _OUTLINES},
    "change": {"old": _TRUTH, "new": _TRUTH, "dem": _VALUES, "centre_lines": _OUTLINES},
    "correct": {
        "MODEL_DIR": ("model",),
        "SCENE": _SCENE,
        "mask": _MASK,
        "outlines": _OUTLINES,
        "probability": _VALUES,
    },
    "check": {"scenes": _SCENE, "truth": _TRUTH},
    "scene": {
        "dem": _VALUES,
        "like": _RASTER,
        "clip": _OUTLINES,
        "existing": _OUTLINES,
        "mask_file": _TRUTH,
    },
    "align": {"source": _RASTER, "like": _RASTER},
    "rasterize": {"outlines": _OUTLINES, "like": _RASTER},
    "normalize": {"scene": _SCENE},
    "select": {"scene": _SCENE},
    "stack": {"files": _RASTER, "dem": _VALUES, "like": _RASTER},
    "report": {"run_dir": ("run",)},
    "figures": {
        "run_dir": ("run",),
        "scene_file": _SCENE,
        "mask": _MASK,
        "probability": _VALUES,
        "inventory": _OUTLINES,
        "change": _OUTLINES,
    },
    "benchmark": {"run_a": ("run",), "run_b": ("run",)},
    "run": {"config": ("configuration",)},
    "train": {"config": ("configuration",)},
}
"""What kind of file each parameter takes (`cli.kinds`), the usual one first."""


class _Group(TyperGroup):
    """Says of a word that is none of an option's choices which one is near, and not who found it out."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            fault = error.message.removeprefix("Value error, ")
            if found := re.fullmatch(r"'(.*)' is not one of (.*)\.", fault):
                fault = fault[:-1] + did_you_mean(found[1], re.findall("'([^']*)'", found[2]))
            error.message = fault
            raise


app = typer.Typer(
    name="glacierseg",
    cls=_Group,
    help="From a multi-band satellite scene to a defensible glacier inventory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done, 1 the data or the request is at fault, 2 wrong usage, 130 interrupted.",
)
add_data_commands(app)
add_predict_command(app)
add_fetch_command(app)
add_map_command(app)
add_correct_command(app)
add_weights_commands(app)
add_score_commands(app)
add_mask_commands(app)
add_share_commands(app)

Fold = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Test this fold (split.method kfold); it gets a folder of its own, fold<N>, in that of the run.",
    ),
]
_INTERRUPTED = 130
_UsageError: Any = typer.BadParameter.__mro__[2]  # ClickException, of the click that typer brings


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
    from glacierseg.experiment import run_experiment
    from glacierseg.synthetic.demo import demo_config

    folder = out or Path("runs") / f"demo-{data}"
    run_experiment(demo_config(data, folder), folder)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="The configuration (YAML).")],
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; outputs.folder or runs/<name> when left out.")
    ] = None,
    fold: Fold = None,
) -> None:
    """Run every stage for every model; run it again to continue after an interruption."""
    from glacierseg.experiment import run_experiment
    from glacierseg.settings import load_config

    parsed = load_config(config, fold=fold)
    run_experiment(parsed, _run_folder(parsed, out, fold))


def _run_folder(config: "RunConfig", out: Path | None, fold: int | None) -> Path:
    folder = out or config.outputs.folder or Path("runs") / config.name
    return folder if fold is None else folder / f"fold{fold}"


@app.command()
def template() -> None:
    """Print a commented configuration to start from."""
    from glacierseg.settings.template import template as commented

    show(commented().removesuffix("\n"))


@app.command()
def info() -> None:
    """Show versions, processor, GPU, precision, engines and the data folder."""
    from glacierseg.cli.info import machine_facts

    show(log.table(None, ("what", "found"), list(machine_facts().items())))


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
    from glacierseg.experiment import train_one
    from glacierseg.settings import load_config

    parsed = load_config(config, fold=fold)
    chosen = None if bands == "all" else [name.strip() for name in bands.split(",")]
    folder = _run_folder(parsed, out, fold)
    train_one(parsed, model, chosen, folder)


def _print_version(asked: bool) -> None:
    if asked:
        from glacierseg._version import __version__

        typer.echo(f"glacierseg {__version__}")
        raise typer.Exit


@app.callback()
def _begin(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show details, and where warnings and errors come from.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show only warnings and errors.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print lines and progress as JSON objects, one a line.")
    ] = False,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    if verbose and quiet:
        raise typer.BadParameter("--verbose and --quiet exclude each other; give one of them")
    _leave_garbled_messages_out()  # here, since typer sets hooks of its own when it begins
    context.with_resource(shown(verbose=verbose, quiet=quiet, as_json=as_json))


_GLOBAL = ("-v", "--verbose", "-q", "--quiet", "--json")
_OWN_JSON = ("check", "models")
"""Commands whose own --json prints a document."""


def _options_first(words: list[str]) -> tuple[list[str], list[str]]:
    """Tells the options of all commands, wherever they stand before a `--`, from the other words."""
    end = words.index("--") if "--" in words else len(words)
    command = next((word for word in words[:end] if word not in _GLOBAL), None)
    first: list[str] = []
    rest: list[str] = []
    for number, word in enumerate(words[:end]):
        kept = word == "--json" and command in _OWN_JSON and command in words[:number]
        (first if word in _GLOBAL and not kept else rest).append(word)
    return first, rest + words[end:]


def _explained(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a command: what its files are is looked at when one of them was refused, and before a check."""

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        if name == "check":
            _refuse_misfits(name, given)
        try:
            return function(*args, **given)
        except DataError as error:
            _refuse_misfits(name, given, error)
            raise

    return command


def _refuse_misfits(name: str, given: dict[str, Any], cause: Exception | None = None) -> None:
    from shlex import join

    from glacierseg.cli.kinds import misfit

    if "paths" in given:
        paths = given["paths"] or []
        first = [] if given.get("weights") else paths[:1]
        given = {**given, "MODEL_DIR": first, "SCENE": paths[len(first) :]}
    files: list[tuple[str, Path]] = []
    for parameter in _KINDS[name]:
        value = given.get(parameter)
        files += [(parameter, path) for path in (value if isinstance(value, list) else [value]) if path]
    if (found := misfit(files, _KINDS[name])) is None:
        return
    said, pair = found
    if pair is not None:
        said += "; are they the other way round?"
        words = [Path(word) for word in sys.argv[1:]]
        if all(words.count(path) == 1 for path in pair):
            places = [words.index(path) for path in pair]
            typed = sys.argv[1:]
            typed[places[0]], typed[places[1]] = typed[places[1]], typed[places[0]]
            said += f" Type `{join(['glacierseg', *typed])}`"
    raise RequestError(said) from cause


for _command in (*app.registered_commands, *prepare.registered_commands):
    if (_function := _command.callback) and (_name := _command.name or _function.__name__) in _KINDS:
        _command.callback = _explained(_name, _function)
arrange(app, prepare)


def main() -> None:
    """Runs the command line; turns every foreseeable failure into one line and an exit status."""
    # Threads that wait for one another by spinning make training ten times slower as soon as anything else
    # wants a core; waiting asleep costs next to nothing on an idle machine. torch reads this when imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    first, rest = _options_first(sys.argv[1:])
    sys.argv = [sys.argv[0], *first, *rest]
    as_json = "--json" in first
    try:
        # typer prints wrong usage by itself, but not as JSON; then it returns the status instead of exiting.
        if status := app(standalone_mode=not as_json):
            sys.exit(status)
    except BrokenPipeError:
        sys.exit(1)
    except (Exception, SystemExit) as error:
        if (failure := _foreseen(error)) is None:
            raise
        if {"-v", "--verbose"} & set(first) and not isinstance(error, (SystemExit, _UsageError)):
            traceback.print_exc()
        fail(failure[0], as_json=as_json)
        sys.exit(failure[1])


def _foreseen(error: BaseException) -> tuple[str, int] | None:
    """Returns the message and the exit status of a foreseeable failure; None for any other."""
    message, status = None, 1
    if isinstance(error, GlaciersegError):
        message = str(error)
    elif isinstance(error, _UsageError):
        message, status = error.format_message(), error.exit_code
    elif isinstance(error, SystemExit) and error.code == _INTERRUPTED:  # what typer makes of Ctrl-C
        message, status = "interrupted; run the same command again, finished work is kept", _INTERRUPTED
    elif isinstance(error, RuntimeError) and "torchvision::" in str(error):
        # So ends the import of Lightning beside a torchvision (extra `zoo`) that was built for another torch.
        message = (
            "torch and torchvision must be of one build, and these are of two; remove torchvision if no "
            "network of the extra `zoo` is wanted (`pip uninstall torchvision`), or install both from one "
            "place (for CPUs alone `pip install --force-reinstall torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu`)"
        )
    elif isinstance(error, MemoryError):
        message = "not enough memory; use smaller windows or batches, or a part of the scene"
    elif isinstance(error, OSError):
        # A full disk or a vanished drive may strike anywhere.
        message = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    return None if message is None else (message, status)


def _leave_garbled_messages_out() -> None:
    """Keeps rasterio from printing tracebacks about messages of GDAL that hold bytes of a garbled file.

    It cannot raise there and goes on; the error itself comes in other words.
    """
    sys.excepthook, sys.unraisablehook = _error_hook, _ignored_hook


def _error_hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # What nobody caught has been somewhere, so it has a trace.
    if not (issubclass(kind, UnicodeDecodeError) and trace is None):
        sys.__excepthook__(kind, error, trace)


def _ignored_hook(ignored: Any) -> None:
    if not issubclass(ignored.exc_type, UnicodeDecodeError):
        sys.__unraisablehook__(ignored)
