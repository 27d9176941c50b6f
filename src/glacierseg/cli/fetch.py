"""The command that fetches products of a catalogue, and what it shares with `map`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glacierseg.cli.options import with_settings
from glacierseg.raster.outputs import writes
from glacierseg.settings.fetch import FetchedSceneSettings, FetchSettings, PlaceSettings
from glacierseg.settings.predict import ClusterSettings

if TYPE_CHECKING:
    from glacierseg.catalogues.fetch import FetchedScene
    from glacierseg.catalogues.place import Place

_log = logging.getLogger(__name__)


def add_fetch_command(app: typer.Typer) -> None:
    """Adds `fetch` to the command line."""
    app.command("fetch")(fetch)


@with_settings
@writes(out=None)
def fetch(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")],
    place: PlaceSettings,
    settings: FetchSettings,
    inputs: FetchedSceneSettings,
    cluster: ClusterSettings,
    again: Annotated[
        bool, typer.Option("--again", metavar="", help="Fetch and make everything again.")
    ] = False,
) -> None:
    """Fetch the best images of a place from a catalogue and make a scene; run it again to continue."""
    from glacierseg.catalogues.fetch import fetch_scene
    from glacierseg.catalogues.place import place_of_box
    from glacierseg.raster.prepare.layers import parse_layers

    layers = parse_layers(inputs.layer)

    def one(where: "Place", folder: Path) -> FetchedScene:
        return fetch_scene(where, folder, settings, inputs, inputs, layers=layers, again=again)

    if place.bbox is not None:
        one(place_of_box(place.bbox), out)
        return
