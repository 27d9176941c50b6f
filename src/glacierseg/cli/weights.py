"""Commands about weights that come with the package."""

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glacierseg import log
from glacierseg.choices import Storage
from glacierseg.cli.options import with_settings
from glacierseg.cli.output import show
from glacierseg.raster.outputs import writes
from glacierseg.settings.scene import SceneSettings

if TYPE_CHECKING:
    from glacierseg.weights import Weights

_log = logging.getLogger(__name__)

_METRIC = "glacier IoU"
_COLUMNS = ("name", "network", "MB", "sensor", "pixel", _METRIC, "terms")
_NONE = (
    "no weights come with this version; train a network (`glacierseg run`), or name a folder of packed "
    "weights with GLACIERSEG_WEIGHTS_DIR"
)


def add_weights_commands(app: typer.Typer) -> None:
    """Adds `models` and `pack-weights` to the command line."""
    app.command()(models)
    app.command("pack-weights")(pack)


def models(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of these.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trained weights that `predict --weights NAME` takes."""
    from json import dumps

    from glacierseg.weights import find_weights, list_weights

    found = [find_weights(name)] if name else list(list_weights())
    if json:
        entries = [_as_dict(weights) for weights in found]
        typer.echo(dumps(entries[0] if name else entries, indent=2, ensure_ascii=False))
        return
    if name:
        lines = _card_lines(found[0])
    elif found:
        lines = _table_lines([_row(weights) for weights in found])
        lines += [
            f"{_METRIC}: on ground that its networks were not trained on",
            "`glacierseg models NAME`: the whole card, with bands, limits and terms of use",
        ]
    else:
        lines = [_NONE]
    for line in lines:
        show(line)


def _row(weights: "Weights") -> list[str]:
    """Returns the cells for `_COLUMNS`."""
    kinds = {model.architecture for model in weights.model_cards}
    card = weights.card
    return [
        weights.name,
        _network(weights) if len(kinds) == 1 else f"{len(weights.folders)} networks",
        f"{weights.megabytes:.1f}",
        card.sensor,
        f"{card.pixel_m:g} m",
        next((f"{score.value:.2f}" for score in card.scores if score.metric == _METRIC), "-"),
        card.terms_word,
    ]


def _table_lines(rows: list[list[str]]) -> list[str]:
    """Returns the table; in a window too narrow for it, names that are too long have a line of their own."""
    lines = log.table(None, _COLUMNS, rows).splitlines()
    too_wide = max(map(len, lines)) - get_terminal_size().columns
    if not sys.stdout.isatty() or too_wide <= 0:
        return lines
    room = max(len(name) for name, *_ in rows) - too_wide
    kept = [name if len(name) <= room else "" for name, *_ in rows]
    cells = [[name, *row[1:]] for name, row in zip(kept, rows, strict=True)]
    head, *lines = log.table(None, _COLUMNS, cells).splitlines()
    below = zip(rows, kept, lines, strict=True)
    return [head, *(part for row, name, line in below for part in ([line] if name else [row[0], line]))]


def _card_lines(weights: "Weights") -> list[str]:
    """Returns the whole card, a line for each fact."""
    card = weights.card
    ways = ", the mean over eight symmetries" if card.symmetries else ""
    lines = [
        f"{weights.name}: {card.summary}",
        f"network: {_network(weights)}, {_parameters(weights)} parameters, {weights.megabytes:.1f} MB",
        f"windows of {weights.window_px} px{ways}; glacier from a probability of {card.threshold:g}",
        f"trained on: {card.trained_on}",
        f"sensor: {card.sensor}, pixels of {card.pixel_m:g} m",
        *([f"terms of use: {card.terms}"] if card.terms else []),
        f"data licence: {card.data_licence}",
        f"attribution: {card.attribution}",
        "bands, in this order or by name (nearly all values in training, and their median):",
    ]
    lines += [f"  {band.in_words}: {band.unit}, {band.values.in_words}" for band in card.bands]
    lines += ["scores, with 90 % intervals where they were made:"]
    lines += [f"  {score.in_words}" for score in card.scores]
    if card.expected:
        lines += ["expected elsewhere, not measured:", *(f"  {line}" for line in card.expected)]
    lines += ["limits:", *(f"  {limit}" for limit in card.limits)]
    lines += [f"folder: {weights.folder} (packed by glacierseg {card.version})"]
    return lines


def _as_dict(weights: "Weights") -> dict[str, Any]:
    """Returns the card for JSON, with the networks and the size."""
    return {
        **weights.card.model_dump(mode="json"),
        "window_px": weights.window_px,
        "members": [
            {"network": model.architecture, "width": model.width, "patch_px": model.patch_px}
            for model in weights.model_cards
        ],
        "megabytes": round(weights.megabytes, 3),
        "folder": str(weights.folder),
    }


def _network(weights: "Weights") -> str:
    counts = Counter(model.architecture for model in weights.model_cards)
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())


def _parameters(weights: "Weights") -> str:
    return f"{weights.card.parameters / 1e6:.2f} M"


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
    from glacierseg.raster.scene import open_scene
    from glacierseg.weights.pack import pack_weights, read_facts

    opened = [open_scene(path, bands=reading.band_names, nodata=reading.nodata) for path in _files(scenes)]
    packed = pack_weights(model_dirs, name, read_facts(facts), opened, out, storage=storage)
    _log.info(
        f"{packed.weights.folder}: {packed.weights.megabytes:.1f} MB; stored as {storage}, a probability "
        f"changes by {packed.largest_change:.4f} at most on {packed.windows} windows of {len(opened)} scenes"
    )
    for band in packed.weights.card.bands:
        _log.info(f"{band.in_words}: {band.unit}, {band.values.in_words}")


def _files(asked: Sequence[str]) -> list[Path]:
    from glob import glob

    from glacierseg.errors import RequestError

    files: list[Path] = []
    for entry in asked:
        pattern = f"{entry}/*.tif" if Path(entry).is_dir() else entry
        found = sorted(glob(pattern)) if any(sign in pattern for sign in "*?[") else [pattern]  # noqa: PTH207
        if not found:
            raise RequestError(f"{entry}: holds no .tif; give the training scenes")
        files += map(Path, found)
    return files
