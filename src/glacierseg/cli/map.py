"""The command that maps glaciers, from a scene, products or a place to an inventory."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg.cli.fetch import each_place, with_absolute_paths
from glacierseg.cli.options import WeightsName, split_model, with_settings
from glacierseg.cli.output import count_and_area, say_area
from glacierseg.raster.outputs import writes
from glacierseg.runs.layout import ModelFolder
from glacierseg.settings.fetch import FetchSettings, MapPlaceSettings
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.scene import SourceSettings

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.catalogues.place import Place
    from glacierseg.mapping.chain import GlacierMap


def add_map_command(app: typer.Typer) -> None:
    """Adds `map` to the command line."""
    app.command("map")(map_scene)


@with_settings
@writes(out=None)
def map_scene(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")],
    place: MapPlaceSettings,
    inputs: SourceSettings,
    settings: PredictSettings,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL_DIR] [PRODUCT...]",
            help="Trained model, unless --weights names one; a scene, or products of one day, also with all "
            "options of `prepare scene`; with --bbox or --area no scene or product.",
        ),
    ] = None,
    weights: WeightsName = None,
    again: Annotated[
        bool, typer.Option("--again", metavar="", help="Make all again, also a mask corrected by hand.")
    ] = False,
) -> None:
    """Map glaciers from a product or a place to an inventory and a page; run it again to continue."""
    from glacierseg.mapping.chain import map_glaciers
    from glacierseg.weights import find_weights

    if place.has_place:
        model = _only_model(paths or [], weights)
        how = with_absolute_paths(place, {"fetch": place.search, "inputs": inputs, "settings": settings})
        each_place(place, out, place, partial(_map_one, model, **how, again=again))
        return
    if given := place.model_fields_set:
        option = "--" + min(given).replace("_", "-")
        raise typer.BadParameter(f"{option} goes with a place; give --bbox W,S,E,N or --area FILE")
    if not paths:
        raise typer.BadParameter("give a MODEL_DIR and a PRODUCT, or a place with --bbox W,S,E,N")
    model_dir, sources = split_model(paths, weights)
    made = map_glaciers(
        model_dir or find_weights(weights or ""), sources, out, inputs, settings=settings, again=again
    )
    _say(made)


def _only_model(paths: list[Path], weights: str | None) -> Path:
    """Returns the model of a call without products: its folder, or `weights:NAME`."""
    if weights is None and len(paths) == 1:
        return paths[0].absolute()
    if weights is not None and not paths:
        return Path(f"weights:{weights}")
    if not paths:
        raise typer.BadParameter("give a MODEL_DIR, or --weights NAME")
    more = paths[0] if weights is not None else paths[1]
    if weights is not None and ModelFolder(more).card.exists():
        raise typer.BadParameter(f"{more} is a model folder; give it or --weights {weights}, not both")
    raise typer.BadParameter(f"--bbox and --area find products themselves; leave {more} out")


def _map_one(
    model: Path,
    place: "Place",
    folder: Path,
    *,
    fetch: FetchSettings,
    inputs: SourceSettings,
    settings: PredictSettings,
    again: bool,
) -> str:
    """Maps one place; a function of the module, so that workers can import it."""
    from glacierseg.mapping.place import map_place
    from glacierseg.weights import find_weights
    from glacierseg.weights.shelf import PREFIX

    name = str(model).removeprefix(PREFIX)
    found = find_weights(name) if name != str(model) else model
    made = map_place(found, place, folder, fetch=fetch, inputs=inputs, settings=settings, again=again)
    if place.is_area:
        return f"{made.inventory.name}: {_in_words(made)}"
    _say(made)
    return ""


def _say(made: "GlacierMap") -> None:
    for note in made.notes:
        _log.info(f"note: {note}")
    _log.info(f"{made.inventory}: {_in_words(made)}")
    if made.bounds:
        say_area(made.bounds)
    _log.info(f"{made.page}: open it in a browser")


def _in_words(made: "GlacierMap") -> str:
    return ", ".join(count_and_area(made.glaciers))
