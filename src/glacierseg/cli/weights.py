"""Commands about weights that come with the package, and the option that names them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from glacierseg import log
from glacierseg.choices import Storage
from glacierseg.cli.options import with_settings
from glacierseg.cli.output import show
from glacierseg.raster.outputs import writes
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.scene import SceneSettings

_log = logging.getLogger(__name__)

WeightsName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Weights by name (`glacierseg models`)."),
]
Member = Annotated[
    int | None,
    typer.Option(min=1, help="Number of the network, where weights have several."),
]


def add_weights_commands(app: typer.Typer) -> None:
    """Adds `models` and `pack-weights` to the command line."""
    app.command()(models)
    app.command("pack-weights")(pack)


def split_model(paths: Sequence[Path], weights: str | None) -> tuple[Path | None, list[Path]]:
    """Tells the model folder from the scenes after it; there is none where weights are named.

    Raises:
        typer.BadParameter: The model folder or every scene is missing, or there are both weights and folder.
    """
    if weights is None:
        if len(paths) < 2:
            missing = "a SCENE after it" if ModelFolder(paths[0]).card.exists() else "a MODEL_DIR before it"
            raise typer.BadParameter(f"{paths[0]} is there, but {missing} is missing; or give --weights NAME")
        return paths[0], list(paths[1:])
    if ModelFolder(paths[0]).card.exists():
        raise typer.BadParameter(f"{paths[0]} is a model folder; give it or --weights {weights}, not both")
    return None, list(paths)


def one_model(model_dir: Path | None, weights: str | None, member: int | None) -> Path:
    """Returns the folder of the one network that is asked for.

    Raises:
        typer.BadParameter: Neither or both are given.
        RequestError: There are no such weights, or no such member.
    """
    if (model_dir is None) == (weights is None):
        raise typer.BadParameter("give either a MODEL_DIR or --weights NAME")
    if model_dir is not None:
        if member is not None:
            raise typer.BadParameter("--member goes with --weights")
        return model_dir
    from glacierseg.weights import find_weights  # noqa: PLC0415

    return find_weights(weights or "").member(member)


def models(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of these.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trained weights that `predict --weights NAME` takes."""
    from json import dumps  # noqa: PLC0415

    from glacierseg.weights import find_weights, list_weights  # noqa: PLC0415
    from glacierseg.weights.words import (  # noqa: PLC0415
        COLUMNS,
        NONE,
        as_dict,
        card_lines,
        summary_lines,
        table_rows,
    )

    found = [find_weights(name)] if name else list(list_weights())
    if json:
        entries = [as_dict(weights) for weights in found]
        typer.echo(dumps(entries[0] if name else entries, indent=2, ensure_ascii=False))
        return
    if name:
        lines = card_lines(found[0])
    elif found:
        show(log.table(None, COLUMNS, table_rows(found)))
        lines = [line for weights in found for line in summary_lines(weights)]
        lines.append("`glacierseg models NAME` shows a whole card")
    else:
        lines = [NONE]
    for line in lines:
        show(line)


@with_settings
@writes(out=None)
def pack(
    model_dirs: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL_DIR...", help="One trained model, or several on the same bands."),
    ],
    name: Annotated[str, typer.Option(help="Name of the weights.")],
    facts: Annotated[Path, typer.Option(help="Facts about them that people know (YAML, docs/models.md).")],
    scenes: Annotated[
        list[str],
        typer.Option(help="Training scenes: files, folders of .tif, or 'patterns' in quotes."),
    ],
    out: Annotated[Path, typer.Option(help="Folder that gets the folder NAME.")],
    reading: SceneSettings,
    storage: Annotated[Storage, typer.Option(help="Data type of the kernels in the file.")] = "float16",
) -> None:
    """Pack trained models as weights under a name: small, checked, with a card."""
    from glacierseg.raster.scene import open_scene  # noqa: PLC0415
    from glacierseg.weights.pack import pack_weights, read_facts  # noqa: PLC0415

    opened = [open_scene(path, bands=reading.band_names, nodata=reading.nodata) for path in _files(scenes)]
    packed = pack_weights(model_dirs, name, read_facts(facts), opened, out, storage=storage)
    _log.info(
        f"{packed.weights.folder}: {packed.weights.megabytes:.1f} MB; stored as {storage}, a probability "
        f"changes by {packed.largest_change:.4f} at most on {packed.windows} windows of {len(opened)} scenes"
    )
    for band in packed.weights.card.bands:
        _log.info(f"{band.in_words}: {band.unit}, {band.values.in_words}")


def _files(asked: Sequence[str]) -> list[Path]:
    from glob import glob  # noqa: PLC0415

    from glacierseg.errors import RequestError  # noqa: PLC0415

    files: list[Path] = []
    for entry in asked:
        pattern = f"{entry}/*.tif" if Path(entry).is_dir() else entry
        found = sorted(glob(pattern)) if any(sign in pattern for sign in "*?[") else [pattern]  # noqa: PTH207
        if not found:
            raise RequestError(f"{entry}: holds no .tif; give the training scenes")
        files += map(Path, found)
    return files
