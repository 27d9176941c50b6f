"""The command that fetches products of a catalogue, and the work on many areas, which `map` does too."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glacierseg.cli.options import with_settings
from glacierseg.raster.outputs import writes
from glacierseg.settings.base import Settings
from glacierseg.settings.fetch import FetchedSceneSettings, FetchSettings, PlaceSettings
from glacierseg.settings.predict import ClusterSettings

if TYPE_CHECKING:
    from glacierseg.catalogues.place import Place


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
        bool, typer.Option("--again", metavar="", help="Search and make everything again.")
    ] = False,
) -> None:
    """Fetch the best images of a place from a catalogue, as a scene; run it again to continue."""
    if not place.has_place:
        raise typer.BadParameter("give a place: --bbox W,S,E,N, or outlines with --area FILE")
    if settings.date is None:
        raise typer.BadParameter("give days: --date FROM/TO, such as --date 2024-08-01/2024-10-31")
    how = {"settings": settings, "inputs": inputs}
    each_place(place, out, cluster, partial(_fetch_one, **with_absolute_paths(cluster, how), again=again))


def each_place(
    place: PlaceSettings, out: Path, cluster: ClusterSettings, work: "Callable[[Place, Path], str]"
) -> None:
    """Works on a box, or on each of many areas in a folder of its own.

    Args:
        place: The box, or the areas.
        out: Folder of the results.
        cluster: The processes that share the areas.
        work: Makes the results of a place in a folder and returns a line about them; it can be pickled.

    Raises:
        GlaciersegError: As `work` raises it; or it failed for some areas.
    """
    from glacierseg.catalogues.areas import each_area, require_all_done
    from glacierseg.catalogues.place import place_of_box, places_in

    if place.area is None:
        if cluster.asked_for:
            raise typer.BadParameter("--workers and --dask share out areas, and go with --area FILE")
        work(place_of_box(place.bbox or ()), out)
        return
    places = places_in(place.area, layer=place.area_layer, column=place.area_name)
    with _connected(cluster) as client:
        require_all_done(each_area(places, out, work, client=client), out)


def with_absolute_paths(cluster: ClusterSettings, settings: Mapping[str, Settings]) -> dict[str, Any]:
    """Returns settings that workers can use, which may run in another folder: with absolute paths."""

    def whole(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(whole(name, one) for one in value)
        if isinstance(value, Path):
            return value.absolute()
        # Of texts only these name files; a layer stands behind its name.
        if name not in {"catalogue", "layer"}:
            return value
        head, sign, file = value.rpartition("=")
        return f"{head}{sign}{Path(file).absolute()}" if Path(file).exists() else value

    if not cluster.asked_for:
        return dict(settings)
    return {
        key: one.replaced(**{name: whole(name, getattr(one, name)) for name in one.model_fields_set})
        for key, one in settings.items()
    }


def _connected(cluster: ClusterSettings) -> AbstractContextManager[Any]:
    if not cluster.asked_for:
        return nullcontext()
    from glacierseg.predict.cluster import connected

    return connected(cluster)


def _fetch_one(
    place: "Place", folder: Path, *, settings: FetchSettings, inputs: FetchedSceneSettings, again: bool
) -> str:
    from glacierseg.catalogues.fetch import fetch_scene
    from glacierseg.raster.prepare.layers import parse_layers

    layers = parse_layers(inputs.layer)
    made = fetch_scene(place, folder, settings, inputs, inputs, layers=layers, again=again)
    return made.path.name
