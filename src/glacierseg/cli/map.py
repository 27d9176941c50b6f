"""The command that maps glaciers, from the scene to the inventory."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg.cli.options import WeightsName, split_model, with_settings
from glacierseg.cli.output import say_area
from glacierseg.raster.outputs import writes
from glacierseg.settings.predict import PredictSettings
from glacierseg.settings.scene import SourceSettings

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from glacierseg.mapping.chain import GlacierMap


def add_map_command(app: typer.Typer) -> None:
    """Adds `map` to the command line."""
    app.command("map")(map_scene)


@with_settings
@writes(out=None)
def map_scene(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL_DIR] PRODUCT...",
            help="Trained model, unless --weights names one; a scene, or products of one day, also with all "
            "options of `prepare scene`.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")],
    inputs: SourceSettings,
    settings: PredictSettings,
    weights: WeightsName = None,
    again: Annotated[
        bool, typer.Option("--again", metavar="", help="Make everything again, also files corrected by hand.")
    ] = False,
) -> None:
    """Map glaciers from a product to an inventory and a page about it; run it again to continue."""
    from glacierseg.mapping.chain import map_glaciers
    from glacierseg.weights import find_weights

    model_dir, sources = split_model(paths, weights)
    made = map_glaciers(
        model_dir or find_weights(weights or ""), sources, out, inputs, settings=settings, again=again
    )
    _say(made)


def _say(made: "GlacierMap") -> None:
    for note in made.notes:
        _log.info(f"note: {note}")
    table = made.glaciers
    area = f"{table['area_km2'].sum():.3f}"
    if "uncertainty_km2" in table:
        area += f" +- {table['uncertainty_km2'].sum():.3f}"
    glaciers = "1 glacier" if len(table) == 1 else f"{len(table)} glaciers"
    _log.info(f"{made.inventory}: {glaciers}, {area} km2")
    if made.bounds:
        say_area(made.bounds)
    _log.info(f"{made.page}: open it in a browser")
